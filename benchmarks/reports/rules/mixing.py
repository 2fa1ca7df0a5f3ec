"""Claims about the scores of backbone data, what was selected, and the trial of a mixture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import fmean, stdev

from benchmarks.reports.records import Records
from benchmarks.reports.rules.claims import NUMBER, Sentence, Told, claim, holds, near
from benchmarks.statistics import t_quantile
from core.parameters.protection.means import DATA

HELD = "|".join(DATA.values())
LEVELS = (("hardly", -1.0, 0.1), ("weakly", 0.1, 0.3), ("fairly", 0.3, 0.5), ("well", 0.5, 1.01))


def known(told: str, found: float | None, what: str) -> list[str]:
    """Return a contradiction unless a rounded figure of the records is what is told."""
    if found is None:
        return [f"{what} is not known"]
    return holds(abs(float(told) - found) <= 0.0056, f"{what} is {found}, not {told}")


@claim(
    r"Two halves of the scoring agree (?P<how>hardly|weakly|fairly|well): correlation #all(?: \((?:#sources for whole "
    r"sources)?(?:, )?(?:#single for single examples)?\))?\."
)
def agreement(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    decided = records.decision
    yield from known(told["all"], decided["reliability"], "the agreement")
    for name, key in (("sources", "reliability_of_sources"), ("single", "reliability_of_candidates")):
        if told[name] or decided[key] is not None:
            yield from known(told[name] or "nan", decided[key], key)
    low, high = next((low, high) for how, low, high in LEVELS if how == told["how"])
    yield from holds(
        low - 5e-4 <= decided["reliability"] < high + 5e-4, f"{decided['reliability']} is not {told['how']}"
    )


@claim(r"So only #scored of #sampled candidates were scored\.")
def scored_in_part(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    scored = sum(row["score"] is not None for row in records.influence)
    yield from near(told["scored"], scored, "the number that have a score")
    yield from near(told["sampled"], records.decision["sampled"], "the number that were sampled")
    yield from holds(scored < int(told["sampled"]), "all were scored")


@claim(r"Chance alone may reach as much\.")
def like_chance(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(records.decision["repeats"] is False, "scores repeat better than chance")


@claim(
    r"#kept of #all candidates were kept, (?:all that could be ranked|by (?P<by>a draw, as was "
    r"asked|their scores|their "
    r"own scores and their sources', each as far as it repeats): (?:#places places? for every source, "
    r"as far as it fills "
    r"them, the others for )?whichever come first); near-duplicates count once\."
)
def kept(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from near(told["kept"], len(records.decision["selected"]), "the number that was selected")
    yield from near(told["kept"], sum(row["selected"] for row in records.influence), "the number marked as selected")
    yield from near(told["all"], _pool(records), "the size of the pool")
    drawn = records.p["score"] == "random"
    yield from holds(not told["by"] or drawn == told["by"].startswith("a draw"), f"score is {records.p['score']}")
    if told["places"]:
        yield from _places(records, int(told["places"]))


def _places(records: Records, each: int) -> Iterator[str]:
    """Check that every source has its places, as far as it fills them."""
    selected = [row["source"] for row in records.influence if row["selected"]]
    for source in {row["source"] for row in records.influence}:
        have = sum(row["source"] == source for row in records.influence if row["score"] is not None)
        least = min(each, have - records.decision["duplicates"])
        yield from holds(selected.count(source) >= least, f"{source} has {selected.count(source)} places")


@claim(r"Two halves of the scoring agree with a correlation of #all\.")
def correlation(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from known(told["all"], records.decision["reliability"], "the agreement")
    yield from holds(records.decision["reliability"] >= 0.1 - 5e-4, "that is noise, and the scores chose nothing")


@claim(
    r"Two halves of the scoring agreed with a correlation of only #all \(below 0\.1\), so the ranking is mostly noise: "
    r"#kept candidates were drawn at random, evenly over the sources, instead\."
)
def noise(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from known(told["all"], records.decision["reliability"], "the agreement")
    yield from holds(records.decision["reliability"] < 0.1 + 5e-4, "it is not below .1")
    yield from _drawn(records, told["kept"])


@claim(
    r"Two halves of the scores of #scored candidates agree (?P<how>no better than chance|too little to choose by) \(a "
    rf"correlation of (?:{NUMBER} for (?:single examples|whole sources), where more than {NUMBER} is needed(?:, and of "
    r")?)+\), so the other #left were not scored: #kept candidates were drawn at random, evenly over "
    r"the sources, instead\."
)
def ended_early(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    scored = sum(row["score"] is not None for row in records.influence)
    yield from near(told["scored"], scored, "the number that have a score")
    yield from near(told["left"], records.decision["sampled"] - scored, "the number that was left out")
    yield from holds(records.decision["repeats"] is False, "scores repeat better than chance")
    yield from _drawn(records, told["kept"])


def _drawn(records: Records, told: str) -> Iterator[str]:
    yield from near(told, len(records.decision["selected"]), "the number that was drawn")
    yield from holds(records.decision["rule"] == "random", f"the rule is {records.decision['rule']}")
    found = [row["source"] for row in records.influence if row["selected"]]
    counts = [found.count(source) for source in {row["source"] for row in records.influence}]
    full = max(counts, default=0) - min(counts, default=0) <= 1 or records.decision["duplicates"] > 0
    yield from holds(full or _small_source(records), f"places of the sources: {counts}")


def _small_source(records: Records) -> bool:
    """Tell whether some source is used up, so that the others have more places."""
    rows = records.influence
    return any(
        all(row["selected"] for row in rows if row["source"] == source) for source in {r["source"] for r in rows}
    )


def _pool(records: Records) -> int:
    return int(records.report["pool_size"])


@claim(
    rf"Tried on held-out references: with #share% of every batch filled with (?P<data>{HELD}) their loss was #change% "
    r"(?P<how>lower|higher) than without, as a share of what it was before training"
    r"(?: \(90 % interval \+?#low% to \+?#high%\))?\."
)
def tried(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    if records.tried is None:
        yield "nothing was tried"
        return
    gain, error = gain_of_trial(records)
    yield from near(told["share"], 100 * records.tried.gamma, "the share")
    yield from holds(told["data"] == DATA[records.p["protect_on"]], f"it protects on {records.p['protect_on']}")
    yield from near(told["change"], 100 * abs(gain), "the change")
    yield from holds((told["how"] == "lower") == (gain >= 0), f"the gain is {gain:.4f}")
    if not told["low"]:
        yield from holds(records.mixture["trial"]["interval"] is None, "an interval is missing")
        return
    half = _half(records, error)
    yield from near(told["low"], 100 * (-gain - half), "the interval's lower end")
    yield from near(told["high"], 100 * (-gain + half), "the interval's upper end")


def _half(records: Records, error: float) -> float:
    """Return half of the 90 % interval: Student's over references, and what they share (.0125 of the first loss)."""
    return t_quantile(len(records.surrogates.held_out[0]) - 1, 0.9) * math.hypot(error, 0.0125)


def gain_of_trial(records: Records) -> tuple[float, float]:
    """Return what held-out references gained from the mixture, each at its best step, and its standard error."""
    assert records.tried is not None
    start = fmean(records.surrogates.held_out[0])
    both = zip(records.surrogates.around_best(), records.tried.around_best(), strict=True)
    gains = [(plain - mixed) / start for plain, mixed in both]
    return fmean(gains), stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else math.inf


@claim(r"It had not clearly turned up when the steps ran out: more steps may be all that it gained\.")
def doubtful(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(records.tried is not None and not records.tried.turned, "it had turned up")
    yield from holds(gain_of_trial(records)[0] > 0, "it gained nothing")


def _tolerated(records: Records) -> float:
    """Return the loss that is taken for less forgetting, as a share of the loss before training."""
    kept = (records.mixture["trial"] or {}).get("kept")
    nearer = kept is not None and kept["without"] > 0 and kept["with"] / kept["without"] <= 0.6
    return 0.03 if records.p["kind"] == "images" or nearer else 0.01


@claim(r"So it is not used: it harms\.")
def harms(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    gain, error = gain_of_trial(records)
    yield from holds(gain < -max(error, _tolerated(records)), f"the gain is {gain:.4f} +- {error:.4f}")
    yield from holds(records.gamma == 0, f"gamma is {records.gamma}")


@claim(
    r"So #share% is used: (?P<why>it helps|no harm was seen, and it is there to limit forgetting|up to \d% is a price "
    r"that we pay for less forgetting|the harm is within its own error, and it is there to limit forgetting)\."
)
def used(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    gain, error = gain_of_trial(records)
    yield from near(told["share"], 100 * records.gamma, "gamma")
    why = told["why"]
    low = gain - _half(records, error)
    found = {
        "it helps": low > 0,
        "no harm": gain >= 0,
        f"up to {_tolerated(records):.0%}": -_tolerated(records) <= gain < 0,
        "the harm": -error <= gain < -_tolerated(records),
    }
    yield from holds(next(so for words, so in found.items() if why.startswith(words)), f"gain {gain} +- {error}")


def mixable(records: Records) -> int:
    """Return how many examples may fill slots: what was selected, samples of the backbone's own, or captions."""
    return int(records.decision.get("count", len(records.decision["selected"])))


@claim(
    r"No candidate was selected, so the batches hold references only\.",
    r"A mixture can't be tried: some surrogate has no held-out reference, or fewer than two of these "
    r"or of what would be mixed in are there\. So the batches hold references only\.",
)
def references_only(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    selected = records.decision["selected"]
    yield from holds(records.gamma == 0, f"gamma is {records.gamma}")
    if sentence.text.startswith("No candidate"):
        yield from holds(not selected, f"{len(selected)} are selected")
    else:
        curves = records.surrogates
        yield from holds(not all(curves.folds) or mixable(records) < 2 or curves.references < 2, "it can be tried")


@claim(
    r"Natural mixing, as asked: #m examples beside #n references give #gamma(?P<most>, the most that there may be)?\."
)
def natural(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    selected, references = mixable(records), len(records.items)
    yield from near(told["m"], selected, "the number that can be mixed in")
    yield from near(told["n"], references, "the number of references")
    yield from near(told["gamma"], min(0.95, selected / (selected + references)), "the natural share")
    yield from near(told["gamma"], records.gamma, "gamma")
    yield from holds(records.p["gamma"] == "natural", "it was not asked for")


@claim(r"#gamma of the batch slots is set by the preset (?P<preset>[a-z0-9-]+)\.")
@claim(r"#gamma of the batch slots, as asked\.")
def as_asked(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from near(told["gamma"], records.p["gamma"], "gamma as asked")
    yield from near(told["gamma"], records.gamma, "gamma")
    named = told.get("preset") or records.p["preset"]
    yield from holds(named == records.p["preset"], f"the preset is {records.p['preset']}")
    yield from holds(bool(told.get("preset")) == ("gamma" in records.p["reasons"]), "it is not whose choice it was")


@claim(r"#gamma of the batch slots is where the preset (?P<preset>[a-z0-9-]+) starts\.")
def where_it_starts(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from near(told["gamma"], records.decision["gamma"], "the share that was tried first")
    yield from holds(told["preset"] == records.p["preset"], f"the preset is {records.p['preset']}")


@claim(
    r"No backbone data was asked for\.",
    r"gamma is 0\.",
    r"(?P<id>\S+) has no candidate pool\.",
    r"The pool of (?P<id>\S+) holds #few candidates; fewer than 16 can't be told apart by their "
    r"scores, so the adapter is "
    r"trained on the references alone\.",
)
def unused(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(records.gamma == 0 and not records.influence, "backbone data was scored or used")
    if told.get("id"):
        yield from holds(told["id"] == records.backbone["id"], f"the backbone is {records.backbone['id']}")
    if "no candidate pool" in sentence.text:
        yield from holds(records.backbone["pool"] is None, "it has one")


@claim(
    r"Score 'kolossov_bartlett' prefers the largest gradients, so mislabelled and foreign data come "
    r"first\. Use it only "
    r"on a pool known to be clean\."
)
def by_gradients(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(records.p["score"] == "kolossov_bartlett", f"score is {records.p['score']}")


@claim(
    r"#seen of the #all references behind the target gradient were in the surrogate's training set, so the scores are "
    r"mostly noise: hold some out\."
)
def seen_targets(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(not all(records.surrogates.folds), "every surrogate has references that it has not seen")


@claim(
    r"The gradients of all references would take #size GiB for a fold, so they were computed for one group of modules "
    r"after another\."
)
def too_many_gradients(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(records.p["gradients"] != "whole", "they were to be held whole")


@claim(
    r"While scores are made, the gradients of a fold's references are held whole where they fit into 1 GiB, and else "
    r"for one group of modules after another; which of both is known once the backbone is loaded\.",
    r"While scores are made, the gradients of a fold's references are held whole where they fit into 1 GiB, on a "
    r"GPU into a quarter of what is free, and else for one group of modules after another; which of both is known once "
    r"the backbone is loaded\.",
    where="parameters.gradients",
)
def gradients_held(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(records.p["gradients"] == "auto", f"they are held {records.p['gradients']}")
