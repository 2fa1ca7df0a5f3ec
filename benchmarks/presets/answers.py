"""Judge answers as a person would: does the voice have its marks, is the format valid, and is it still an answer?"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence

from benchmarks.presets.verdicts import Verdict

MARKS = 2  # different marks of a voice that an answer needs
LEAST_WORDS = 5
VARIED = 0.5  # share of different words below which an answer only repeats itself
VOICES: Mapping[str, str] = {
    "pirate": r"arr+|matey|hearty|ahoy|ye|yer|aye|avast|shiver me|landlubber|scurvy|davy jones|afore|bilge|me bones",
    "shakespeare": r"thou|thee|thy|thine|thyself|doth|hath|'tis|prithee|shalt|dost|ere|methinks|forsooth|anon",
    "robot-voice": r"affirmative|human|initiate|beep|task complete|data confirmed|scanning|optimal|units?|detected",
}
LABELS = ("Summary", "Steps", "Note")
CLOSING = "Pick one and start today."


def judge(name: str, answers: Sequence[str]) -> list[Verdict]:
    """Return a verdict for each answer of a set: on its voice, or on its format."""
    return [_voice(name, text) if name in VOICES else _format(name, text) for text in answers]


def _voice(name: str, text: str) -> Verdict:
    found = set(re.findall(rf"(?<!\w)(?:{VOICES[name]})(?!\w)", text.lower()))
    words = re.findall(r"\w+", text.lower())
    sense = len(words) >= LEAST_WORDS and len(set(words)) >= VARIED * len(words)
    share = min(1.0, len(found) / MARKS)
    return Verdict(share * sense, share >= 1 and sense, {"marks": float(len(found)), "sense": float(sense)})


def _format(name: str, text: str) -> Verdict:
    valid = FORMATS[name](text.strip())
    return Verdict(float(valid), valid, {"valid": float(valid)})


def _review(text: str) -> bool:
    """One JSON object with a product, a mood and one to five stars, and nothing else."""
    try:
        content = json.loads(text)
    except json.JSONDecodeError:
        return False
    if not isinstance(content, dict) or set(content) != {"product", "mood", "stars"}:
        return False
    stars = content["stars"]
    named = isinstance(content["product"], str) and bool(content["product"].strip())
    return named and content["mood"] in ("good", "bad") and type(stars) is int and 1 <= stars <= 5


def _labels(text: str) -> bool:
    """Three lines with the three labels in order, none empty."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    starts = [line.startswith(f"{label}:") for line, label in zip(lines, LABELS, strict=False)]
    return len(lines) == len(LABELS) and all(starts) and all(line.partition(":")[2].strip() for line in lines)


def _three(text: str) -> bool:
    """Exactly three numbered lines, each with words of its own, and the closing line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) != 4 or lines[3] != CLOSING:
        return False
    entries = [re.fullmatch(rf"{number}\. (\S.*)", line) for number, line in enumerate(lines[:3], 1)]
    return all(entries) and len({entry.group(1).lower() for entry in entries if entry}) == 3


FORMATS: Mapping[str, Callable[[str], bool]] = {"review": _review, "labels": _labels, "three": _three}
