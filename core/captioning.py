"""How a caption looks by the time it is trained on."""

from __future__ import annotations

from core import fingerprints


def caption_of(words: str, prefix: str, trigger: str | None, add_trigger: bool = True) -> str:
    """Return a caption that begins with the backbone's prefix and holds the trigger word, once."""
    rest = words.removeprefix(prefix).strip()
    if trigger and (add_trigger or not rest) and not fingerprints.names(rest, trigger):
        rest = f"{trigger} {rest}".strip()
    return f"{prefix}{rest}"
