"""Why an attempt ends before its job does: the owner asked, the parameters must change, or the worker shuts down."""

from __future__ import annotations

from worker.protocol import Json

MAX_PIECES = 8  # that a batch is computed in before a job is said not to fit
SMALLER_PIECES = "The job did not fit into memory; it goes on with every batch computed in {} pieces."
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


def split_batches(parameters: Json) -> None:
    """Have every batch computed in twice as many pieces, where that is possible and has not been all in vain."""
    pieces = 2 * int(parameters["accumulation"])
    if pieces <= min(MAX_PIECES, parameters["batch_size"]):
        raise NeedsChange(SMALLER_PIECES.format(pieces), {"accumulation": pieces})


def halve_learning_rate(parameters: Json) -> None:
    """Have the stage begin anew with half the learning rate, once."""
    if not parameters["calmed"]:
        rate = parameters["learning_rate"] / 2
        words = HALVED_RATE.format(rate)
        reasons = {**parameters["reasons"], "learning_rate": words}
        raise NeedsChange(words, {"learning_rate": rate, "calmed": True, "reasons": reasons})
