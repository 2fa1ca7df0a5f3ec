"""What trainers have printed and an operator has kept goes with what it may quote."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import update

from core.database.engine import now
from core.database.tables import File, Job
from core.erasure import scratch, trainer_output
from core.runtime.printed import kept_output
from core.settings import Settings
from tests.core.ledger import Sessions, queued


def kept(settings: Settings, job_id: str) -> Path:
    opened = kept_output.open_for(settings, "acct-1", f"{job_id}-e1")
    assert opened is not None
    opened.write(b"a caption")
    opened.close()
    return settings.data / "trainer-output/acct-1" / f"{job_id}-e1.log"


def stored(sessions: Sessions, file_id: str) -> str:
    with sessions.begin() as session:
        row = File(id=file_id, account_id="acct-1", filename="f", purpose="fine-tune", bytes=1, sha256="")
        row.storage_key, row.status, row.created_at = file_id, "processed", now(session)
        session.add(row)
    return file_id


@pytest.mark.parametrize("gone", ["job", "file", "row of the file", "validation file", "tidied"])
def test_it_goes_when_the_job_or_its_data_are_erased_or_its_end_was_long_ago(
    database: Sessions, tmp_path: Path, gone: str
) -> None:
    settings = Settings(data=tmp_path, keep_trainer_output=True)
    queued(database)
    files = [stored(database, name) for name in ("file-1", "file-2", "file-3")]
    job_id = queued(database, training_files=files[:2], validation_file=files[2])
    other = kept(settings, queued(database))
    path = kept(settings, job_id)
    unknown = kept(settings, "ftjob-of-nobody")
    assert trainer_output.sweep(tmp_path, database)
    assert (path.exists(), unknown.exists()) == (True, False)
    changes = {
        "job": update(Job).where(Job.id == job_id).values(deleted_at=1.0),
        "file": update(File).where(File.id == "file-2").values(deleted_at=1.0),
        "row of the file": update(Job).where(Job.id == job_id).values(training_files=["file-of-nobody"]),
        "validation file": update(File).where(File.id == "file-3").values(deleted_at=1.0),
        "tidied": update(Job).where(Job.id == job_id).values(tidied_at=1.0),
    }
    with database.begin() as session:
        session.execute(changes[gone])
    assert scratch.sweep(tmp_path, database) is not None  # as workers and the eraser do, before a receipt
    assert (path.exists(), other.exists()) == (False, True)


def test_an_accounts_folder_goes_with_its_last_file(database: Sessions, tmp_path: Path) -> None:
    path = kept(Settings(data=tmp_path, keep_trainer_output=True), "ftjob-of-nobody")
    assert trainer_output.sweep(tmp_path, database)
    assert not path.parent.exists()
    assert trainer_output.sweep(tmp_path / "nowhere", database)


def test_what_can_not_be_erased_is_told_and_stops_nobody(database: Sessions, tmp_path: Path) -> None:
    (tmp_path / "trainer-output/acct-1/ftjob-x-e1.log").mkdir(parents=True)  # no file, so it can't be unlinked
    assert not trainer_output.sweep(tmp_path, database)
    assert scratch.sweep(tmp_path, database) is None
