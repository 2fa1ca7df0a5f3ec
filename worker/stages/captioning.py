"""Captions for images whose owner wrote none, by the tagger that the job has resolved to; its owner is told each.

And whether the trigger in captions marks what they say or erases it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict, replace

from core.backbones.taggers import NONE, TaggerRecord
from core.findings.finding import Finding
from core.jobs.event_codes import EventCode
from core.method.backbones.images import trigger_words
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.images.trigger_words import Change
from core.references import captions as wording
from core.references.captions import caption_of
from core.references.items import ImageItem, References
from worker.protocol import Line, Message
from worker.stages import taggers
from worker.stages.context import Context
from worker.stages.references import picture_of

CAPTIONS_TOLD = 3
MAX_CAPTION = 500  # characters, of one that a model has made
CAPTIONS_MEASURED = 8  # with and without the trigger


def add_captions(context: Context, given: References) -> Generator[Line, None, References]:
    """Return the references with a caption for each image, and tell those that were made."""
    p, record = context.p, context.record
    bare = caption_of("", record.caption_prefix, p.trigger)  # what an image without a caption was given
    wanting = {  # by place: images of two files may have one name
        place: item
        for place, item in enumerate(given.items)
        if isinstance(item, ImageItem) and (item.caption or "").strip() == bare.strip()
    }
    if p.caption == NONE or not wanting:
        return given
    tagger = taggers.load(p.caption, _record(context), str(context.spec["device"]))
    pictures = [picture_of(item) for item in wanting.values()]
    made = [" ".join(words.split())[:MAX_CAPTION] for words in tagger.caption(pictures)]
    captioned = {
        place: replace(item, caption=caption_of(words, record.caption_prefix, p.trigger))
        for (place, item), words in zip(wanting.items(), made, strict=True)
    }
    captions = _named(list(captioned.values()))
    told = {"captions": captions, "tagger": p.caption}
    yield Message("prepare", _told(captions, p.caption), data=told, code=EventCode.CAPTIONED)
    return replace(given, items=tuple(captioned.get(place, item) for place, item in enumerate(given.items)))


def _named(items: Sequence[ImageItem]) -> dict[str, str]:
    """Return the captions by name; where a name comes again, its number follows it."""
    named: dict[str, str] = {}
    for item in items:
        name, number = item.name, 1
        while name in named:
            number += 1
            name = f"{item.name} ({number})"
        named[name] = item.caption or ""
    return named


def _record(context: Context) -> TaggerRecord | None:
    content = context.spec.get("tagger")
    return TaggerRecord.model_validate(content) if content else None


def _told(captions: dict[str, str], tagger: str) -> str:
    shown = "; ".join(f"{name}: {words}" for name, words in list(captions.items())[:CAPTIONS_TOLD])
    more = f"; and {len(captions) - CAPTIONS_TOLD} more" if len(captions) > CAPTIONS_TOLD else ""
    return f"{tagger} captioned {len(captions)} images that had no caption. {shown}{more}."


def check_trigger(context: Context, given: References) -> Generator[Line, None, None]:
    """Say where the trigger erases what captions say, measured in the untouched backbone as they are trained on."""
    word, backbone = context.p.trigger, context.backbone
    pairs = _with_and_without(context, given)
    if word is None or not pairs or not isinstance(backbone, DiffusionBackbone):
        return
    change = Change.of(trigger_words.changes(backbone, pairs))
    if change.mean < trigger_words.ERASES:
        return
    plain = [pair[0] for pair in pairs]
    better = trigger_words.harmless(
        backbone, plain, wording.marked, list(dict.fromkeys([word, *trigger_words.CANDIDATES]))
    )
    finding = Finding("trigger_erases", _erases(word, change, len(pairs)), instead(word, better))
    yield Message("prepare", finding.message, "warn", {"finding": asdict(finding)}, EventCode.FINDING)


def _with_and_without(context: Context, given: References) -> list[tuple[str, str]]:
    """Return captions (of several lines the first) without their trigger and as they are, where they say more."""
    word, prefix = context.p.trigger or "", context.record.caption_prefix
    held = dict.fromkeys(wording.first_line(item.caption or "") for item in given.items if isinstance(item, ImageItem))
    pairs = [(wording.without(caption, word), caption) for caption in held] if word else []
    told = [pair for pair in pairs if pair[0] not in ("", prefix.strip()) and pair[0] != pair[1].strip(wording.ENDS)]
    return told[:CAPTIONS_MEASURED]


def _erases(word: str, change: Change, count: int) -> str:
    return (
        f"Where it stands, the trigger {word!r} erases what captions say: over {count} of them it changes what the "
        f"untouched backbone draws by {change.mean:.0%} of all that the other words change. On our test backbone, "
        f"pictures hardly show what a caption names from {trigger_words.ERASES:.0%} on; a trigger should only mark it."
    )


def instead(word: str, better: trigger_words.Word | None) -> str:
    """Say what to write in place of a trigger that erases."""
    if better is None:
        return (
            "No word that was tried at the end of the captions leaves them as they are; try other words for the images."
        )
    changed = f"there it changes {better.change.mean:.1%}"
    if better.word == word:
        return f"Move it to the end of the captions, behind a comma: {changed}."
    return f"Take {better.word!r} for it, at the end of the captions and in bat.trigger: {changed}."
