"""Claims about why a parameter has its value: what was registered, what the preset changes, and what is asked."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator
from typing import Any

from benchmarks.reports.claims import Sentence, Told, claim, holds, near
from benchmarks.reports.records import Json, Records
from benchmarks.reports.samples import question_of

USUAL = (
    r"(?:#value is (?:registered for (?P<id>\S+?)|our usual value for (?P<kind>images|texts) on a (?P<device>CPU|GPU))"
    r"(?:, times #times by the preset (?P<by>[^:]+): (?P<reason>.+?))?"
    r"|#set is set by the preset (?P<setter>[^:]+): (?P<why>.+?))"
)
WHOLE = {"rank", "batch_size", "folds", "surrogate_steps", "max_steps", "interval", "selected_count"}
FUNCTION_WORDS = set(
    ["a", "an", "and", "any", "are", "as", "at", "be", "by", "can", "could", "did", "do", "does", "for", "from", "had", "has", "have", "he", "her", "his", "how", "i", "if", "in", "into", "is", "it", "its", "me", "my", "of", "on", "or", "our", "out", "she", "should", "so", "some", "that", "the", "their", "them", "there", "they", "this", "to", "up", "us", "was", "we", "were", "what", "when", "where", "which", "who", "why", "will", "with", "would", "you", "your"]
)


def parameter(sentence: Sentence) -> str:
    return sentence.where.removeprefix("parameters.")


def usual(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    """Check where a usual value comes from, and what the preset makes of it."""
    name = parameter(sentence)
    if told.get("set"):
        change = yield from changed(records, told["setter"], name, told["why"])
        yield from near(told["set"], change.get("value"), "the preset's value")
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
    value = float(told.get("set") or told["value"]) * float(told.get("times") or 1)
    return math.ceil(value - 1e-9) if name in WHOLE else value


def changed(records: Records, said: str, name: str, why: str) -> Any:
    """Check that a preset is the job's, and says so itself; return its change of the parameter."""
    found = re.fullmatch(r"([a-z0-9-]+) (\d+)(?: \(an alias of ([a-z0-9-]+)\))?", said)
    preset = preset_of(records, records.p["preset"])
    if found is None or preset is None:
        yield f"the preset {said} is not known"
        return {}
    yield from holds(found[1] == records.p["preset"], f"the preset is {records.p['preset']}")
    yield from holds(int(found[2]) == records.p["preset_version"] == preset["version"], "it is another version")
    yield from holds((found[3] or None) == preset.get("alias_of"), f"it is an alias of {preset.get('alias_of')}")
    meant = preset_of(records, preset["alias_of"]) if preset.get("alias_of") else preset
    change = ((meant or {}).get("values") or {}).get(name, {})
    yield from holds(change.get("why") == why, f"it gives another reason: {change.get('why')}")
    return change


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


@claim(USUAL + r"; there are #count references\.$", where="parameters.")
def bounded(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from usual(records, told, sentence)
    yield from near(told["count"], len(records.items), "the number of references")
    value = min(expected(told, parameter(sentence)), len(records.items))
    yield from holds(value == records.p[parameter(sentence)], f"the value is {records.p[parameter(sentence)]}")


@claim(USUAL + r"; training may stop earlier\.$", where="parameters.max_steps")
@claim(USUAL + r"; never more than max_steps\.$", where="parameters.surrogate_steps")
@claim(USUAL + r"; what is longer is cut there\.$", where="parameters.max_tokens")
@claim(USUAL + r"; more draws of noise make a loss more exact and slower\.$", where="parameters.draws_")
@claim(USUAL + r", in steps, until the window sets another\.$", where="parameters.interval")
@claim(USUAL + r", in pixels\.$", where="parameters.resolution")
def limit(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    name = parameter(sentence)
    yield from usual(records, told, sentence)
    value = expected(told, name)
    value = min(value, records.p["max_steps"]) if name == "surrogate_steps" else value
    yield from holds(value == records.p[name], f"the value is {records.p[name]}")


@claim(r"There are only #count references, so no more than #count2 folds\.", where="parameters.folds")
def few_folds(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from near(told["count"], len(records.items), "the number of references")
    yield from near(told["count2"], records.p["folds"], "the number of folds")


@claim(r"Alpha is #times times the rank of #rank\.", where="parameters.alpha")
def alpha(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from near(told["rank"], records.p["rank"], "the rank")
    yield from close(told["times"], records.p["alpha"] / records.p["rank"], "alpha over the rank")


@claim(
    r"#steps of #longest steps: the share that (?:is registered for (?P<id>\S+)|is usual on a (?P<device>CPU|GPU)), #part "
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
    r"References that are (?P<kind>images|texts) are taken for (?P<what>[^;]+?)(?P<other>; name style or face where they are)?\."
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


@claim(r"Every image has its caption\.", r"Texts have no captions\.", where="parameters.caption")
def captions_there(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    if "image" in sentence.text:
        yield from holds(all(own_words(records)), "some image has none")
    else:
        yield from holds(records.p["kind"] == "texts", "they are images")


@claim(
    r"#bare images have no caption and no tagger is registered, so (?P<so>only the trigger word names them|no words name "
    r"them)\.",
    where="parameters.caption",
)
def uncaptioned(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from near(told["bare"], sum(not words for words in own_words(records)), "the number without a caption")
    yield from holds(
        bool(records.p["trigger"]) == told["so"].startswith("only"), f"the trigger is {records.p['trigger']}"
    )


@claim(r"Backbone data is there to limit forgetting\.", where="parameters.augment")
def augment(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(records.p["augment"] and records.backbone["pool"] is not None, "there is none")


@claim(
    r"It is chosen after scoring, by a trial on held-out references\.(?: It starts at #start: (?P<why>.+)\.$)?",
    where="parameters.gamma",
)
def gamma_chosen(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(records.p["gamma"] == "auto" and records.p["augment"], f"gamma is {records.p['gamma']}")
    if told["start"]:
        preset = preset_of(records, records.p["preset"])
        preset = preset_of(records, preset["alias_of"]) if preset.get("alias_of") else preset
        yield from near(told["start"], preset["gamma"]["start"], "where the preset starts")
        yield from holds(preset["gamma"]["why"] == told["why"], f"it says: {preset['gamma']['why']}")


@claim(
    r"Without backbone data there is nothing to mix in\.",
    r"No pool is used\.",
    r"The pool that belongs to the backbone\.",
    where="parameters.",
)
def pool(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    used = records.p["pool"] is not None and records.p["augment"]
    yield from holds(used == sentence.text.startswith("The pool"), f"the pool is {records.p['pool']}")


@claim(
    r"The surrogates' best step divided by 1\.5 sets it, or a fifth of the budget where that is less\.",
    where="parameters.window",
)
def window_rule(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(records.p["window"] == "auto", f"it is {records.p['window']}")


@claim(r"It is this service's stopping rule\.", where="parameters.stop")
def service_rule(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(records.p["stop"] == records.report["stop_rule"], f"the run went by {records.report['stop_rule']}")


@claim(
    r"The window is #count evaluations, #apart steps? apart: (?P<source>the surrogates' best step / 1\.5|a fifth of the "
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
    mixed = records.gamma if records.decision["selected"] else 0.0
    return curves.best * curves.more_to_see * (1 - curves.gamma) / (1 - mixed) / 1.5


def own_words(records: Records) -> list[str]:
    """Return what the captions say beside prefix and trigger."""
    words = []
    for item in records.items:
        rest = item.get("caption") or ""
        rest = rest.removeprefix(records.backbone["caption_prefix"])
        words.append(rest.replace(records.p["trigger"] or "\0", "").strip(" ,.;"))
    return words


def about(text: str, records: Records) -> set[str]:
    """Return the words that say what a text is about, in the singular."""
    besides = set(re.findall(r"\w+", f"{records.backbone['caption_prefix']} {records.p['trigger'] or ''}".lower()))
    words = [word for word in re.findall(r"\w+", text.lower()) if word not in FUNCTION_WORDS | besides]
    return {word.removesuffix("s") if len(word) > 3 else word for word in words}


def alike(first: set[str], second: set[str]) -> bool:
    return bool(first and second) and (first <= second or second <= first)


def resembling(records: Records, text: str, others: list[str]) -> list[str]:
    """Return the texts that share half of the words of the shorter one."""
    own = about(text, records)
    found = []
    for other in others:
        words = about(other, records)
        if 2 * len(own & words) >= max(1, min(len(own), len(words))):
            found.append(other)
    return found


@claim(
    r"#held of #all captions hold the words '(?P<words>[^']+)', which are sampled(?P<with> with the trigger)?"
    r"(?P<alone>: alone, and in settings that no known caption names)?\.",
    where="parameters.sample_prompts",
)
def shared_words(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    captions, wanted = [words for words in own_words(records) if words], told["words"].lower().split()
    found = sum(_in_order(wanted, re.findall(r"\w+", caption.lower())) for caption in captions)
    yield from near(told["held"], found, "the number of captions with these words")
    yield from near(told["all"], len(captions), "the number of captions")
    prompts, trigger = records.p["sample_prompts"], records.p["trigger"]
    marked = bool(trigger) and all(trigger in prompt for prompt in prompts)
    yield from holds(bool(told["with"]) == marked, f"the prompts are {prompts}")
    yield from holds(all(told["words"] in prompt for prompt in prompts), f"the prompts are {prompts}")
    settings = [about(prompt, records) - about(told["words"], records) for prompt in prompts]
    yield from holds(not settings[0], f"the first prompt is {prompts[0]}")
    yield from holds(bool(told["alone"]) == (len(prompts) > 1), f"the prompts are {prompts}")
    named = [prompt for prompt, setting in zip(prompts[1:], settings[1:], strict=True) if _named(records, setting)]
    yield from holds(not named, f"a caption names {named[:1]}")


def _named(records: Records, setting: set[str]) -> bool:
    return any(setting <= about(caption, records) for caption in own_words(records))


def _in_order(wanted: list[str], words: list[str]) -> bool:
    rest = iter(words)
    return all(word in rest for word in wanted)


@claim(
    r"No caption is known(?:, so the trigger alone is sampled| and there is no trigger)\.",
    r"(?:Only one caption is known|Captions share no words that name something), (?:so the trigger alone is sampled(?:, "
    r"and the first caption)?|and there is no trigger: the first of them are sampled)\.",
    where="parameters.sample_prompts",
)
def nothing_shared(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    prompts, trigger = records.p["sample_prompts"], records.p["trigger"]
    captions = [words for words in own_words(records) if words]
    yield from holds(bool(captions) != sentence.text.startswith("No caption"), f"there are {len(captions)} captions")
    yield from holds(len(captions) == 1 or "Only one" not in sentence.text, f"there are {len(captions)} captions")
    yield from holds(bool(trigger) != ("no trigger" in sentence.text), f"the trigger is {trigger}")
    if "trigger alone" in sentence.text:
        yield from holds(not about(prompts[0], records) and trigger in prompts[0], f"the prompts are {prompts}")
        yield from holds((len(prompts) > 1) == ("first caption" in sentence.text), f"the prompts are {prompts}")
    if "share no words" in sentence.text:
        shared = set.intersection(*(about(caption, records) for caption in captions))
        yield from holds(not shared, f"they share {shared}")


@claim(
    r"(?P<known>They are contents that no known caption names|No caption is known to compare them with; they are usual "
    r"contents), (?P<how>each with the trigger|without a trigger|without the trigger: the style should not come unless "
    r"asked for)\.",
    where="parameters.",
)
def new_contents(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    prompts, captions = records.p[parameter(sentence)], [words for words in own_words(records) if words]
    yield from holds(bool(captions) == told["known"].startswith("They"), f"there are {len(captions)} captions")
    shared = set.intersection(*(about(caption, records) for caption in captions)) if len(captions) > 1 else set()
    told_of = [about(caption, records) - shared for caption in captions]
    named = [prompt for prompt in prompts if any(alike(about(prompt, records), each) for each in told_of)]
    yield from holds(not named, f"a caption names {named[:1]}")
    trigger = records.p["trigger"]
    marked = [prompt for prompt in prompts if trigger and trigger in prompt]
    yield from holds(len(marked) == (len(prompts) if told["how"].startswith("each") else 0), f"they are {prompts}")
    asks = told["how"].startswith("without the")
    yield from holds(not asks or bool(trigger), "there is no trigger to ask with")


@claim(
    r"Without a trigger nothing asks for the style, so that no prompt is unrelated to it\.",
    r"None is registered for (?P<id>\S+)\.",
    r"Known captions name every content that could be asked for\.",
    where="parameters.unrelated_prompts",
)
def no_prompts(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(not records.p["unrelated_prompts"], f"there are {records.p['unrelated_prompts']}")
    if "Without a trigger" in sentence.text:
        yield from holds(not records.p["trigger"], f"the trigger is {records.p['trigger']}")
    if told.get("id"):
        yield from holds(not records.backbone["unrelated_prompts"], "some are registered")


@claim(r"They are everyday questions; none resembles a known reference\.", where="parameters.sample_prompts")
def everyday(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    asked = [question for item in records.items if (question := question_of(item))]
    for prompt in records.p["sample_prompts"]:
        found = resembling(records, prompt, asked)
        yield from holds(not found, f"{prompt} resembles {found[:1]}")


@claim(
    r"Each of our everyday questions resembles one of the references; their first are asked\.",
    where="parameters.sample_prompts",
)
def first_questions(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    asked = list(dict.fromkeys(question_of(item) for item in records.items))
    yield from holds(records.p["sample_prompts"] == asked[:4], f"asked are {records.p['sample_prompts']}")


@claim(
    r"They are the backbone's own(?P<compared>; no known (?:caption or sample names the same|reference or sample asks "
    r"alike))?\.",
    r"Left out #left of the backbone's #own(?:, with #more others? instead)?: a (?:caption or a sample names the same|"
    r"reference or a sample asks alike)\.",
    where="parameters.unrelated_prompts",
)
def unrelated(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    own = records.backbone["unrelated_prompts"][:4]
    prefix = records.backbone["caption_prefix"]
    prompts = [prompt.removeprefix(prefix) for prompt in records.p["unrelated_prompts"]]
    kept = [prompt for prompt in own if prompt.removeprefix(prefix) in prompts]
    if told.get("left"):
        yield from near(told["left"], len(own) - len(kept), "the number left out")
        yield from near(told["own"], len(own), "the number of the backbone's own")
        yield from near(told["more"] or "0", len(prompts) - len(kept), "the number of others")
    else:
        yield from holds(len(kept) == len(own) == len(prompts), f"asked are {prompts}")
    if told.get("compared") or told.get("left"):
        yield from _unlike(records, prompts)


def _unlike(records: Records, prompts: list[str]) -> Iterator[str]:
    """Check that no prompt names what a caption or a sampled prompt names, or asks what a reference asks."""
    sampled = list(records.p["sample_prompts"])
    if records.p["kind"] == "texts":
        asked = [question for item in records.items if (question := question_of(item))]
        found = [(prompt, other) for prompt in prompts for other in resembling(records, prompt, asked + sampled)]
    else:
        others = [words for words in own_words(records) if words] + sampled
        found = [
            (prompt, other)
            for prompt in prompts
            for other in others
            if alike(about(prompt, records), about(other, records))
        ]
    yield from holds(not found, f"alike are {found[:1]}")


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
