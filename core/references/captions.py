"""From an image's own caption to those that are trained on: prefix of the backbone, own words, trigger word.

The trigger stands at the end. In front of the words that name the thing, a word that the backbone does not know can
change what they mean to it ("a sks bear" is no bear any more); behind them it marks and leaves them as they are. A
placeholder says itself where the trigger is to stand.

Each line of a caption is a caption of its own, and one of them is drawn each time; its owner may say otherwise.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal

from core.backbones.record import BackboneRecord
from core.references import phrases
from core.references.items import ImageItem, References

ENDS = " ,.;"  # what a caption may end with, and what no trigger is put behind
MOST_LINES = 16  # of a caption that one is drawn of: more are a list, as of one tag a line (our own rule)
# What other trainers put the trigger in place of: ai-toolkit knows [trigger] and [name], and others are written alike.
PLACEHOLDER = re.compile(
    r"\[name\]|\[trigger(?:[ _-]?word)?\]|\{{1,2}trigger(?:[ _-]?word)?\}{1,2}|<trigger(?:[ _-]?word)?>", re.IGNORECASE
)
CaptionLines = Literal["draw", "join", "first"]


def taken(caption: str, how: CaptionLines, trigger: str | None) -> list[str]:
    """Return the captions that an image is trained under: every line, one of which is drawn each time, or only one.

    `join` makes one of all lines and `first` leaves the others out. More than 16 lines are joined rather than drawn of.
    A line with nothing but a placeholder says nothing where there is no trigger, and is none.
    """
    lines = [line for line in caption.split("\n") if filled(line, trigger).strip()]
    if how == "first":
        return lines[:1]
    joined = [" ".join(lines)] if lines else []
    return joined if how == "join" or len(lines) > MOST_LINES else lines


def first_line(caption: str) -> str:
    """Return the line that stands for a caption wherever one is needed that is always the same."""
    return caption.partition("\n")[0]


def filled(words: str, trigger: str | None) -> str:
    """Return words with the trigger in place of every placeholder; where there is no trigger those are taken out."""
    if not PLACEHOLDER.search(words):
        return words
    return PLACEHOLDER.sub(lambda _: trigger, words) if trigger else _tidy(PLACEHOLDER.sub(" ", words))


def caption_of(words: str, prefix: str, trigger: str | None, add_trigger: bool = True) -> str:
    """Return one line that begins with the backbone's prefix and holds the trigger word once, at its end.

    Words that hold the trigger already are left as they are; those with a placeholder hold it there and nowhere else.
    """
    own = words.removeprefix(prefix)
    rest, placed = filled(own, trigger).strip(), PLACEHOLDER.search(own) is not None
    if trigger and (not rest or (add_trigger and not placed)) and not phrases.names(rest, trigger):
        rest = marked(rest, trigger)
    return f"{prefix}{rest}"


def marked(words: str, trigger: str) -> str:
    """Return the words with the trigger behind them."""
    return f"{words.rstrip(ENDS)}, {trigger}" if words.rstrip(ENDS) else trigger


def without_end(words: str, trigger: str | None) -> str:
    """Return the words without a trigger that ends them."""
    plain = words.rstrip(ENDS)
    if trigger and plain.lower().endswith(trigger.lower()):
        rest = plain[: -len(trigger)]
        if not rest[-1:].isalnum():
            return rest.rstrip(ENDS)
    return words


def without(caption: str, trigger: str) -> str:
    """Return a caption without the trigger, wherever in it that stands."""
    return _tidy(re.sub(rf"(?<!\w){re.escape(trigger)}(?!\w)", " ", caption, flags=re.IGNORECASE))


def _tidy(words: str) -> str:
    """Return words out of which some were taken, without the blanks and commas that stood around those."""
    return re.sub(r"(\s*,)+", ",", " ".join(words.split())).strip(ENDS)


def captioned(
    read: References,
    record: BackboneRecord,
    trigger: str | None,
    *,
    add_trigger: bool = True,
    lines: CaptionLines = "draw",
) -> References:
    """Return images with captions as the backbone knows them: its prefix, what the owner wrote, and the trigger word.

    Without `add_trigger` the word goes only to images that have no caption; where it is None, to none. What is left of
    several lines is trained on line by line, and each of them gets prefix and trigger of its own.
    """

    def trained(caption: str) -> str:
        captions = taken(caption, lines, trigger) or [""]
        return "\n".join(caption_of(line, record.caption_prefix, trigger, add_trigger) for line in captions)

    items = (
        replace(item, caption=trained(item.caption or "")) if isinstance(item, ImageItem) else item
        for item in read.items
    )
    return replace(read, items=tuple(items))
