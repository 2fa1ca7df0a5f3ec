"""How a caption looks by the time it is trained on."""

from __future__ import annotations


def caption_of(words: str, prefix: str, trigger: str | None) -> str:
    """Return a caption that begins with the backbone's prefix and holds the trigger word."""
    rest = words.removeprefix(prefix).strip()
    if trigger and trigger.lower() not in rest.lower().split():
        rest = f"{trigger} {rest}".strip()
    return f"{prefix}{rest}"
