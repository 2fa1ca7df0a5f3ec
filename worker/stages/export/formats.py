"""Write the published step in every format that fits its backbone, and let none through that does not load."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.adapters import card as cards
from core.adapters.card import CARD_FILE, Format
from core.backbones.families import family
from core.backbones.record import BackboneRecord
from core.jobs.event_codes import EventCode
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.shapes import cut, first_shape, sizes_of
from core.method.backbones.texts.language import LanguageBackbone
from core.method.formats import diffusers, gguf, kohya, merged, peft
from core.method.formats.witness import AnyBackbone, Witness, failure
from core.method.lora.adapter import Adapter
from worker.protocol import Json, Level, Line, Message
from worker.stages.context import Context, ProgressClock
from worker.stages.export.serving import README, readme
from worker.stages.export.usage import usage

PEFT_FILE = "adapter-peft.zip"


@dataclass(frozen=True)
class FormatInputs:
    """What every format is written from, and where to."""

    witness: Witness
    record: BackboneRecord
    card: Json
    header: Mapping[str, str]
    folder: Path


@dataclass
class Made:
    """The files of an adapter with their errors relative to its effect, and the formats left out with the reason."""

    results: list[Json] = field(default_factory=list)
    errors: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    usage: dict[str, str] = field(default_factory=dict)  # the lines that load each


def write_formats(
    context: Context, adapter: Adapter, card: Json, folder: Path, pace: ProgressClock, begun: int
) -> Generator[Line, None, Made]:
    """Write and check one format after another, each one step of `pace` from `begun` on.

    Raises JobFailure "export_verification_failed" with format and reason.
    """
    references = first_shape(context.references())
    examples = len(next(iter(references.values())))
    sample = context.backbone.fixed_draws(1, examples, context.p.seed, **sizes_of(references))[0]
    witness = Witness(context.backbone, adapter, cut(references), sample)
    work, made = FormatInputs(witness, context.record, card, cards.header(card), folder), Made()
    for number, form in enumerate(wanted(context), 1):
        refusal = REFUSALS.get(form, _none)(context.backbone)
        if refusal is None:
            file, write = WRITERS[form]
            made.errors[form] = write(work)
            made.results.append({"file": file, "format": form})
            made.usage[form] = usage(form, file, context.record, type(witness.network).__name__)
        else:
            made.left_out[form] = refusal
            words = f"There is no {form} file of this adapter: {refusal}"
            # where no adapter of the family has such a file there is nothing to be warned of
            level: Level = "warn" if form in family(context.record.family).exports else "info"
            yield Message("export", words, level, {"format": form}, EventCode.FORMAT_LEFT_OUT)
        yield pace.at(begun + number)
    return made


def wanted(context: Context) -> list[Format]:
    """Return the formats that belong to the job, in the order that they are offered in."""
    own: tuple[Format, ...] = ("diffusers", "kohya") if context.p.kind == "images" else ("gguf",)
    return ["peft", *own, *(("merged",) if context.p.merged else ())]


def _peft(work: FormatInputs) -> float:
    with _packed(work.folder / PEFT_FILE) as folder:
        peft.write(work.witness.backbone, work.witness.adapter, folder, work.record.public_name, work.header)
        if work.record.kind == "texts":
            root = type(work.witness.network).__name__
            (folder / README).write_text(readme(work.record, work.witness.adapter.rank, root))
        return peft.verify(work.witness, folder)


def _diffusers(work: FormatInputs) -> float:
    file, backbone = work.folder / diffusers.FILE, work.witness.backbone
    assert isinstance(backbone, DiffusionBackbone)
    diffusers.write(backbone, work.witness.adapter, file, work.record.public_name, work.header)
    return diffusers.verify(work.witness, file)


def _kohya(work: FormatInputs) -> float:
    file, backbone = work.folder / kohya.FILE, work.witness.backbone
    assert isinstance(backbone, DiffusionBackbone)
    kohya.write(backbone, work.witness.adapter, file, work.record.public_name, work.header)
    return kohya.verify(work.witness, file)


def _gguf(work: FormatInputs) -> float:
    file, record, backbone = work.folder / gguf.FILE, work.record, work.witness.backbone
    assert isinstance(backbone, LanguageBackbone)
    facts = {"general.base_model.0.version": record.revision, "general.license": record.licence, **work.header}
    gguf.write(backbone, work.witness.adapter, file, record.public_name, facts)
    return gguf.verify(work.witness, file)


def _merged(work: FormatInputs) -> float:
    with _packed(work.folder / merged.FILE) as folder:
        merged.write(work.witness, work.record.path, folder)
        (folder / CARD_FILE).write_bytes(cards.content(work.card))
        return merged.verify(work.witness, work.record.path, folder)


def _none(_backbone: AnyBackbone) -> str | None:
    return None


WRITERS: Mapping[Format, tuple[str, Callable[[FormatInputs], float]]] = {
    "peft": (PEFT_FILE, _peft),
    "diffusers": (diffusers.FILE, _diffusers),
    "kohya": (kohya.FILE, _kohya),
    "gguf": (gguf.FILE, _gguf),
    "merged": (merged.FILE, _merged),
}
REFUSALS: Mapping[Format, Callable[[Any], str | None]] = {"kohya": kohya.refusal, "gguf": gguf.refusal}


@contextmanager
def _packed(target: Path) -> Iterator[Path]:
    """Give a folder that is packed into `target` when the block ends well; equal folders give equal archives.

    Raises JobFailure "export_verification_failed" where the archive does not read as it was written.
    """
    folder = target.with_suffix("")
    folder.mkdir()
    yield folder
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            info = zipfile.ZipInfo(path.relative_to(folder).as_posix(), date_time=(2020, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            info.file_size = path.stat().st_size  # so that more than 4 GB are foreseen
            with path.open("rb") as source, archive.open(info, "w") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
    read_back(target)
    shutil.rmtree(folder)


def read_back(target: Path) -> None:
    """Raise JobFailure "export_verification_failed" where an archive's files are not as they were put in."""
    with zipfile.ZipFile(target) as archive:
        if (damaged := archive.testzip()) is not None:
            raise failure(target.stem, f"{damaged} can't be read back from the archive")
