"""What the first stage of a job of texts tells of those that are too long."""

from __future__ import annotations

import json
from typing import Any

from core.method.backbones.backbone import IGNORED
from tests.worker.stages.conftest import MakeJob
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
