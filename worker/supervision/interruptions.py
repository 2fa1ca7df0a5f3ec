"""Why an attempt ends before its job does: the owner asked, the parameters must change, or the worker shuts down."""

from __future__ import annotations

from worker.protocol import Json

HALVED_RATE = "The loss was no longer a number; the stage begins anew with half the learning rate, {:g}."


class StopRequested(Exception):
    """The owner wants the job to end or to pause."""


class NeedsChange(Exception):
    """The job can't go on as it is; with these parameters changed it may."""

    def __init__(self, words: str, changes: Json) -> None:
        super().__init__(words)
        self.words, self.changes = words, changes


class Draining(Exception):
    """The worker is shutting down."""


def halve_learning_rate(parameters: Json) -> None:
    """Have the stage begin anew with half the learning rate, once."""
    if not parameters["calmed"]:
        rate = parameters["learning_rate"] / 2
        words = HALVED_RATE.format(rate)
        reasons = {**parameters["reasons"], "learning_rate": words}
        raise NeedsChange(words, {"learning_rate": rate, "calmed": True, "reasons": reasons})
