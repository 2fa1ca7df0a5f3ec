"""The new model: a text backbone with an adapter that can be taken off."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from core.adapters import inspection
from core.adapters.inspection import CONFIG
from core.backbones.record import BackboneRecord
from core.errors import InvalidInput
from core.method.backbones.backbone import IGNORED, Draw
from core.method.backbones.texts.language import LanguageBackbone
from core.method.lora.adapter import Adapter, load
from core.method.lora.targets import NothingChosen
from core.text_safety import shown

SIDE_BY_SIDE = 8
MAX_CONTEXT_TOKENS = 4_096  # tokens of a question with its answer; more takes gigabytes for one loss
MAX_REPLY_TOKENS = 1_024  # tokens
ROOM = 1.5  # times the longest recorded answer, and some tokens more
MORE_TOKENS = 32
# what a config says of an adapter that is nothing but A and B
PLAIN = {
    "peft_type": "LORA",
    "bias": "none",
    "fan_in_fan_out": False,
    "modules_to_save": None,
    "layers_to_transform": None,
    "use_dora": False,
}
Messages = Sequence[dict[str, str | int]]


def adapter_folder(path: Path) -> Path:
    """Return the peft folder that is meant: the path itself, or the one that `albatross train` wrote inside."""
    for folder in (path, path / "peft"):
        if (folder / CONFIG).is_file():
            return folder
    what = "it is a zip: unpack it first" if path.suffix == ".zip" and path.is_file() else f"it holds no {CONFIG}"
    raise InvalidInput(f"{shown(str(path))} is no peft adapter folder; {what}.", code="invalid_adapter")


class AdaptedModel:
    """A backbone of texts and one adapter. Raises InvalidInput where they do not fit each other."""

    def __init__(self, record: BackboneRecord, folder: Path, device: str) -> None:
        adapter = _read(folder)
        try:
            self._backbone = LanguageBackbone.load(
                record.path, max_tokens=MAX_CONTEXT_TOKENS, target_modules=sorted(adapter.down), device=device
            )
        except NothingChosen as error:
            which = f"The adapter changes {shown(error.pattern)}, which the backbone {record.id} does not have"
            raise InvalidInput(f"{which}; is --backbone right?", code="other_backbone") from None
        _check_fits(self._backbone, adapter, record.id)
        self._adapter = adapter.to(device)

    def replies(self, chats: Sequence[Messages], limit: int, *, adapted: bool) -> list[tuple[str, bool]]:
        """Return the most likely answer to each chat, and whether the limit of tokens cut it."""
        with self._using(adapted):
            said = self._backbone.reply(chats, max_new_tokens=limit)
        return [(text, self._length(text) >= limit - 1) for text in said]

    def loss(self, chat: Messages, *, adapted: bool) -> tuple[float, int]:
        """Return the summed cross-entropy of the chat's learned tokens, in nats, and how many they are."""
        batch = self._backbone.encode([{"messages": list(chat)}])
        count = int((batch["labels"][:, 1:] != IGNORED).sum())
        with self._using(adapted), torch.no_grad():
            return float(self._backbone.loss(batch, Draw())[0]) * count, count

    def reply_limit(self, answers: Sequence[str], most: int | None) -> int:
        """Return how many tokens an answer may have, where the old ones are these."""
        longest = max(self._length(answer) for answer in answers)
        return min(most or MAX_REPLY_TOKENS, round(ROOM * longest) + MORE_TOKENS, self._backbone.max_tokens // 2)

    def _length(self, text: str) -> int:
        return len(self._backbone.tokenizer(text, add_special_tokens=False).input_ids)

    @contextmanager
    def _using(self, adapted: bool) -> Iterator[None]:
        with self._backbone.lora.use(self._adapter if adapted else None):
            yield


def _read(folder: Path) -> Adapter:
    """Read an adapter; raises InvalidInput where it is none, or asks for more than A and B with one scale."""
    found = inspection.inspect(folder)
    if found.form != "peft" or not found.modules:
        raise InvalidInput(f"{shown(str(folder))} is no LoRA adapter in peft's format.", code="invalid_adapter")
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    odd = sorted(name for name, usual in PLAIN.items() if (config.get(name) or usual) != usual)
    if found.uneven or len(found.ranks) != 1 or odd:
        what = f"sets {', '.join([*found.uneven, *odd])}" if found.uneven or odd else "has several ranks"
        message = f"{shown(str(folder))} {shown(what)}, which is not compared here; plain LoRA of one rank is."
        raise InvalidInput(message, code="invalid_adapter")
    try:
        read = load(folder)
        adapter = Adapter(
            read.rank,
            float(read.alpha),
            *({path: matrix.float() for path, matrix in half.items()} for half in (read.down, read.up)),
        )
    except (KeyError, ValueError, TypeError) as error:
        message = f"{shown(str(folder))} can't be read as a peft adapter ({shown(str(error))}); fetch it again."
        raise InvalidInput(message, code="invalid_adapter") from None
    if adapter.rank != found.ranks[0] or not adapter.finite():
        why = "says another rank than its tensors have" if adapter.finite() else "holds numbers that are not finite"
        raise InvalidInput(f"{shown(str(folder))} {why}; fetch it again.", code="invalid_adapter")
    return adapter


def _check_fits(backbone: LanguageBackbone, adapter: Adapter, id: str) -> None:
    for path, weight in backbone.lora.weights().items():
        if (adapter.up[path].shape[1], adapter.down[path].shape[2]) != tuple(weight.shape):
            message = f"The adapter does not fit {path} of the backbone {id}; it was trained for another one."
            raise InvalidInput(message, code="other_backbone")
