"""Where a supervisor works: its database, store, folders, device and name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.orm import Session, sessionmaker

from core.settings import Settings
from core.storage.interface import Storage
from worker.supervision.gpu.health import DeviceHealth
from worker.trainer.process import WarmTrainer


@dataclass(frozen=True)
class Workplace:
    """What a worker process has for all of its jobs."""

    settings: Settings
    sessions: sessionmaker[Session]
    storage: Storage
    trainer: WarmTrainer
    worker_id: str
    draining: Callable[[], bool]
    health: DeviceHealth
