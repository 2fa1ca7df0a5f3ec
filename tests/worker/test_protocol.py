from __future__ import annotations

import math

import pytest

from core.jobs.event_codes import EventCode
from worker.protocol import (
    Check,
    Checked,
    DeviceUse,
    Failed,
    Finished,
    Line,
    Message,
    Metrics,
    Progress,
    Run,
    from_line,
    to_line,
)


@pytest.mark.parametrize(
    "line",
    [
        Run("/somewhere"),
        Progress("train", 3, 10, 1.5),
        Metrics("train", [{"step": 1, "loss": 0.5}]),
        Message("score", "Zwei Zeilen\nund ein Ä", "warn", {"a": [1]}, EventCode.SCORED),
        Failed("diverged", "Lower the learning rate.", param="bat.learning_rate"),
        Check("cuda"),
        Checked("gpu_hidden", "Name one.", total=80 << 30),
        DeviceUse(1, 2, 3, 4, 5, utilization=100),
        Finished(),
    ],
)
def test_a_line_says_what_was_meant(line: Line) -> None:
    text = to_line(line)
    assert text.count("\n") == 1
    assert from_line(text) == line


@pytest.mark.parametrize(
    "text", ["", "hello", "[]", '{"kind": "Nothing"}', '{"kind": "Run"}', '{"kind": "Run", "folder": "a", "x": 1}']
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        from_line(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"kind": "Progress", "stage": "train", "step": 1, "total": 2, "eta_seconds": "soon"}',
        '{"kind": "Progress", "stage": "train", "step": 1, "total": 2, "eta_seconds": NaN}',
        '{"kind": "DeviceUse", "allocated": -1, "peak": 2, "reserved": 3, "used": 4, "total": 5}',
        '{"kind": "DeviceUse", "allocated": "much", "peak": 2, "reserved": 3, "used": 4, "total": 5}',
        '{"kind": "Progress", "stage": "train", "step": 1, "total": 2, "eta_seconds": 1e400}',
        '{"kind": "Progress", "stage": "train", "step": 1, "total": 2, "eta_seconds": 1e300}',
        '{"kind": "Progress", "stage": "train", "step": 1, "total": 2, "eta_seconds": -1}',
        '{"kind": "Progress", "stage": "train", "step": "one", "total": 2}',
        '{"kind": "Progress", "stage": "train", "step": Infinity, "total": 2}',
        '{"kind": "Metrics", "stage": "train", "rows": [{"step": 1, "loss": -Infinity}]}',
        '{"kind": "Metrics", "stage": "train", "rows": 7}',
        '{"kind": "Message", "stage": "train", "text": ["words"]}',
        '{"kind": "StageDone", "stage": "train", "work": [1]}',
        '{"kind": "Failed", "code": "a\\u0000", "message": "words"}',
        '{"kind": "Failed", "code": "a", "message": "\\ud800"}',
        '{"kind": "Message", "stage": "train", "text": "words", "data": {"a": ["\\udfff"]}}',
        '{"kind": "Message", "stage": "train", "text": "words", "data": {"\\u0000": 1}}',
    ],
)
def test_what_is_no_plain_number_or_text_is_refused_before_others_reckon_with_it(text: str) -> None:
    with pytest.raises(ValueError, match="not a line"):
        from_line(text)


def test_a_number_that_is_none_never_gets_into_the_database() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        to_line(Metrics("train", [{"step": 1, "loss": math.nan}]))
