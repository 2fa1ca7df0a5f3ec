"""Safetensors files of a network, read and written one tensor at a time: a network never is in memory for it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from core.tensors.header import LENGTH_BYTES, header_length, parsed_header

SHARD_BYTES = 5 * 10**9  # of one file, at most; a tensor that is larger alone has a file of its own
FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
VARIANTS = ("", "fp16")  # of diffusers' folders, in the order in which they are taken
ALIGNED = 8  # bytes, to a multiple of which a header is filled up
COPIED_AT_ONCE = 1 << 24


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies: `start` bytes into its file; `kind` is safetensors' name of its dtype."""

    name: str
    kind: str
    shape: tuple[int, ...]
    file: Path
    start: int
    size: int

    def read(self) -> Tensor:
        """Return the tensor; raises KeyError where its numbers are no floats that torch computes with."""
        content = bytearray(self.size)
        with self.file.open("rb") as opened:
            opened.seek(self.start)
            opened.readinto(content)
        return torch.frombuffer(content, dtype=FLOATS[self.kind]).reshape(self.shape)

    def copy(self, target: BinaryIO) -> None:
        """Write the tensor's bytes as they are."""
        left = self.size
        with self.file.open("rb") as opened:
            opened.seek(self.start)
            while left:
                block = opened.read(min(left, COPIED_AT_ONCE))
                target.write(block)
                left -= len(block)


def stored_tensors(folder: Path, stem: str) -> list[StoredTensor]:
    """Return the tensors of a network's files in a folder, file by file; `stem` is what its library names them by.

    Raises FileNotFoundError where there are no such files.
    """
    return [tensor for file in weight_files(folder, stem) for tensor in _tensors(file)]


def weight_files(folder: Path, stem: str) -> list[Path]:
    """Return the files of a network in a folder: one, or those that an index names."""
    for variant in VARIANTS:
        more = f".{variant}" if variant else ""
        index = folder / f"{stem}.safetensors.index{more}.json"
        if index.is_file():
            return [folder / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
        if (file := folder / f"{stem}{more}.safetensors").is_file():
            return [file]
    raise FileNotFoundError(f"{folder} holds no {stem}.safetensors")


def write_tensors(
    tensors: Sequence[StoredTensor], change: Callable[[StoredTensor], Tensor | None], folder: Path, stem: str
) -> None:
    """Write tensors into the folder, those that `change` returns anew in their own type, all others as they are.

    More than SHARD_BYTES are dealt to several files with an index, as transformers and diffusers do.
    """
    shards = list(_shards(tensors))
    names = [f"{stem}-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    names = names if len(shards) > 1 else [f"{stem}.safetensors"]
    for name, shard in zip(names, shards, strict=True):
        with (folder / name).open("wb") as target:
            target.write(_header(shard))
            for tensor in shard:
                _write(tensor, change(tensor), target)
    if len(shards) > 1:
        places = {tensor.name: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
        total = sum(tensor.size for tensor in tensors)
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
        (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def _tensors(file: Path) -> Iterator[StoredTensor]:
    with file.open("rb") as opened:
        length = header_length(opened.read(LENGTH_BYTES), file.stat().st_size)
        tensors = parsed_header(opened.read(length)).tensors
    for name, told in sorted(tensors.items(), key=lambda item: item[1]["data_offsets"]):
        start, end = told["data_offsets"]
        yield StoredTensor(name, told["dtype"], tuple(told["shape"]), file, LENGTH_BYTES + length + start, end - start)


def _shards(tensors: Sequence[StoredTensor]) -> Iterator[list[StoredTensor]]:
    shard: list[StoredTensor] = []
    for tensor in tensors:
        if shard and sum(one.size for one in shard) + tensor.size > SHARD_BYTES:
            yield shard
            shard = []
        shard.append(tensor)
    yield shard


def _header(tensors: Sequence[StoredTensor]) -> bytes:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for tensor in tensors:
        header[tensor.name] = {
            "dtype": tensor.kind,
            "shape": list(tensor.shape),
            "data_offsets": [start, start + tensor.size],
        }
        start += tensor.size
    content = json.dumps(header, separators=(",", ":")).encode()
    content = content.ljust(ALIGNED * math.ceil(len(content) / ALIGNED))
    return len(content).to_bytes(LENGTH_BYTES, "little") + content


def _write(tensor: StoredTensor, changed: Tensor | None, target: BinaryIO) -> None:
    if changed is None:
        tensor.copy(target)
        return
    assert changed.dtype == FLOATS[tensor.kind]
    assert tuple(changed.shape) == tensor.shape
    changed.contiguous().flatten().view(torch.uint8).numpy().tofile(target)
