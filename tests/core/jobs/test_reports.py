"""Whatever a worker writes is let in under its own lease only: never late, never twice."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from core.database.tables import Account, Artifact, Job, JobEvent, Metric
from core.jobs import reports
from tests.core.ledger import WRITES, Sessions, cancel, claim, everything, finish, lose_lease, reap, running


@pytest.mark.slow
@pytest.mark.parametrize("write", WRITES)
def test_a_late_writer_with_an_old_claim_changes_nothing(database: Sessions, write: str) -> None:
    old = running(database)
    lose_lease(database, old.job_id)
    assert reap(database) == [old.job_id]
    assert claim(database) is not None
    cancel(database, old.job_id)  # so that "cancelled" would have something to do
    before = everything(database)
    with database.begin() as session:
        assert not WRITES[write](session, old)
    assert everything(database) == before


@pytest.mark.slow
@pytest.mark.parametrize("write", WRITES)
def test_the_holder_of_the_lease_is_let_in(database: Sessions, write: str) -> None:
    held = running(database)
    if write == "cancelled":
        cancel(database, held.job_id)
    before = everything(database)
    with database.begin() as session:
        assert WRITES[write](session, held)
    assert everything(database) != before


@pytest.mark.slow
@pytest.mark.parametrize("write", WRITES)
def test_an_ended_job_takes_no_more_writes(database: Sessions, write: str) -> None:
    held = running(database)
    with database.begin() as session:
        assert finish(session, held)
    before = everything(database)
    with database.begin() as session:
        assert not WRITES[write](session, held)
    assert everything(database) == before


def test_metrics_of_a_repeated_step_replace_the_earlier_ones(database: Sessions) -> None:
    held = running(database)
    with database.begin() as session:
        reports.add_metrics(session, held, "train", [{"step": n, "loss": 1.0} for n in (1, 2, 3)])
        reports.add_metrics(session, held, "train", [{"step": 3, "loss": float("nan")}, {"step": 4, "loss": 2}])
    with database() as session:
        rows = session.scalars(select(Metric).order_by(Metric.step)).all()
    assert [(row.step, row.data["loss"]) for row in rows] == [(1, 1.0), (2, 1.0), (3, None), (4, 2)]


def test_valleys_stand_in_the_job_as_soon_as_they_are_known_and_go_with_a_run_that_begins_anew(
    database: Sessions,
) -> None:
    held = running(database)

    def valleys(*rows: dict[str, object]) -> object:
        with database.begin() as session:
            assert reports.add_metrics(session, held, "train", rows)
        with database() as session:
            return (session.get_one(Job, held.job_id).outcome or {}).get("valleys")

    assert valleys({"step": 0, "loss": 1.0}, {"step": 1, "loss": 1.0}) is None
    assert valleys({"step": 20, "valleys": [3]}, {"step": 21, "loss": 1.0}) == [3]
    assert valleys({"step": 30, "loss": 1.0}) == [3]
    assert valleys({"step": 40, "valleys": [3, 11, "x", 12]}) == [3, 11]
    assert valleys({"step": 0, "loss": 1.0}) == []


def test_a_finding_of_the_trainer_is_told_once_and_stands_in_the_job(database: Sessions) -> None:
    held = running(database)
    finding = {"code": "too_long", "message": "It is long.", "fix": "Shorten it.", "item": "text 2", "severity": "warn"}
    said = [({"finding": finding}, "It is long."), ({"finding": finding}, "again"), ({"finding": [7]}, "no finding")]
    for data, message in said:
        with database.begin() as session:
            assert reports.report(session, held, message, data=data, stage="prepare")
    with database() as session:
        told = session.scalars(select(JobEvent).where(JobEvent.job_id == held.job_id).order_by(JobEvent.seq)).all()
        assert [event.message for event in told[-2:]] == ["It is long. Shorten it.", "no finding"]
        assert (told[-2].level, told[-2].stage) == ("warn", "prepare")
        assert session.get_one(Job, held.job_id).findings == [finding | {"other": None, "items": None}]


def test_what_is_known_before_the_end_is_added_to_what_was_known(database: Sessions) -> None:
    held = running(database)
    told = [{"references": [1], "reasons": {"scores": "weakly"}}, {"gamma": 0.5, "reasons": {"backbone_data": "helps"}}]
    for facts in [*told, {"gamma": 0.25}]:
        with database.begin() as session:
            assert reports.know(session, held, facts)
    with database() as session:
        job = session.get_one(Job, held.job_id)
        reasons = {"scores": "weakly", "backbone_data": "helps"}
        assert job.outcome == {"references": [1], "gamma": 0.25, "reasons": reasons}
    with database.begin() as session:
        assert finish(session, held)
    with database() as session:
        assert session.get_one(Job, held.job_id).outcome == {"published_step": 5}


def test_what_is_shown_while_a_job_trains_takes_the_place_of_what_was_and_is_counted(database: Sessions) -> None:
    held = running(database)

    def show(*sizes: int) -> list[str] | None:
        rows = [
            Artifact(name=f"live/{size}", kind=reports.LIVE, storage_key=f"key-{size}", sha256="", bytes=size)
            for size in sizes
        ]
        with database.begin() as session:
            return reports.replace_live(session, held, rows)

    def counted() -> int:
        with database() as session:
            return session.get_one(Account, "acct-1").stored_bytes

    before = counted()
    assert show(10, 200) == []
    assert counted() == before + 210
    assert show(200, 3000) == ["key-10"]
    assert counted() == before + 3200
    assert show() == ["key-200", "key-3000"]
    assert counted() == before
