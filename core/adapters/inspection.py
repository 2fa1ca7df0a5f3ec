"""What an adapter's file is, from the file alone: format, modules, scale, numbers, card, and what is wrong with it."""

from __future__ import annotations

import errno
import lzma
import math
import mmap
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from core.adapters import card as cards
from core.adapters import scaling, tensor_files
from core.adapters.card_schema import parsed, taken
from core.adapters.tensor_files import damaged
from core.errors import InvalidInput
from core.tensors.table import Entry, Table
from core.text_safety import shown

PEFT_PREFIX = "base_model.model."
KNOWN_FORMATS = {
    "peft": "PEFT (peft, transformers, vLLM)",
    "diffusers": "diffusers",
    "kohya": "kohya (ComfyUI, A1111)",
    "gguf": "GGUF (llama.cpp)",
    "merged": "merged weights",
    "card": "provenance card",
}
HALVES = {
    ".lora_down.weight": "down",
    ".lora_up.weight": "up",
    ".lora_A.weight": "down",
    ".lora_B.weight": "up",
    ".weight.lora_a": "down",
    ".weight.lora_b": "up",
}
# under which a file names its backbone: peft's and our kept steps', llama.cpp's, kohya's, and older kept steps'
BACKBONE_KEYS = (
    "base_model_name_or_path",
    "general.base_model.0.name",
    "ss_sd_model_name",
    "ss_base_model_version",
    "backbone",
)
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
MAX_ADAPTER_BYTES = 4 << 30
MAX_JSON_BYTES = 16_000_000
NAMED = 3  # modules in one warning


@dataclass
class Inspection:
    """What was found; `alphas` are empty where the file does not say, and alone not the scale where it is `uneven`."""

    name: str
    bytes: int
    form: str
    modules: dict[str, int] = field(default_factory=dict)  # how many of each kind
    ranks: list[int] = field(default_factory=list)
    alphas: list[float] = field(default_factory=list)
    uneven: list[str] = field(default_factory=list)
    numbers: list[str] = field(default_factory=list)
    parameters: int = 0
    backbone: str | None = None
    card: dict[str, Any] | None = None
    card_sha256: str | None = None
    warnings: list[str] = field(default_factory=list)


def inspect(path: Path) -> Inspection:
    """Read a safetensors file, a GGUF file, a peft zip or folder, or a card; raises InvalidInput where it is none."""
    name = shown(path.name)
    if path.is_dir():
        config = parsed(_limited((path / CONFIG).open("rb"), CONFIG), CONFIG)
        found = _peft(name, (path / WEIGHTS).read_bytes(), config)
    elif zipfile.is_zipfile(path):
        found = _zip(path, name)
    elif path.suffix == ".json":
        found = _card(path, name)
    else:
        found = _mapped(path, name)
    _compare_card(path, found)
    return found


def _mapped(path: Path, name: str) -> Inspection:
    size = path.stat().st_size
    if not size:
        raise InvalidInput(f"{name} is empty; fetch it again.", code="invalid_adapter")
    # a read-only map, which numpy's views keep alive after this function
    with path.open("rb") as file:
        whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return examined(name, size, tensor_files.read(whole, name), None)


def _zip(path: Path, name: str) -> Inspection:
    with _unzipping(path, name) as archive:
        held = _members(archive, name)
    if WEIGHTS in held:
        return _peft(name, held[WEIGHTS], parsed(held[CONFIG], CONFIG))
    found = Inspection(name, path.stat().st_size, "merged")
    if cards.CARD_FILE in held:
        _take_card(found, held[cards.CARD_FILE])
    return found


def _members(archive: zipfile.ZipFile, name: str) -> dict[str, bytes]:
    """Read what is looked at: weights and configuration of a peft folder, or the card of merged weights."""
    names = set(archive.namelist())
    if {WEIGHTS, CONFIG} <= names:
        if archive.getinfo(WEIGHTS).file_size > MAX_ADAPTER_BYTES:
            raise InvalidInput(f"{name} is too large for an adapter.", code="invalid_adapter")
        return {WEIGHTS: archive.read(WEIGHTS), CONFIG: _limited(archive.open(CONFIG), CONFIG)}
    if "config.json" in names and any(member.endswith(".safetensors") for member in names):
        return {card: _limited(archive.open(card), card) for card in names & {cards.CARD_FILE}}
    raise InvalidInput(
        f"{name} holds neither an adapter ({CONFIG}, {WEIGHTS}) nor merged weights.", code="invalid_adapter"
    )


@contextmanager
def _unzipping(path: Path, name: str) -> Iterator[zipfile.ZipFile]:
    """Open an archive to read from; what zipfile and its decompressors raise where a byte is false is damage."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError, OverflowError):
        raise damaged(name) from None
    except OSError as error:
        if error.errno in (None, errno.EINVAL):  # bz2's word for damage, and a place before the file's beginning
            raise damaged(name) from None
        raise


def _limited(file: IO[bytes], name: str) -> bytes:
    """Read JSON that a stranger has packed: a few kilobytes of an archive may be gigabytes of text."""
    with file:
        content = file.read(MAX_JSON_BYTES + 1)
    if len(content) > MAX_JSON_BYTES:
        raise InvalidInput(
            f"{name} has more than {MAX_JSON_BYTES // 1_000_000} MB, which no adapter needs; fetch it again.",
            code="invalid_adapter",
        )
    return content


def _peft(name: str, weights: bytes, config: dict[str, Any]) -> Inspection:
    return examined(name, len(weights), tensor_files.read(memoryview(weights), name), config)


def _card(path: Path, name: str) -> Inspection:
    found = Inspection(name, path.stat().st_size, "card")
    _take_card(found, _limited(path.open("rb"), name))
    if "backbone" not in (found.card or {}):
        raise InvalidInput(f"{name} is not the card of an adapter.", code="invalid_adapter")
    return found


def _take_card(found: Inspection, content: bytes) -> None:
    found.card = taken(content, found.name)
    found.card_sha256 = cards.digest(content)
    found.backbone = (found.card.get("backbone") or {}).get("id")


def examined(name: str, size: int, table: Table, config: dict[str, Any] | None) -> Inspection:
    """Say what a table of tensors is; `config` is what lies beside it in a peft folder."""
    found = Inspection(name, size, _form(table))
    pairs = _pairs(table)
    found.modules = dict(sorted(Counter(_kind(module) for module in pairs).items()))
    found.numbers = sorted({entry.numbers for entry in table.tensors.values() if entry.shape})
    found.parameters = sum(math.prod(entry.shape) for pair in pairs.values() for entry in pair.values())
    found.ranks = sorted({pair["down"].shape[0] for pair in pairs.values() if pair.get("down") and pair["down"].shape})
    if text := table.facts.get(cards.CARD):
        found.card, found.card_sha256 = taken(str(text), name), str(table.facts.get(cards.CARD_HASH) or "") or None
    found.backbone = _backbone(table, config, found.card)
    settings = scaling.settings(table, config, name)
    found.alphas, found.uneven = scaling.alphas(table, settings, name), scaling.uneven(table, settings)
    found.warnings = _warnings(table, pairs) + _unread(table, pairs) + _scale_warnings(found)
    return found


def _form(table: Table) -> str:
    names = list(table.tensors)
    if table.kind == "gguf":
        return "gguf" if table.facts.get("general.type") == "adapter" else "another model in GGUF"
    if any(name.endswith(".lora_down.weight") for name in names):
        return "kohya"
    if any(name.startswith(PEFT_PREFIX) and ".lora_" in name for name in names):
        return "peft"
    return "diffusers" if any(".lora_A.weight" in name for name in names) else "another model in safetensors"


def _pairs(table: Table) -> dict[str, dict[str, Entry]]:
    pairs: dict[str, dict[str, Entry]] = {}
    for name, entry in table.tensors.items():
        for ending, half in HALVES.items():
            if name.endswith(ending):
                pairs.setdefault(name.removesuffix(ending), {})[half] = entry
    return pairs


def _kind(module: str) -> str:
    """Name the kind of a module, the same in every format: attn1.to_q, ff.net.2, q_proj."""
    plain = module.removeprefix(PEFT_PREFIX).replace(".", "_")
    if found := re.search(r"(attn\d)_(to_[a-z]+)(?:_0)?$", plain):
        return f"{found[1]}.{found[2]}"
    if found := re.search(r"ff_net_(\d)(?:_proj)?$", plain):
        return f"ff.net.{found[1]}"
    found = re.search(r"(?:proj_in|proj_out|conv\w*|time_emb\w*|[a-z]+_proj|attn_[a-z]+|ffn_[a-z]+)$", plain)
    return found[0] if found else module


def _backbone(table: Table, config: dict[str, Any] | None, card: dict[str, Any] | None) -> str | None:
    if card:
        return (card.get("backbone") or {}).get("id")
    told = (table.facts.get(key) for key in BACKBONE_KEYS)
    named = [(config or {}).get("base_model_name_or_path"), *told]
    return next((str(name) for name in named if name), None)


def _warnings(table: Table, pairs: dict[str, dict[str, Entry]]) -> list[str]:
    broken = [
        name for name, entry in table.tensors.items() if entry.read is not None and not np.isfinite(entry.read()).all()
    ]
    halves = [module for module, pair in pairs.items() if len(pair) < 2]
    empty = [module for module, pair in pairs.items() if (up := pair.get("up")) and up.read and not up.read().any()]
    found = []
    if broken:
        found.append(f"It holds numbers that are not finite: {_some(broken)}.")
    if halves:
        found.append(f"A half is missing: {_some(halves)}.")
    if empty:
        found.append(f"B is all zero, so nothing is changed: {_some(empty)}.")
    if not pairs:
        found.append("It holds no LoRA matrices.")
    return found


def _unread(table: Table, pairs: dict[str, dict[str, Entry]]) -> list[str]:
    """Say which numbers nobody has looked at, so that silence is not taken for a finding."""
    halves = [entry for pair in pairs.values() for entry in pair.values()]
    alphas = [entry for name, entry in table.tensors.items() if name.endswith(scaling.ALPHA)]
    types = sorted({entry.numbers for entry in (*halves, *alphas) if entry.read is None})
    return [f"Numbers of type {_some(types)} are not read here, so nothing is known of them."] if types else []


def _scale_warnings(found: Inspection) -> list[str]:
    warnings = []
    if len(found.ranks) > 1:
        ranks = ", ".join(map(str, found.ranks))
        warnings.append(f"Modules have different ranks ({ranks}); some readers take only one.")
    if len(found.alphas) > 1:
        warnings.append("Modules have different alphas; some readers take only one.")
    if found.uneven:
        warnings.append(f"It sets {', '.join(found.uneven)}: alpha / rank is not its scale, which some readers miss.")
    if found.ranks and not found.alphas:
        warnings.append("It does not say alpha; readers take the rank for it, which is right only if it is.")
    return warnings


def _compare_card(path: Path, found: Inspection) -> None:
    """Hold the card's hash in a file against the card.json that lies beside it."""
    beside = path.parent / cards.CARD_FILE
    if found.form == "card" or not found.card_sha256 or not beside.is_file():
        return
    if cards.digest(beside.read_bytes()) != found.card_sha256:
        found.warnings.append("The card.json beside it is of another adapter.")


def _some(names: list[str]) -> str:
    further = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(sorted(names)[:NAMED]) + further
