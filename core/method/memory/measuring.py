"""What a computation holds in memory at its worst, by the storages that it makes: on a CPU and on a GPU alike.

Where passes are computed twice, saved tensors tell only what is kept between both; this counts what is there at once.
What kernels need for themselves inside is not seen.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


def peak_bytes(compute: Callable[[], object]) -> int:
    """Return the most bytes that tensors made by the computation held at once; what was there before is not counted."""
    with Living() as living:
        compute()
    return living.peak


class Living(TorchDispatchMode):
    """Follows the storages that operations make until they are gone."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Compute as always; storages that only the result has are new."""
        named = kwargs or {}
        for tensor in _tensors((args, named)):
            self._see(tensor, new=False)
        found = func(*args, **named)
        for tensor in _tensors(found):
            self._see(tensor, new=True)
        return found

    def _see(self, tensor: Tensor, *, new: bool) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes() if new else 0
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def _tensors(tree: object) -> Iterator[Tensor]:
    return (leaf for leaf in tree_iter(tree) if isinstance(leaf, Tensor))
