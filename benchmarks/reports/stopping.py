"""Claims about the step that is published or proposed, and about the evidence behind it."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.reports.claims import Sentence, Told, claim, holds, near
from benchmarks.reports.curves import Curves
from benchmarks.reports.records import Records

NAMED = r"(?P<verb>Published|Proposed) step #step: "
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


def _rules_named(records: Records) -> bool:
    return bool(records.report["published_step"])


def matched_cap(records: Records) -> int:
    """Return the surrogates' best step on the clock of the final run."""
    curves = records.followed
    mixed = records.gamma if records.decision["selected"] else 0.0
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


@claim(
    NAMED
    + r"the turning point, seen at step #seen(?P<doubt> \(the curve did not stand clear of its noise: this may be "
    r"chance\))?\."
)
def turning_point(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from named(records, told, sentence)
    found = (int(told["step"]), int(told["seen"]))
    yield from holds(records.fluctuation.second_valley == found, f"it is {records.fluctuation.second_valley}")
    yield from holds(bool(told["doubt"]) != records.fluctuation.clear, f"its noise: {records.fluctuation.to_noise}")


@claim(
    NAMED + r"CS-Fluctuation settled without a second valley(?P<doubt> \(the curve did not stand clear of its noise: "
    r"this may be chance\))?\."
)
def settled(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from named(records, told, sentence)
    quiet = records.fluctuation.settled
    yield from holds(bool(quiet) and quiet[0] == int(told["step"]), f"it settled at {quiet[:1]}")
    yield from holds(records.fluctuation.second_valley is None, "there is a second valley")
    yield from holds(bool(told["doubt"]) != records.fluctuation.clear, f"its noise: {records.fluctuation.to_noise}")


@claim(r"CS-Fluctuation showed no second valley\.")
def no_valley(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(records.fluctuation.second_valley is None, f"it is at {records.fluctuation.second_valley}")


@claim(LAST + r"CS-Fluctuation showed nothing clear of chance\.")
def nothing_clear(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from last(records, told, sentence)
    shown = records.fluctuation.second_valley is not None or bool(records.fluctuation.settled)
    yield from holds(not (shown and records.fluctuation.clear), "it stood clear of its noise")


@claim(r"No reference could be held out(?: to check it|, so the surrogates can say nothing of unseen data)\.")
def nothing_held_out(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(not records.surrogates.holds_out, f"the folds are {records.surrogates.folds}")


@claim(r"It came before step #later, which held-out references speak for\.")
def came_before(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    point, later = records.fluctuation.second_valley, records.report["matched_loss_step"]
    yield from near(told["later"], later, "the matched loss's step")
    yield from holds(point is not None and later is not None and point[0] < later, f"the turning point is {point}")


@claim(r"CS-Fluctuation's turning point at step #point may be chance and was passed over\.")
def passed_over(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    point = records.fluctuation.second_valley
    yield from near(told["point"], point[0] if point else None, "the second valley")
    yield from holds(not records.fluctuation.clear, "it stood clear of its noise")


@claim(r"CS-Fluctuation's turning point, step #point, is no earlier\.")
def no_earlier(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    point, other = records.fluctuation.second_valley, records.report["matched_loss_step"]
    yield from near(told["point"], point[0] if point else None, "the second valley")
    yield from holds(point is not None and other is not None and point[0] >= other, f"the other step is {other}")


@claim(
    r"CS-Fluctuation showed nothing: the run was too short for its windows, or it never moved\.",
    r"CS-Fluctuation rose above a noise of zero; ",
    r"CS-Fluctuation peaked at #ratio times its noise, (?P<not>not )?clear of the #most that it takes to be told from "
    r"chance; ",
)
def heard(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    found = records.fluctuation
    if "showed nothing" in sentence.text:
        yield from holds(found.peak == 0, f"it peaked at {found.peak}")
    elif "noise of zero" in sentence.text:
        yield from holds(found.peak > 0 and found.to_noise is None, f"its noise: {found.to_noise}")
    else:
        yield from near(told["ratio"], found.to_noise, "the peak over its noise")
        yield from holds(bool(told["not"]) != found.clear and float(told["most"]) == 10, "it is the other way round")


@claim(r"it showed no second valley\.", r"its second valley is at step #point\.")
def valley(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    found = records.fluctuation.second_valley
    if told.get("point"):
        yield from near(told["point"], found[0] if found else None, "the second valley")
    else:
        yield from holds(found is None, f"it is at {found}")


@claim(r"This job was told to stop by it\.", r"This job did not go by it\.")
def told_to(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    by_it = records.p["stop"] == "cs_fluctuation"
    yield from holds(by_it == ("was told" in sentence.text), f"stop is {records.p['stop']}")
    yield from holds(records.p["stop"] != "auto", "stop is auto")


@claim(r"It (?P<not>did not name|named) the step that is published\.")
def bearing(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    point, settled_at = records.fluctuation.second_valley, records.fluctuation.settled
    spoken = records.report["stop_reason"].startswith(
        (f"Published step {records.published}: the turning point", f"Published step {records.published}: CS-Fluct")
    )
    its = {point[0]} if point else set(settled_at[:1])
    named_it = spoken and records.fluctuation.clear and records.published in its
    yield from holds(named_it == (told["not"] == "named"), f"its step is {its}; {records.report['stop_reason']}")


@claim(r"Expected improvement of the loss on unseen data #gain % \+- #error, ")
def improvement(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    curves = _meant(records, sentence)
    yield from near(told["gain"], 100 * curves.gain, "the gain")
    yield from near(told["error"], 100 * curves.error, "its error")
    yield from holds(curves.gain > 0, "it got worse")


@claim(r"No improvement of the loss on unseen data is expected: it got worse by #loss % \+- #error, ")
def no_improvement(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    curves = _meant(records, sentence)
    yield from near(told["loss"], -100 * curves.gain, "the loss")
    yield from near(told["error"], 100 * curves.error, "its error")
    yield from holds(curves.gain <= 0, "it got better")


@claim(
    r"reached at the surrogates' step #best of #ended \(budget reached: their held-out loss had not clearly turned "
    r"up\); "
)
def reached(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    curves = _meant(records, sentence)
    yield from near(told["best"], curves.best, "the best step")
    yield from near(told["ended"], curves.steps[-1], "the surrogates' last step")
    yield from not_turned(curves)


@claim(r"(?P<how>best|least) near the surrogates' step #best \(range #low to #high\); ")
def best_near(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    curves = _meant(records, sentence)
    yield from near(told["best"], curves.best, "the best step")
    yield from near(told["low"], max(1, curves.best // 2), "half of it")
    yield from near(told["high"], 2 * curves.best, "twice of it")
    yield from holds(curves.turned, "the surrogates' budget ended near it")
    yield from holds((told["how"] == "best") == (curves.gain > 0), f"the gain is {curves.gain:.4f}")


@claim(r"confidence (?P<level>high|medium|low)\. A lower loss does not say how the samples look or read\.")
def confidence(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    curves = _meant(records, sentence)
    low = curves.references < 4 or curves.gain - curves.error <= 0 or curves.gain < 0.02
    high = not low and curves.references >= 8 and curves.gain >= 3 * curves.error and curves.turned
    found = "low" if low else "high" if high else "medium"
    yield from holds(told["level"] == found, f"the rule gives {found}")


@claim(r"The references do not show a clear benefit: add some\.")
def no_clear_benefit(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    curves = _meant(records, sentence)
    unclear = curves.gain - curves.error <= 0 or curves.gain < 0.02
    yield from holds(unclear, f"the gain is {curves.gain:.3f} +- {curves.error:.3f}")


@claim(r"With fewer than #least references it is never more: add some\.")
def too_few(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    found = _meant(records, sentence).references
    yield from holds(found < int(told["least"]) == 4, f"there are {found}")


@claim(r"It came within #soon steps: with a lower learning rate a run can be stopped more precisely\.")
def soon(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    curves = _meant(records, sentence)
    yield from holds(curves.best <= int(told["soon"]), f"it came at step {curves.best}")
    yield from holds(curves.turned and curves.gain > 0, "it was the budget's end, or no improvement")


def _meant(records: Records, sentence: Sentence) -> Curves:
    """Return the curves that a text speaks of: while the surrogates are trained there are no others."""
    return records.surrogates if sentence.where == "messages.surrogate" else records.followed
