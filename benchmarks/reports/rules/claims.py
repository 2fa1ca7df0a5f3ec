"""How a sentence is read: claims, each a pattern of words with a check against the records.

A text is taken apart from its start; the claim that covers most of what is left is taken. Words that no claim covers
are an error, so that no new sentence comes in unchecked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.reports.records import Records

Told = dict[str, str]  # what a pattern's groups have caught
Check = Callable[[Records, Told, "Sentence"], Iterable[str]]
NUMBER = r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?"


@dataclass(frozen=True)
class Sentence:
    """A text that a user reads, and where it stands."""

    where: str
    text: str


def parameter(sentence: Sentence) -> str:
    """Return the name of the parameter that a sentence gives the reason of."""
    return sentence.where.removeprefix("parameters.")


@dataclass(frozen=True)
class Fault:
    """A text that is false or unknown, and what the records say instead."""

    sentence: Sentence
    what: str


@dataclass(frozen=True)
class Claim:
    """Words, where they may stand, and what has to hold."""

    pattern: re.Pattern[str]
    where: str
    check: Check


CLAIMS: list[Claim] = []


def claim(*patterns: str, where: str = "") -> Callable[[Check], Check]:
    """Let a function check the claims with these words, in texts whose place begins with `where`.

    `#name` in a pattern stands for a number.
    """

    def register(check: Check) -> Check:
        for pattern in patterns:
            spelt = re.sub(r"#(\w+)", lambda found: f"(?P<{found[1]}>{NUMBER})", pattern)
            CLAIMS.append(Claim(re.compile(spelt, re.DOTALL), where, check))
        return check

    return register


def holds(condition: bool, otherwise: str) -> list[str]:
    """Return a contradiction unless the condition holds."""
    return [] if condition else [otherwise]


def near(told: str, found: float | None, what: str) -> list[str]:
    """Return a contradiction unless a number is what was found, as exactly as it is told."""
    if found is None:
        return [f"{what} is not known"]
    digits = len(told.partition("e")[0].partition(".")[2])
    slack = 0.51 * 10**-digits + 1e-9
    return holds(abs(float(told) - found) <= slack, f"{what} is {found:.6g}, not {told}")


def judge(sentence: Sentence, records: Records, claims: Sequence[Claim] | None = None) -> tuple[int, list[Fault]]:
    """Return how many claims a text makes, and what is wrong with it."""
    text, at, made, faults = sentence.text, 0, 0, list[Fault]()
    known = [one for one in claims or CLAIMS if sentence.where.startswith(one.where)]
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        fitting = [(found.end(), one, found) for one in known if (found := one.pattern.match(text, at))]
        if not fitting:
            faults.append(Fault(sentence, f"no rule knows: {text[at:]}"))
            break
        at, best, found = max(fitting, key=lambda each: (each[0], len(each[1].where)))
        told = {name: words or "" for name, words in found.groupdict().items()}
        faults += [Fault(sentence, what) for what in best.check(records, told, sentence)]
        made += 1
    return made, faults
