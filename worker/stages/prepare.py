"""Stage 1: check the backbone's files, encode references and pool once."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from core.backbones.record import MAX_TOKENS
from core.disk import write_json
from core.findings.finding import Finding
from core.findings.texts import cut_texts, written_chats
from core.findings.texts.cut_texts import CutText
from core.findings.texts.written_chats import WrittenChat
from core.jobs.event_codes import EventCode
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.images.prompts import NOTHING
from core.method.backbones.probing import left_out_told
from core.method.backbones.texts.cutting import Cut
from core.method.backbones.texts.language import LanguageBackbone
from core.references.items import ImageItem, References
from core.references.picture_shapes import Size
from worker.job_folder import write_rows
from worker.protocol import Line, Message
from worker.stages import captioning, shapes
from worker.stages.context import KIN_FILE, KNOWN_FILE, PARTS_OF_PREPARING, PROMPTS_FILE, REFERENCES, Context
from worker.stages.costs import note_examples
from worker.stages.likeness.kinship import kin
from worker.stages.likeness.known import known, told
from worker.stages.protection import own, probe, protection
from worker.stages.protection.lots import OWN, lot_of
from worker.stages.references import picture_of, read_references


def prepare(context: Context) -> Generator[Line, None, None]:
    """Write the encoded references (and validation data); the pool's encoding goes to the machine's cache."""
    yield context.prepared(0)
    given = read_references(context.folder.references)
    if isinstance(context.backbone, LanguageBackbone):
        context.profiler.facts["chat_tokens"] = context.backbone.chat_tokens
    words, told = f"Preparing {len(given.items)} {given.kind} for {context.record.id}.", {"items": len(given.items)}
    yield Message("prepare", words, data=told, code=EventCode.STAGE_STARTED)
    given = yield from captioning.add_captions(context, given)
    with context.encoding():
        yield from captioning.check_trigger(context, given)
        yield from too_long(context, given)
        sizes = shapes.chosen(context, given)
        yield from shapes.told(given, sizes)
        yield from _write(context, given, sizes)
    if paths := context.backbone.lora.left_out:  # known once there are references to look with
        yield Message("prepare", left_out_told(paths), code=EventCode.MODULES_LEFT_OUT)
    yield context.prepared(PARTS_OF_PREPARING)


def keep_pool(context: Context) -> Generator[Line, None, None]:
    """Encode the backbone's own data for the jobs of all accounts, and note which files that are."""
    yield context.prepared(0)
    files, whole = list[Path](), True
    with context.encoding():
        if (lot := lot_of(context.p)) is not None:
            yield from own.made(context, "prepare")
            whole = own.file_of(context, lot).ready
            if (samples := own.samples(context, lot)) is not None:
                files.append(own.file_of(context, lot).whole)
                if lot is OWN:
                    own.encoded(context, samples)
                    files.append(context.encoding_file(samples, own.SPLIT))
        for split in _splits(context):
            context.encoded_pool(split)
            files.append(context.pool_file(split))
    yield context.prepared(0)
    if whole:  # else the next job goes on with what was begun
        told = {"files": [file.name for file in files], "day": str(context.day) if context.dated else None}
        write_json(Path(context.spec["ready"]), told)


def _splits(context: Context) -> list[str]:
    """Name the parts of the pool that jobs of these parameters need."""
    if (pool := context.pool) is None:
        return []
    replayed = context.p.selects and pool.candidates
    return (["candidate"] if replayed else []) + (["probe"] if pool.probe else [])


def _write(context: Context, given: References, sizes: Sequence[Size]) -> Generator[Line, None, None]:
    with context.folder.writing("prepare") as folder:
        shapes.write(sizes, folder)
        _encode(context, given, sizes, folder / REFERENCES, shapes.REFERENCES)
        write_rows(folder / "references.json", [{"name": name, "words": words} for name, words in described(given)])
        write_rows(folder / KIN_FILE, kin(given))
        yield context.prepared(1)
        sent = [given]
        if context.folder.validation.is_dir():
            validation = read_references(context.folder.validation)
            _encode(context, validation, sizes, folder / "heldout.safetensors", "validation")
            sent.append(validation)
        if context.pool is not None:
            found = known(context.pool, sent)
            write_json(folder / KNOWN_FILE, found)
            yield from told(context.pool, found) if "candidate" in _splits(context) else ()
        yield context.prepared(2)
        if "candidate" in _splits(context):
            note_examples(context.profiler, "candidates", context.encoded_pool("candidate"))
        if (examples := context.probe()) is not None:
            note_examples(context.profiler, "probe", examples)
        protection.prepare(context, given, sizes, folder)
        probe.prepare(context, folder)
        if isinstance(context.backbone, DiffusionBackbone):
            context.backbone.prompts.hold([NOTHING, *context.p.sample_prompts, *context.p.unrelated_prompts])
            context.backbone.prompts.write(folder / PROMPTS_FILE)


def too_long(context: Context, given: References) -> Generator[Line, None, None]:
    """Say which captions or texts have more tokens than the backbone takes; counted by its own tokenizer."""
    if isinstance(context.backbone, LanguageBackbone):
        found = list(_long_texts(context, context.backbone, given))
    else:
        found = list(_long_captions(context, given))
    for finding in found:
        yield Message("prepare", finding.message, "warn", {"finding": asdict(finding)}, EventCode.FINDING)


def _long_texts(context: Context, backbone: LanguageBackbone, given: References) -> Iterator[Finding]:
    cuts = backbone.cuts(items(given))
    context.profiler.facts["references_whole"] = sum(cut.whole for cut in cuts)
    texts = [_cut_text(number, cut) for number, cut in enumerate(cuts, 1) if cut.lost]
    yield from cut_texts.findings(texts, len(cuts), backbone.most_tokens, min(MAX_TOKENS, backbone.places))
    yield from written_chats.findings([_written(cut, backbone) for cut in cuts])


def _written(cut: Cut, backbone: LanguageBackbone) -> WrittenChat:
    """Return what the chat template has made of a text; that it knows no system prompt is told before."""
    known = {"system in the question"} if not backbone.rendering.template.keeps_system else set()
    return WrittenChat(cut.kept.changes - known, cut.kept.left)


def _cut_text(number: int, cut: Cut) -> CutText:
    learned = len(cut.kept) - cut.kept.asked
    return CutText(number, cut.whole, len(cut.kept), cut.lost, (learned, learned + cut.unlearned))


def _long_captions(context: Context, given: References) -> Iterator[Finding]:
    counts, most = [context.backbone.tokens(item) for item in items(given)], context.backbone.most_tokens
    over = [(name, count) for (name, _), count in zip(described(given), counts, strict=True) if count > most]
    if over:
        name, count = over[0]
        yield Finding(
            "too_long",
            f"{len(over)} of {len(counts)} captions have more than the {most} tokens that this job takes of one, "
            f"{name} ({count}) first; the rest of them is cut off.",
            "Shorten the captions.",
            name,
        )


def _encode(context: Context, given: References, sizes: Sequence[Size], file: Path, name: str) -> None:
    found = items(given)
    for item, prepared in zip(given.items, found, strict=True):
        if isinstance(item, ImageItem):
            prepared.update(shapes.seen(item, sizes, context.p.masks, name))
    batch = context.backbone.encode(found)
    note_examples(context.profiler, name, batch)
    save_file({name: tensor.contiguous() for name, tensor in batch.items()}, file)


def items(given: References) -> Sequence[dict[str, Any]]:
    """The references as Backbone.encode takes them."""
    return [_item(item) for item in given.items]


def _item(item: Any) -> dict[str, Any]:
    if isinstance(item, ImageItem):
        first, *others = (item.caption or "").split("\n")
        return {"image": picture_of(item), "caption": first} | ({"others": others} if others else {})
    fields = ("messages", "prompt", "completion", "text", "tools")
    return {name: getattr(item, name) for name in fields if getattr(item, name) is not None}


def described(given: References) -> list[tuple[str, str]]:
    """A name and a few words for every reference."""
    rows = []
    for number, item in enumerate(given.items, 1):
        if isinstance(item, ImageItem):
            rows.append((item.name, item.caption or ""))
        else:
            rows.append((f"text {number}", str(item.text or item.prompt or (item.messages or [""])[0])[:80]))
    return rows
