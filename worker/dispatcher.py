"""The dispatcher: takes back jobs of dead workers, ends overdue ones, wakes workers, sends webhooks, and erases.

Any number of dispatchers may run; each does no harm that the others could notice.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from itertools import takewhile

from sqlalchemy import delete
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from core.accounts import reservations, stored_bytes
from core.database import counters, invariants
from core.database.engine import connect, looking, now, sessions
from core.database.tables import Worker
from core.disk import keep_private
from core.erasure import retention, unused_uploads
from core.erasure.eraser import Eraser
from core.errors import AlbatrossError
from core.jobs import dispatch
from core.runtime import broker, data_folder, logs
from core.runtime.processes import hide_memory, told_at_start
from core.runtime.pulse import Pulse
from core.settings import Settings
from core.storage.factory import storage
from core.webhooks import deliveries, endpoint_secrets
from worker.webhook_sender import WebhookSender

log = logging.getLogger("worker.dispatcher")  # also where this module is the program
# one wake-up serves many jobs, so a longer backlog in the broker would only go stale
MAX_WAKE_UPS = 20
WORKER_FORGOTTEN_SECONDS = 3600.0  # after it was last seen
# between two looks for uploads that never ended, for bytes that were miscounted and for secrets with an older key
SWEEP_SECONDS = 3600.0
UNENDED_UPLOAD_SECONDS = 86_400.0  # the age from which an upload passes for one


class Dispatcher:
    """Makes one round every few seconds until it is told to stop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sessions: sessionmaker[Session] = sessions(connect(settings.database))
        self._storage = storage(settings)
        self._eraser = Eraser(self._sessions, self._storage, settings.keyring, settings.data, settings.lease_seconds)
        self._tidier = retention.Tidier(self._sessions, self._storage, settings.tidy_seconds)
        self._webhook_sender = WebhookSender(settings, self._sessions)
        self._swept = self._counted = -SWEEP_SECONDS
        self._pulse = Pulse(settings, "dispatcher")
        self._stopping = threading.Event()

    def run(self) -> None:
        """Make rounds; a database or a broker that is away is tried again in the next."""
        self._webhook_sender.start()
        try:
            while not self._stopping.is_set():
                self._pulse.beat()
                try:
                    self.round()
                except (SQLAlchemyError, OSError) as error:
                    log.warning("a round failed: %s", type(error).__name__)
                self._stopping.wait(self._settings.dispatcher_seconds)
        finally:  # whatever ends the rounds ends the process: one that only sent webhooks would pass for a whole one
            self._webhook_sender.stop()
            self._pulse.end()

    def stop(self) -> None:
        """End after the present round."""
        self._stopping.set()

    def round(self) -> None:
        """Reap, expire, forget dead workers, send wake-ups, and erase."""
        with self._sessions.begin() as session:
            lost = dispatch.reap(session, self._settings.max_crashes)
            if lost:
                counters.add(session, counters.LEASES_LOST, len(lost))
        for job_id in lost:
            log.warning("a job's worker was lost", extra={"job": job_id})
        with self._sessions.begin() as session:
            dispatch.expire(session)
            session.execute(delete(Worker).where(Worker.seen_at < now(session) - WORKER_FORGOTTEN_SECONDS))
            reservations.forget_old(session)
        self._wake()
        self._erase()
        if time.monotonic() - self._counted >= SWEEP_SECONDS:
            self._counted = time.monotonic()
            self._reencrypt()
            self._count_again()  # last: it reads much, and PostgreSQL ends what takes too long

    def _count_again(self) -> None:
        """Put right, and say, what no account's counted bytes should ever need."""
        with looking(self._sessions) as session:
            wrong = invariants.miscounted(session)
        for account_id in wrong:
            with self._sessions.begin() as session:
                stored_bytes.recount(session, account_id)
            log.error("the counted bytes of %s were not those of its rows; they are counted anew", account_id)

    def _reencrypt(self) -> None:
        """Encrypt secrets of an older version, and those that a change of keys has left behind."""
        try:
            found = endpoint_secrets.reencrypt(self._sessions, self._settings.keyring)
        except AlbatrossError as error:
            log.error("no secret can be encrypted: %s", error.message)
            return
        if found.changed:
            log.info("the secrets of %d webhook endpoints are now encrypted with the newest key", found.changed)
        if found.unreadable:
            words = "no key of this service opens the secrets of %d webhook endpoints: restore the key that does"
            log.error(words, found.unreadable)

    def _erase(self) -> None:
        """Erase what owners want gone, what has had its time, and what nobody needs; a store may be away."""
        retention.expire_files(self._sessions)
        retention.expire_jobs(self._sessions, self._settings.retention_days)
        with self._sessions.begin() as session:
            deliveries.prune(session, self._settings.webhook_log_days)
        self._eraser.round()
        self._tidier.round()
        if time.monotonic() - self._swept >= SWEEP_SECONDS:
            self._swept = time.monotonic()
            unused_uploads.expire(self._sessions, self._settings.unused_upload_days)
            retention.clear_pages(self._sessions)
            try:
                self._storage.sweep(UNENDED_UPLOAD_SECONDS)
            except AlbatrossError as error:
                log.warning("the storage is away: %s", error.code)

    def _wake(self) -> None:
        """Wake workers for the jobs that wait; a broker that refuses is asked again in the next round."""
        with self._sessions.begin() as session:
            waiting = dispatch.due(session, wake_again_seconds=self._settings.wake_again_seconds)
        wanted = [name for name, count in waiting for _ in range(min(count, MAX_WAKE_UPS))]
        sent = len(list(takewhile(broker.wake, wanted)))  # after the commit: a worker must find the job as it is now
        with self._sessions.begin() as session:
            for name, amount in ((counters.WAKE_UPS, sent), (counters.WAKE_UPS_REFUSED, int(sent < len(wanted)))):
                if amount:
                    counters.add(session, name, amount)


def main() -> None:
    hide_memory()
    keep_private()
    settings = Settings()
    logs.configure(settings, "dispatcher")
    data_folder.claim(settings)
    with told_at_start():
        settings.keyring.read()
    dispatcher = Dispatcher(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: dispatcher.stop())
    dispatcher.run()


if __name__ == "__main__":
    main()
