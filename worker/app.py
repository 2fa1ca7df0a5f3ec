"""The Celery worker: `celery -A worker.app worker -Q QUEUE`. Its parent reports that it lives; its child works."""

from __future__ import annotations

from celery.signals import worker_init, worker_ready, worker_shutdown, worker_shutting_down

from core.disk import keep_private
from core.runtime import data_folder
from core.runtime.broker import app
from core.runtime.processes import told_at_start
from core.settings import Settings
from worker import tasks
from worker.presence import Presence
from worker.trainer import sandbox

__all__ = ["app", "tasks"]

presence = Presence(Settings())


@worker_init.connect
def _prepare(**_: object) -> None:
    keep_private()  # before the child is forked that works
    data_folder.claim(Settings())
    with told_at_start():
        sandbox.announce(Settings())
        presence.try_device()


@worker_ready.connect
def _begin(**_: object) -> None:
    presence.begin()


@worker_shutting_down.connect
def _drain(**_: object) -> None:
    presence.drain()


@worker_shutdown.connect
def _end(**_: object) -> None:
    presence.end()
