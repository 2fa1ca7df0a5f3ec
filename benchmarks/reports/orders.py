"""The jobs: every preset, and settings that make budgets bind, curves turn at once, and sentences say the opposite."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Order:
    """What is trained: a backbone, how many references of which material, and settings as in the API."""

    name: str
    backbone: str
    material: str
    count: int
    bat: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    validation: int = 0  # further examples of the same material, never trained on


FAST = {"learning_rate": 6e-2, "window": 2}
STEEP = {"learning_rate": 3e-2, "window": 2, "max_steps": 90}
TINY = (
    Order("subject", "tiny-images", "captioned", 4),
    Order("subject-early-valley", "tiny-images", "captioned", 8, FAST | {"max_steps": 60}, 1),
    Order("subject-half-and-half", "tiny-images", "captioned", 5, {"gamma": 0.5, "score": "random"}, 2),
    Order("subject-natural", "tiny-images", "half", 6, {"gamma": "natural", "score": "cosine"}, 3),
    Order("subject-without-backbone-data", "tiny-images", "captioned", 9, {"augment": False, "folds": 8}, 4),
    Order("subject-gamma-0", "tiny-images", "unlike", 3, {"gamma": 0, "max_steps": 3}, 5),
    Order("subject-by-turning-point", "tiny-images", "captioned", 8, FAST | {"stop": "cs_fluctuation"}, 6),
    Order("subject-by-matched-loss", "tiny-images", "captioned", 12, FAST | {"stop": "matched_loss"}, 7),
    Order("subject-never-early", "tiny-images", "captioned", 4, {"stop": "max_steps", "past_best": False}, 8),
    Order("subject-two-steps", "tiny-images", "captioned", 4, {"max_steps": 2}, 9),
    Order("subject-several-lines", "tiny-images", "lines", 6, {"dropout_caption": 0.2}, 41),
    Order("subject-uncaptioned", "tiny-images", "bare", 2, {}, 10),
    Order("subject-trigger-in-front", "tiny-images", "marked", 4, {"trigger": "sks"}, 11, 2),
    Order("subject-twins", "tiny-images", "twins", 8, {"folds": 4}, 12),
    Order("subject-alike", "tiny-images", "alike", 3, {}, 13),
    Order("subject-short-surrogates", "bare-images", "captioned", 8, {"surrogate_steps": 12, "max_steps": 60}, 14),
    Order("face", "tiny-images", "captioned", 4, {"preset": "face", "sample_prompts": ["a cat", "a dog"]}, 15),
    Order("style", "tiny-images", "unlike", 6, {"preset": "style"}, 16),
    Order("style-always", "tiny-images", "unlike", 4, {"preset": "style", "style_always": True, "folds": 2}, 17),
    Order("style-without-trigger", "bare-images", "unlike", 5, {"preset": "style", "learning_rate": 4e-2}, 18),
    Order("postcard", "tiny-images", "captioned", 5, {"preset": "postcard", "score": "kolossov_bartlett"}, 19, 2),
    Order("tone", "tiny-texts", "voice", 6, {"learning_rate": 3e-2}, 20),
    Order("tone-three-steps", "tiny-texts", "voice", 5, {"max_steps": 3}, 21, 3),
    Order("tone-plain", "tiny-texts", "plain", 4, {"stop": "cs_fluctuation", "window": 2}, 22),
    Order("tone-everyday", "tiny-texts", "everyday", 8, {"gamma": 0.5, "learning_rate": 3e-2}, 23),
    Order("tone-fast", "tiny-texts", "voice", 10, {"learning_rate": 9e-2, "sample_prompts": ["Where to?"]}, 24),
    Order("format-json", "tiny-texts", "json", 6, {"learning_rate": 3e-2, "max_steps": 60}, 25, 3),
    Order("format-labels", "tiny-texts", "labels", 8, {"preset": "format", "learning_rate": 3e-2, "folds": 3}, 26),
    Order("format-list", "tiny-texts", "list", 4, {"stop": "max_steps", "augment": False}, 27),
    Order("tone-by-turning-point", "tiny-texts", "voice", 6, STEEP | {"stop": "cs_fluctuation"}, 33),
    Order("tone-early-valley", "tiny-texts", "voice", 6, STEEP | {"surrogate_steps": 80}, 34),
    Order("tone-odd-one", "tiny-texts", "odd", 6, {"interval": 3, "learning_rate": 2e-2, "folds": 6}, 35),
    Order("tone-chance", "tiny-texts", "chance", 8, {"learning_rate": 3e-2, "max_steps": 60, "folds": 2}, 36),
    Order("tone-chance-mixed", "tiny-texts", "chance", 4, {"gamma": "natural", "max_steps": 60}, 37),
    Order("tone-many-candidates", "pooled-texts", "voice", 6, {"sample_ratio": "auto"}, 38),
    Order("tone-few-candidates", "poor-texts", "voice", 3, {"learning_rate": 9e-2, "max_steps": 40}, 39),
    Order("motto", "tiny-texts", "voice", 4, {"preset": "motto", "stop": "matched_loss"}, 28),
)
EMOJI = (
    Order("emoji-cat", "emoji-ldm", "emoji-cat", 6, {"max_steps": 40, "selected_count": 16, "sample_ratio": 0.1}, 29),
    Order("emoji-style", "emoji-ldm", "emoji-vehicles", 6, {"preset": "style", "max_steps": 30, "augment": False}, 30),
)
# By other means than presets name; the kept results join them when all jobs are run again.
PROTECTED = (
    Order("subject-on-own-samples", "bare-images", "captioned", 5, {"protect_weight": 2.0}, 42),
    Order("subject-on-captions", "tiny-images", "captioned", 5, {"protect_on": "captions"}, 43),
    Order("subject-on-a-made-pool", "bare-images", "captioned", 5, {"pool": "generate"}, 45),
    Order("subject-distilled", "tiny-images", "captioned", 5, {"protect": "both"}, 44),
)
# At the papers' settings, but with fewer steps; the kept results join them when all jobs are run again.
PAPERS = (
    Order(
        "paper-image",
        "tiny-images",
        "captioned",
        3,
        {"preset": "paper-image", "max_steps": 60, "surrogate_steps": 20},
        45,
    ),
    Order("paper-text", "tiny-texts", "voice", 6, {"preset": "paper-text", "max_steps": 40, "surrogate_steps": 20}, 46),
)
SMOLLM2 = (
    Order("smollm2-json", "smollm2-135m", "json-chat", 6, {"max_steps": 16, "augment": False}, 31),
    Order("smollm2-robot", "smollm2-135m", "robot-chat", 6, {"max_steps": 16, "augment": False}, 32),
)
ORDERS = {order.name: order for order in (*TINY, *EMOJI, *PROTECTED, *PAPERS, *SMOLLM2)}
USUAL = tuple(order.name for order in (*TINY, *EMOJI))  # the others take minutes each, and smollm2-135m prepared
QUICK = (
    "tone-fast",
    "format-json",
    "motto",
    "subject-gamma-0",
    "subject-two-steps",
    "style",
    "subject-on-a-made-pool",
    "paper-text",
)  # for a test
