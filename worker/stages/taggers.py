"""What describes images: colours of their pixels, or any captioning model that transformers loads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from PIL import Image

from core.backbones.taggers import COLOURS, TaggerRecord
from core.errors import JobFailure
from core.method.faults import device_fault, out_of_memory

NAMED_COLOURS = {
    "black": (20, 20, 20),
    "white": (240, 240, 240),
    "grey": (128, 128, 128),
    "red": (210, 40, 40),
    "orange": (240, 140, 30),
    "yellow": (245, 215, 60),
    "green": (60, 150, 60),
    "blue": (50, 90, 200),
    "light blue": (140, 200, 240),
    "purple": (130, 60, 160),
    "pink": (245, 150, 190),
    "brown": (120, 75, 40),
}
SIDE = 32
WORTH_NAMING = 0.15  # of the pixels
MAX_COLOURS = 3
IMAGES_AT_ONCE = 4


class Tagger(Protocol):
    """Says in a few words what each image shows."""

    def caption(self, images: Sequence[Image.Image]) -> list[str]:
        """Return one caption for each image."""


def load(id: str, record: TaggerRecord | None, device: str) -> Tagger:
    """Return the tagger of this id; raises JobFailure where its model can't be loaded."""
    if id == COLOURS:
        return Colours()
    if record is None:
        raise _unusable(id, "it is not registered on this worker")
    try:
        return Model(record, device)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        if out_of_memory(error) or device_fault(error):
            raise
        raise _unusable(id, f"loading it failed with {type(error).__name__}") from error


class Colours:
    """Names the colours that most pixels have, which is all that it knows: the same for the same pixels, always."""

    def caption(self, images: Sequence[Image.Image]) -> list[str]:
        """Return `a red and white picture` and the like."""
        return [f"a {_joined(self._colours(image))} picture" for image in images]

    def _colours(self, image: Image.Image) -> list[str]:
        small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
        counts = dict.fromkeys(NAMED_COLOURS, 0)
        for count, pixel in small.getcolors(SIDE * SIDE) or ():
            assert isinstance(pixel, tuple)
            counts[min(NAMED_COLOURS, key=lambda name: _distance(NAMED_COLOURS[name], pixel))] += count
        ranked = sorted(counts, key=lambda name: -counts[name])
        return [name for name in ranked[:MAX_COLOURS] if counts[name] >= WORTH_NAMING * SIDE * SIDE] or ranked[:1]


class Model:
    """A captioning model in transformers' format, offline and from safetensors only."""

    def __init__(self, record: TaggerRecord, device: str) -> None:
        # the supervisor and the API know taggers too, and never load torch
        from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

        from core.method.backbones.precision import float_type

        options = {"local_files_only": True, "trust_remote_code": False}
        dtype = float_type(None, device)
        # Pillow's own resizing: the other backend is another package, which nothing else here needs
        self._processor = AutoImageProcessor.from_pretrained(record.path, backend="pil", **options)
        self._tokenizer = AutoTokenizer.from_pretrained(record.path, **options)
        model = AutoModelForImageTextToText.from_pretrained(record.path, use_safetensors=True, dtype=dtype, **options)
        self._model, self._record = model.eval().to(device), record

    def caption(self, images: Sequence[Image.Image]) -> list[str]:
        """Return what the model generates greedily: the same for the same image."""
        parts = [images[start : start + IMAGES_AT_ONCE] for start in range(0, len(images), IMAGES_AT_ONCE)]
        return [words for part in parts for words in self._caption(part)]

    def _caption(self, images: Sequence[Image.Image]) -> list[str]:
        import torch

        pixels = self._processor(images=list(images), return_tensors="pt").pixel_values
        inputs = {"pixel_values": pixels.to(self._model.device, self._model.dtype)}
        if self._record.prompt:
            inputs["input_ids"] = torch.tensor([self._prompt(self._record.prompt)] * len(images)).to(self._model.device)
        with torch.no_grad():
            ids = self._model.generate(**inputs, max_new_tokens=self._record.max_tokens, do_sample=False, num_beams=1)
        return [words.strip() for words in self._tokenizer.batch_decode(ids, skip_special_tokens=True)]

    def _prompt(self, words: str) -> list[int]:
        """Return the ids of a prompt, between the marks that its family of models puts around a text."""
        ids: list[int] = self._tokenizer(words, add_special_tokens=False).input_ids
        config = self._model.config
        if config.model_type == "blip":  # which cuts off the last one by itself
            return [config.text_config.bos_token_id, *ids, config.text_config.sep_token_id]
        return [config.bos_token_id, *ids] if config.model_type == "git" else ids


def _distance(first: tuple[int, int, int], second: tuple[int, ...]) -> int:
    return sum((a - b) ** 2 for a, b in zip(first, second, strict=True))


def _joined(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _unusable(id: str, what: str) -> JobFailure:
    return JobFailure(
        f"The tagger {id} can't be used: {what}. Write captions yourself, or create the job with bat.caption none.",
        code="backbone_unavailable",
        param="bat.caption",
    )
