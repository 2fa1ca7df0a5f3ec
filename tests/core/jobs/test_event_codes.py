"""Every event has a word that programs can go by, and every word is told of."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.database.tables import Job, JobEvent
from core.disk import ROOT
from core.jobs import control, dispatch, leases, reports
from core.jobs.event_codes import EventCode
from core.jobs.leases import Claim
from core.settings import Settings
from tests.core.ledger import Sessions, claim, lose_lease, running
from worker.protocol import Message


def sources(*houses: str) -> list[Path]:
    return [path for house in houses for path in sorted((ROOT / house).rglob("*.py"))]


def test_the_documents_list_every_code_and_no_other() -> None:
    page = (ROOT / "docs/following-a-job.md").read_text()
    listed = re.findall(r"^\| `([a-z_]+)` \|", page.partition("## Events")[2].partition("\n## ")[0], re.MULTILINE)
    assert sorted(listed) == sorted(EventCode)


def test_every_code_is_written_somewhere() -> None:
    written = set(re.findall(r"EventCode\.([A-Z_]+)", "".join(path.read_text() for path in sources("core", "worker"))))
    assert written == {code.name for code in EventCode}


def messages(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == Message.__name__:
            yield node


@pytest.mark.parametrize(
    "path",
    [path for path in sources("worker") if f"{Message.__name__}(" in path.read_text()],
    ids=lambda path: path.stem,
)
def test_every_sentence_of_a_stage_says_what_it_is(path: Path) -> None:
    fields = list(Message.__dataclass_fields__)
    for call in messages(path):
        named = {*fields[: len(call.args)], *(keyword.arg for keyword in call.keywords)}
        assert "code" in named, f"line {call.lineno} of {path.name}"


def codes(database: Sessions, job_id: str) -> list[str]:
    with database() as session:
        events = session.query(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.seq)
        return [event.data["code"] for event in events]


def test_a_job_that_stops_and_goes_on_leaves_a_code_for_every_move(database: Sessions) -> None:
    held = running(database)
    for order in (control.pause, control.resume, control.pause):
        with database.begin() as session:
            assert order(session, session.get_one(Job, held.job_id))
    with database.begin() as session:
        assert leases.stopped(session, held)
        assert control.resume(session, session.get_one(Job, held.job_id))
    again = claim(database)
    assert again is not None
    with database.begin() as session:
        again = Claim.of(again)
        assert reports.report(session, again, "Hello.", data={"code": "mine", "stage": "x", "n": 1}, stage="prepare")
        assert leases.retry(session, again, "disk_full", "The disk is full.", Settings(retry_seconds=0))
    third = claim(database)
    lose_lease(database, held.job_id)
    with database.begin() as session:
        dispatch.reap(session, max_crashes=9)
    with database.begin() as session:
        assert control.cancel(session, session.get_one(Job, held.job_id))
    told = codes(database, held.job_id)
    assert third is not None
    expected = (
        "queued taken pausing pause_withdrawn pausing paused resumed taken note retried taken worker_lost cancelled"
    )
    assert told == expected.split()
    with database() as session:
        events = {event.data["code"]: event.data for event in session.query(JobEvent)}
    assert events["retried"] == {"code": "retried", "error_code": "disk_full", "seconds": 0}
    assert events["note"] == {"code": "note", "stage": "prepare", "n": 1}
    assert events["taken"]["attempt"] == 3
