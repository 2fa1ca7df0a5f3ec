"""Asking a real endpoint that limits, fails, cuts and refuses: every answer comes once, or it is said why not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from core.recording.answers import Answer
from core.recording.endpoint import HINT, Endpoint, Stop
from core.recording.prompts import Prompt
from core.recording.recorder import Question, Recorder, Unanswered
from demo.old_model.endpoint import Body, ChatEndpoint, Refusal, Said, Trouble, serving
from tests.conftest import free_port


def echo(body: Body) -> Said:
    return Said(f"Arr, {body['messages'][-1]['content']}")


def questions(count: int) -> list[Question]:
    return [Question(Prompt(({"role": "user", "content": f"{n}?"},), f"line {n}"), 0) for n in range(count)]


@contextmanager
def asking(
    answer: Any = echo, *, parallel: int = 4, patience: float = 30, settings: dict[str, Any] | None = None, **more: Any
) -> Iterator[tuple[ChatEndpoint, Recorder]]:
    with serving(ChatEndpoint("ft:old", answer, **more)) as served:
        yield served, Recorder(Endpoint("ft:old", served.address, settings or {}), parallel=parallel, patience=patience)


def outcomes(recorder: Recorder, asked: list[Question]) -> tuple[list[Answer], list[Unanswered]]:
    ended = [outcome for outcome in recorder.ask(asked) if outcome is not None]
    return [e for e in ended if isinstance(e, Answer)], [e for e in ended if isinstance(e, Unanswered)]


def stopped(recorder: Recorder, asked: list[Question]) -> str:
    with pytest.raises(Stop) as raised:
        outcomes(recorder, asked)
    return raised.value.message


def test_every_question_is_answered_once_though_the_endpoint_limits_fails_and_cuts() -> None:
    with asking(troubles=tuple(Trouble), share=0.3, wait=0.05) as (served, recorder):
        answers, unanswered = outcomes(recorder, questions(40))
    assert not unanswered
    assert sorted(answer.message["content"] for answer in answers) == sorted(f"Arr, {n}?" for n in range(40))
    assert served.met.total() > 5
    assert set(served.met) == set(Trouble)


def test_as_many_are_asked_at_a_time_as_allowed_and_no_more() -> None:
    barrier = threading.Barrier(3)

    def together(body: Body) -> Said:
        barrier.wait(20)  # breaks unless three are there at once
        return echo(body)

    with asking(together, parallel=3) as (served, recorder):
        answers, _ = outcomes(recorder, questions(6))
    assert len(answers) == 6
    assert served.together == 3


def test_a_limit_holds_all_calls_for_as_long_as_it_asks() -> None:
    seen: list[float] = []

    def limited(body: Body) -> Said:
        seen.append(time.monotonic())
        if len(seen) == 1:
            raise Refusal(429, "Rate limit reached", "rate_limit_exceeded")
        return echo(body)

    with asking(limited, parallel=1, wait=1.0) as (_, recorder):
        answers, _ = outcomes(recorder, questions(2))
    assert len(answers) == 2
    assert seen[1] - seen[0] >= 1.0


def test_one_question_that_always_fails_does_not_hold_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.recording.recorder.FIRST_WAIT", 0.01)

    def poisoned(body: Body) -> Said:
        if body["messages"][-1]["content"] == "3?":
            raise Refusal(500, "The server had an error")
        return echo(body)

    with asking(poisoned) as (_, recorder):
        answers, unanswered = outcomes(recorder, questions(8))
    assert len(answers) == 7
    assert [(row.question.prompt.place, row.why) for row in unanswered] == [("line 3", "500: The server had an error")]


def test_a_question_that_is_refused_is_told_and_the_others_go_on() -> None:
    def strict(body: Body) -> Said:
        if body["messages"][-1]["content"] == "2?":
            raise Refusal(400, "maximum context length is 8192 tokens", "context_length_exceeded")
        return echo(body)

    with asking(strict) as (served, recorder):
        answers, unanswered = outcomes(recorder, questions(5))
    assert len(answers) == 4
    assert unanswered[0].why == "400: maximum context length is 8192 tokens"
    assert len(served.calls) == 5  # it is not asked again


def test_where_every_question_is_refused_the_rest_is_not_asked() -> None:
    def never(body: Body) -> Said:
        raise Refusal(400, "temperature is at most 2")

    with asking(never, parallel=2) as (served, recorder):
        told = stopped(recorder, questions(50))
    assert told == "The first 5 prompts were refused, so the others are not asked: 400: temperature is at most 2."
    assert len(served.calls) < 10


def test_a_wrong_key_an_unknown_model_and_no_credit_end_it_at_once_with_what_to_do() -> None:
    with asking(key="right") as (served, recorder):
        told = stopped(recorder, questions(9))
        assert "Put a valid one into OPENAI_API_KEY" in told
        assert not served.calls
    with serving(ChatEndpoint("ft:new", echo)) as served:
        recorder = Recorder(Endpoint("ft:old", served.address), parallel=1, patience=30)
        assert "does not know ft:old (The model `ft:old` does not exist). It offers ft:new." in stopped(
            recorder, questions(9)
        )
        assert len(served.calls) == 1

    def poor(body: Body) -> Said:
        raise Refusal(429, "You exceeded your current quota", "insufficient_quota")

    with asking(poor, parallel=1) as (served, recorder):
        assert stopped(recorder, questions(9)) == "The account has no credit left (You exceeded your current quota)."
        assert len(served.calls) == 1


def test_without_a_network_it_gives_up_and_says_where_it_tried() -> None:
    endpoint = Endpoint("ft:old", f"http://127.0.0.1:{free_port()}/v1")
    told = stopped(Recorder(endpoint, parallel=2, patience=1), questions(9))
    assert "Nothing was answered for" in told
    assert f"{endpoint.address} can't be reached (ConnectError" in told


def test_an_address_that_is_no_chat_endpoint_is_told() -> None:
    with asking(troubles=(Trouble.HTML,), share=1.0, patience=1) as (_, recorder):
        assert "is the base URL right (it mostly ends in /v1)?" in stopped(recorder, questions(3))


def test_what_is_under_way_when_it_is_stopped_is_kept_and_the_rest_is_not_asked() -> None:
    begun = threading.Event()

    def slow(body: Body) -> Said:
        begun.set()
        time.sleep(0.3)
        return echo(body)

    with asking(slow, parallel=2) as (served, recorder):
        ended = []
        for outcome in recorder.ask(questions(20)):
            if begun.is_set():
                recorder.stop()
            ended.append(outcome)
    answers = [outcome for outcome in ended if isinstance(outcome, Answer)]
    assert len(answers) == len(served.calls) <= 4


def test_settings_are_sent_and_each_sample_has_its_own_seed() -> None:
    settings = {"temperature": 0.5, "max_tokens": 9, "seed": 40}
    asked = Prompt(({"role": "user", "content": "a"},), "line 1", {"tools": [{"type": "function"}]})
    with asking(settings=settings) as (served, recorder):
        answers, _ = outcomes(recorder, [Question(asked, 0), Question(asked, 2)])
    assert sorted(body["seed"] for body in served.calls) == [40, 42]
    assert all(body["temperature"] == 0.5 and body["max_tokens"] == 9 and body["tools"] for body in served.calls)
    assert {answer.sample: answer.settings["seed"] for answer in answers} == {0: 40, 2: 42}


def test_a_model_that_knows_the_limit_by_its_newer_name_is_asked_by_that() -> None:
    def newer(body: Body) -> Said:
        if "max_tokens" in body:
            raise Refusal(400, "Use 'max_completion_tokens' instead.", "unsupported_parameter", "max_tokens")
        return Said("Arr.", more={}) if body["max_completion_tokens"] == 9 else Said(None)

    with asking(newer, settings={"max_tokens": 9}, parallel=1) as (served, recorder):
        answers, unanswered = outcomes(recorder, questions(3))
    assert [answer.message["content"] for answer in answers] == ["Arr."] * 3
    assert not unanswered
    assert len(served.calls) == 4


def test_an_endpoint_of_ones_own_needs_no_key_and_openai_does(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    assert Endpoint("m", "http://127.0.0.1:1/v1").address == "http://127.0.0.1:1/v1/"
    with pytest.raises(Stop, match="OPENAI_API_KEY is not set"):
        Endpoint("m")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:2/v1")
    assert Endpoint("m").address == "http://127.0.0.1:2/v1/"


def test_tool_calls_and_refusals_are_kept_as_they_come() -> None:
    call = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]

    def calling(body: Body) -> Said:
        return Said(None, "tool_calls", {"tool_calls": call})

    with asking(calling) as (_, recorder):
        (answer,), _ = outcomes(recorder, questions(1))
    assert answer.message == {"role": "assistant", "content": None, "tool_calls": call}
    assert answer.finish_reason == "tool_calls"


BODIES = (
    "",
    "null",
    "[]",
    "5",
    '{"choices": "x"}',
    '{"choices": [null]}',
    '{"choices": [5]}',
    "[" * 5_000,
    '{"choices": [{"message": "x"}]}',
    '{"choices": [{"message": {"content": 5}}]}',
    '{"choices": [{"message": {"content": ["a"]}}]}',
    '{"choices": [{"message": {"content": NaN}}]}',
    '{"error": {"message": "overloaded"}}',
)


@pytest.mark.slow
@pytest.mark.parametrize("body", BODIES)
def test_an_answer_of_no_known_shape_is_no_answer_and_ends_nothing(body: str) -> None:
    with asking(lambda _: body, patience=1) as (_, recorder):
        assert "the answer is none of a chat endpoint" in stopped(recorder, questions(2))


@pytest.mark.parametrize("usage", ["null", "5", "{}", '{"prompt_tokens": null, "completion_tokens": "7"}', "[1]"])
def test_odd_figures_of_tokens_count_as_none(usage: str) -> None:
    body = f'{{"choices": [{{"message": {{"content": "Arr."}}}}], "usage": {usage}}}'
    with asking(lambda _: body) as (_, recorder):
        (answer,), _ = outcomes(recorder, questions(1))
    assert (answer.message["content"], answer.tokens_in, answer.tokens_out) == ("Arr.", 0, 0)


def test_what_a_model_thought_is_kept_beside_its_answer() -> None:
    body = '{"choices": [{"message": {"content": "West.", "reasoning_content": "The sun sets there."}}]}'
    with asking(lambda _: body) as (_, recorder):
        (answer,), _ = outcomes(recorder, questions(1))
    assert answer.reasoning == "The sun sets there."
    assert "reasoning_content" not in answer.message


def test_prompts_that_are_always_refused_do_not_keep_a_later_run_from_the_others() -> None:
    def picky(body: Body) -> Said:
        if int(body["messages"][-1]["content"][:-1]) < 6:
            raise Refusal(400, "flagged")
        return echo(body)

    with serving(ChatEndpoint("ft:old", picky)) as served:
        endpoint = Endpoint("ft:old", served.address)
        answers, unanswered = outcomes(Recorder(endpoint, parallel=1, patience=9), questions(26))
        assert (len(answers), len(unanswered)) == (20, 6)
        again = Recorder(endpoint, parallel=1, patience=9, answered=True)
        assert len(outcomes(again, questions(6))[1]) == 6


def test_one_question_that_always_meets_a_limit_does_not_starve_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.recording.recorder.FIRST_WAIT", 0.001)

    def large(body: Body) -> Said:
        if body["messages"][-1]["content"] == "3?":
            raise Refusal(429, "Request too large", "rate_limit_exceeded")
        return echo(body)

    with asking(large, wait=0.0) as (_, recorder):
        answers, unanswered = outcomes(recorder, questions(30))
    assert len(answers) == 29
    assert [row.question.prompt.place for row in unanswered] == ["line 3"]


def test_a_limit_that_asks_for_no_wait_is_not_run_against(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(body: Body) -> Said:
        raise Refusal(429, "Rate limit reached", "rate_limit_exceeded")

    with asking(never, wait=0.0, parallel=1, patience=2) as (served, recorder):
        stopped(recorder, questions(1))
    assert len(served.calls) <= 4  # after .5, 1 and 2 seconds, about


def test_a_prompt_that_is_forbidden_is_told_and_the_others_go_on() -> None:
    def moderated(body: Body) -> Said:
        if body["messages"][-1]["content"] == "2?":
            raise Refusal(403, "your input was flagged")
        return echo(body)

    with asking(moderated) as (_, recorder):
        answers, unanswered = outcomes(recorder, questions(5))
    assert len(answers) == 4
    assert unanswered[0].why == "403: your input was flagged"


def test_many_calls_at_once_learn_the_newer_name_of_the_limit() -> None:
    def newer(body: Body) -> Said:
        time.sleep(0.1)
        if "max_tokens" in body:
            raise Refusal(400, "Use 'max_completion_tokens' instead.", "unsupported_parameter", "max_tokens")
        return echo(body)

    with asking(newer, settings={"max_tokens": 9}, parallel=8) as (_, recorder):
        assert len(outcomes(recorder, questions(12))[0]) == 12


def test_neither_key_nor_password_nor_prompt_is_ever_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-SECRETKEY\n")

    def telling(body: Body) -> Said:
        raise Refusal(401, "Incorrect API key provided: Bearer sk-SECRETKEY")

    def echoing(body: Body) -> Said:
        raise Refusal(400, f"input: {body['messages'][-1]['content']} is invalid")

    secret = [Question(Prompt(({"role": "user", "content": "my  SECRETPROMPT"},), "line 1"), 0)]
    with serving(ChatEndpoint("ft:old", telling)) as served:
        address = served.address.replace("//", "//joe:SECRETPW@")
        endpoint = Endpoint("ft:old", address)
        told = stopped(Recorder(endpoint, parallel=1, patience=5), secret)
        assert "Incorrect API key provided: Bearer ..." in told
        assert "SECRET" not in told + endpoint.address
        served.answer = echoing
        _, (unanswered,) = outcomes(Recorder(endpoint, parallel=1, patience=5), secret)
        assert unanswered.why == "400: input: ... is invalid"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-\u00fc")
    with pytest.raises(Stop, match="OPENAI_API_KEY holds characters that no key has"):
        Endpoint("ft:old")


def test_an_address_without_its_v1_is_told_so() -> None:
    with serving(ChatEndpoint("ft:old", echo)) as served:
        endpoint = Endpoint("ft:old", served.address.removesuffix("/v1"))
        assert HINT in stopped(Recorder(endpoint, parallel=1, patience=5), questions(1))


def test_a_fault_of_our_own_in_one_answer_does_not_end_a_recording() -> None:
    class Faulty(Endpoint):
        def ask(self, prompt: Prompt, sample: int) -> Answer:
            if prompt.place == "line 2":
                raise RuntimeError("a secret")
            return super().ask(prompt, sample)

    with serving(ChatEndpoint("ft:old", echo)) as served:
        answers, unanswered = outcomes(Recorder(Faulty("ft:old", served.address), parallel=2, patience=9), questions(5))
    assert len(answers) == 4
    assert [row.why for row in unanswered] == ["an answer that can't be handled (RuntimeError)"]
