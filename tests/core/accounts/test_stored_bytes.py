"""What an account stores is counted with the rows that say it, whatever happens to them and whoever comes at once."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import NoResultFound, OperationalError

from core.accounts import stored_bytes
from core.database import invariants
from core.database.engine import now
from core.database.tables import Account, Adapter, Artifact, Erasure, File, Job, JobState, new_id
from core.database.tables.jobs import ACTIVE
from core.erasure import request, retention
from core.erasure.eraser import Eraser
from core.erasure.retention import Tidier
from core.errors import AlbatrossError
from core.jobs import leases, reports
from core.jobs.leases import Claim
from core.keys.keyring import Keyring
from core.storage.interface import Storage
from core.storage.local import LocalStorage
from tests.core.ledger import Sessions, claim, finish, queued

T = TypeVar("T")
ACCOUNTS = ("acct-1", "acct-2")
KEYRING = Keyring(("k" * 40,))


@pytest.fixture
def local(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    return LocalStorage(tmp_path_factory.mktemp("store"), KEYRING)


class Walk:
    """Makes steps at random, each as the service makes it, in transactions of its own."""

    def __init__(self, sessions: Sessions, storage: Storage, seed: int) -> None:
        self.sessions, self.storage, self.random = sessions, storage, random.Random(seed)
        self.eraser = Eraser(sessions, storage, KEYRING, Path("/nonexistent"))
        self.steps = (
            self.upload,
            self.create,
            self.work,
            self.work,
            self.save,
            self.save,
            self.end,
            self.delete_file,
            self.delete_job,
            self.delete_model,
            self.expire,
            self.tidy,
            self.erase,
        )

    def step(self) -> None:
        """Make one step; one that PostgreSQL ends in favour of another, or whose thing is gone, has changed nothing."""
        with suppress(OperationalError, NoResultFound, AlbatrossError):
            self.random.choice(self.steps)()

    def upload(self) -> None:
        account, size = self.random.choice(ACCOUNTS), self.random.randrange(1, 10_000)
        fate = self.random.choice([None, 1.0])
        with self.sessions.begin() as session:
            facts = {"filename": "f", "purpose": "fine-tune", "sha256": "", "storage_key": "k", "status": "processed"}
            session.add(File(account_id=account, bytes=size, created_at=now(session), expires_at=fate, **facts))
            stored_bytes.add(session, account, size)

    def create(self) -> None:
        queued(self.sessions, self.random.choice(ACCOUNTS))

    def work(self) -> None:
        claim(self.sessions, limit=100)
        if (held := self._held()) is not None:
            names = self.random.sample(["a", "b", "c", "d"], 2)
            with self.sessions.begin() as session:
                reports.add_artifacts(session, held, [self._artifact(name, "stage") for name in names])

    def save(self) -> None:
        if (held := self._held()) is not None:
            with self.sessions.begin() as session:
                reports.replace_saves(session, held, [self._artifact(new_id("save/"), reports.SAVE)])

    def end(self) -> None:
        if (held := self._held()) is not None:
            with self.sessions.begin() as session:
                if self.random.random() < 0.5:
                    finish(session, held)
                else:
                    leases.fail(session, held, "diverged", "Lower the learning rate.")

    def delete_file(self) -> None:
        with self.sessions() as session:
            found = self._any(session.scalars(select(File).where(File.deleted_at.is_(None))).all())
        if found is not None:
            self._request(found.account_id, "file", found.id)

    def delete_job(self) -> None:
        with self.sessions() as session:
            found = self._any(session.scalars(select(Job).where(Job.deleted_at.is_(None))).all())
        if found is not None:
            self._request(found.account_id, "job", found.id)

    def delete_model(self) -> None:
        with self.sessions() as session:
            found = self._any(session.scalars(select(Adapter).where(Adapter.deleted_at.is_(None))).all())
        if found is not None:
            self._request(found.account_id, "model", found.id)

    def expire(self) -> None:
        retention.expire_files(self.sessions)

    def tidy(self) -> None:
        with self.sessions.begin() as session:
            session.execute(update(Job).where(Job.state.not_in(ACTIVE)).values(finished_at=1.0))
        Tidier(self.sessions, self.storage, 0.0).round()

    def erase(self) -> None:
        with self.sessions() as session:
            found = self._any(session.scalars(select(Erasure.id).where(Erasure.done_at.is_(None))).all())
        if found is not None:
            self.eraser.advance(found)

    def _request(self, account: str, kind: str, target: str) -> None:
        with self.sessions.begin() as session:
            request.request(session, account, kind, target)

    def _held(self) -> Claim | None:
        with self.sessions() as session:
            job = self._any(session.scalars(select(Job).where(Job.state == JobState.RUNNING)).all())
        return None if job is None else Claim.of(job)

    def _artifact(self, name: str, kind: str) -> Artifact:
        size = self.random.randrange(1, 10_000)
        return Artifact(name=name, kind=kind, storage_key="k", sha256="0", bytes=size)

    def _any(self, found: Sequence[T]) -> T | None:
        return self.random.choice(found) if found else None


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_the_count_is_that_of_the_rows_after_every_step(database: Sessions, local: Storage, seed: int) -> None:
    accounts(database)
    walk = Walk(database, local, seed)
    for _ in range(100):
        walk.step()
        assert miscounted(database) == []
    assert any(stored(database, account) for account in ACCOUNTS)


@pytest.mark.slow
def test_the_count_is_that_of_the_rows_when_many_work_at_once(database: Sessions, local: Storage) -> None:
    accounts(database)

    def go(seed: int) -> bool:
        walk, held = Walk(database, local, seed), False
        for _ in range(60):
            walk.step()
            held = held or any(stored(database, account) for account in ACCOUNTS)
        return held

    with ThreadPoolExecutor(6) as pool:
        assert any(pool.map(go, range(6)))  # at the end all may be deleted
    assert miscounted(database) == []


def test_a_count_that_is_wrong_is_told_and_can_be_made_anew(database: Sessions, local: Storage) -> None:
    accounts(database)
    Walk(database, local, 1).upload()
    with database.begin() as session:
        session.execute(update(Account).where(Account.id == "acct-1").values(stored_bytes=-1))
        assert invariants.broken_invariants(session) == [invariants.MISCOUNTED]
        assert invariants.broken_jobs(session) == []
        stored_bytes.recount(session, "acct-1")
    assert miscounted(database) == []


def accounts(sessions: Sessions) -> None:
    with sessions.begin() as session:
        session.add_all(Account(id=name, name=name, created_at=now(session)) for name in ACCOUNTS)


def miscounted(sessions: Sessions) -> list[str]:
    with sessions() as session:
        return invariants.miscounted(session)


def stored(sessions: Sessions, account: str) -> int:
    with sessions() as session:
        return session.get_one(Account, account).stored_bytes
