"""Why an attempt ends before its job does: the owner asked, the parameters must change, or the worker shuts down."""

from __future__ import annotations

from worker.protocol import Json


class StopRequested(Exception):
    """The owner wants the job to end or to pause."""


class NeedsChange(Exception):
    """The job can't go on as it is; with these parameters changed it may."""

    def __init__(self, words: str, changes: Json) -> None:
        super().__init__(words)
        self.words, self.changes = words, changes


class Draining(Exception):
    """The worker is shutting down."""
