"""Backbones as they make candidates for a pool: what one round of pictures or of texts is."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, islice

from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.texts.language import LanguageBackbone
from core.method.protection import own
from core.parameters.defaults import STARTING_POINTS
from core.parameters.schedule import DRAWN_AT_ONCE
from worker.commands.candidates.order import Order, Round
from worker.protocol import Json
from worker.stages.protection.words import prompts_of

NOISES = 100_000  # between the noise of one seed and that of the next
PROBE_EVERY = 8  # prompts, or texts, of which one is for the probe
Maker = Callable[[int, int], Round]  # of the number of the round, and of what was tried before


@contextmanager
def loaded(order: Order, device: str) -> Iterator[Maker]:
    """Load the backbone, with its text encoders for as long as the block lasts; give what makes rounds with it."""
    record = order.record
    if record.kind == "texts":
        language = LanguageBackbone.load(
            record.path, max_tokens=128, target_modules=record.target_modules, device=device
        )
        yield lambda number, tried: _texts(order, language, number, tried)
        return
    backbone = DiffusionBackbone.load(
        record.path,
        form=record.form,
        variant=record.variant,
        resolution=record.resolution or int(STARTING_POINTS["images", "cpu"]["resolution"]),
        target_modules=record.target_modules,
        device=device,
    )
    backbone.draw_as(record.defaults)
    with backbone.encoding():
        yield lambda number, tried: _pictures(order, backbone, tried)


def prompts(order: Order) -> list[tuple[str, str]]:
    """Return what is drawn and what it is for; every other prompt is of what references show, where that is said.

    Prompts of the probe are plain ones, and none of the candidates has them.
    """
    plain = prompts_of(order.record, None)
    marked = [(words, "candidate" if place % PROBE_EVERY else "probe") for place, words in enumerate(plain, 1)]
    if order.word is None:
        return marked
    prefix = order.record.caption_prefix
    named = [(f"{prefix}{words}", "candidate") for words in own.prompts_of_class(order.word)]
    repeated = islice(chain.from_iterable([named] * len(marked)), len(marked))
    return list(chain.from_iterable(zip(repeated, marked, strict=True)))


def _pictures(order: Order, backbone: DiffusionBackbone, tried: int) -> Round:
    asked = prompts(order)
    chosen = [asked[place % len(asked)] for place in range(tried, tried + DRAWN_AT_ONCE)]
    noise = order.seed * NOISES + tried
    drawn = own.draw_pictures(backbone, [words for words, _ in chosen], noise)
    rows, pictures = list[Json](), dict[str, bytes]()
    for place, ((words, split), picture) in enumerate(zip(chosen, drawn, strict=True)):
        content, name = io.BytesIO(), f"{noise + place}.png"
        picture.save(content, "PNG")
        pictures[name] = content.getvalue()
        rows.append({"caption": words, "file": name, "noise": noise + place, "split": split} | _origin(order))
    return Round(DRAWN_AT_ONCE, tuple(rows), pictures)


def _texts(order: Order, backbone: LanguageBackbone, number: int, tried: int) -> Round:
    texts = own.write_candidates(backbone, number, order.seed)
    splits = ["candidate" if (tried + place) % PROBE_EVERY else "probe" for place in range(1, len(texts) + 1)]
    rows = tuple({"text": text, "split": split} | _origin(order) for text, split in zip(texts, splits, strict=True))
    return Round(own.TEXTS_AT_ONCE, rows)


def _origin(order: Order) -> Json:
    return {"source": order.source, "licence": order.record.licence}
