"""Claims about why a parameter has its value: what was registered, what the preset changes, and what is asked."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator
from typing import Any

from benchmarks.reports.records import Json, Records
from benchmarks.reports.rules.claims import Sentence, Told, claim, holds, near, parameter

USUAL = (
    r"(?:#value is (?:registered for (?P<id>\S+?)|our usual value for (?P<kind>images|texts) on a (?P<device>CPU|GPU))"
    r"(?:, times #times by the preset (?P<by>[^:]+): (?P<reason>.+?))?"
    r"|#set is set by the preset (?P<setter>[^:]+): (?P<why>.+?)"
    r"|#passes passes over #among references in batches of #batch are set by the preset (?P<sets>[^:]+): (?P<told>.+?))"
)
MOST_STEPS = 20_000  # of a run
WHOLE = {"rank", "batch_size", "folds", "surrogate_steps", "max_steps", "interval", "selected_count"}


def usual(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    """Check where a usual value comes from, and what the preset makes of it."""
    name = parameter(sentence)
    if told.get("set"):
        change = yield from changed(records, told["setter"], name, told["why"])
        yield from near(told["set"], change.get("value"), "the preset's value")
        return
    if told.get("passes"):
        change = yield from changed(records, told["sets"], name, told["told"])
        yield from near(told["passes"], change.get("passes"), "the preset's passes")
        yield from near(told["among"], len(records.items), "the number of references")
        yield from near(told["batch"], records.p["batch_size"], "the batch size")
        return
    registered = records.backbone["defaults"].get(name)
    if told.get("id"):
        yield from holds(told["id"] == records.backbone["id"], f"the backbone is {records.backbone['id']}")
        yield from close(told["value"], registered, "what is registered")
    else:
        yield from holds(registered is None, f"{registered} is registered")
        yield from holds(told["kind"] == records.p["kind"], f"they are {records.p['kind']}")
        yield from holds((told["device"] == "GPU") == (records.p["device_class"] == "cuda"), "it is another device")
    if told.get("times"):
        change = yield from changed(records, told["by"], name, told["reason"])
        yield from near(told["times"], change.get("times"), "the preset's factor")


def expected(told: Told, name: str) -> float:
    """Return the value that a reason gives."""
    if told.get("passes"):
        return math.ceil(int(told["passes"]) * int(told["among"]) / int(told["batch"]))
    value = float(told.get("set") or told["value"]) * float(told.get("times") or 1)
    return math.ceil(value - 1e-9) if name in WHOLE else value


def changed(records: Records, said: str, name: str, why: str) -> Any:
    """Check that a preset is the job's, and says so itself; return its change of the parameter."""
    yield from preset_named(records, said)
    change = (meant(records).get("values") or {}).get(name, {})
    yield from holds(change.get("why") == why, f"it gives another reason: {change.get('why')}")
    return change


def preset_named(records: Records, said: str) -> Iterator[str]:
    """Check that a preset, said with its version, is the job's."""
    found = re.fullmatch(r"([a-z0-9-]+) (\d+)(?: \(an alias of ([a-z0-9-]+)\))?", said)
    preset = preset_of(records, records.p["preset"])
    if found is None or preset is None:
        yield f"the preset {said} is not known"
        return
    yield from holds(found[1] == records.p["preset"], f"the preset is {records.p['preset']}")
    yield from holds(int(found[2]) == records.p["preset_version"] == preset["version"], "it is another version")
    yield from holds((found[3] or None) == preset.get("alias_of"), f"it is an alias of {preset.get('alias_of')}")


def preset_of(records: Records, name: str) -> Json:
    """Return what the file of a preset says; None where there is none."""
    for folder in records.presets:
        if (folder / f"{name}.toml").is_file():
            return tomllib.loads((folder / f"{name}.toml").read_text())
    return None


def close(told: str, found: float | None, what: str) -> list[str]:
    """Return a contradiction unless a number, told by six digits at most, is what was found."""
    fine = found is not None and math.isclose(float(told), found, rel_tol=1e-5)
    return holds(fine, f"{what} is {found}, not {told}")


@claim(USUAL + r"(?:, and the request multiplies it by #asked)?\.$", where="parameters.")
def plain(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from usual(records, told, sentence)
    name = parameter(sentence)
    value = expected(told, name) * float(told["asked"] or 1)
    if (name == "rank" and "rank" in records.p["reasons"]) or name != "rank":
        yield from holds(math.isclose(value, records.p[name], rel_tol=1e-5), f"the value is {records.p[name]}")


@claim(USUAL + r"; there are #count references\.$", where="parameters.batch_size")
@claim(
    USUAL + r"; there are only #count references, and a batch holds each of them once\.$", where="parameters.batch_size"
)
@claim(USUAL + r"; there are #count references\.$", where="parameters.folds")
def bounded(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from usual(records, told, sentence)
    yield from near(told["count"], len(records.items), "the number of references")
    value = min(expected(told, parameter(sentence)), len(records.items))
    yield from holds(value == records.p[parameter(sentence)], f"the value is {records.p[parameter(sentence)]}")


@claim(
    r"(?P<most>A run has #limit steps at most, though )?" + USUAL + r"; training may stop earlier\.$",
    where="parameters.max_steps",
)
@claim(USUAL + r"; never more than max_steps\.$", where="parameters.surrogate_steps")
@claim(USUAL + r"; of what is longer a part is left out\.$", where="parameters.max_tokens")
@claim(USUAL + r"; more draws of noise make a loss more exact and slower\.$", where="parameters.draws_")
@claim(USUAL + r", in steps(?P<until>, until the window sets another)?\.$", where="parameters.interval")
@claim(USUAL + r", in pixels\.$", where="parameters.resolution")
def limit(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    name = parameter(sentence)
    yield from usual(records, told, sentence)
    value = expected(told, name)
    value = min(value, records.p["max_steps"]) if name == "surrogate_steps" else value
    if told.get("most"):
        yield from holds(value > MOST_STEPS == int(told["limit"].replace(",", "")), f"{value} steps were wanted")
        value = MOST_STEPS
    yield from holds(value == records.p[name], f"the value is {records.p[name]}")
    if name == "interval":
        measured = records.p["window"] == "auto"
        yield from holds(bool(told.get("until")) == measured, f"the window is {records.p['window']}")


@claim(r"(?P<id>\S+) has places for #places tokens and no more\.", where="parameters.max_tokens")
def places(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(told["id"] == records.backbone["id"], f"the backbone is {records.backbone['id']}")
    yield from near(told["places"], records.backbone["context_tokens"], "what it has places for")
    yield from near(told["places"], records.p["max_tokens"], "the limit")


@claim(r"There are only #count references, so no more than #count2 folds\.", where="parameters.folds")
def few_folds(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from near(told["count"], len(records.items), "the number of references")
    yield from near(told["count2"], records.p["folds"], "the number of folds")


@claim(r"Alpha is #times times the rank of #rank\.", where="parameters.alpha")
def alpha(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from near(told["rank"], records.p["rank"], "the rank")
    yield from close(told["times"], records.p["alpha"] / records.p["rank"], "alpha over the rank")


@claim(
    r"#steps of #longest steps: the share that (?:is registered for (?P<id>\S+)|is usual on a "
    r"(?P<device>CPU|GPU)), #part "
    r"of #whole, so that both grow together\.",
    where="parameters.surrogate_steps",
)
def share_of_steps(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    p, defaults = records.p, records.backbone["defaults"]
    yield from near(told["steps"], p["surrogate_steps"], "the surrogates' budget")
    yield from near(told["longest"], p["max_steps"], "max_steps")
    part, whole = float(told["part"]), float(told["whole"])
    wanted = min(p["max_steps"], max(1, math.ceil(p["max_steps"] * part / whole - 1e-9)))
    yield from holds(wanted == p["surrogate_steps"], f"that share is {wanted} steps")
    known = {"surrogate_steps", "max_steps"} & set(defaults)
    yield from holds(bool(known) == bool(told["id"]), f"registered are {sorted(known)}")
    for name, value in (("surrogate_steps", part), ("max_steps", whole)):
        yield from holds(defaults.get(name, value) == value, f"{name} is registered as {defaults.get(name)}")


@claim(
    r"References that are (?P<kind>images|texts) are taken for (?P<what>[^;]+?)(?P<other>; name style "
    r"or face where they are)?\."
)
def taken_for(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    preset = preset_of(records, records.p["preset"])
    yield from holds(told["kind"] == records.p["kind"], f"they are {records.p['kind']}")
    yield from holds(preset["description"] == told["what"], f"the preset is for {preset['description']}")
    yield from holds(
        records.p["preset"] == {"images": "subject", "texts": "tone"}[told["kind"]], "it is another preset"
    )


@claim(r"So the shape of answers is taken for what shall be learned\.", where="parameters.preset")
def shape_taken(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(records.p["preset"] == "format", f"the preset is {records.p['preset']}")


@claim(r"The system prompts of #count texts ask for (?P<what>[A-Z ]+)\.", where="parameters.preset")
def system_asks(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    systems = [
        message["content"]
        for item in records.items
        for message in item.get("messages") or ()
        if message["role"] == "system"
    ]
    yield from near(
        told["count"],
        sum(bool(re.search(r"json|yaml|xml|csv|markdown table|html|sql|schema", text, re.I)) for text in systems),
        "their number",
    )
    yield from holds(any(told["what"].lower() in text.lower() for text in systems), "none does")


@claim(r"(?P<id>\S+) is registered for images of #side pixels\.", where="parameters.resolution")
def registered_size(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(told["id"] == records.backbone["id"], f"the backbone is {records.backbone['id']}")
    yield from near(told["side"], records.backbone["resolution"], "its resolution")
    yield from near(told["side"], records.p["resolution"], "the resolution")


@claim(r"At #side pixels a side pictures are trained as squares\.", where="parameters.shapes")
@claim(
    r"Pictures are trained in few shapes, at most #most of about #side x #side2 pixels, those that cut least off the "
    r"references\.",
    where="parameters.shapes",
)
def shapes(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from near(told["side"], records.p["resolution"], "the resolution")
    yield from near(told.get("side2") or told["side"], records.p["resolution"], "the resolution")
    yield from near(told.get("most") or "1", records.p["shapes"], "the most shapes")


@claim(
    r"(?P<name>[a-z0-9-]+) is no style\.",
    r"A style comes when its trigger is in the prompt, unless the request says that it comes always\.",
    where="parameters.style_always",
)
def style_always(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    preset = preset_of(records, records.p["preset"])
    style = "style" in (records.p["preset"], preset.get("alias_of"))
    yield from holds(style != ("is no style" in sentence.text), f"the preset is {records.p['preset']}")
    yield from holds(not told.get("name") or told["name"] == records.p["preset"], "it is another preset")
    yield from holds(not records.p["style_always"], "it comes always")


@claim(
    r"The style is to come without being asked for, so no word is put into captions\.",
    r"A style that is to come without being asked for is also trained without captions; not measured\.",
    r"The style is to come without being asked for, so that no prompt is unrelated to it\.",
    where="parameters.",
)
def comes_always(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(records.p["style_always"], "it does not come always")
    name, p = parameter(sentence), records.p
    found = {"trigger": p["trigger"] is None, "dropout_caption": p["dropout_caption"] > 0}
    yield from holds(found.get(name, not p["unrelated_prompts"]), f"{name} is {p[name]}")


@claim(r"'(?P<word>[^']+)' is the word that is registered for (?P<id>\S+)\.", where="parameters.trigger")
def registered_word(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    word = records.backbone["trigger_hint"]
    yield from holds(told["word"] == word == records.p["trigger"], f"the registered word is {word}")
    yield from holds(told["id"] == records.backbone["id"], f"the backbone is {records.backbone['id']}")


@claim(r"No caption is left out\.", where="parameters.dropout_caption")
def none_left_out(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(records.p["dropout_caption"] == 0, f"{records.p['dropout_caption']} of them are")


@claim(r"All timesteps count alike, unless a request asks for another weighting\.", where="parameters.min_snr")
def all_alike(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(records.p["min_snr"] is None, f"min_snr is {records.p['min_snr']}")
    yield from holds(records.p["kind"] == "images", "they are texts")


@claim(r"Texts are learned without noise\.", where="parameters.min_snr")
def without_noise(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(records.p["kind"] == "texts", "they are images")


def meant(records: Records) -> Json:
    """Return what the file of the job's preset says, or that of the preset whose values it takes."""
    preset = preset_of(records, records.p["preset"])
    return preset_of(records, preset["alias_of"]) if preset.get("alias_of") else preset


@claim(
    r"The surrogates' best step divided by 1\.5 sets it, or a fifth of the budget where that is less\.",
    where="parameters.window",
)
def window_rule(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(records.p["window"] == "auto", f"it is {records.p['window']}")


@claim(r"It is this service's stopping rule\.", where="parameters.stop")
def service_rule(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(records.p["stop"] == records.report["stop_rule"], f"the run went by {records.report['stop_rule']}")


@claim(r"It is the batch size of the request's hyperparameters\.", where="parameters.batch_size")
@claim(
    r"#epochs epochs of #count references in batches of #size; training may stop earlier\.",
    where="parameters.max_steps",
)
def hyperparameters(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    if told.get("epochs"):
        yield from near(told["count"], len(records.items), "the number of references")
        yield from near(told["size"], records.p["batch_size"], "the batch size")
        steps = math.ceil(int(told["epochs"]) * len(records.items) / records.p["batch_size"])
        yield from near(str(steps), records.p["max_steps"], "the number of steps")
