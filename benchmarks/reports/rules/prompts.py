"""Claims about what the adapter is asked for while it is judged, and about captions."""

from __future__ import annotations

import re
from collections.abc import Iterator

from benchmarks.reports.records import Records
from benchmarks.reports.rules.answers import question_of
from benchmarks.reports.rules.claims import Sentence, Told, claim, holds, near, parameter

_FUNCTION_WORDS = """
a an and any are as at be by can could did do does for from had has have he her his how i if in into is
it its me my of on or our out she should so some that the their them there they this to up us was we were
what when where which who why will with would you your
"""
FUNCTION_WORDS = frozenset(re.findall(r"\w+", _FUNCTION_WORDS))


def own_words(records: Records) -> list[str]:
    """Return what the captions say beside prefix and trigger, of several lines the first."""
    return [lines[0] for lines in own_lines(records)]


def own_lines(records: Records) -> list[list[str]]:
    """Return what each line of each caption says beside prefix and trigger."""
    prefix, trigger = records.backbone["caption_prefix"], records.p["trigger"] or "\0"
    captions = [(item.get("caption") or "").split("\n") for item in records.items]
    return [[line.removeprefix(prefix).replace(trigger, "").strip(" ,.;") for line in lines] for lines in captions]


def every_line(records: Records) -> list[str]:
    """Return the lines of all captions that say something."""
    return [line for lines in own_lines(records) for line in lines if line]


def in_lines(records: Records, told: bool) -> Iterator[str]:
    """Check that first lines are spoken of where some caption has several."""
    several = any(len(lines) > 1 for lines in own_lines(records))
    yield from holds(told == several, f"some caption has several lines: {several}")


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
    r"#held of #all captions hold the words '(?P<words>[^']+)'(?P<first> in their first line)?, which are "
    r"sampled(?P<with> with the trigger)?(?P<alone>: alone, and in settings that no known caption names)?\.",
    where="parameters.sample_prompts",
)
def shared_words(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    prefix, wanted = records.backbone["caption_prefix"], told["words"].lower().split()
    written = zip(records.items, own_words(records), strict=True)
    captions = [item["caption"].split("\n")[0].removeprefix(prefix) for item, words in written if words]
    yield from in_lines(records, bool(told["first"]))
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
    return any(setting <= about(line, records) for line in every_line(records))


def _in_order(wanted: list[str], words: list[str]) -> bool:
    rest = iter(words)
    return all(word in rest for word in wanted)


@claim(
    r"No caption is known(?:, so the trigger alone is sampled| and there is no trigger)\.",
    r"(?:Only one caption is known|(?:Captions|First lines of captions) share no words that name something), (?:so the "
    r"trigger alone is sampled(?:, and the (?:first line of the )?first caption)?|and there is no trigger: the (?:"
    r"first lines of the )?first of them are sampled)\.",
    where="parameters.sample_prompts",
)
def nothing_shared(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    prompts, trigger = records.p["sample_prompts"], records.p["trigger"]
    captions = [words for words in own_words(records) if words]
    yield from holds(bool(captions) != sentence.text.startswith("No caption"), f"there are {len(captions)} captions")
    if "first" in sentence.text:
        yield from in_lines(records, "irst line" in sentence.text)
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
    lines = every_line(records)
    yield from holds(bool(captions) == told["known"].startswith("They"), f"there are {len(captions)} captions")
    shared = set.intersection(*(about(caption, records) for caption in captions)) if len(captions) > 1 else set()
    told_of = [about(line, records) - shared for line in lines]
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
        others = every_line(records) + sampled
        found = [
            (prompt, other)
            for prompt in prompts
            for other in others
            if alike(about(prompt, records), about(other, records))
        ]
    yield from holds(not found, f"alike are {found[:1]}")


@claim(r"Every image has its caption\.", r"Texts have no captions\.", where="parameters.caption")
def captions_there(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    if "image" in sentence.text:
        yield from holds(all(own_words(records)), "some image has none")
    else:
        yield from holds(records.p["kind"] == "texts", "they are images")


@claim(
    r"#bare images have no caption and no tagger is registered, so (?P<so>only the trigger word names "
    r"them|no words name "
    r"them)\.",
    where="parameters.caption",
)
def uncaptioned(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from near(told["bare"], sum(not words for words in own_words(records)), "the number without a caption")
    yield from holds(
        bool(records.p["trigger"]) == told["so"].startswith("only"), f"the trigger is {records.p['trigger']}"
    )


@claim(
    r"No caption has several lines\.",
    r"#several of #all captions have several lines, and one of them is drawn each time\.",
    where="parameters.caption_lines",
)
def several_lines(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    several = sum(len(lines) > 1 for lines in own_lines(records))
    yield from near(told.get("several") or "0", several, "the number of captions with several lines")
    yield from near(told.get("all") or str(len(records.items)), len(records.items), "the number of images")
    yield from holds(records.p["caption_lines"] == "draw", f"caption_lines is {records.p['caption_lines']}")
