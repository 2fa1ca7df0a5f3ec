"""Let a text backbone write candidates itself: what it says unasked is the nearest thing to its pre-training data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from core.errors import InvalidInput

if TYPE_CHECKING:
    from core.method.backbones.texts.language import LanguageBackbone

TEXTS_AT_ONCE = 16
TEMPERATURE = 0.9
SHARE, MOST = 0.95, 50  # of the probability, and of the tokens, from which one is drawn (top-p, top-k)
NEW_TOKENS = 56
FEWEST_WORDS = 12
PATIENCE = 8  # rounds without one usable text, before a model is taken for one that ends no sentence
OPENINGS = (
    "The",
    "In the",
    "A",
    "How to",
    "When",
    "There are",
    "One of the",
    "If you",
    "It was",
    "During the",
    "Most people",
    "The first",
    "Many",
    "To make",
    "Once upon a time",
    "According to",
    "She",
    "He",
    "We",
    "Our",
    "This",
    "Children",
    "Scientists",
    "Water",
    "Music",
    "Every morning",
    "In mathematics",
    "The history of",
    "An important",
    "Because",
)


def generate(backbone: LanguageBackbone, amount: int, seed: int) -> Iterator[str]:
    """Yield texts that the backbone draws from short openings, each ended at its last full sentence.

    Raises InvalidInput where it goes on and on without one: such a model can't write candidates.
    """
    import torch

    torch.manual_seed(seed)
    begin, made, in_vain = backbone.rendering.begin, 0, 0
    while made < amount:
        openings = [OPENINGS[(made + place) % len(OPENINGS)] for place in range(TEXTS_AT_ONCE)]
        rows = [begin + backbone.rendering.ids(opening) for opening in openings]
        with backbone.lora.use(None):
            drawn = backbone.continued(rows, max_new_tokens=NEW_TOKENS, temperature=TEMPERATURE, share=SHARE, most=MOST)
        texts = [row + more for row, more in zip(rows, drawn.tolist(), strict=True)]
        whole = [to_last_sentence(text) for text in backbone.tokenizer.batch_decode(texts, skip_special_tokens=True)]
        usable = [text for text in whole if len(text.split()) >= FEWEST_WORDS][: amount - made]
        in_vain = 0 if usable else in_vain + 1
        if in_vain == PATIENCE:
            raise InvalidInput(
                f"{PATIENCE * TEXTS_AT_ONCE} texts in a row had no full sentence of {FEWEST_WORDS} words; {made} of "
                f"{amount} were written before. This backbone can't write candidates: give it a pool of texts.",
                code="no_sentences",
                param="generate",
            )
        made += len(usable)
        yield from usable


def to_last_sentence(text: str) -> str:
    """Cut a text behind its last full stop and write it on one line."""
    line = " ".join(text.split())
    end = max(line.rfind(mark) for mark in ".!?")
    return line[: end + 1]
