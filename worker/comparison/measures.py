"""How like the old model's answers the new ones are, in figures that need no model: wording, shape, length."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

import numpy as np

from core.references.answer_format import json_value
from worker.comparison.questions import Question

RESAMPLES = 2_000
MIN_ANSWERS_FOR_INTERVAL = 5
GRAMS = 3  # characters
MIN_JSON_SHARE = 0.8  # of the old answers are JSON: then it is their shape


@dataclass
class Compared:
    """One question and what was found: losses are sums over the tokens of all its recorded answers."""

    question: Question
    new: str
    untrained: str
    tokens: int
    loss_before: float
    loss_after: float
    similarity: float | None = None  # cosine of an encoder, the nearest recorded answer
    similarity_before: float | None = None
    cut: bool = False  # the new answer was ended by the limit of tokens

    @property
    def wording(self) -> float:
        """How much of the wording the new answer shares with the nearest recorded one."""
        return nearest(self.new, self.question.answers, shared_wording)


@dataclass(frozen=True)
class Figure:
    """One figure of a group; an interval of 95 % where there is one."""

    name: str
    before: float  # training
    after: float
    unit: str = "share"  # share, loss, factor
    old: float | None = None  # what the recorded answers themselves have
    after_interval: tuple[float, float] | None = None
    before_interval: tuple[float, float] | None = None
    change_interval: tuple[float, float] | None = None
    note: str = ""


@dataclass(frozen=True)
class Summary:
    """All figures of a group of questions."""

    group: str
    questions: int
    figures: Mapping[str, Figure] = field(default_factory=dict)


def summarise(group: str, rows: Sequence[Compared]) -> Summary:
    """Return the figures of a group of at least one question."""
    figures = [_loss(rows), _wording(rows), *_similarity(rows), _same(rows), *_shape(rows), _length(rows)]
    return Summary(group, len(rows), {figure.name: figure for figure in figures})


def shared_wording(one: str, other: str) -> float:
    """Return the F1 of the two texts' runs of three characters, 0 to 1 (chrF of Popovic 2015 with n = 3, beta = 1)."""
    first, second = _grams(one), _grams(other)
    if not first or not second:
        return float(" ".join(one.split()).lower() == " ".join(other.split()).lower())
    return 2 * (first & second).total() / (first.total() + second.total())


def nearest(said: str, answers: Sequence[str], alike: Callable[[str, str], float]) -> float:
    """Return the likeness to the recorded answer that is most alike."""
    return max(alike(said, answer) for answer in answers)


def key_paths(value: object) -> frozenset[str]:
    """Return the paths of all keys of a JSON value; the entries of a list count as one."""
    paths: set[str] = set()
    waiting: list[tuple[object, str]] = [(value, "")]
    while waiting:  # and no recursion: a stranger's JSON may be nested deeply
        part, path = waiting.pop()
        if isinstance(part, dict):
            paths |= {f"{path}.{key}" for key in part}
            waiting += [(inner, f"{path}.{key}") for key, inner in part.items()]
        elif isinstance(part, list):
            waiting += [(inner, f"{path}[]") for inner in part]
    return frozenset(paths)


def interval(rows: int, statistic: Callable[[np.ndarray], float]) -> tuple[float, float] | None:
    """Return the 95 % interval of a statistic of the rows' places, by drawing questions anew (percentile bootstrap)."""
    if rows < MIN_ANSWERS_FOR_INTERVAL:
        return None
    draw = np.random.default_rng(0)
    drawn = [statistic(draw.integers(rows, size=rows)) for _ in range(RESAMPLES)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def relative(before: float, after: float) -> float:
    """Return the change relative to before; 0 where there was nothing to lose."""
    return after / before - 1 if before > 0 else 0.0


def _loss(rows: Sequence[Compared]) -> Figure:
    tokens = np.array([row.tokens for row in rows], float)
    before = np.array([row.loss_before for row in rows])
    after = np.array([row.loss_after for row in rows])

    def rate(losses: np.ndarray) -> Callable[[np.ndarray], float]:
        return lambda at: float(losses[at].sum() / max(1.0, tokens[at].sum()))

    everything = np.arange(len(rows))
    return Figure(
        "loss",
        rate(before)(everything),
        rate(after)(everything),
        "loss",
        after_interval=interval(len(rows), rate(after)),
        before_interval=interval(len(rows), rate(before)),
        change_interval=interval(len(rows), lambda at: relative(rate(before)(at), rate(after)(at))),
    )


def _wording(rows: Sequence[Compared]) -> Figure:
    before = np.array([nearest(row.untrained, row.question.answers, shared_wording) for row in rows])
    after = np.array([row.wording for row in rows])
    several = [row.question.answers for row in rows if len(row.question.answers) > 1]
    itself = [nearest(answers[0], answers[1:], shared_wording) for answers in several]
    return _means("wording", before, after, fmean(itself) if itself else None)


def _similarity(rows: Sequence[Compared]) -> list[Figure]:
    pairs = [(row.similarity_before, row.similarity) for row in rows]
    if any(before is None or after is None for before, after in pairs):
        return []
    found = np.array(pairs, float)
    return [_means("similarity", found[:, 0], found[:, 1])]


def _means(name: str, before: np.ndarray, after: np.ndarray, old: float | None = None) -> Figure:
    return Figure(
        name,
        float(before.mean()),
        float(after.mean()),
        old=old,
        before_interval=interval(len(before), lambda at: float(before[at].mean())),
        after_interval=interval(len(after), lambda at: float(after[at].mean())),
        change_interval=interval(len(after), lambda at: float((after[at] - before[at]).mean())),
    )


def _same(rows: Sequence[Compared]) -> Figure:
    def share(said: Callable[[Compared], str]) -> float:
        return fmean(_plain(said(row)) in {_plain(answer) for answer in row.question.answers} for row in rows)

    return Figure("same", share(lambda row: row.untrained), share(lambda row: row.new))


def _shape(rows: Sequence[Compared]) -> list[Figure]:
    """Say how many answers are JSON, and have the keys of the old one; nothing where the old ones are none."""
    old = [json_value(row.question.answers[0]) for row in rows]
    share = fmean(value is not None for value in old)
    if share < MIN_JSON_SHARE:
        return []

    def parsed(said: Callable[[Compared], str]) -> list[object]:
        return [json_value(said(row)) for row in rows]

    def keys(values: Sequence[object]) -> float:
        asked = [(value, wanted) for value, wanted in zip(values, old, strict=True) if wanted is not None]
        return fmean(value is not None and key_paths(value) == key_paths(wanted) for value, wanted in asked)

    before, after = parsed(lambda row: row.untrained), parsed(lambda row: row.new)
    return [
        Figure(
            "json", fmean(value is not None for value in before), fmean(value is not None for value in after), old=share
        ),
        Figure("keys", keys(before), keys(after), old=1.0),
    ]


def _length(rows: Sequence[Compared]) -> Figure:
    def ratio(said: Callable[[Compared], str]) -> float:
        return median(len(said(row)) / max(1.0, fmean(map(len, row.question.answers))) for row in rows)

    cut = sum(row.cut for row in rows)
    note = f"{cut} of {len(rows)} new answers were cut at the limit of tokens" if cut else ""
    return Figure("length", ratio(lambda row: row.untrained), ratio(lambda row: row.new), "factor", old=1.0, note=note)


def _grams(text: str) -> Counter[str]:
    plain = " ".join(text.lower().split())
    return Counter(plain[at : at + GRAMS] for at in range(len(plain) - GRAMS + 1))


def _plain(text: str) -> str:
    """A text as it is compared for sameness: JSON by its value, anything else but for blanks."""
    value = json_value(text)
    try:
        return " ".join(text.split()) if value is None else json.dumps(value, sort_keys=True)
    except RecursionError:
        return text
