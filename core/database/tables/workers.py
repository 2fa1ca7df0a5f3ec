"""Workers, what they have measured, and what the service counts."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index
from sqlalchemy.orm import Mapped, mapped_column

from core.database.tables.base import Json, Table, new_id


class Worker(Table):
    """A worker process as it last reported itself."""

    __tablename__ = "worker"
    id: Mapped[str] = mapped_column(primary_key=True)
    queue: Mapped[str]
    host: Mapped[str]
    pid: Mapped[int]
    started_at: Mapped[float]
    seen_at: Mapped[float]
    draining: Mapped[bool] = mapped_column(default=False)
    job_id: Mapped[str | None]
    data: Mapped[str | None]  # its data folder
    swept_at: Mapped[float | None]  # when it last began to erase there what attempts have left behind
    sandboxed: Mapped[bool | None]  # whether its trainers are
    device: Mapped[str | None]  # that its trainers compute on
    problem: Mapped[Json | None]  # code and message of what keeps it out of service
    gpu: Mapped[Json | None]  # bytes on the GPU while it works, as worker.protocol.DeviceUse tells them


class Measurement(Table):
    """What one job or calibration has taken; kept when the job is erased, since it holds nothing of it."""

    __tablename__ = "measurement"
    __table_args__ = (Index("ix_measurement_backbone_created_at", "backbone", "created_at"),)
    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("measure-"))
    backbone: Mapped[str]
    revision: Mapped[str]
    device: Mapped[str]
    source: Mapped[str]
    data: Mapped[Json]
    created_at: Mapped[float]


class Tally(Table):
    """A count of what has happened since the service was set up, for /metrics."""

    __tablename__ = "tally"
    name: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger, default=0)
