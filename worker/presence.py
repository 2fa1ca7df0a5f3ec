"""The row that shows that this worker is alive, and when it last swept its machine."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from functools import partial

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from core.database.engine import connect, now, sessions
from core.database.tables import Worker
from core.erasure import scratch
from core.runtime.broker import worker_id
from core.runtime.pulse import Pulse
from core.settings import Settings
from worker import tasks
from worker.device import hardware
from worker.fitness import Problem
from worker.occupation import unoccupied
from worker.supervision.gpu.health import OUT_OF_SERVICE
from worker.trainer import sandbox
from worker.trainer.probe import probe

log = logging.getLogger(__name__)
TRY_AGAIN_SECONDS = 60.0  # between two tries of a device that can't be computed on
LEAVE_SECONDS = 10.0  # for storing a save, on top of the grace that a trainer has


class Presence:
    """Keeps the worker's row fresh while the process lives."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._device, self._sandboxed = settings, hardware(settings), False
        self._sessions: sessionmaker[Session] = sessions(connect(settings.database))
        self._pulse = Pulse(settings, "worker")
        self._gone = threading.Event()
        self.drain_file = tasks.drain_file(settings, os.getpid())
        self._busy_file = tasks.busy_file(settings, os.getpid())
        self._fitness = tasks.fitness(settings, os.getpid())
        self._tried, self._trying, self._showing = 0.0, threading.Lock(), threading.Lock()

    def try_device(self) -> None:
        """Put the worker into service, or out of it where nothing can be computed on its device."""
        with self._trying:
            found, before = probe(self._settings), self._fitness.problem()
            self._tried = time.monotonic()
        if found.code is None:
            self._fitness.come_back()
            if before is not None:
                log.warning("the worker is in service")
            return
        problem = Problem(found.code, found.message or "")
        if before != problem:
            log.error(OUT_OF_SERVICE, problem.message)
        self._fitness.leave(problem)

    def begin(self) -> None:
        """Appear, and stay seen."""
        self.drain_file.parent.mkdir(parents=True, exist_ok=True)
        self.drain_file.unlink(missing_ok=True)  # of an earlier process with this number
        self._sandboxed = sandbox.active(self._settings)
        threading.Thread(target=self._keep, name="presence", daemon=True).start()

    def drain(self) -> None:
        """Tell the child to hand back its job, and leave without it if it does not end."""
        self.drain_file.parent.mkdir(parents=True, exist_ok=True)
        self.drain_file.touch()
        patience = threading.Timer(self._settings.cancel_grace_seconds + LEAVE_SECONDS, self._leave)
        patience.daemon = True
        patience.start()

    def _leave(self) -> None:
        # Celery waits for its child for ever; the kernel kills the child with us, and the lease gives its job back
        log.warning("the pool child did not end; leaving without it")
        # the row stays until it is forgotten: the child leaves its folder behind, and receipts have to say so
        self._gone.set()
        self.drain_file.unlink(missing_ok=True)
        os._exit(0)

    def end(self) -> None:
        """Disappear."""
        self._gone.set()
        with self._showing:
            self.drain_file.unlink(missing_ok=True)
            self._busy_file.unlink(missing_ok=True)
            self._pulse.end()
            self._fitness.come_back()
            self._remove_row()

    def _remove_row(self) -> None:
        try:
            with self._sessions.begin() as session:
                row = session.get(Worker, worker_id(os.getpid()))
                if row is not None:
                    session.delete(row)
        except SQLAlchemyError as error:
            log.warning("the worker's row could not be removed: %s", type(error).__name__)

    def _keep(self) -> None:
        self._report()
        while not self._gone.wait(self._settings.heartbeat_seconds):
            self._report()
            self._try_again()

    def _try_again(self) -> None:
        """Try the device of a worker out of service, in case somebody has mended it."""
        problem, due = self._fitness.problem(), time.monotonic() - self._tried > TRY_AGAIN_SECONDS
        if due and problem is not None and not problem.lasting and not self._trying.locked():
            # beside the heartbeats: a driver that hangs holds this up for minutes
            threading.Thread(target=self.try_device, name="device", daemon=True).start()

    def _sweep(self) -> float | None:
        """Erase what attempts have left on this machine; None where it could not be done."""
        try:
            return scratch.sweep(self._settings.data, self._sessions)
        except (SQLAlchemyError, OSError) as error:
            log.warning("dead attempts could not be swept: %s", type(error).__name__)
            return None

    def _report(self) -> None:
        self._unless_gone(self._pulse.beat)
        swept_at = self._sweep()  # which may take long: who leaves does not wait for it
        try:
            self._unless_gone(partial(self._write, swept_at))
        except SQLAlchemyError as error:
            log.warning("the worker's row could not be written: %s", type(error).__name__)

    def _unless_gone(self, show: Callable[[], None]) -> None:
        """Show that the worker is there, unless it has left: it would come back for good."""
        with self._showing:
            if not self._gone.is_set():
                show()

    def _write(self, swept_at: float | None) -> None:
        with unoccupied(self._busy_file) as idle, self._sessions.begin() as session:
            at = now(session)
            row = session.get(Worker, worker_id(os.getpid()))
            if row is None:
                row = Worker(
                    id=worker_id(os.getpid()),
                    queue=self._settings.queue,
                    host=socket.gethostname(),
                    pid=os.getpid(),
                    started_at=at,
                )
                session.add(row)
            row.seen_at, row.draining = at, self.drain_file.exists()
            if idle:  # a child that was killed, or that could not say it, has left its job all the same
                row.job_id = row.gpu = None
            problem = self._fitness.problem()
            row.problem = {"code": problem.code, "message": problem.message} if problem else None
            row.device, row.sandboxed = self._device, self._sandboxed
            row.data, row.swept_at = str(self._settings.data), swept_at or row.swept_at
