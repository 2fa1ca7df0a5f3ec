"""What a backbone makes itself when nothing was adapted: pictures of plain prompts, texts, and answers of a chat.

Such samples stand for what it knows where there is no pool: what is kept is how it behaves, and that they show.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from PIL.Image import Image

    from core.method.backbones.backbone import Item
    from core.method.backbones.images.diffusion import DiffusionBackbone
    from core.method.backbones.texts.language import LanguageBackbone

TEXTS_AT_ONCE = 16
NEW_TOKENS, CANDIDATE_TOKENS = 96, 56  # at most, of a sample of its own and of a candidate of a pool
TEMPERATURE, CANDIDATE_TEMPERATURE = 1.0, 0.9  # as it speaks by itself, and a little plainer
SHARE, MOST = 0.95, 50  # of the probability, and of the tokens, from which one is drawn (top-p, top-k)
FEWEST_WORDS = 12  # of a text
PATIENCE = 8  # rounds without one usable text, before a model is taken for one that ends no sentence
SENTENCE_ENDS = ".!?"
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


def plain_prompts() -> tuple[str, ...]:
    """Return plain prompts of many kinds: people, animals, places, things, drawings and photographs."""
    return _lines("prompts.txt")


def plain_questions() -> tuple[str, ...]:
    """Return plain questions and requests of many kinds."""
    return _lines("questions.txt")


def prompts_of_class(words: str) -> tuple[str, ...]:
    """Return prompts for what the words name, as prompts do ("a cat"), in scenes of many kinds."""
    return tuple(scene.format(words) for scene in _lines("scenes.txt"))


@cache
def _lines(name: str) -> tuple[str, ...]:
    return tuple(Path(__file__).with_name(name).read_text(encoding="utf-8").split("\n")[:-1])


def mixed(lines: Sequence[str]) -> list[str]:
    """Return the lines in an order in which neighbours are of different kinds, always the same one.

    A list is written kind by kind; so whatever is taken from its beginning is of all kinds.
    """
    stride = max(1, round(len(lines) ** 0.5))
    return [line for start in range(stride) for line in lines[start::stride]]


def draw_pictures(backbone: DiffusionBackbone, prompts: Sequence[str], seed: int) -> list[Image]:
    """Return what the untouched backbone draws of each prompt, as squares, by the sampler that it comes with."""
    backbone.drawn_size = (backbone.resolution, backbone.resolution)
    held = backbone.prompts.held
    with backbone.lora.use(None):
        drawn = backbone.sample(prompts, seed=seed)
    backbone.prompts.forget_others(held)  # these are of no job
    return drawn


def write_texts(
    backbone: LanguageBackbone,
    openings: Sequence[str],
    seed: int,
    *,
    temperature: float = TEMPERATURE,
    tokens: int = NEW_TOKENS,
) -> list[str]:
    """Return how the untouched backbone goes on after each opening, ended at a full sentence; too short ones not."""
    rendering = backbone.rendering
    rows = [rendering.begin + rendering.ids(opening) for opening in openings]
    room = max(1, min(tokens, backbone.places - max(map(len, rows))))
    devices = [backbone.device] if backbone.device.type == "cuda" else []
    with backbone.lora.use(None), backbone.profiler.timed("sample", len(rows)), torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        drawn = backbone.continued(rows, max_new_tokens=room, temperature=temperature, share=SHARE, most=MOST)
    texts = [row + more for row, more in zip(rows, drawn.tolist(), strict=True)]
    whole = [to_last_sentence(text) for text in backbone.tokenizer.batch_decode(texts, skip_special_tokens=True)]
    return [text for text in whole if len(text.split()) >= FEWEST_WORDS]


def answer_questions(backbone: LanguageBackbone, questions: Sequence[str], seed: int) -> list[Item]:
    """Return chats in which the untouched backbone answers each question, without those that can't be learned."""
    asked = [{"messages": [{"role": "user", "content": question}]} for question in questions]
    with backbone.lora.use(None):
        answers = backbone.answer(asked, max_new_tokens=NEW_TOKENS, temperature=TEMPERATURE, seed=seed)
    chats = [
        {"messages": [*item["messages"], {"role": "assistant", "content": answer}]}
        for item, answer in zip(asked, answers, strict=True)
        if answer
    ]
    return [chat for chat in chats if backbone.refuses(chat) is None]


def write_round(backbone: LanguageBackbone, number: int, seed: int) -> list[Item]:
    """Return what the untouched backbone makes in a round: texts, and in every other of a chat model's answers."""
    chats = backbone.rendering.template.there
    if chats and number % 2:
        asked = mixed(plain_questions())
        return answer_questions(backbone, _turn(asked, number // 2), seed + number)
    openings = _turn(OPENINGS, number // 2 if chats else number)
    return [{"text": text} for text in write_texts(backbone, openings, seed + number)]


def _turn(lines: Sequence[str], number: int) -> list[str]:
    """Return the lines whose turn it is, of a list that begins again at its end."""
    start = number * TEXTS_AT_ONCE
    return [lines[(start + place) % len(lines)] for place in range(TEXTS_AT_ONCE)]


def write_candidates(backbone: LanguageBackbone, number: int, seed: int) -> list[str]:
    """Return the texts of a round from short openings, each ended at its last full sentence; of some models none."""
    openings = _turn(OPENINGS, number)
    return write_texts(backbone, openings, seed + number, temperature=CANDIDATE_TEMPERATURE, tokens=CANDIDATE_TOKENS)


def to_last_sentence(text: str) -> str:
    """Cut a text behind its last full stop and write it on one line."""
    line = " ".join(text.split())
    end = max(line.rfind(mark) for mark in SENTENCE_ENDS)
    return line[: end + 1]
