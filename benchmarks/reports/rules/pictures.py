"""Claims about what the adapter drew at its kept steps."""

from __future__ import annotations

import re
from collections.abc import Iterator

from benchmarks.reports.records import Json, Records
from benchmarks.reports.rules.claims import Sentence, Told, claim, holds, near
from benchmarks.reports.rules.stopping import CHOSEN, chosen

SHOWN = r"\(feature similarity #here, at best #best\)\. "
SCALE = r"0 is before training and 1 the references; it does not say what a person recognises\."
FAR = r"more than #share% as far towards the references as the subject's pictures do at best\. "
ROUNDED = 1e-4  # of the figures in the report
STYLES = {"style"}


def pictures(records: Records) -> dict[int, Json]:
    """Return what was measured of the pictures of each step after training began."""
    return {row["step"]: row for row in records.report["pictures"] if row["step"] > 0}


def eligible(records: Records) -> dict[int, Json]:
    """Return the steps that may be chosen: for a style, those that keep half of the contents."""
    found = pictures(records)
    most = max(row["content"] for row in found.values())
    return {step: row for step, row in found.items() if row["content"] >= 0.5 * most - ROUNDED}


@claim(
    CHOSEN
    + r"the first kept step(?P<among> of those that keep their contents)? whose pictures go at least #share% as far "
    r"towards the references as those of any " + SHOWN + SCALE
)
def furthest(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from chosen(records, told, sentence)
    rows = eligible(records) if _is_style(records) else pictures(records)
    yield from holds(bool(told["among"]) == (len(rows) < len(pictures(records))), "contents are lost elsewhere, or not")
    best, step = max(row["similarity"] for row in rows.values()), int(told["step"])
    yield from near(told["here"], rows[step]["similarity"], "the similarity")
    yield from near(told["best"], best, "the best similarity")
    enough = float(told["share"]) / 100 * best
    before = [row["similarity"] for at, row in rows.items() if at < step]
    yield from holds(rows[step]["similarity"] >= enough - ROUNDED, "it does not go so far")
    yield from holds(all(found < enough + ROUNDED for found in before), "an earlier step goes as far")


@claim(r"Unrelated prompts have moved #moved of that way\.", r"Unrelated prompts have not moved that way\.")
def unrelated_moved(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(bool(records.p["unrelated_prompts"]), "there are no unrelated prompts")
    yield from moved(records, told.get("moved"), step_of(sentence))


@claim(
    r"Prompts without the trigger have moved #moved of that way, which was not asked for \(see bat\.style_always\)\.",
    r"Prompts without the trigger have not moved that way\.",
)
def unasked(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    trigger, prompts = records.p["trigger"], records.p["unrelated_prompts"]
    yield from holds(bool(prompts), "there are no such prompts")
    yield from holds(bool(trigger) and not any(trigger in prompt for prompt in prompts), f"the trigger is {trigger}")
    yield from holds(not records.p["style_always"], "it was asked for")
    yield from moved(records, told.get("moved"), step_of(sentence))


def moved(records: Records, told: str | None, step: int) -> Iterator[str]:
    """Check how far unrelated prompts have gone at a step."""
    found = pictures(records)[step]["swallowed"]
    if told:
        yield from near(told, found, "their way")
    else:
        yield from holds(found < 0.005 + ROUNDED, f"they have moved {found}")


@claim(
    CHOSEN
    + r"the last kept step before unrelated prompts go "
    + FAR
    + r"They (?:have moved #moved of that way|have not "
    r"moved that way) there and have moved #then of that way at step #next; the subject's pictures are at #here, at "
    r"best #best\. " + SCALE,
    CHOSEN
    + r"the first kept step; there already unrelated prompts go "
    + FAR
    + r"They have moved #moved of that way; the "
    r"subject's pictures are at #here, at best #best\. " + SCALE,
)
def swallowing(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from chosen(records, told, sentence)
    rows, step = pictures(records), int(told["step"])
    best = max(row["similarity"] for row in rows.values())
    yield from near(told["here"], rows[step]["similarity"], "the similarity")
    yield from near(told["best"], best, "the best similarity")
    yield from moved(records, told["moved"], step)
    steps, limit = sorted(rows), float(told["share"]) / 100 * best - ROUNDED
    # one step alone is noise, unless it is the last
    pairs = zip(steps, [*steps[1:], steps[-1]], strict=True)
    gone = [at for at, then in pairs if min(rows[at]["swallowed"], rows[then]["swallowed"]) > limit]
    begun = int(told.get("next") or step)
    yield from holds(bool(gone) and gone[0] == begun, f"they have gone clearly at {gone}")
    if told.get("then"):
        yield from near(told["then"], rows[begun]["swallowed"], "their way then")
        yield from holds(
            sorted(rows).index(begun) == sorted(rows).index(step) + 1, f"{begun} is not the next kept step"
        )
    else:
        yield from holds(step == min(rows), "it is not the first kept step")


@claim(r"#share% of its pictures are nearest to what their own prompts drew before training\.")
def contents(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from near(told["share"], 100 * pictures(records)[step_of(sentence)]["content"], "the share")


@claim(r"Contents are lost at steps? (?P<steps>[\d, ]+)\.")
def contents_lost(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    found = sorted(set(pictures(records)) - set(eligible(records)))
    yield from holds([int(step) for step in told["steps"].split(", ")] == found, f"they are lost at {found}")


@claim(
    r"The pictures go less than two thirds of the way even at best: this backbone may be unable to draw what the "
    r"references show, they may be too few, or the run too short\. Look at the samples\."
)
def less_than_two_thirds(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    best = max(row["similarity"] for row in pictures(records).values())
    yield from holds(best < 2 / 3 + ROUNDED, f"the best similarity is {best}")


@claim(
    r"The sample pictures hardly come nearer to the references at any kept step \(feature similarity #best at best; "
    r"0 is before training, 1 the references\), so they have no say in the step: the run may have been too short, or "
    r"this backbone may be unable to draw what the references show\."
)
def hardly(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    best = max((row["similarity"] for row in pictures(records).values()), default=0.0)
    yield from near(told["best"], best, "the best similarity")
    yield from holds(best < 0.1 + ROUNDED, "they come nearer")
    yield from holds(
        re.match(r"Published step [^:]+: the (first|last) kept", records.report["stop_reason"]) is None,
        "they had a say",
    )


@claim(
    r"The sample pictures come nearer to the references only at steps that lose their contents \(feature similarity "
    r"#best at best at the others; 0 is before training, 1 the references\), so they have no say in the step: a lower "
    r"learning rate may bring the style without that\."
)
def only_without_contents(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    best = max(row["similarity"] for row in eligible(records).values())
    yield from near(told["best"], best, "the best similarity of those that keep their contents")
    yield from holds(best < 0.1 + ROUNDED, "others come nearer too")
    most = max(row["similarity"] for row in pictures(records).values())
    yield from holds(most >= 0.1 - ROUNDED, "none comes nearer")


def _is_style(records: Records) -> bool:
    return records.p["preset"] in STYLES


def step_of(sentence: Sentence) -> int:
    """Return the step that a text names first."""
    found = re.search(r"step,? (\d+)", sentence.text)
    assert found is not None
    return int(found[1])
