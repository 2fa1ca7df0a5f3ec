"""Let a text backbone write candidates itself: what it says unasked is the nearest thing to its pre-training data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.method.backbones.texts.language import LanguageBackbone

TEXTS_AT_ONCE = 16
TEMPERATURE = 0.9
NEW_TOKENS = 56
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
    """Yield texts that the backbone draws from short openings, each ended at its last full sentence."""
    import torch

    torch.manual_seed(seed)
    tokenizer, model = backbone.tokenizer, backbone.model
    made = 0
    while made < amount:
        openings = [OPENINGS[(made + place) % len(OPENINGS)] for place in range(TEXTS_AT_ONCE)]
        batch = tokenizer(openings, return_tensors="pt", padding=True, padding_side="left").to(backbone.device)
        with torch.no_grad(), backbone.lora.use(None):
            answers = model.generate(
                **batch,
                do_sample=True,
                temperature=TEMPERATURE,
                top_p=0.95,
                max_new_tokens=NEW_TOKENS,
                pad_token_id=tokenizer.eos_token_id,
            )
        for text in tokenizer.batch_decode(answers, skip_special_tokens=True):
            whole = to_last_sentence(text)
            if len(whole.split()) >= 12 and made < amount:
                made += 1
                yield whole


def to_last_sentence(text: str) -> str:
    """Cut a text behind its last full stop and write it on one line."""
    line = " ".join(text.split())
    end = max(line.rfind(mark) for mark in ".!?")
    return line[: end + 1]
