"""Which of the backbone's own data are references or validation data, so that they are neither scored nor replayed.

Replayed, a reference would count as backbone data; and what is held out would be trained on by way of the pool.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from core.findings import fingerprints
from core.findings.fingerprints import NearTexts, TextPrint
from core.jobs.event_codes import EventCode
from core.method.likeness import pictures
from core.method.likeness.pictures import Views
from core.references.items import ImageItem, References, TextItem
from worker.protocol import Json, Line, Message
from worker.stages.pool import Candidate, Pool
from worker.stages.references import picture_of

MOST_NAMED = 5
SEEN_AT_ONCE = 64  # candidates: what each is compared by takes 350 kB


def known(pool: Pool, given: Sequence[References]) -> Json:
    """Return the places of candidates and of probes that are kin of something given."""
    items = [item for part in given for item in part.items]
    return {
        name: _found(getattr(pool, part), items) for name, part in (("candidate", "candidates"), ("probe", "probe"))
    }


def told(pool: Pool, found: Json) -> Iterator[Line]:
    """Say how many candidates are left out, where any is."""
    places = found["candidate"]
    if not places:
        return
    named = ", ".join(pool.candidates[place].id for place in places[:MOST_NAMED])
    more = f" and {len(places) - MOST_NAMED} more" if len(places) > MOST_NAMED else ""
    are, they = ("is", "it is") if len(places) == 1 else ("are", "they are")
    yield Message(
        "prepare",
        f"{len(places)} of {len(pool.candidates)} examples of the backbone's own data {are} among what was sent, or "
        f"nearly: {named}{more}. So {they} neither scored nor replayed.",
        data={"examples": len(places)},
        code=EventCode.KNOWN_EXAMPLES,
    )


def _found(candidates: Sequence[Candidate], items: Sequence[ImageItem | TextItem]) -> list[int]:
    views = [Views.of(picture_of(item)) for item in items if isinstance(item, ImageItem)]
    if views:
        return sorted(set(_same_pictures(candidates, views)))
    return _same_texts([_print(candidate.item) for candidate in candidates], [_print(vars(item)) for item in items])


def _same_pictures(candidates: Sequence[Candidate], given: Sequence[Views]) -> Iterator[int]:
    for start in range(0, len(candidates), SEEN_AT_ONCE):
        own = [Views.of(candidate.item["image"]) for candidate in candidates[start : start + SEEN_AT_ONCE]]
        yield from (start + place for _, place in pictures.kin(given, own))


def _same_texts(candidates: Sequence[TextPrint], given: Sequence[TextPrint]) -> list[int]:
    exact, near = {text.exact for text in given}, NearTexts((place, text.near) for place, text in enumerate(given))
    return [place for place, text in enumerate(candidates) if text.exact in exact or near.find(text.near) is not None]


def _print(row: Any) -> TextPrint:
    return fingerprints.text_print(TextItem.of(row))
