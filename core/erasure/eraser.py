"""Erase for good what a request has hidden, with its objects and rows, until a receipt can be signed.

`advance` does what is left, as often as it takes: every step may be repeated, so a crash between two of them costs
nothing. Each step holds a transaction for a short time only, and after each an erasure may be put off: one of a large
account takes turns with all others. A dispatcher asks again until it is done, and for a while after that looks whether
a late writer has put something back.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from math import inf
from pathlib import Path

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from core.database import counters, file_remains
from core.database.engine import now
from core.database.tables import Adapter, Erasure, File, Job
from core.erasure import places, request, rows, scratch
from core.erasure.places import Place
from core.erasure.receipts import receipt, sign, traces
from core.errors import AlbatrossError
from core.keys.keyring import Keyring
from core.storage.interface import Storage
from core.storage.keys import account_prefix, edits_prefix, file_key, files_prefix, job_prefix

log = logging.getLogger(__name__)
LOOK_AGAIN_SECONDS = 60.0
WATCHED_SECONDS = 3600.0  # so long after the end a late writer is looked for
BATCH = 100  # erasures a round at most
JOBS, FILES = 10, 50  # of an account, a step
TURN_SECONDS, ROUND_SECONDS, WATCH_SECONDS = 1.0, 4.0, 1.0
MAX_PAUSE_SECONDS = 0.1
Deletion = Callable[[Session, Sequence[str]], int]
# of each kind of thing; each takes the ids of things, and says how many rows it has deleted
DELETIONS: dict[str, Deletion] = {
    "file": rows.of_files,
    "model": rows.of_models,
    "job": rows.of_jobs,
    "account": rows.of_accounts,
}


class Outcome(Enum):
    """How a turn of an erasure has ended."""

    DONE = auto()
    WAITS = auto()  # for a worker, a reader of the database, or a store that is written to
    GOES_ON = auto()  # its time was over


@dataclass(frozen=True)
class Eraser:
    """Does what erasures ask for; `keyring` signs the receipts, `data` is this machine's data folder.

    A worker that was seen within `present_seconds` passes for one that lives.
    """

    sessions: sessionmaker[Session]
    storage: Storage
    keyring: Keyring
    data: Path
    present_seconds: float = 60.0

    def advance(self, erasure_id: str, seconds: float = inf) -> bool:
        """Take an erasure as far as it goes in about so long; True when it is done. Raises StorageUnavailable."""
        return self._turn(erasure_id, seconds) is Outcome.DONE

    def round(self) -> None:
        """Advance the erasures that are not done, in turns, and look again at those that were done lately."""
        until, waiting = time.monotonic() + ROUND_SECONDS, deque(self._open())
        while waiting and time.monotonic() < until:
            erasure_id = waiting.popleft()
            if self._tried(erasure_id, TURN_SECONDS) is Outcome.GOES_ON:
                waiting.append(erasure_id)
        until = time.monotonic() + WATCH_SECONDS
        for erasure_id in self._lately():
            if time.monotonic() >= until:
                break
            self._tried(erasure_id, TURN_SECONDS)

    def _tried(self, erasure_id: str, seconds: float) -> Outcome:
        """Give an erasure a turn; what keeps it from going on keeps no other."""
        try:
            return self._turn(erasure_id, seconds)
        except (AlbatrossError, SQLAlchemyError, OSError) as error:
            log.warning("an erasure waits: %s", type(error).__name__, extra={"erasure": erasure_id})
            return Outcome.WAITS

    def _open(self) -> Sequence[str]:
        """List erasures to go on with: of each account the one first that has waited longest."""
        tried = func.coalesce(Erasure.tried_at, 0.0)  # NULLs come first on one database and last on the other
        turn = func.row_number().over(partition_by=Erasure.account_id, order_by=(tried, Erasure.id))
        unfinished = select(Erasure.id, tried.label("tried"), turn.label("turn")).where(Erasure.done_at.is_(None))
        listed = unfinished.subquery()
        with self.sessions() as session:
            order = (listed.c.turn, listed.c.tried, listed.c.id)
            return session.scalars(select(listed.c.id).order_by(*order).limit(BATCH)).all()

    def _lately(self) -> Sequence[str]:
        with self.sessions() as session:
            at = now(session)
            lately = (Erasure.done_at > at - WATCHED_SECONDS) & (Erasure.tried_at < at - LOOK_AGAIN_SECONDS)
            return session.scalars(select(Erasure.id).where(lately).order_by(Erasure.tried_at).limit(BATCH)).all()

    def _turn(self, erasure_id: str, seconds: float) -> Outcome:
        until = time.monotonic() + seconds
        with self.sessions.begin() as session:
            erasure = session.get_one(Erasure, erasure_id)
            at = erasure.tried_at = now(session)
            if erasure.done_at is None:
                if erasure.kind == "account":
                    request.end_jobs(session, erasure.target, JOBS)
                    session.flush()
                if places.worked_on(session, erasure, self.present_seconds):
                    return Outcome.WAITS
                since = places.note_ended(erasure, at)
        if erasure.done_at is not None:
            self._look_again(erasure)
            return Outcome.DONE
        for pause in self._steps(erasure):
            if time.monotonic() >= until:
                return Outcome.GOES_ON
            time.sleep(pause)
        return self._finish(erasure, since)

    def _look_again(self, erasure: Erasure) -> None:
        with self.sessions() as session:
            prefixes = _prefixes(session, erasure)
        objects = sum(self.storage.delete_prefix(prefix) for prefix in prefixes)
        if objects:
            self._count(erasure.id, objects, rows.of_files, [])

    def _steps(self, erasure: Erasure) -> Iterator[float]:
        """Erase objects, then the rows that name them, in steps; yields how long to let others write after each."""
        target = erasure.target
        if erasure.kind == "account":
            yield from self._batches(erasure, self._some_jobs, rows.of_jobs)
            yield from self._batches(erasure, self._some_files, rows.of_files)
        with self.sessions() as session:
            prefixes = _prefixes(session, erasure)
            made_by = session.scalar(select(Adapter.job_id).where(Adapter.id == target)) or ""
        ids = [made_by] if erasure.kind == "model" else [target]
        objects = sum(self.storage.delete_prefix(prefix) for prefix in prefixes)
        while True:
            began = time.monotonic()
            if not self._count(erasure.id, objects, DELETIONS[erasure.kind], ids) and not objects:
                return
            objects = 0
            yield _pause(began)

    def _batches(
        self, erasure: Erasure, listed: Callable[[str], dict[str, list[str]]], delete: Deletion
    ) -> Iterator[float]:
        """Erase what an account has of one sort: `listed` names some with the prefixes of their objects."""
        while some := listed(erasure.target):
            objects = sum(self.storage.delete_prefix(prefix) for prefixes in some.values() for prefix in prefixes)
            deleted = rows.LIMIT
            while deleted >= rows.LIMIT:
                began = time.monotonic()
                deleted = self._count(erasure.id, objects, delete, list(some))
                objects = 0
                yield _pause(began)

    def _some_jobs(self, account_id: str) -> dict[str, list[str]]:
        some = select(Job.id).where(Job.account_id == account_id).order_by(Job.created_at, Job.id).limit(JOBS)
        with self.sessions() as session:
            return {job_id: [job_prefix(account_id, job_id)] for job_id in session.scalars(some)}

    def _some_files(self, account_id: str) -> dict[str, list[str]]:
        some = select(File.id).where(File.account_id == account_id).order_by(File.created_at, File.id).limit(FILES)
        with self.sessions() as session:
            return {file_id: _versions(account_id, file_id) for file_id in session.scalars(some)}

    def _count(self, erasure_id: str, objects: int, delete: Deletion, ids: Sequence[str]) -> int:
        """Delete rows, and count them with the objects that went before; returns how many rows."""
        with self.sessions.begin() as session:
            erasure = session.get_one(Erasure, erasure_id, with_for_update=True)
            deleted = delete(session, ids)
            erasure.objects += objects
            if erasure.done_at is None:
                erasure.rows += deleted
            return deleted

    def _finish(self, erasure: Erasure, since: float) -> Outcome:
        """Look at every place once more, and sign the receipt; all rows are gone by now."""
        with self.sessions() as session:
            prefixes = _prefixes(session, erasure)
            engine = session.get_bind()
        assert isinstance(engine, Engine)
        if any(self.storage.keys(prefix) for prefix in prefixes):
            return Outcome.WAITS  # something was written meanwhile
        if erasure.kind == "file":  # a call that was killed may have sent the same; no row tells of that
            self.storage.sweep_abandoned(files_prefix(erasure.account_id))
        swept_at = scratch.sweep(self.data, self.sessions)
        if swept_at is None or self._held_by_calls(erasure):
            return Outcome.WAITS
        with self.sessions() as session:
            here = Place.here(self.data)
            looked_at = places.looked_at(session, since, here, swept_at, self.present_seconds)
        if looked_at is None or not file_remains.empty_log(engine):
            return Outcome.WAITS
        with self.sessions.begin() as session:
            erasure = session.get_one(Erasure, erasure.id, with_for_update=True)
            if erasure.done_at is None:
                erasure.done_at = now(session)
                erasure.looked_at = [*traces(erasure, self.storage, engine.dialect.name), *looked_at]
                erasure.signature = sign(receipt(erasure), self.keyring)
                counters.add(session, counters.ERASURES)
        return Outcome.DONE

    def _held_by_calls(self, erasure: Erasure) -> bool:
        if erasure.kind == "account":
            return scratch.holds(self.data, erasure.target)
        return erasure.kind == "file" and scratch.holds(self.data, erasure.account_id, erasure.target)


def _pause(began: float) -> float:
    """Return how long others may write: as long as a step has taken."""
    return min(MAX_PAUSE_SECONDS, time.monotonic() - began)


def _prefixes(session: Session, erasure: Erasure) -> list[str]:
    """Return where everything of the thing is stored."""
    if erasure.kind == "file":
        file = session.get(File, erasure.target)
        versions = _versions(erasure.account_id, erasure.target)
        return sorted({*versions, file.storage_key} if file is not None else versions)
    if erasure.kind == "account":
        return [account_prefix(erasure.target)]
    if erasure.kind == "job":
        return [job_prefix(erasure.account_id, erasure.target)]
    adapter = session.get(Adapter, erasure.target)
    return [job_prefix(erasure.account_id, adapter.job_id)] if adapter is not None else []


def _versions(account_id: str, file_id: str) -> list[str]:
    """Return where versions of an upload may lie: an edit that was cut off may have left an older or a newer one."""
    return [file_key(account_id, file_id), edits_prefix(account_id, file_id)]
