"""Measures the GPU seconds that an attempt spends in each stage: the time in which its trainer works."""

from __future__ import annotations

import time

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from core.accounts import usage
from core.database.tables import Job


class GpuTimer:
    """Runs while the trainer works; `run` again and again, so that the time goes to the right stage."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._seconds: dict[str, float] = {}
        self._since: float | None = None

    def run(self, stage: str) -> None:
        """Count the time since the last call for the stage."""
        at = time.monotonic()
        if self._since is not None:
            self._seconds[stage] = self._seconds.get(stage, 0.0) + at - self._since
        self._since = at

    def write(self, session: Session) -> float:
        """Write down what was spent so far; returns the seconds that all attempts at the job have spent."""
        usage.spend(session, self._job, self._seconds)
        return usage.spent_on(session, self._job.id)

    def stop(self, sessions: sessionmaker[Session]) -> None:
        """Write down all that was spent, however the attempt ended, if the database is there."""
        try:
            with sessions.begin() as session:
                self.write(session)
        except SQLAlchemyError:
            return  # what was written before stands
