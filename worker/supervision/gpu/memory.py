"""What a job takes of its GPU: shown in the worker's row while it runs, and told to its owner when it is computed."""

from __future__ import annotations

import logging
from dataclasses import asdict

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from core.database.tables import Worker
from worker.protocol import DeviceUse

log = logging.getLogger(__name__)
TELLING = "The job took at most {:.2f} of the GPU's {:.2f} GiB, in the stage {}."


class DeviceMemory:
    """Takes down what the trainer says of its GPU; a trainer on the CPU says nothing."""

    def __init__(self, sessions: sessionmaker[Session], worker_id: str) -> None:
        self._sessions, self._worker_id = sessions, worker_id
        self._most: tuple[DeviceUse, str] | None = None

    def note(self, use: DeviceUse, stage: str) -> None:
        """Show it in the worker's row, for people to see; no job ends where that can't be written."""
        if self._most is None or use.peak > self._most[0].peak:
            self._most = use, stage
        try:
            with self._sessions.begin() as session:
                row = session.get(Worker, self._worker_id)
                if row is not None:
                    row.gpu = asdict(use)
        except SQLAlchemyError as error:
            log.warning("the worker's row could not be written: %s", type(error).__name__)

    def told(self) -> str | None:
        """Return a sentence on the most that was taken; None where nobody has said."""
        if self._most is None:
            return None
        use, stage = self._most
        return TELLING.format(use.peak / 2**30, use.total / 2**30, stage)
