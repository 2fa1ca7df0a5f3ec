"""The sets: for each preset three things to learn, with what is asked afterwards that was never trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.presets import drawings
from benchmarks.presets.conversions import CONVERSIONS, convert, pool_pictures
from core.backbones.families import Kind
from core.disk import ROOT

HERE = Path(__file__).resolve().parent
PICTURES = 8  # a side
SUBJECTS = {"ghost": "ghost", "robot": "robot face", "owl": "owl"}  # name -> the word that the backbone knows
# of many colours and shapes, as a careful owner would choose them
LEARNED = (
    "panda face",
    "tomato",
    "carrot",
    "grinning face",
    "aubergine",
    "blue heart",
    "cow face",
    "tiger face",
    "pear",
    "doughnut",
    "tulip",
    "penguin",
    "cookie",
    "crab",
    "turtle",
    "grapes",
)
NEW = ("bear face", "red apple", "frog face", "purple heart", "monkey face", "hamburger", "rabbit face", "mushroom")
OTHER = ("winking face", "red apple", "bear face", "birthday cake", "skull", "wine glass", "yellow heart", "fox face")
EVERYDAY = (
    "How do I keep flowers fresh?",
    "What is the best way to cook rice?",
    "How do I stop hiccups?",
    "Why do leaves change colour?",
    "How can I remember names?",
    "How do I save money?",
)
FACTS = (
    "What is the capital of France?",
    "Who wrote Romeo and Juliet?",
    "How many days has a week?",
    "What do bees make?",
    "Which planet is the largest?",
    "What is two plus three?",
)
QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "review": (
        "Review: The toaster burns everything and smells.",
        "Review: A lovely table, solid and smooth.",
        "Review: The phone is slow and the screen cracked.",
        "Review: This coat is warm and looks great.",
        "Review: The bottle leaks in my bag.",
        "Review: Good pen, writes well, a bit heavy.",
    ),
    "labels": (
        "How do I cook pasta?",
        "How do I fold a shirt?",
        "How do I clean a carpet?",
        "How do I plant tulips?",
        "How do I light a candle?",
        "How do I make a salad?",
    ),
    "three": (
        "Give me ideas for a long train ride.",
        "What could I bake for a friend?",
        "How can I wake up early?",
        "What should I pack for the beach?",
        "Give me ideas for a school project.",
        "What could I sing in the car?",
    ),
}


@dataclass(frozen=True)
class PresetSet:
    """References to learn from, what is asked for afterwards, and what should be left as it was."""

    name: str
    preset: str
    kind: Kind
    words: tuple[str, ...]  # captions of the references as their owner writes them; questions of texts
    asked: tuple[str, ...]  # contents or questions, none of which the references hold
    unrelated: tuple[str, ...]

    @property
    def everywhere(self) -> bool:
        """Tell whether what is learned may show in everything: a subject may not, a way of doing things may."""
        return self.preset != "subject"

    def pictures(self) -> list[Image.Image]:
        """Return the references of an image set."""
        if self.name in SUBJECTS:
            return drawings.pictures(self.name)
        known = pool_pictures()
        return [convert(self.name, known[content]) for content in LEARNED]

    def chats(self) -> list[dict[str, Any]]:
        """Return the references of a text set."""
        return [json.loads(line) for line in chat_file(self.name).read_text().splitlines()]

    def write(self, folder: Path) -> Path:
        """Write the references as a user would bring them: a folder of pictures and captions, or a JSONL file."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.kind == "texts":
            file = folder / f"{self.name}.jsonl"
            file.write_bytes(chat_file(self.name).read_bytes())
            return file
        for number, (picture, words) in enumerate(zip(self.pictures(), self.words, strict=True), 1):
            picture.save(folder / f"{number:02d}.png")
            (folder / f"{number:02d}.txt").write_text(f"{words}\n")
        return folder


def chat_file(name: str) -> Path:
    """Return where the chats of a text set lie; the pirate's are the demo's."""
    if name == "pirate":
        return ROOT / "demo" / "texts" / "references" / "pirate.jsonl"
    return HERE / "chats" / f"{name}.jsonl"


def _subject(name: str) -> PresetSet:
    word = SUBJECTS[name]
    words = tuple(f"{word} {pose.words}" for pose in drawings.POSES)
    return PresetSet(name, "subject", "images", words, (word,) * PICTURES, OTHER)


def _text(name: str, preset: str) -> PresetSet:
    rows = [json.loads(line) for line in chat_file(name).read_text().splitlines()]
    words = tuple(str(row["messages"][0]["content"]) for row in rows)
    unrelated = FACTS if preset == "tone" else EVERYDAY
    return PresetSet(name, preset, "texts", words, QUESTIONS.get(name, EVERYDAY), unrelated)


SETS: Mapping[str, PresetSet] = {
    one.name: one
    for one in (
        *(_subject(name) for name in SUBJECTS),
        *(PresetSet(name, "style", "images", LEARNED, NEW, OTHER) for name in CONVERSIONS),
        *(_text(name, "tone") for name in ("pirate", "shakespeare", "robot-voice")),
        *(_text(name, "format") for name in ("review", "labels", "three")),
    )
}
