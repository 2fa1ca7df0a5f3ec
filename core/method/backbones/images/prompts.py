"""Prompts that are drawn again and again, encoded once for a job so that the text encoders can go."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from core.method.backbones.backbone import Batch, join
from core.method.backbones.images.conditioners.conditioner import Conditioner

NOTHING = None  # no prompt at all: what guidance steers away from


class Prompts:
    """What prompts say, by prompt, on the CPU in float32; those that are not held yet are encoded and held.

    Each is encoded alone: in other company it would be a rounding error another, and a resumed job no longer equal.
    """

    def __init__(self, conditioner: Conditioner) -> None:
        self._conditioner = conditioner
        self._held: dict[str | None, Batch] = {}

    def hold(self, prompts: Iterable[str | None]) -> None:
        """Encode the prompts that are not held yet."""
        missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._held]
        if missing:
            with self._conditioner.encoding():
                self._held |= {prompt: self._encoded(prompt) for prompt in missing}

    @property
    def held(self) -> frozenset[str | None]:
        """The prompts whose encodings are held."""
        return frozenset(self._held)

    def of(self, prompts: Sequence[str | None]) -> Batch:
        """Return what prompts say, a row for each."""
        self.hold(prompts)
        return join([self._held[prompt] for prompt in prompts])

    def forget(self) -> None:
        """Hold nothing: another job has other prompts."""
        self._held = {}

    def forget_others(self, prompts: Collection[str | None]) -> None:
        """Hold none but these any more."""
        self._held = {prompt: said for prompt, said in self._held.items() if prompt in prompts}

    def write(self, file: Path) -> None:
        """Write all that is held."""
        rows = list(self._held.values())
        tensors = {f"{place}/{name}": tensor for place, row in enumerate(rows) for name, tensor in row.items()}
        save_file(tensors, file, metadata={"prompts": json.dumps(list(self._held))})

    def read(self, file: Path) -> None:
        """Hold what was written to a file."""
        with safe_open(file, "pt") as opened:
            prompts = json.loads(opened.metadata()["prompts"])
            rows: list[Batch] = [{} for _ in prompts]
            for key in opened.keys():  # noqa: SIM118 - it is no mapping
                place, _, name = key.partition("/")
                rows[int(place)][name] = opened.get_tensor(key)
        self._held |= dict(zip(prompts, rows, strict=True))

    def _encoded(self, prompt: str | None) -> Batch:
        said = self._conditioner.nothing() if prompt is NOTHING else self._conditioner.encode([prompt])
        return {name: tensor.float().cpu().contiguous() for name, tensor in said.items()}
