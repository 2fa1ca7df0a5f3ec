"""Claims about CS-Fluctuation: its valleys, its noise, and what it had to do with the step that is published."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.reports.records import Records
from benchmarks.reports.rules.claims import Sentence, Told, claim, holds, near
from benchmarks.reports.rules.stopping import LAST, NAMED, last, named
from benchmarks.reports.rules.values import USUAL, changed, expected


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


@claim(r"CS-Fluctuation's turning point at step #point may be chance and was passed over\.")
def passed_over(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    point = records.fluctuation.second_valley
    yield from near(told["point"], point[0] if point else None, "the second valley")
    yield from holds(not records.fluctuation.clear, "it stood clear of its noise")


@claim(r"CS-Fluctuation's turning point is at step #point\.")
def beside(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    point = records.fluctuation.second_valley
    yield from near(told["point"], point[0] if point else None, "the second valley")
    yield from holds(records.fluctuation.clear, f"its noise: {records.fluctuation.to_noise}")


@claim(r"CS-Fluctuation (?P<how>turned|settled) at step #step, clear of chance, and ended the run at step #last\.")
def ended_run(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    found = records.fluctuation
    edge = found.second_valley[0] if found.second_valley else (found.settled[0] if found.settled else None)
    yield from near(told["step"], edge, "its step")
    yield from holds((told["how"] == "turned") == (found.second_valley is not None), f"it is {found.second_valley}")
    yield from near(told["last"], records.last, "the last step")
    yield from ended_by_it(records)


def ended_by_it(records: Records) -> Iterator[str]:
    """Check that CS-Fluctuation was clear, and that the run ended as soon as it and the matched step were known."""
    found, matched = records.fluctuation, records.report["matched_loss_step"]
    yield from holds(found.clear, f"its noise: {found.to_noise}")
    yield from holds(matched is not None and records.last < records.budget, f"the matched step is {matched}")
    if found.second_valley is not None and matched is not None:
        yield from near(str(records.last), max(found.second_valley[1], matched), "the step at which both were known")
    else:
        yield from holds(bool(found.settled), "it showed nothing")


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
    yield from holds(not records.surrogates.holds_out, "held-out references name the step")


@claim(r"It (?P<not>did not end|ended) the run and has no say in the step\.")
def ending(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    ended = told["not"] == "ended"
    yield from holds(records.surrogates.holds_out, "nothing was held out")
    yield from holds(ended == records.report["cs_fluctuation_ended_run"], "the report's figure says otherwise")
    if ended:
        yield from ended_by_it(records)


@claim(
    r"The window is #count evaluations, #apart steps? apart: (?P<source>the surrogates' best step / "
    r"1\.5|a fifth of the "
    r"step budget), #steps steps(?P<least>, and 10 evaluations at least)?\.",
    r"The window is #count evaluations, #apart steps? apart as was asked for, instead of #usual, #interval apart\.",
    r"The window of #count evaluations was asked for\.",
    where="window",
)
def window(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    found = records.report["window"]
    yield from near(told["count"], found["evaluations"], "the number of evaluations")
    if told.get("apart"):
        yield from near(told["apart"], found["interval"], "the interval")
    if told.get("source"):
        yield from near(told["steps"], window_steps(records, told["source"]), "that number of steps")
        other = {"t": "a fifth", "a": "the surrogates"}[told["source"][0]]
        longest = window_steps(records, other)
        yield from holds(longest is None or float(told["steps"]) <= longest + 0.06, f"{other} gives {longest}")
    elif not told.get("apart"):
        yield from holds(records.p["window"] == found["evaluations"], f"{records.p['window']} was asked for")


def window_steps(records: Records, source: str) -> float | None:
    """Return the steps of a window by one of its two rules; None where nothing was held out."""
    if source.startswith("a fifth"):
        return records.budget / 5
    curves = records.followed
    if not curves.holds_out:
        return None
    mixed = records.mixed
    return curves.best * curves.more_to_see * (1 - curves.gamma) / (1 - mixed) / 1.5


@claim(
    r"#count evaluations, #apart steps? apart: " + USUAL + r"; the adapter's copies of the last #held are held "
    r"meanwhile\.$",
    where="parameters.window",
)
@claim(
    r"The window: #count evaluations, #apart steps? apart: " + USUAL + r"; the adapter's copies of the last #held are "
    r"held meanwhile\.$",
    where="window",
)
def window_set(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    name, p = "window", records.p
    if told.get("set"):
        change = yield from changed(records, told["setter"], name, told["why"])
        yield from near(told["set"], change.get("value"), "the preset's value")
        wanted = int(told["set"])
    else:
        change = yield from changed(records, told["sets"], name, told["told"])
        yield from near(told["passes"], change.get("passes"), "the preset's passes")
        wanted = min(1000, max(2, round(expected(told, name) / p["interval"])))
    yield from near(told["count"], p["window"], "the window")
    yield from near(told["apart"], p["interval"], "the interval")
    yield from near(told["held"], 3 * p["window"], "the number of copies")
    yield from holds(wanted == p["window"], f"the window is {p['window']}")
