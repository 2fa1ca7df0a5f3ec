"""Rows of a job's curves between two writes of them to the database."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from worker.protocol import Json

METRICS_SECONDS, GPU_TIME_SECONDS = 1.0, 5.0  # between two writes of them


@dataclass
class Curves:
    """Metrics that wait to be written, by stage."""

    rows: dict[str, list[Json]] = field(default_factory=dict)
    written: float = field(default_factory=time.monotonic)

    @property
    def due(self) -> bool:
        """Tell whether it is time to write them, and what was spent; that also where a stage has no curve."""
        return time.monotonic() - self.written > (METRICS_SECONDS if self.rows else GPU_TIME_SECONDS)
