"""Holding on to a job: heartbeats from a thread, orders that come back, and writes that a lost lease stops."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import partial
from types import TracebackType
from typing import TypeVar

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, sessionmaker

from core.database.engine import now
from core.jobs import leases, reports
from core.jobs.leases import Claim
from core.parameters.schedule import STAGES
from core.settings import Settings
from worker.protocol import Json, Progress

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")
DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeout)
SAFE_SHARE = 0.75  # of a lease: a worker that can't renew stops before anybody else may take the job
TICK_SECONDS = 0.25
PROGRESS_SECONDS = 1.0  # progress reaches the database this often at most


class LeaseLost(Exception):
    """The job belongs to somebody else by now: stop, and write nothing more."""


@dataclass(frozen=True)
class Position:
    """Where the job stood `at` a moment; `progress` is the share of the stage, `course` the way through all of them."""

    stage: str
    step: int = 0
    progress: float = 0.0
    eta_seconds: float | None = None
    course: Json | None = None
    at: float = field(default_factory=time.monotonic, compare=False)

    @property
    def eta_now(self) -> float | None:
        """The seconds that are left by now: between two lines they pass as any others."""
        return None if self.eta_seconds is None else max(0.0, self.eta_seconds - (time.monotonic() - self.at))

    @classmethod
    def of(cls, line: Progress, prepared: float = 0.0) -> Position:
        """Return where a line says that the job stands; another trainer has done the share `prepared` before."""
        share = min(1.0, line.step / line.total) if line.total else 0.0
        if line.stage == STAGES[0]:
            share = prepared + (1 - prepared) * share
        return cls(line.stage, line.step, share)


class Lease:
    """Keeps the lease of one claim. Use as a context; `check` in every loop, `write` for every change."""

    def __init__(self, sessions: sessionmaker[Session], claim: Claim, settings: Settings) -> None:
        self._claim = claim
        self.cancel_requested = self.pause_requested = self.overdue = False
        self._sessions, self._settings = sessions, settings
        self._position = self._written = Position("prepare")
        self._renewed = time.monotonic()
        self._telling = threading.Lock()  # from taking a position until it is written: no older one follows a newer
        self._lost, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._renew_until_ended,), name="heartbeat", daemon=True
        )

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def stage(self) -> str:
        """The stage that the job is in."""
        return self._position.stage

    @property
    def progress(self) -> float:
        """The share of that stage that is done."""
        return self._position.progress

    def step_of(self, stage: str) -> int | None:
        """The step that the stage was last heard of at; None where this attempt has not heard of it."""
        return self._position.step if self._position.stage == stage else None

    def move(self, position: Position) -> None:
        """Note where the job stands; the next heartbeat tells."""
        self._position = position

    def note(self, course: Json | None) -> None:
        """Write the way through the stages down at once; raises LeaseLost as `write` does."""
        with self._telling:
            self._position = replace(self._position, course=course)
            self.write(partial(reports.note_course, claim=self._claim, course=course))

    def check(self) -> None:
        """Raise LeaseLost where the lease is lost, or may be by the time of the next write."""
        if self._lost.is_set() or time.monotonic() - self._renewed > SAFE_SHARE * self._settings.lease_seconds:
            self._lost.set()
            raise LeaseLost

    def read(self, question: Callable[[Session], Answer]) -> Answer:
        """Ask the database in one transaction, waiting while it is away; raises LeaseLost when that takes too long."""
        while True:
            self.check()
            try:
                with self._sessions.begin() as session:
                    return question(session)
            except DATABASE_AWAY as error:
                log.warning("the database is away: %s", type(error).__name__)
                time.sleep(TICK_SECONDS)

    def write(self, change: Callable[[Session], bool]) -> None:
        """Make a change in one transaction, as `read`; raises LeaseLost where it is refused, for the claim is over."""
        if not self.read(change):
            self._lost.set()
            raise LeaseLost

    def _renew_until_ended(self) -> None:
        """Renew the lease every heartbeat, and about once a second while there is news, until it ends or is lost."""
        while not self._ended.wait(TICK_SECONDS) and not self._lost.is_set():
            age = time.monotonic() - self._renewed
            news = self._position is not self._written
            if age >= self._settings.heartbeat_seconds or (news and age >= PROGRESS_SECONDS):
                with self._telling:
                    if not self._lost.is_set():  # which it may be since, by who wrote meanwhile
                        self._renew()

    def _renew(self) -> None:
        began, position = time.monotonic(), self._position
        try:
            with self._sessions.begin() as session:
                orders = leases.heartbeat(
                    session,
                    self._claim,
                    self._settings.lease_seconds,
                    stage=position.stage,
                    step=position.step,
                    progress=position.progress,
                    eta_seconds=position.eta_now,
                    course=position.course,
                )
                at = now(session)
        except DATABASE_AWAY as error:
            log.warning("a heartbeat failed: %s", type(error).__name__)
            return
        if orders is None:
            self._lost.set()
            return
        # from before the call: the lease runs from some moment after that
        self._renewed, self._written = began, position
        self.cancel_requested, self.pause_requested = orders.cancel, orders.pause
        self.overdue = orders.deadline_at is not None and orders.deadline_at < at
