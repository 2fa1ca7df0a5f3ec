"""How a sentence names the places of what was noticed: the first few, and how many more there are."""

from __future__ import annotations

from collections.abc import Sequence

from core.findings.finding import MAX_ITEMS
from core.references.notices import Notice

MAX_NAMED = 5  # places that one sentence names
MAX_KINDS = 12  # of what was met
Group = Sequence[Notice]


def named(group: Group) -> str:
    """Name the first places of a group, with what is the matter with them, and how many more there are."""
    told = [f"{notice.place} ({notice.detail})" if notice.detail else notice.place for notice in group[:MAX_NAMED]]
    more = f" and {len(group) - MAX_NAMED} more" if len(group) > MAX_NAMED else ""
    return ", ".join(told) + more


def places(group: Group) -> list[str]:
    """Return all places of a group, of which a sentence names the first few."""
    return list(dict.fromkeys(notice.place for notice in group))[:MAX_ITEMS]


def counted(group: Group, one: str, many: str) -> str:
    """Say how many there are."""
    return f"{len(group)} {one if len(group) == 1 else many}"


def was_or_were(group: Group) -> str:
    """Return the verb of a sentence about all of a group."""
    return "was" if len(group) == 1 else "were"


def firsts(group: Group) -> str:
    """List what was met, and where it was first."""
    told = "; ".join(f"{notice.detail} ({notice.place} first)" for notice in group[:MAX_KINDS])
    return f"{told}; and {len(group) - MAX_KINDS} more" if len(group) > MAX_KINDS else told
