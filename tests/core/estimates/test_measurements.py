"""The table of measurements, and what a trainer may put into it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, text

from core.database.engine import connect, now, sessions
from core.database.migrations import migrate
from core.database.tables import Measurement, Worker
from core.estimates import measurements
from core.estimates.estimator import Estimator
from core.estimates.sizes import Steps
from tests.core.estimates.measured import OTHER, SMALL, measured
from tests.core.ledger import Sessions
from tests.core.parameters.test_resolving import EMOJI

ROW = measured(SMALL, Steps(12, 24, 16))


@pytest.mark.slow
def test_measurements_come_and_go_with_their_migration_and_workers_stay(database: Sessions, database_url: str) -> None:
    with database.begin() as session:
        at = now(session)
        session.add(Worker(id="w:1", queue="q", host="w", pid=1, started_at=at, seen_at=at, device="cpu: toy"))
        measurements.add(session, "a", "1", ROW)
    migrate(database_url, "0002")
    engine = connect(database_url)
    with engine.begin() as connection:
        assert connection.scalar(text("SELECT count(*) FROM worker")) == 1
    migrate(database_url)
    with sessions(engine)() as session:
        assert session.get_one(Worker, "w:1").device is None
        assert session.scalars(select(Measurement)).all() == []
    engine.dispose()


def test_the_newest_of_the_same_device_come_first_and_others_of_its_class_help_out(database: Sessions) -> None:
    with database.begin() as session:
        measurements.add(session, "a", "1", ROW)
        measurements.add(session, "a", "1", replace(measured(OTHER, Steps(12, 24, 16)), device="cpu: new"))
    with database() as session:
        assert [row.shape for row in measurements.recent(session, "a", "1", "cpu: toy")] == [SMALL]
        assert [row.device for row in measurements.recent(session, "a", "1", "cpu: unknown")] == ["cpu: new"]
        assert measurements.recent(session, "a", "1", "cuda: H200") == []
        assert measurements.recent(session, "b", "1", "cpu: toy") == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"seconds": -1.0},
        {"seconds": float("nan")},
        {"kinds": []},
        {"said": "hello"},
        {"facts": {"a": "words"}},
        {"kinds": {f"k{n}": {"calls": 1, "units": 1, "seconds": 1, "cpu": 1} for n in range(30)}},
        {"memory": None},
    ],
)
def test_what_a_trainer_says_is_checked(wrong: dict[str, Any]) -> None:
    ROW.check()
    with pytest.raises(ValueError, match="StageTold"):
        replace(ROW, work={**ROW.work, "train": {**ROW.work["train"], **wrong}}).check()


def test_a_tokens_length_in_characters_is_the_median_of_what_was_measured() -> None:
    rows = []
    for tokens in (200, 300, 900):
        facts = {"references": 6, "references_tokens": tokens}
        work = {**ROW.work, "prepare": {**ROW.work["prepare"], "facts": facts}}
        rows.append(replace(ROW, work=work, characters=1000))
    assert measurements.tokens_per_character(rows) == pytest.approx(0.3)
    assert measurements.tokens_per_character([ROW]) is None
    whole = {**rows[1].work["prepare"], "facts": {"references_tokens": 300, "references_whole": 700}}  # most was cut
    cut = replace(rows[1], work={**rows[1].work, "prepare": whole})
    assert measurements.tokens_per_character([cut]) == pytest.approx(0.7)


def test_what_was_measured_is_of_pictures_that_were_drawn_so(database: Sessions) -> None:
    slower = EMOJI.model_copy(update={"defaults": {**EMOJI.defaults, "sample_steps": 50}})
    rate = EMOJI.model_copy(update={"defaults": {**EMOJI.defaults, "learning_rate": 1e-4}})
    with database.begin() as session:
        measurements.add(session, EMOJI.id, EMOJI.measured_as, ROW)
        assert [Estimator.of(session, one, ROW.device).measured for one in (EMOJI, slower, rate)] == [True, False, True]


def test_a_row_of_another_version_is_passed_over(database: Sessions) -> None:
    with database.begin() as session:
        measurements.add(session, "a", "1", ROW)
        row = session.scalars(select(Measurement)).one()
        row.data = {**row.data, "shape": {**row.data["shape"], "colour": "blue"}}
        measurements.add(session, "a", "1", ROW)
    with database() as session:
        assert measurements.recent(session, "a", "1", "cpu: toy") == [ROW]
