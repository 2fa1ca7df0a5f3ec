"""What the frozen model answers to questions that have nothing to do with any set: the behaviour that is to be kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from core.disk import write_whole
from core.method.backbones.backbone import Item
from core.method.backbones.texts.language import LanguageBackbone

UNRELATED = (
    "What is the capital of France?",
    "Explain in one sentence why leaves are green.",
    "Name three things to pack for a hike.",
    "Who was the first person on the moon?",
    "How can I learn to swim?",
    "Write a sentence about the morning.",
)
ANSWER_TOKENS = 24


def own_answers(backbone: LanguageBackbone, asked: Sequence[Item], file: Path) -> list[Item]:
    """Return chats of messages with the frozen model's most likely answers, from `file` where they are there."""
    kept: list[Item] = json.loads(file.read_text()) if file.is_file() else []
    if [chat["messages"][:-1] for chat in kept] == [chat["messages"] for chat in asked]:
        return kept
    said = backbone.answer(asked, max_new_tokens=ANSWER_TOKENS)
    chats: list[Item] = [
        {"messages": [*chat["messages"], {"role": "assistant", "content": answer}]}
        for chat, answer in zip(asked, said, strict=True)
    ]
    write_whole(file, (json.dumps(chats, indent=1) + "\n").encode())
    return chats
