"""Computes as many samples at once as fit into a device: those that are planned, and half of them where that was wrong.

A plan needs to know what is free: of a GPU always, of a CPU where a setting tells. Without it as many as usual are
computed at once, and what does not fit is still halved.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from core.errors import JobFailure
from core.method.faults import out_of_memory, smaller_may_fit
from core.method.memory import plan
from core.method.memory.measuring import peak_bytes
from core.method.memory.plan import Work

GIB = 2**30
NAMES: dict[Work, str] = {
    "step": "training",
    "score": "scoring",
    "gradient": "gradients of single examples",
    "evaluation": "evaluation",
    "encode": "encoding",
    "sample": "drawing samples",
    "rows": "the references' gradients",
}
ALONE = (
    "{} did not fit into memory in the smallest pieces{}. Use a smaller resolution or max_tokens, bat.precision nf4, "
    "or bat.checkpointing true; else the operator has to give the job a larger GPU, or one that nothing else uses."
)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Cost:
    """What is known of a computation's memory before it is done."""

    one: Callable[[], object]  # computes the largest sample, or one like it, for nothing but to see what it takes
    key: Hashable  # tells computations apart that take unlike amounts
    extent: float = 1.0  # of that sample: how long a text is, or how large a picture
    reserved: int = 0  # bytes that will be taken beside


Costing = Callable[[], Cost]  # asked only where something is planned by it


@dataclass
class Memory:
    """The memory of one backbone's device: what was measured stays as long as the backbone, the rest is of one job."""

    device: torch.device
    weights: int = 0  # bytes of the backbone's, which a CPU does not tell
    told: int = 0  # bytes of the device that a job may take; 0: all that there are
    news: list[str] = field(default_factory=list)  # for whoever follows the job
    _each: dict[Hashable, float] = field(default_factory=dict)  # bytes of a sample of extent 1
    _most: dict[Work, int] = field(default_factory=dict)  # samples at once, since more did not fit
    _planned: set[Work] = field(default_factory=set)  # whose plan was told

    def begin(self, told: int, news: list[str]) -> None:
        """Serve another job, which hears the news."""
        self.told, self.news, self._most, self._planned = told, news, {}, set()

    @property
    def free(self) -> int | None:
        """Bytes that are free, those among them that torch holds for later; None where nobody knows."""
        if self.device.type == "cuda":
            used = torch.cuda.memory_allocated(self.device)
            free = torch.cuda.mem_get_info(self.device)[0] + torch.cuda.memory_reserved(self.device) - used
            return max(0, min(free, self.told - used)) if self.told else free
        return max(0, self.told - self.weights) if self.told else None

    def fitted(
        self, work: Work, size: int, compute: Callable[[int], Result], cost: Costing | None = None, least: int = 1
    ) -> Result:
        """Return what is computed with so many samples at once: `size`, those that are planned, or half until it fits.

        `compute` is called anew after it has failed. Raises JobFailure where the `least` at once do not fit.
        """
        while True:
            size = self.at_once(work, size, cost)
            found = self._tried(work, size, lambda: compute(size), least)  # noqa: B023
            if found is not None:
                return found[0]

    def each(
        self,
        work: Work,
        split: Sequence[Tensor],
        compute: Callable[[Tensor], Result],
        extents: Callable[[], Tensor] | None = None,
        *,
        key: Hashable = (),
        one: Callable[[Tensor], object] | None = None,
    ) -> Iterator[tuple[Tensor, Result]]:
        """Yield every piece of `split` with what is computed of it; one that does not fit is cut into smaller ones.

        `extents` (n,) say how large each example is; a piece is planned by its largest, and without them by none. `one`
        computes a single example where `compute` can't be asked for it just to see what it takes.
        """
        waiting, sizes, costing = list(reversed(split)), None, None
        if extents is not None and split and self.free is not None:
            sizes = extents()
            alone = _largest(torch.cat(list(split)), sizes)
            extent = float(sizes[alone])
            costing = partial(Cost, lambda: (one or compute)(alone), (key, extent), extent)
        while waiting:
            piece = waiting.pop()
            most = self.at_once(work, len(piece), costing, None if sizes is None else float(sizes[piece].max()))
            if most < len(piece):
                waiting += reversed(piece.split(most))
                continue
            found = self._tried(work, len(piece), lambda: compute(piece))  # noqa: B023
            if found is None:
                waiting.append(piece)
            else:
                yield piece, found[0]

    def at_once(self, work: Work, size: int, costing: Costing | None = None, extent: float | None = None) -> int:
        """Return how many of `size` samples to compute at once, the largest of which has the `extent`."""
        size = max(1, min(size, self._most.get(work, size)))
        if costing is None or size == 1 or (free := self.free) is None:
            return size
        cost = costing()
        each = self._measured(work, cost) * (cost.extent if extent is None else extent)
        planned = plan.fitting(free, each, size, cost.reserved)
        if planned < size and work not in self._planned:  # told once: what is free differs a little from time to time
            self._planned.add(work)
            self._tell(
                f"{_capital(NAMES[work])}: {planned} of {size} samples are computed at once, since one takes about "
                f"{_shown(each)} of the {_shown(plan.room(free, cost.reserved))} of memory that may be used."
            )
        return planned

    def _measured(self, work: Work, cost: Cost) -> float:
        """Return the bytes of a sample for each unit of its extent."""
        key = (work, cost.key)
        if key not in self._each:
            found: list[int] = []
            self.fitted(work, 1, lambda _: found.append(peak_bytes(cost.one)))
            self._each[key] = found[-1] / cost.extent
        return self._each[key]

    def _tried(self, work: Work, size: int, compute: Callable[[], Result], least: int = 1) -> tuple[Result] | None:
        """Return what is computed; None where it did not fit, and half as many are to be computed at once."""
        try:
            return (compute(),)
        except Exception as error:
            # what failed one by one inside may have room where fewer rows stand beside it
            if not smaller_may_fit(error) or (isinstance(error, JobFailure) and work != "rows"):
                raise
            if size <= least:
                if not out_of_memory(error):  # there was room: it is what the error says
                    raise
                words = ALONE.format(_capital(NAMES[work]), self._told_free())
                raise JobFailure(words, code="out_of_memory") from error
        # not above: as long as the error is there, so is all that its frames hold
        self._release()
        self._most[work] = size // 2
        if work == "rows":
            self._most.pop("gradient", None)
        what = "numbers" if work == "rows" else "samples"
        self._tell(
            f"{_capital(NAMES[work])}: {size:,} {what} at once did not fit into memory{self._told_free()}; the job "
            f"goes on with {size // 2:,}."
        )
        return None

    def _release(self) -> None:
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _told_free(self) -> str:
        free = self.free
        return "" if free is None else f", of which {_shown(free)} were free"

    def _tell(self, words: str) -> None:
        if words not in self.news:
            self.news.append(words)


def weights_of(*networks: torch.nn.Module) -> int:
    """Return the bytes of all numbers of networks."""
    tensors = (tensor for network in networks for tensor in (*network.parameters(), *network.buffers()))
    return sum(tensor.nbytes for tensor in tensors)


def _largest(index: Tensor, extents: Tensor) -> Tensor:
    """Return the largest of the examples `index`, alone (1,)."""
    return index[extents[index].argmax()].view(1)


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]


def _shown(size: float) -> str:
    """Write bytes in GiB, or in MiB below a tenth of one."""
    return f"{size / GIB:.1f} GiB" if size >= GIB / 10 else f"{size / 2**20:.1f} MiB"
