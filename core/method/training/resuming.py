"""Where a computation of many steps stands, so that it can go on later, or elsewhere, as if nothing had happened.

What is saved is plain: numbers and texts (JSON), tensors (safetensors), never a pickled object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from torch import Tensor

Step = TypeVar("Step")


@dataclass(frozen=True)
class State:
    """Hold all that a computation remembers between two steps."""

    values: dict[str, Any] = field(default_factory=dict)  # as JSON has them
    tensors: dict[str, Tensor] = field(default_factory=dict)  # those that change from step to step
    kept: dict[str, dict[str, Tensor]] = field(default_factory=dict)  # copies that never change once they are made

    @classmethod
    def of(cls, parts: Mapping[str, State]) -> State:
        """Return the states of several parts as one."""
        return cls(
            {name: part.values for name, part in parts.items()},
            {f"{name}/{key}": tensor for name, part in parts.items() for key, tensor in part.tensors.items()},
            {f"{name}/{key}": copy for name, part in parts.items() for key, copy in part.kept.items()},
        )

    def part(self, name: str) -> State:
        """Return what `of` was given under the name."""
        prefix = f"{name}/"
        return State(
            self.values[name],
            {key.removeprefix(prefix): tensor for key, tensor in self.tensors.items() if key.startswith(prefix)},
            {key.removeprefix(prefix): copy for key, copy in self.kept.items() if key.startswith(prefix)},
        )


class Keeper(Protocol):
    """Decides when a state is saved, and knows the one to go on from."""

    def found(self) -> State | None:
        """Return the state to go on from, if there is one."""

    def offer(self, state: Callable[[], State]) -> None:
        """Take note that a step is over; the state is made, and saved, only when it is time to."""

    def leave(self, state: Callable[[], State]) -> None:
        """Save the state now: the computation is told to stop."""


class Nowhere:
    """Keeps nothing: the computation starts at the beginning, and a stop loses it."""

    def found(self) -> State | None:
        return None

    def offer(self, state: Callable[[], State]) -> None:
        pass

    def leave(self, state: Callable[[], State]) -> None:
        pass


NOWHERE = Nowhere()


def saved(steps: Iterator[Step], keeper: Keeper, state: Callable[[], State]) -> Iterator[Step]:
    """Yield the steps; after each has been dealt with, offer the state, and leave it behind when told to stop there.

    A stop is the closing of the generator between two steps, where the state is whole.
    """
    for step in steps:
        try:
            yield step
        except GeneratorExit:
            keeper.leave(state)
            raise
        keeper.offer(state)
