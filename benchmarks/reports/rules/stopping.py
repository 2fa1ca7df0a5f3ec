"""Claims about the step that is published or proposed, and about the evidence behind it."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.reports.curves import Curves
from benchmarks.reports.records import Records
from benchmarks.reports.rules.claims import Sentence, Told, claim, holds, near
from benchmarks.reports.rules.values import meant, preset_named

NAMED = r"(?P<verb>Published|Proposed) step #step: "
CHOSEN = r"(?P<verb>Published|Proposed) step #step(?:, not step #ruled, which the stopping rules name)?: "  # by samples
LAST = r"(?P<verb>Published|Proposed) the last step, #step: "
SURROGATES = "budget; held-out references had not clearly got worse by then, so a longer run may be better\\."
FARED = "(?P<fared>best|least bad, though worse than before training)"


def named(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    """Check that a step which is said to be published is so, and that it was kept."""
    step = int(told["step"])
    proposing = sentence.where.startswith("proposals.")
    yield from holds((told["verb"] == "Proposed") == proposing, f"{told['verb']} is said in {sentence.where}")
    if proposing:
        name = sentence.where.removeprefix("proposals.")
        yield from holds(records.report["proposals"][name][0] == step, f"{name} proposes another step than {step}")
    elif sentence.where != "messages" and _rules_named(records):
        yield from holds(step == records.published, f"step {records.published} is published, not {step}")
    yield from holds(step in records.kept(), f"step {step} was not kept")


def chosen(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    """Check the same of a step that samples choose, and that the rules' own is told where it is another."""
    yield from named(records, told, sentence)
    ruled = records.outcome["published_step"]
    yield from holds(int(told["ruled"] or told["step"]) == ruled, f"the rules name step {ruled}")
    yield from holds(told["ruled"] != told["step"], "the rules name the same step")


def _rules_named(records: Records) -> bool:
    return bool(records.report["published_step"])


def matched_cap(records: Records) -> int:
    """Return the surrogates' best step on the clock of the final run."""
    curves = records.followed
    mixed = records.mixed
    return max(1, round(curves.best * curves.more_to_see * (1 - curves.gamma) / (1 - mixed)))


def fared(records: Records, told: Told) -> list[str]:
    """Check whether held-out references were better at the best step than before training."""
    gain = records.followed.gain
    return holds((told["fared"] == "best") == (gain > 0), f"held-out references gained {gain:.4f}")


def not_turned(curves: Curves) -> list[str]:
    """Check that the surrogates' budget ended before their held-out loss clearly turned up."""
    return holds(not curves.turned, f"held-out loss was lowest at {curves.best}, long before {curves.steps[-1]}")


@claim(NAMED + r"the loss on the references had fallen to #level % of its start; that of the surrogates was at #its % ")
def level(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from named(records, told, sentence)
    reached = records.level(int(told["step"]))
    yield from near(told["level"], 100 * reached, "the loss on the references")
    yield from near(told["its"], 100 * records.followed.level, "the surrogates' loss")
    yield from holds(reached <= records.followed.level + 1e-9, "the loss had not come to that level")


@claim(rf"where the references held out of them were {FARED}\.")
def level_of_best(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from fared(records, told)
    yield from holds(records.followed.turned, "the surrogates' budget ended near their best step")


@claim(r"at their step #best, near the end of their " + SURROGATES)
def level_of_end(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from near(told["best"], records.followed.best, "the surrogates' best step")
    yield from not_turned(records.followed)


@claim(
    NAMED
    + r"the run's budget of #budget steps ended there; what the surrogates showed asks for about #wanted, so a larger "
    r"max_steps may be better\."
)
def budget_ended(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from named(records, told, sentence)
    yield from near(told["budget"], records.budget, "the budget")
    yield from holds(int(told["step"]) == records.last == records.budget, f"the run ended at {records.last}")
    wanted = matched_cap(records)
    yield from near(told["wanted"], wanted, "what the surrogates ask for")
    yield from holds(wanted > records.budget, "the budget was no less than that")


@claim(NAMED + r"it stands for the surrogates' step #best, near the end of their " + SURROGATES)
def cap_of_end(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from named(records, told, sentence)
    yield from near(told["best"], records.followed.best, "the surrogates' best step")
    yield from near(told["step"], matched_cap(records), "that step on this run's clock")
    yield from not_turned(records.followed)


@claim(NAMED + rf"references held out of the surrogates were {FARED},? at this step\.")
def cap(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from named(records, told, sentence)
    yield from fared(records, told)
    yield from near(told["step"], records.followed.best, "the surrogates' best step")
    yield from holds(records.followed.turned, "the surrogates' budget ended near that step")


@claim(
    NAMED
    + rf"references held out of the surrogates were {FARED},? at their step #best, which is step #here here, where "
    r"there is more to see\."
)
def scaled_cap(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from named(records, told, sentence)
    yield from fared(records, told)
    yield from near(told["best"], records.followed.best, "the surrogates' best step")
    yield from near(told["here"], matched_cap(records), "that step on this run's clock")
    yield from holds(told["here"] == told["step"], "another step is named")
    yield from holds(records.followed.turned, "the surrogates' budget ended near that step")


@claim(LAST + r"the run ended before the best loss was matched\.", LAST + r"CS-Fluctuation showed no second valley\.")
def last(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from named(records, told, sentence)
    yield from near(told["step"], records.last, "the last step")


@claim(LAST + r"its budget of #budget steps is spent\.", LAST + r"the run ended before its budget of #budget steps\.")
def spent(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from last(records, told, sentence)
    yield from near(told["budget"], records.budget, "the budget")
    yield from holds((records.last == records.budget) == ("is spent" in sentence.text), f"it ended at {records.last}")


@claim(r"(?P<rule>[a-z_]+) is set by the preset (?P<setter>[^:]+): (?P<why>.+?)\.$", where="parameters.stop")
def stop_set(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from preset_named(records, told["setter"])
    stop = meant(records).get("stop") or {}
    yield from holds((stop.get("rule"), stop.get("why")) == (told["rule"], told["why"]), f"it says {stop}")
    yield from holds(records.p["stop"] == told["rule"], f"the rule is {records.p['stop']}")
