"""The Celery worker: `celery -A worker.app worker -Q QUEUE`. Its parent reports that it lives; its child works."""

from __future__ import annotations

from celery.signals import worker_init, worker_ready, worker_shutdown, worker_shutting_down

from core.errors import AlbatrossError
from core.runtime.broker import app
from core.settings import Settings
from worker import tasks
from worker.presence import Presence
from worker.trainer import sandbox

__all__ = ["app", "tasks"]

presence = Presence(Settings())


@worker_init.connect
def _prepare(**_: object) -> None:
    try:
        sandbox.announce(Settings())
    except AlbatrossError as error:
        raise SystemExit(f"albatross: {error.message}") from None


@worker_ready.connect
def _begin(**_: object) -> None:
    presence.begin()


@worker_shutting_down.connect
def _drain(**_: object) -> None:
    presence.drain()


@worker_shutdown.connect
def _end(**_: object) -> None:
    presence.end()
