"""Things about references that their owner should know: each with a code, the item, and what to do. They stop nothing.

What only needs the upload is found when it is read, and stays with the file; what depends on a job (its backbone,
trigger word, validation data) is found when the job is created, in core.findings.jobs, and goes to the job.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from core.findings import captions as special_captions
from core.findings import fingerprints
from core.findings.finding import MAX_ITEMS, Finding
from core.findings.fingerprints import TextPrint
from core.findings.texts import languages
from core.references import chats
from core.references.items import TextItem
from core.references.picture_shapes import LONGEST
from core.references.tools import verbatim

MIN_ITEMS = 4
MIN_SIDE = 64
MAX_TEXT_CHARACTERS = 8_000
MAX_FINDINGS_OF_A_CODE = 10  # findings of one code; more of them say nothing new
EXTREME_RATIO = 2.5  # of which the longest shape that is trained in, 2 : 1, cuts off a fifth
CAPTION_CODES = special_captions.CODES | {"empty_caption", "same_captions", "mixed_languages", "caption_without_image"}
JUDGED = (CAPTION_CODES - {"caption_without_image"}) | {  # of what is kept; all others are of what was sent
    "few_items",
    "too_small",
    "extreme_aspect_ratio",
    "single_colour",
    "near_duplicate",
    "too_long",
    "duplicate_text",
    "conflicting_examples",
}
MIN_OTHER_LANGUAGES, SHARE_OF_OTHERS = 2, 0.05  # texts in other languages than most; of fewer some are guessed wrongly


@dataclass(frozen=True)
class Seen:
    """What is looked at of an image: the name its owner gave it, its sides in pixels, its print, its caption."""

    name: str
    width: int
    height: int
    caption: str | None
    print: bytes | None  # None: it is one flat colour
    empty: bool = False  # it is flat because nothing in it can be seen, which was said already


def of_images(items: Sequence[Seen]) -> list[Finding]:
    """Return what an upload of images should tell its owner."""
    found = list(_few(len(items), "images", "four or more give a clear result"))
    found += _limited(finding for item in items for finding in _of_image(item))
    found += _limited(_near_images(items))
    return found + of_captions([(item.name, item.caption) for item in items])


def of_captions(captions: Sequence[tuple[str, str | None]]) -> list[Finding]:
    """Return what the captions of an upload should tell its owner; the only part that an edit changes."""
    found = []
    if bare := [name for name, caption in captions if not caption]:
        found.append(
            Finding(
                "empty_caption",
                f"{_count(len(bare), 'image has', 'images have')} no caption, {bare[0]} first.",
                "Say in a few words what each shows, or let a tagger say it (bat.caption): what no caption names is "
                "learned as part of the subject. Captions are written item by item, or sent as a .txt of the same "
                "name beside the image.",
                bare[0],
                items=bare[:MAX_ITEMS],
            )
        )
    written = [caption for _, caption in captions if caption]
    if len(written) >= MIN_ITEMS and len(set(written)) == 1:
        found.append(
            Finding(
                "same_captions",
                f"All {len(written)} captions are the same.",
                "Say in each caption what differs between the images, so that it is not learned as part of the "
                "subject.",
            )
        )
    found += special_captions.special([(name, caption) for name, caption in captions if caption])
    return found + list(_mixed(written, "captions"))


def of_texts(items: Sequence[TextItem], prints: Sequence[TextPrint]) -> list[Finding]:
    """Return what an upload of texts should tell its owner; items are called text 1, text 2, ..."""
    found = list(_few(len(items), "texts", "eight or more give a clear result"))
    said = [item.words() for item in items]
    found += _limited(_long(said))
    found += _limited(_near_texts(prints))
    found += _limited(_conflicts(items))
    return found + list(_mixed([_answer(item) for item in items], "texts"))


def copies_left_out(count: int) -> Finding:
    """Say that exact copies count once."""
    what = _count(count, "exact copy was left out", "exact copies were left out")
    return Finding("duplicate_item", f"{what}; each reference counts once.", "Nothing needs to be done.")


def _few(count: int, what: str, enough: str) -> Iterator[Finding]:
    if 0 < count < MIN_ITEMS:
        are = f"is only 1 {what.removesuffix('s')}" if count == 1 else f"are only {count} {what}"
        yield Finding("few_items", f"There {are}; {enough}.", f"Add more {what} of the same subject.")


def _of_image(item: Seen) -> Iterator[Finding]:
    short, long = sorted((item.width, item.height))
    if short < MIN_SIDE:
        yield Finding(
            "too_small",
            f"{item.name} is {item.width} x {item.height} pixels, below {MIN_SIDE} on a side.",
            "Send a larger original; what is enlarged has no detail to learn from.",
            item.name,
        )
    if long > EXTREME_RATIO * short:
        yield Finding(
            "extreme_aspect_ratio",
            f"{item.name} is {item.width} x {item.height} pixels; no shape that pictures are trained in is longer than "
            f"{LONGEST:g} : 1, so {LONGEST * short / long:.0%} of it are seen at most.",
            "Cut out the part that matters yourself.",
            item.name,
        )
    if item.print is None and not item.empty:
        yield Finding(
            "single_colour",
            f"{item.name} is one flat colour; it teaches nothing.",
            "Leave it out, or look whether it was saved as it should be.",
            item.name,
        )


def _near_images(items: Sequence[Seen]) -> Iterator[Finding]:
    for place, item in enumerate(items):
        for other in items[:place]:
            if item.print and other.print and fingerprints.same_picture(item.print, other.print):
                # the one that has a caption is the one to keep, wherever it stands
                copy, kept = (other, item) if item.caption and not other.caption else (item, other)
                yield Finding(
                    "near_duplicate",
                    f"{copy.name} and {kept.name} are nearly the same picture.",
                    "Keep the better one: two copies pull twice, and a copy that is held out tells nothing.",
                    copy.name,
                    kept.name,
                )
                break


def _long(said: Sequence[str]) -> Iterator[Finding]:
    for number, text in enumerate(said, 1):
        if len(text) > MAX_TEXT_CHARACTERS:
            yield Finding(
                "too_long",
                f"Text {number} has {len(text):,} characters: that may be more tokens than a job takes of one text. "
                "The estimate of a job says how many it takes.",
                "Where those are too few, set bat.max_tokens, or split the text into several, each whole in itself.",
                f"text {number}",
            )


def _near_texts(prints: Sequence[TextPrint]) -> Iterator[Finding]:
    exact: dict[str, int] = {}
    known = fingerprints.NearTexts()
    for number, print in enumerate(prints, 1):
        if (other := exact.setdefault(print.exact, number)) != number:
            yield Finding(
                "duplicate_text",
                f"Text {number} says the same as text {other}.",
                "Keep one of them, unless it is meant to count more.",
                f"text {number}",
                f"text {other}",
            )
        elif (alike := known.find(print.near)) is not None:
            yield Finding(
                "near_duplicate",
                f"Text {number} is nearly the same as text {alike}.",
                "Keep one of them, or let them differ in more than a word.",
                f"text {number}",
                f"text {alike}",
            )
        known.add(number, print.near)


def _conflicts(items: Sequence[TextItem]) -> Iterator[Finding]:
    """Say where the same question is answered differently: that may be meant, and teaches no fixed answer."""
    answers: dict[str, tuple[int, str]] = {}
    for number, item in enumerate(items, 1):
        asked = _question(item)
        if not asked:
            continue
        answer = fingerprints.text_exact(_answer(item))
        first, known = answers.setdefault(fingerprints.text_exact(asked), (number, answer))
        if answer != known:
            yield Finding(
                "conflicting_examples",
                f"Text {number} answers the question of text {first} differently.",
                "Keep the better answer, unless both are right.",
                f"text {number}",
                f"text {first}",
                "info",
            )


def _question(item: TextItem) -> str | None:
    """Return all that an answer answers to: one question under two system prompts, or with other tools, is two."""
    if item.messages is not None:
        asked = [f"{message['role']}: {chats.said(message)}" for message in item.messages[:-1]]
        return "\n".join([*asked, *map(verbatim.written, item.tools or ())])
    return item.prompt


def _answer(item: TextItem) -> str:
    if item.messages is not None:
        return chats.said(item.messages[-1])
    return item.completion or item.text or ""


def _mixed(said: Sequence[str], what: str) -> Iterator[Finding]:
    counted = Counter(language for text in said if (language := languages.guess(text)))
    usual = counted.most_common(1)[0][0] if counted else ""
    others = {language: count for language, count in counted.items() if language != usual}
    if sum(others.values()) >= max(MIN_OTHER_LANGUAGES, SHARE_OF_OTHERS * counted.total()):
        parts = ", ".join(f"{count} as {language}" for language, count in counted.most_common())
        yield Finding(
            "mixed_languages",
            f"The {what} seem to be in several languages: {parts}.",
            f"Keep to one language, unless the mix is what shall be learned; {_backbones_know(what)}.",
            severity="info",
        )


def _backbones_know(what: str) -> str:
    return "an image backbone reads mostly English" if what == "captions" else "each language needs examples enough"


def _limited(found: Iterable[Finding]) -> Iterator[Finding]:
    """Yield a few findings of each code, the last of which says how many there are in all."""
    kept: dict[str, list[Finding]] = {}
    for finding in found:
        kept.setdefault(finding.code, []).append(finding)
    for alike in kept.values():
        yield from alike[:MAX_FINDINGS_OF_A_CODE]
        if (more := len(alike) - MAX_FINDINGS_OF_A_CODE) > 0:
            last = alike[MAX_FINDINGS_OF_A_CODE]
            yield Finding(
                last.code,
                f"There are {more} more of this kind, {last.item} next.",
                last.fix,
                last.item,
                severity=last.severity,
                items=[name for finding in alike[MAX_FINDINGS_OF_A_CODE:] if (name := finding.item)][:MAX_ITEMS],
            )


def _count(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
