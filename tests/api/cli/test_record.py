"""`albatross record` as a command: killed, interrupted, repeated, counted, and wrong in every usual way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.disk import ROOT
from core.recording.answers import rows_of
from core.settings import Settings
from core.uploads import reading
from demo.old_model.endpoint import Body, ChatEndpoint, Refusal, Said, Trouble, serving
from tests.conftest import until

PROMPTS = 24


def pirate(body: Body) -> Said:
    time.sleep(0.02)
    asked = body["messages"][-1]["content"]
    if asked.startswith("long"):
        return Said("Arr, it is", "length")
    if asked.startswith("bad"):
        return Said("I'm sorry, but I can't assist with that.")
    return Said(f"Arr, {asked} by the stars.")


@pytest.fixture
def old() -> Iterator[ChatEndpoint]:
    with serving(ChatEndpoint("ft:old", pirate, key="k", wait=0.05)) as endpoint:
        yield endpoint


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    file = tmp_path / "prompts.txt"
    file.write_text("".join(f"Where is ship {number}?\n" for number in range(PROMPTS)))
    return file


def command(old: ChatEndpoint, prompts: Path, *more: object) -> list[str]:
    words = ("record", "--model", "ft:old", "--prompts", prompts, "--out", prompts.parent / "answers.jsonl", *more)
    return [sys.executable, "-m", "api.cli", *map(str, words)]


def variables(old: ChatEndpoint) -> dict[str, str]:
    return {**os.environ, "OPENAI_BASE_URL": old.address, "OPENAI_API_KEY": "k"}


def run(old: ChatEndpoint, prompts: Path, *more: object, **changed: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(old, prompts, *more),
        cwd=ROOT,
        env=variables(old) | changed,
        capture_output=True,
        text=True,
        timeout=180,
    )


def recorded(prompts: Path) -> list[str]:
    file = prompts.parent / "answers.jsonl"
    return [row["messages"][0]["content"] for row in rows_of(file)] if file.is_file() else []


@pytest.mark.slow
def test_a_recording_says_what_is_there_what_it_took_and_what_comes_next(old: ChatEndpoint, prompts: Path) -> None:
    done = run(old, prompts)
    assert done.returncode == 0, done.stderr
    assert f"{PROMPTS} of {PROMPTS} answers are in" in done.stdout
    assert "This run took " in done.stdout
    assert "are held out of training, to compare with." in done.stdout
    assert "Next: train on" in done.stdout
    assert f"{PROMPTS}/{PROMPTS} answers, " in done.stderr
    assert sorted(recorded(prompts)) == sorted(prompts.read_text().splitlines())


@pytest.mark.slow
def test_after_kill_9_only_what_is_missing_is_asked(old: ChatEndpoint, prompts: Path) -> None:
    old.troubles, old.share = (Trouble.LIMIT, Trouble.FAIL, Trouble.CUT), 0.2
    old.answer = lambda body: (time.sleep(0.2), pirate(body))[1]
    process = subprocess.Popen(command(old, prompts), cwd=ROOT, env=variables(old), stderr=subprocess.DEVNULL)
    until(lambda: len(recorded(prompts)) >= 5)
    process.kill()
    process.wait()
    time.sleep(1)  # what it had sent is answered to nobody, and counted
    kept = len(recorded(prompts))
    assert 5 <= kept < PROMPTS
    answered_before = len(old.calls)
    old.troubles = ()
    done = run(old, prompts)
    assert done.returncode == 0, done.stderr
    assert f"{PROMPTS - kept} of {PROMPTS} answers of ft:old are asked" in done.stderr
    assert len(old.calls) - answered_before == PROMPTS - kept
    assert sorted(recorded(prompts)) == sorted(prompts.read_text().splitlines())


def test_ctrl_c_keeps_what_is_under_way_and_says_how_to_go_on(old: ChatEndpoint, prompts: Path) -> None:
    old.answer = lambda body: (time.sleep(0.2), pirate(body))[1]
    process = subprocess.Popen(
        command(old, prompts), cwd=ROOT, env=variables(old), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until(lambda: len(recorded(prompts)) >= 2)
    process.send_signal(signal.SIGINT)
    said, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Ending after the calls under way" in told
    assert "The same command again asks what is missing." in said
    assert len(recorded(prompts)) == len(old.calls) < PROMPTS


@pytest.mark.slow
def test_a_dry_run_counts_and_asks_nothing(old: ChatEndpoint, prompts: Path) -> None:
    done = run(old, prompts, "--dry-run", "--n", 2, "--max-tokens", 10)
    assert done.stdout.splitlines()[0] == f"{PROMPTS} prompts with 2 answers each; 0 recorded."
    assert f"{2 * PROMPTS} calls would be made" in done.stdout
    assert f"at most {20 * PROMPTS} tokens out" in done.stdout
    assert not old.calls
    run(old, prompts)
    again = run(old, prompts, "--dry-run", "--n", 2)
    assert f"{PROMPTS} calls would be made" in again.stdout
    assert "tokens out, as the recorded answers have" in again.stdout


@pytest.mark.slow
def test_several_answers_of_a_prompt_are_each_asked_once(old: ChatEndpoint, prompts: Path) -> None:
    run(old, prompts)
    assert run(old, prompts, "--n", 3).returncode == 0
    assert len(old.calls) == 3 * PROMPTS
    lines = (prompts.parent / "answers.jsonl").read_text().splitlines()
    assert len({(row["recorded"]["prompt"], row["recorded"]["sample"]) for row in map(json.loads, lines)}) == len(lines)


@pytest.mark.slow
def test_what_was_cut_or_refused_is_left_out_told_and_asked_again_on_request(old: ChatEndpoint, prompts: Path) -> None:
    prompts.write_text("long story?\nbad idea?\nWhere is west?\nWho sails?\nWhat floats?\n")
    done = run(old, prompts, "--held-out", 0)
    assert "2 more are left out of training: 1 cut at the limit of tokens, 1 refusals." in done.stdout
    file = prompts.parent / "answers.jsonl"
    assert len(reading.read(file, file.name, Settings()).items) == 3
    old.answer = lambda body: Said("Arr, once upon a time.")
    assert "2 of 5 answers" in run(old, prompts, "--held-out", 0, "--again").stderr
    assert len(reading.read(file, file.name, Settings()).items) == 5


def test_prompts_that_stay_unanswered_are_named_and_the_exit_says_so(old: ChatEndpoint, prompts: Path) -> None:
    def strict(body: Body) -> Said:
        if body["messages"][-1]["content"] == "Where is ship 3?":
            raise Refusal(400, "This prompt is too long", "context_length_exceeded")
        return pirate(body)

    old.answer = strict
    done = run(old, prompts)
    assert done.returncode == 1
    assert "No answer to line 4 of prompts.txt: 400: This prompt is too long." in done.stdout
    assert len(recorded(prompts)) == PROMPTS - 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "changed", "told"),
    [
        ((), {"OPENAI_API_KEY": "wrong"}, "The key is not taken by"),
        (("--model", "ft:none"), {}, "does not know ft:none"),
        (("--patience", "1", "--base-url", "http://127.0.0.1:9/v1"), {}, "can't be reached"),
        (("--base-url", "not a url"), {}, "That is no base URL; it looks like https://host/v1."),
        (("--base-url", "http://[::1"), {}, "That is no base URL"),
        (("--base-url", "http://h\x7f/v1"), {}, "That is no base URL"),
        (("--prompts", "/dev/null"), {}, "is no ordinary file"),
        (("--out", "/dev/zero"), {}, "/dev/zero: it is no ordinary file; take another --out."),
        (("--prompts", "none.jsonl"), {}, "The prompts none.jsonl: this is not there."),
        (("--out", "{prompts}"), {}, "--out is the file of the prompts; name another."),
        (("--out", "/proc/none/answers.jsonl"), {}, "/proc/none"),
    ],
)
def test_what_is_wrong_is_a_sentence_and_never_a_traceback(
    old: ChatEndpoint, prompts: Path, more: tuple[str, ...], changed: dict[str, str], told: str
) -> None:
    words = [word.format(prompts=prompts) for word in more]
    done = run(old, prompts, "--patience", "2", *words, **changed)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("albatross: ")
    assert told in last
    assert not old.calls or "ft:none" in more
    assert prompts.read_text().startswith("Where is ship 0?")


@pytest.mark.parametrize(
    "more",
    [
        ("--n", "0"),
        ("--temperature", "nan"),
        ("--patience", "nan"),
        ("--parallel", "-1"),
        ("--held-out", "1.5"),
        ("--max-tokens", "x"),
    ],
)
def test_an_option_that_is_none_is_named(old: ChatEndpoint, prompts: Path, more: tuple[str, str]) -> None:
    done = run(old, prompts, *more)
    assert done.returncode == 2
    assert f"Invalid value for '{more[0]}'" in done.stderr
    assert not old.calls


def test_nothing_of_what_is_sent_or_said_is_printed(old: ChatEndpoint, prompts: Path) -> None:
    done = run(old, prompts)
    assert "ship" not in done.stdout + done.stderr
    assert "by the stars" not in done.stdout + done.stderr


def test_where_nothing_can_be_trained_on_it_says_so_and_does_not_send_anybody_on(
    old: ChatEndpoint, prompts: Path
) -> None:
    rows = [{"messages": [{"role": "user", "content": f"{n}?"}], "tools": [{"type": "function"}]} for n in range(3)]
    prompts.write_text("\n".join(map(json.dumps, rows)))
    done = run(old, prompts)
    assert "3 more are left out of training: 3 of a kind that is not learned here (see `why`)." in done.stdout
    assert "Next:" not in done.stdout
    assert all("tool 1 has no name" in row["recorded"]["why"] for row in rows_of(prompts.parent / "answers.jsonl"))


def test_more_answers_than_an_upload_takes_are_told(old: ChatEndpoint, prompts: Path) -> None:
    done = run(old, prompts, "--held-out", 0, ALBATROSS_MAX_ITEMS="10")
    assert "10 answers to train on; the file has " in done.stdout
    assert f"and {PROMPTS}: split it by lines." in done.stdout
