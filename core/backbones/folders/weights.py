"""Weights as the headers of safetensors files describe them: names, types and sizes, without reading a number."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from core.backbones.folders.files import json_object
from core.backbones.folders.refusal import refused
from core.tensors.header import LENGTH_BYTES, Header, header_length, parsed_header

MAX_HEADER_BYTES = 16_000_000
MAX_TENSORS = 50_000
BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
TORCH_FLOATS = {"F64": "float32", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}  # in which each is kept
FLOATS = frozenset(TORCH_FLOATS)
COUNTERS = ("position_ids", "inv_freq", "num_batches_tracked")  # tensors that are no parameters
# What packed weights bring along: bitsandbytes, GPTQ, AWQ, gpt-oss, torchao and fp8 files.
PACKED = (".absmax", ".quant_map", ".qweight", ".qzeros", ".SCB", "_blocks", ".weight_packed", ".scale_weight")


@dataclass(frozen=True)
class Weight:
    """One tensor: how its numbers are held, as safetensors calls it, and its sides."""

    type: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def check_safetensors(path: Path) -> None:
    """Check that a header is small and describes exactly the bytes that follow it, without reading them."""
    read_header(path)


def read_header(path: Path, this: str = "folder") -> Header:
    """Return a file's header; raise InvalidInput where it does not describe exactly the bytes that follow it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            length = header_length(file.read(LENGTH_BYTES), size, MAX_HEADER_BYTES)
        except ValueError:
            words = "is not a complete safetensors file; fetch it again (is it a Git LFS pointer?)"
            raise refused(f"{path.name} {words}", this=this) from None
        try:
            header = parsed_header(file.read(length))
        except (ValueError, RecursionError):
            raise refused(f"{path.name} is not valid JSON; fetch it again", this=this) from None
    ends = [_end(entry) for entry in header.tensors.values()]
    if not 0 < len(ends) <= MAX_TENSORS or max(ends) != size - LENGTH_BYTES - length:
        raise refused(f"{path.name} is cut short or has a tail; fetch it again", this=this)
    return header


def usual_floats(weights: Iterable[Weight]) -> str:
    """Return in which of torch's floats most numbers of some weights are kept."""
    held: Counter[str] = Counter()
    for weight in weights:
        held[weight.type] += weight.size
    return TORCH_FLOATS[held.most_common(1)[0][0]]


def described(header: Header, name: str, this: str = "folder") -> dict[str, Weight]:
    """Return the weights of a header; raise InvalidInput where a tensor's sides do not fit its bytes."""
    found = {}
    for tensor, entry in header.tensors.items():
        shape, type = entry.get("shape"), entry.get("dtype")
        if not isinstance(shape, list) or any(not isinstance(side, int) or side < 0 for side in shape):
            raise refused(f"{name} describes {tensor} without its sides; fetch it again", this=this)
        start, end = entry["data_offsets"]
        if type in BYTES and math.prod(shape) * BYTES[type] != end - start:
            raise refused(f"{name} describes {tensor} with sides that do not fit its bytes; fetch it again", this=this)
        found[tensor] = Weight(str(type), tuple(shape))
    return found


def weights_of(folder: Path, files: Iterable[str]) -> dict[str, Weight]:
    """Return all weights of the safetensors files among these of a folder."""
    found: dict[str, Weight] = {}
    for file in (name for name in files if name.endswith(".safetensors")):
        found |= described(read_header(folder / file), file)
    return found


def check_indexed(folder: Path, files: Iterable[str], weights: Mapping[str, Weight]) -> None:
    """Raise InvalidInput where an index names a weight that none of its parts has: a loader would draw it anew."""
    for file in (name for name in files if ".index." in name):
        named = json_object(folder, file).get("weight_map")
        lacking = sorted(named.keys() - weights.keys()) if isinstance(named, dict) else []
        if missing := [name for name in lacking if not name.endswith(COUNTERS)]:
            raise refused(f"{file} names {missing[0]}, which none of its parts has; fetch all of them again")


def parameters(weights: Mapping[str, Weight]) -> int:
    """Count the numbers that were learned."""
    return sum(each.size for name, each in weights.items() if not name.endswith(COUNTERS))


def check_plain(weights: Mapping[str, Weight], this: str = "folder") -> None:
    """Raise InvalidInput for weights that are packed into 8 or 4 bits: an adapter is trained on the original."""
    advice = "take the original in bfloat16 or float16; where memory is short, bat.precision packs it for the job"
    for name, weight in weights.items():
        if name.endswith(PACKED) or (
            weight.type not in FLOATS and not name.endswith(COUNTERS) and len(weight.shape) > 1
        ):
            raise refused(f"its weights are quantised ({name} is {weight.type}); {advice}", this=this)


def _end(entry: object) -> int:
    """Return where a tensor's bytes end, or -1 where its description makes no sense."""
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if isinstance(offsets, list) and len(offsets) == 2 and {type(each) for each in offsets} == {int}:
        return int(offsets[1])
    return -1
