"""What comes out of a job: the formats in the order that they are offered in, and the card that says where from.

The card lies whole in card.json and shortened in the head of every published adapter file, with the hash of the whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal, get_args

Format = Literal["peft", "diffusers", "kohya", "gguf", "merged", "card"]
FORMATS: tuple[Format, ...] = get_args(Format)
CARD_FILE = "card.json"
CARD, CARD_HASH = "albatross.card", "albatross.card_sha256"
CANDIDATES_IN_HEADER = 50
CURVE_IN_HEADER = 24  # rows


def order(form: str | None) -> int:
    """Return the place of a format among a job's results; what is no adapter comes after all that are."""
    return FORMATS.index(form) if form in FORMATS else len(FORMATS)  # type: ignore[arg-type]


def only_known_here(id: str) -> str:
    """Say what a backbone's id is worth to other programs."""
    return (
        f"The backbone had no hub name when this adapter was made, so files that name it say {id}, its id where it was "
        "trained. Elsewhere that may mean nothing, or another model: give other programs the backbone's folder."
    )


def header(card: Mapping[str, Any]) -> dict[str, str]:
    """Return what every published adapter file carries in its head: a few thousand bytes."""
    return {CARD: json.dumps(shortened(card), sort_keys=True, separators=(",", ":")), CARD_HASH: digest(content(card))}


def content(card: Mapping[str, Any]) -> bytes:
    """Return card.json."""
    return json.dumps(card, indent=1, allow_nan=False).encode() + b"\n"


def digest(content: bytes) -> str:
    """Return the hash of card.json that files carry."""
    return hashlib.sha256(content).hexdigest()


def shortened(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return the card with the first candidates and every so-many-th row of the curves, without diagnostics."""
    short = {name: part for name, part in card.items() if name != "diagnostics"}
    if replayed := card.get("replayed"):
        short["replayed"] = {**replayed, "candidates": replayed["candidates"][:CANDIDATES_IN_HEADER]}
    if curves := card.get("curves"):
        every = max(1, -(-len(curves["rows"]) // CURVE_IN_HEADER))
        short["curves"] = {**curves, "rows": curves["rows"][::every]}
    return short
