"""What the first stage of a job of texts tells of those that are too long, or that a template takes otherwise."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from core.errors import JobFailure
from core.method.backbones.backbone import IGNORED
from core.method.backbones.texts.template import DAY
from tests.tiny_backbones import write_language
from tests.worker.stages.conftest import MakeJob, text_jobs
from worker.job_folder import JobFolder
from worker.protocol import Message
from worker.stages.context import Context
from worker.stages.prepare import prepare

LIMIT = 40  # tokens, which are letters here, that the jobs of `make_text_job` take


def told(folder: JobFolder, rows: list[dict[str, Any]]) -> tuple[dict[str, dict[str, Any]], Context]:
    """Return the findings of a job on other texts by their codes, and the job."""
    (folder.references / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    context = Context(folder)
    data = [line.data for line in prepare(context) if isinstance(line, Message) and line.data]
    return {each["finding"]["code"]: each["finding"] for each in data if "finding" in each}, context


def test_texts_that_fit_are_told_nothing_of(make_text_job: MakeJob) -> None:
    rows = [{"prompt": "p" * 36, "completion": f"{n}so"} for n in range(4)]  # and the mark of an end
    found, context = told(make_text_job(), rows)
    assert found == {}
    assert context.profiler.facts["references_whole"] == 4 * LIMIT


def test_long_texts_are_told_exactly_with_what_is_left_out(make_text_job: MakeJob) -> None:
    messages = [{"role": role, "content": role[0] * 9} for role in ("user", "assistant", "user", "assistant")]
    rows: list[dict[str, Any]] = [
        {"prompt": "why?", "completion": "so."},
        {"prompt": "why " * 30, "completion": "so."},
        {"text": "a" * 40},
        {"messages": messages},
        {"prompt": "why?", "completion": "s" * 60},
    ]
    found, context = told(make_text_job(), rows)
    batch = context.references()
    kept = batch["attention_mask"].sum(1).tolist()
    chat = len("user: uuuuuuuuu\nassistant: aaaaaaaaa\n")
    whole = [8, 124, 41, 2 * chat, 65]
    message = found["too_long"]["message"]
    assert message.startswith(
        f"4 of 5 texts have more than the {LIMIT} tokens that this job takes of one: text 2 (124), text 3 (41), text 4 "
        f"({2 * chat}), text 5 (65). Text 2 loses the most, {124 - kept[1]} tokens, all of them together "
        f"{sum(whole) - sum(kept)}. "
    )
    assert message.endswith(
        "Left out: older messages of text 4; the middle of the question of text 2; the end of the last answer of text "
        "5; the end of text 3."
    )
    learned = int((batch["labels"][4] != IGNORED).sum())
    assert f"without an end, of text 5 ({learned} of 61 tokens)." in found["answer_too_long"]["message"]
    assert found["answer_too_long"]["item"] == "text 5"
    assert context.profiler.facts["references_whole"] == sum(whole)


def test_what_is_proposed_makes_them_fit(make_text_job: MakeJob) -> None:
    rows = [{"prompt": "why " * 15, "completion": f"so {n}."} for n in range(4)]
    found, _ = told(make_text_job(), rows)
    assert found["too_long"]["fix"].startswith("Set bat.max_tokens to 96,")
    assert told(make_text_job(max_tokens=96), rows)[0] == {}


TURNS = (  # roles in turn, and the day
    "{{ strftime_now('%Y') }}{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles take turns') }}{% endif %}{{ m.role[0] }}: {{ m.content.split('>')[-1] }}</s>"
    "{% endfor %}{% if add_generation_prompt %}a: {% endif %}"
)


@pytest.fixture
def make_strict_job(tmp_path: Path) -> MakeJob:
    """Jobs on a backbone whose template takes questions and answers in turn only, and drops thoughts."""
    folder = write_language(tmp_path / "strict")
    (folder / "chat_template.jinja").write_text(TURNS)
    return text_jobs(folder, tmp_path)


def said(*turns: str) -> dict[str, Any]:
    roles = {"u": "user", "a": "assistant"}
    return {"messages": [{"role": roles[turn[0]], "content": turn[2:]} for turn in turns]}


def test_what_a_template_takes_in_another_form_only_is_told(make_strict_job: MakeJob) -> None:
    rows = [said("u:why?", "a:so."), said("u:why?", "u:who?", "a:we."), said("u:why?", "a:so>it is.", "u:ah", "a:yes")]
    found, context = told(make_strict_job(), rows)
    assert set(found) == {"turns_joined", "answers_rewritten"}
    assert found["turns_joined"]["message"].endswith("in text 2.")
    assert found["answers_rewritten"]["message"].endswith("in text 3.")
    assert context.backbone.rendering.day == DAY  # type: ignore[union-attr]


def test_a_chat_that_a_template_does_not_take_ends_the_job_with_its_number_and_the_templates_words(
    make_strict_job: MakeJob,
) -> None:
    rows = [said("u:why?", "a:so."), said("a:we.", "u:who?", "a:me.")]
    with pytest.raises(JobFailure, match=r"^Text 2: The chat template .* does not take it: roles take turns\.$"):
        told(make_strict_job(), rows)


def test_a_job_goes_on_with_its_own_day(make_strict_job: MakeJob) -> None:
    first, again, other = (make_strict_job(name) for name in ("first", "again", "other"))
    for folder, day in ((first, "2025-03-09"), (again, "2025-03-09"), (other, "2031-03-09")):
        folder.write_spec(folder.spec() | {"day": day})
    rows = [said("u:why?", "a:so.")]
    batches = [told(folder, rows)[1].references()["input_ids"].tolist() for folder in (first, again, other)]
    assert batches[0] == batches[1] != batches[2]
    assert Context(other).backbone.rendering.day == date(2031, 3, 9)  # type: ignore[union-attr]
