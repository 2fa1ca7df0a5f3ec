"""The sentence that refuses what can't become a backbone or a tagger."""

from __future__ import annotations

from typing import Literal

from core.errors import InvalidInput

Use = Literal["backbone", "tagger"]


def refused(what: str, use: Use = "backbone", this: str = "folder") -> InvalidInput:
    """Return the error for a folder or file, of which `what` says why it is not taken and what would be."""
    return InvalidInput(f"This {this} can't become a {use}: {what}.", code=f"invalid_{use}", param="folder")
