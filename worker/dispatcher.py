"""The dispatcher: takes back the jobs of dead workers, ends overdue ones, and wakes workers for those that wait.

Any number of dispatchers may run; each does no harm that the others could notice.
"""

from __future__ import annotations

import logging
import signal
import threading
from itertools import takewhile

from sqlalchemy import delete
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from core import logs, queue, reaping, tally
from core.database import connect, now, sessions
from core.models import Worker
from core.settings import Settings

log = logging.getLogger("worker.dispatcher")  # also where this module is the program
# one wake-up serves many jobs, so a longer backlog in the broker would only go stale
MOST_WAKES = 20
FORGOTTEN_SECONDS = 3600.0


class Dispatcher:
    """Makes one round every few seconds until it is told to stop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sessions: sessionmaker[Session] = sessions(connect(settings.database))
        self._stopping = threading.Event()

    def run(self) -> None:
        """Make rounds; a database or a broker that is away is tried again in the next."""
        while not self._stopping.is_set():
            try:
                self.round()
            except SQLAlchemyError as error:
                log.warning("a round failed: %s", type(error).__name__)
            self._stopping.wait(self._settings.dispatcher_seconds)

    def stop(self) -> None:
        """End after the present round."""
        self._stopping.set()

    def round(self) -> None:
        """Reap, expire, forget dead workers, and send wake-ups."""
        with self._sessions.begin() as session:
            lost = reaping.reap(session, self._settings.max_crashes)
            if lost:
                tally.add(session, tally.LEASES_LOST, len(lost))
        for job_id in lost:
            log.warning("a job's worker was lost", extra={"job": job_id})
        with self._sessions.begin() as session:
            reaping.expire(session)
            session.execute(delete(Worker).where(Worker.seen_at < now(session) - FORGOTTEN_SECONDS))
        self._wake()

    def _wake(self) -> None:
        """Wake workers for the jobs that wait; a broker that refuses is asked again in the next round."""
        with self._sessions.begin() as session:
            waiting = reaping.due(session, wake_again_seconds=self._settings.wake_again_seconds)
        wanted = [name for name, count in waiting for _ in range(min(count, MOST_WAKES))]
        sent = len(list(takewhile(queue.wake, wanted)))  # after the commit: a worker must find the job as it is now
        with self._sessions.begin() as session:
            for name, amount in ((tally.WAKE_UPS, sent), (tally.WAKE_UPS_REFUSED, int(sent < len(wanted)))):
                if amount:
                    tally.add(session, name, amount)


def main() -> None:
    settings = Settings()
    logs.configure(settings, "dispatcher")
    dispatcher = Dispatcher(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: dispatcher.stop())
    dispatcher.run()


if __name__ == "__main__":
    main()
