"""A final run that goes on from what an earlier attempt has left."""

from __future__ import annotations

from collections.abc import Callable, Generator

import pytest

from core.method.albat import train_adapter
from core.method.lora.adapter import Adapter
from core.method.protection.protection import Protection
from core.method.training.resuming import State
from tests.core.method.test_albat import TONES, drain, flat_curves, parameters


class Remembering:
    """A keeper that holds the newest state of a run, as it would be saved at every step."""

    def __init__(self, state: State | None = None) -> None:
        self.state = state

    def found(self) -> State | None:
        return self.state

    def offer(self, state: Callable[[], State]) -> None:
        self.state = state()

    def leave(self, state: Callable[[], State]) -> None:
        self.state = state()


@pytest.mark.parametrize("older", [False, True])
def test_a_final_run_begins_anew_where_a_version_with_other_rules_left_it(tiny_language, older: bool) -> None:
    references, keeper = tiny_language.encode(TONES[:4]), Remembering()
    p = parameters("texts", max_steps=30, reasons={"interval": ""})

    def run(snapshots: dict[int, Adapter]) -> Generator:
        return train_adapter(
            tiny_language, references, Protection(), p, flat_curves(12), None, snapshots, keeper=keeper
        )

    begun = run({})
    while next(begun).step < 20:
        pass
    begun.close()
    if older:  # it did not say which steps it keeps, and kept fewer
        left = keeper.state
        del left.values["run"]["gallery"]
        keeper.state = State(
            left.values, left.tensors, {name: kept for name, kept in left.kept.items() if "/18" in name}
        )
    snapshots = {}
    steps, outcome = drain(run(snapshots))
    assert steps[0].step == (0 if older else 21)
    assert set(outcome.kept.values()) <= set(snapshots)
