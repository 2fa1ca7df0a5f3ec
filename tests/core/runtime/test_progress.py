"""The line that says how far a command is, on a terminal and where nothing can be redrawn."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

import pytest

from core.runtime.progress import ProgressLine, bar


def test_without_a_terminal_each_tenth_of_each_stage_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    line = ProgressLine()
    for stage in ("score", "train"):
        for step in range(101):
            line.show(f"{stage} {step}", step / 100, stage)
    line.close("done")
    told = capsys.readouterr()
    assert told.out == ""
    tenths = [f"{stage} {step}" for stage in ("score", "train") for step in range(0, 101, 10)]
    assert told.err.splitlines() == [*tenths, "done"]


def test_what_a_command_is_for_goes_to_its_output(capsys: pytest.CaptureFixture[str]) -> None:
    ProgressLine(on_output=True).show("half", 0.5)
    told = capsys.readouterr()
    assert (told.out, told.err) == ("half\n", "")


def test_on_a_terminal_a_stage_is_one_line_that_is_redrawn_and_a_message_stands_above_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    master, slave = os.openpty()
    monkeypatch.setattr(sys, "stderr", os.fdopen(slave, "w"))
    line = ProgressLine()
    line.show("score: a long line", 0, "score")
    line.say("Hm.")
    line.show("score: done", 1, "score")
    line.show("train", 0, "train")
    line.close("done")
    sys.stderr.close()
    told = everything_written_to(master).decode()
    assert [part.split("\r")[-1].rstrip() for part in told.removesuffix("\r\n").split("\r\n")] == [
        "Hm.",
        "score: done",
        "train",
        "done",
    ]
    assert "score: a long line\rHm.               " in told


def everything_written_to(master: int) -> bytes:
    """Read a terminal until its other end is closed: one read may return before the kernel has passed all of it on."""
    told = b""
    with os.fdopen(master, "rb", buffering=0) as terminal, suppress(OSError):  # how Linux says that it is closed
        while part := terminal.read(10_000):
            told += part
    return told


@pytest.mark.parametrize(("share", "drawn"), [(0, 0), (0.5, 12), (1, 24), (1.5, 24)])
def test_a_bar_is_as_long_as_what_is_done(share: float, drawn: int) -> None:
    assert bar(share) == f"[{'#' * drawn}{'.' * (24 - drawn)}]"
