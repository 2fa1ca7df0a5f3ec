"""Copies among the files of one job: what two of them hold, and what is held out though it is trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from core.findings import fingerprints
from core.findings.finding import Finding
from core.findings.fingerprints import TextPrint
from core.findings.profiles import PictureProfile, Profile

MAX_ITEMS_NAMED = 3
Pair = tuple[PictureProfile, PictureProfile]
Pairs = list[Pair]


def across_files(training: Sequence[Profile]) -> Iterator[Finding]:
    """Say where two files of one job hold the same; within a file its own findings say so."""
    before: list[PictureProfile] = []
    for profile in training:
        copied, others = _split(profile.pictures, before)
        yield from _copied(copied)
        pairs = [_copy_first(picture, other) for picture in others if (other := _like(picture, before))]
        for copy, kept in pairs[:MAX_ITEMS_NAMED]:
            yield Finding(
                "near_duplicate",
                f"{copy.name} and {kept.name}, of another file, are nearly the same picture.",
                "Keep the better one in one of the files.",
                copy.name,
                kept.name,
            )
        before += others


def _copy_first(picture: PictureProfile, before: PictureProfile) -> Pair:
    """Return which of two is the copy, and of which: the one without a caption, where the other has one."""
    return (before, picture) if picture.words and not before.words else (picture, before)


def _split(pictures: Sequence[PictureProfile], before: Sequence[PictureProfile]) -> tuple[Pairs, list[PictureProfile]]:
    """Return those that other files hold too, each with its copy, and the others."""
    known = {picture.digest: picture for picture in before}
    copied = [_copy_first(picture, known[picture.digest]) for picture in pictures if picture.digest in known]
    return copied, [picture for picture in pictures if picture.digest not in known]


def _copied(pairs: Pairs) -> Iterator[Finding]:
    if not pairs:
        return
    named = ", ".join(f"{picture.name} (as {other.name})" for picture, other in pairs[:MAX_ITEMS_NAMED])
    more = f" and {len(pairs) - MAX_ITEMS_NAMED} more" if len(pairs) > MAX_ITEMS_NAMED else ""
    joined = sum(bool(picture.words and other.words and picture.words != other.words) for picture, other in pairs)
    lines = f"; of {joined} of them the captions differ, and each is kept as a line" if joined else ""
    are = "picture is" if len(pairs) == 1 else "pictures are"
    yield Finding(
        "duplicate_item",
        f"{len(pairs)} {are} in another file of this job too, and count once: {named}{more}{lines}.",
        "Nothing needs to be done; a caption that only one of the copies has is kept.",
        pairs[0][0].name,
        pairs[0][1].name,
        items=[picture.name for picture, _ in pairs],
    )


def leaked_pictures(training: Sequence[PictureProfile], validation: Sequence[PictureProfile]) -> Iterator[Finding]:
    """Say which pictures that are to judge a job are trained on too."""
    pairs = [(picture, other) for picture in validation if (other := _like(picture, training))]
    if pairs:
        named = ", ".join(f"{picture.name} (as {other.name})" for picture, other in pairs[:MAX_ITEMS_NAMED])
        item, other = pairs[0]
        yield _leaked(f"{len(pairs)} of {len(validation)} validation images", named, item.name, other.name)


def leaked_texts(training: Sequence[TextPrint], validation: Sequence[TextPrint]) -> Iterator[Finding]:
    """Say which texts that are to judge a job are trained on too."""
    exact = {text.exact: place for place, text in reversed(list(enumerate(training)))}
    near = fingerprints.NearTexts((place, text.near) for place, text in enumerate(training))
    pairs = []
    for place, text in enumerate(validation):
        other = exact.get(text.exact, near.find(text.near))
        if other is not None:
            pairs.append((f"text {place + 1}", f"text {other + 1}"))
    if pairs:
        named = ", ".join(f"{item} (as {other})" for item, other in pairs[:MAX_ITEMS_NAMED])
        yield _leaked(f"{len(pairs)} of {len(validation)} validation texts", named, *pairs[0])


def _leaked(what: str, named: str, item: str, other: str) -> Finding:
    return Finding(
        "validation_in_training",
        f"{what} are in the training data too, or nearly: {named}.",
        "Take them out of one of the two files; a loss on what was trained on says nothing.",
        item,
        other,
    )


def _like(picture: PictureProfile, others: Sequence[PictureProfile]) -> PictureProfile | None:
    def alike(other: PictureProfile) -> bool:
        return bool(picture.print and other.print and fingerprints.same_picture(picture.print, other.print))

    return next((other for other in others if alike(other)), None)
