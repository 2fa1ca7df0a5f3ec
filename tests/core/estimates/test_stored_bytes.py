"""How much is set aside for a job: what the last jobs of its backbone have stored, whosever they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.backbones.record import BackboneRecord, describe
from core.estimates import measurements
from core.estimates.sizes import Steps
from core.estimates.stored_bytes import expected
from core.parameters.request import BatRequest
from tests.core.backbones.headers import write_texts
from tests.core.estimates.measured import SMALL, measured
from tests.core.ledger import Sessions

UNKNOWN = 7


@pytest.fixture
def record(tmp_path: Path) -> BackboneRecord:
    return describe("tiny", write_texts(tmp_path / "tiny"), licence="Apache-2.0")


def store(database: Sessions, record: BackboneRecord, *amounts: int) -> None:
    row = replace(measured(SMALL, Steps(12, 24, 16)), source="job")
    with database.begin() as session:
        for amount in amounts:
            told = replace(row, bytes={**row.bytes, "stored": amount})
            measurements.add(session, record.id, record.revision, told)


def asked(database: Sessions, record: BackboneRecord, rank: int | None = None) -> int:
    request = BatRequest(rank=rank) if rank else BatRequest()
    with database() as session:
        return expected(session, record, request, UNKNOWN)


def test_what_one_job_has_stored_keeps_nobody_out(database: Sessions, record: BackboneRecord) -> None:
    assert asked(database, record) == UNKNOWN
    store(database, record, 1_000, 1_100, 50_000_000_000)
    assert asked(database, record) == 1_100


def test_a_larger_rank_stores_more_and_a_smaller_one_less(database: Sessions, record: BackboneRecord) -> None:
    store(database, record, 1_000)
    assert asked(database, record, 2 * SMALL.rank) == 2_000
    assert asked(database, record, SMALL.rank) == 1_000
