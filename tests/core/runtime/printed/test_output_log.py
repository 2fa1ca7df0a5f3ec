"""Of what another process prints the log repeats what is known to hold nobody's words, whatever that process is."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.disk import ROOT
from core.runtime import logs
from core.runtime.printed import output_log
from core.runtime.printed.known_code import KnownCode
from core.runtime.printed.output_log import About, OutputLog
from tests.conftest import until
from tests.core.runtime.printed import hostile

CANARY = "canary7d1fe0"


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")


@contextmanager
def printing(tmp_path: Path, how: str) -> Iterator[OutputLog]:
    """Run the hostile program under an output log, to its end or to that of the block."""
    command = [sys.executable, hostile.__file__, CANARY, str(tmp_path), how]
    with subprocess.Popen(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        output = OutputLog(process.stderr, "trainer", KnownCode(tmp_path))
        yield output
        process.kill()
        process.wait()
        output.end(60)


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, str]]:
    """What stands in the log."""
    write = logs.JsonLines({"process": "worker"}).format
    return [json.loads(write(record)) for record in caplog.records if record.name == output_log.__name__]


def printed(tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture) -> list[dict[str, str]]:
    """Run the program to its end; returns what stands in the log."""
    with printing(tmp_path, how) as output:
        output.end(60)
    return lines(caplog)


def test_a_process_that_was_taken_over_can_not_have_its_words_repeated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = printed(tmp_path, "lies", caplog)
    assert CANARY not in json.dumps(found)
    *entries, count = [line["message"] for line in found]
    told = "\n".join(entries)
    for kept in ("builtins.KeyError", "OSError: No such file or directory", "UserWarning at", "Thread (most recent"):
        assert kept in told
    assert "CUDA out of memory" in told
    assert count.startswith("the trainer printed ")
    assert count.endswith(" that are not repeated here")
    assert int(count.split()[3]) > 20


def test_a_stack_is_one_entry_with_every_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    [entry, *_] = printed(tmp_path, "honest", caplog)
    assert entry["level"] == "warning"
    first, *frames = entry["message"].partition("says:\n")[2].split("\n")
    assert first == "Fatal Python error: Aborted"
    assert frames[0] == "Current thread (most recent call first):"
    assert frames[1].startswith(f'  File "{hostile.__file__}", line ')
    assert frames[1].endswith(", in main")


def test_a_traceback_keeps_places_and_code_and_kind_and_loses_the_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    [entry, *_] = printed(tmp_path, "error", caplog)
    assert 'raise core.errors.JobFailure(canary, code="diverged")' in entry["message"]
    assert entry["message"].endswith("\ncore.errors.JobFailure")
    assert CANARY not in entry["message"]


def test_output_without_end_fills_neither_memory_nor_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracemalloc.start()
    try:
        found = printed(tmp_path, "endless", caplog)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < hostile.ENDLESS_BYTES / 10
    assert CANARY not in json.dumps(found)
    [count] = found
    assert int(count["message"].split()[3]) == 501
    assert int(count["message"].split()[5]) > hostile.ENDLESS_BYTES


def test_what_may_be_repeated_is_repeated_so_often_and_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_log, "BUDGET_BYTES", 20_000)
    monkeypatch.setattr(output_log, "COUNT_SECONDS", 0.1)
    with printing(tmp_path, "repetitive"):
        until(lambda: len([line for line in lines(caplog) if "not repeated" in line["message"]]) >= 2)
    assert sum(len(line["message"]) for line in lines(caplog)) < 30_000


def test_lines_and_their_count_are_told_of_the_work_that_was_done(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with printing(tmp_path, "repetitive") as output:
        for job in ("ftjob-1", "ftjob-2"):
            output.begin(About(job))
            until(lambda job=job: any(record.__dict__.get("job") == job for record in caplog.records))
    known = [line.get("job") for line in lines(caplog)]
    assert known == sorted(known, key=lambda job: job or "")
    assert logging.getLogger(output_log.__name__).isEnabledFor(logging.DEBUG)
