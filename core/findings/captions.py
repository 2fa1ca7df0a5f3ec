"""What the captions of an upload hold that a job treats in a way of its own: several lines, placeholders, choices."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from core.findings.finding import Finding
from core.references.captions import MOST_LINES, PLACEHOLDER

CODES = frozenset({"several_lines", "trigger_placeholder", "caption_choices"})
CHOICES = re.compile(r"\{[^{}|]*\|[^{}]*\}")  # sd-scripts' wildcards, as those of other tools: {red|blue}
Captions = Sequence[tuple[str, str]]  # name of the image, its caption


def special(captions: Captions) -> Iterator[Finding]:
    """Say what a job will do with captions of several lines, with placeholders for the trigger, and with choices."""
    counts = [(name, len(words.splitlines())) for name, words in captions]
    yield from _lines([name for name, lines in counts if 1 < lines <= MOST_LINES], len(captions))
    yield from _lists([name for name, lines in counts if lines > MOST_LINES], len(captions))
    yield from _placeholders([(name, found[0]) for name, words in captions if (found := PLACEHOLDER.search(words))])
    yield from _choices([name for name, words in captions if CHOICES.search(words)])


def _lines(names: Sequence[str], captions: int) -> Iterator[Finding]:
    if names:
        yield Finding(
            "several_lines",
            f"{len(names)} of {captions} captions {'has' if len(names) == 1 else 'have'} several lines, {names[0]} "
            "first: unless bat.caption_lines says otherwise, a job draws one of the lines each time that it trains on "
            "the image.",
            "Nothing needs to be done where each line is a caption of its own. Where they belong together, send "
            'bat.caption_lines "join", which takes all as one; "first" takes only the first.',
            names[0],
            severity="info",
            items=list(names),
        )


def _lists(names: Sequence[str], captions: int) -> Iterator[Finding]:
    if names:
        yield Finding(
            "several_lines",
            f"{len(names)} of {captions} captions {'has' if len(names) == 1 else 'have'} more than {MOST_LINES} lines, "
            f"{names[0]} first: unless bat.caption_lines says otherwise, a job takes such a list as one caption.",
            'Nothing needs to be done where it is a list; bat.caption_lines "first" takes only the first line.',
            names[0],
            severity="info",
            items=list(names),
        )


def _placeholders(found: Sequence[tuple[str, str]]) -> Iterator[Finding]:
    if found:
        name, placeholder = found[0]
        hold = "caption holds" if len(found) == 1 else "captions hold"
        yield Finding(
            "trigger_placeholder",
            f"{len(found)} {hold} a placeholder for the trigger word, {name} ({placeholder}) first: a job puts its "
            "trigger word there, and where it has none takes the placeholder out.",
            "Name the word in bat.trigger when you create the job.",
            name,
            severity="info",
            items=[name for name, _ in found],
        )


def _choices(names: Sequence[str]) -> Iterator[Finding]:
    if names:
        hold = "caption holds" if len(names) == 1 else "captions hold"
        yield Finding(
            "caption_choices",
            f"{len(names)} {hold} a choice in braces, as in {{red|blue}}, {names[0]} first: braces are learned as they "
            "stand, for no choice is drawn here.",
            "Write each choice as a line of its own: of several lines one is drawn each time.",
            names[0],
            items=list(names),
        )
