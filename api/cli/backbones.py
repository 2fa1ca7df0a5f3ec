"""`albatross backbones`: list, show, add and prepare backbones, and measure trigger words."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from api.cli.worker_commands import replace_process
from core.errors import InvalidInput, NotFound
from core.runtime.command_line import CommandLine, Data, read_settings

if TYPE_CHECKING:  # loaded by commands, not by their help
    from core.backbones import families
    from core.backbones.record import BackboneRecord

COMMANDS = CommandLine()
BACKBONES = CommandLine("Show, add and prepare backbones, and measure what trigger words do to them.")
COMMANDS.add_typer(BACKBONES, name="backbones")
LINE, NAME = 110, 12
MOST_STEPS, MOST_GUIDANCE = 200, 30  # that a picture of a job is drawn with
Said = Literal["epsilon", "v"]
SAID: "dict[Said, families.Objective]" = {"epsilon": "epsilon", "v": "v_prediction"}


def _predicted(objective: Said | None) -> "families.Objective | None":
    """Return the registry's word for what a network predicts."""
    return None if objective is None else SAID[objective]


def _refused(family: str | None) -> None:
    """Refuse what older versions took; who still says it is told what has become of it."""
    if family is not None:
        raise InvalidInput(
            "The family is read from the model's own files now; leave --family out.", code="unknown_option"
        )


Id = Annotated[str, typer.Argument(metavar="ID", help="the name that jobs will use")]
Source = Annotated[
    str,
    typer.Argument(
        metavar="PATH", help="a diffusers or transformers folder, one .safetensors file, or ORG/NAME of the hub"
    ),
]
Licence = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="of the weights, for every adapter's card; unset: what its files name"),
]
Pool = Annotated[Path | None, typer.Option(metavar="DIR", help="folder of a candidate pool")]
Resolution = Annotated[int | None, typer.Option(metavar="PIXELS", help="side of the training images in pixels")]
MaxTokens = Annotated[
    int | None, typer.Option(metavar="N", help="tokens of a text that a job takes unless it asks for other")
]
SampleSteps = Annotated[
    int | None,
    typer.Option(
        min=1, max=MOST_STEPS, metavar="N", help="in how many steps it draws; unset: what its files or its family say"
    ),
]
Guidance = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=MOST_GUIDANCE,
        metavar="G",
        help="guidance that its pipeline is told, 1 for none, of Z-Image 0; unset: as its family",
    ),
]
Targets = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="modules to adapt: the end of a path, or a pattern; may be repeated"),
]
HubName = Annotated[
    str | None, typer.Option(metavar="ORG/NAME", help="the name that others know it by; adapters carry it")
]
Objective = Annotated[Said | None, typer.Option(help="what a single file predicts, where it does not say so itself")]
Config = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="diffusers' configuration of a single file that is not of the usual size"),
]
Base = Annotated[
    str | None,
    typer.Option(metavar="ID", help="the backbone that has the other parts of a transformer alone in one file"),
]
Revision = Annotated[
    str | None, typer.Option(metavar="COMMIT", help="which commit of the hub; unset: the newest of now")
]
Title = Annotated[str | None, typer.Option(metavar="WORDS", help="what people are shown as its name")]
Description = Annotated[str | None, typer.Option(metavar="WORDS", help="what it is, in a sentence for people")]
GoodFor = Annotated[str | None, typer.Option(metavar="WORDS", help="what it is good for, in a sentence")]
Family = Annotated[str | None, typer.Option(hidden=True, help="is read from the files", callback=_refused)]
Prepared = Literal["smollm2-135m"]
PREPARERS: dict[Prepared, str] = {"smollm2-135m": "worker.commands.smollm2"}


@BACKBONES.explained("list", "albatross backbones list")
def list_backbones(data: Data = None) -> None:
    """List the backbones that jobs may name."""
    settings = read_settings(data=data)
    from core.backbones.registry import Registry

    for backbone in Registry.load(settings):
        pool = "with a candidate pool" if backbone.pool else "without a candidate pool"
        known = f", elsewhere {backbone.hub_name}" if backbone.hub_name else ""
        print(f"{backbone.id:24} {backbone.kind:7} {pool:24} {backbone.licence}{known}")


@BACKBONES.explained(
    "add",
    "albatross backbones add my-sd15 /models/sd15",
    "albatross backbones add pony /models/ponyDiffusionV6XL.safetensors --licence other",
    "albatross backbones add my-flux /models/flux-child.safetensors --base flux-dev --licence other",
    "albatross backbones add qwen Qwen/Qwen3-0.6B --revision c1899de289a04d12100db370d81485cdf75e47ca",
)
def add_backbone(
    id: Id,
    path: Source,
    licence: Licence = None,
    pool: Pool = None,
    resolution: Resolution = None,
    max_tokens: MaxTokens = None,
    target: Targets = None,
    hub_name: HubName = None,
    objective: Objective = None,
    config: Config = None,
    base: Base = None,
    revision: Revision = None,
    title: Title = None,
    description: Description = None,
    good_for: GoodFor = None,
    sample_steps: SampleSteps = None,
    guidance: Guidance = None,
    family: Family = None,
    data: Data = None,
) -> None:
    """Register a pre-trained model: what it is is read from its files (safetensors only), and every one is hashed."""
    settings = read_settings(data=data)
    from api.cli.bringing import Brought, bring

    words = {"title": title, "description": description, "good_for": good_for}
    targets, predicts = tuple(target) if target else None, _predicted(objective)
    # in the order of its fields, which is that of the options
    said = (id, licence, pool, resolution, max_tokens, targets, hub_name, predicts, config, revision, words, base)
    added = bring(path, Brought(*said, sample_steps, guidance), settings)
    print(f"Added {added.id}: {len(added.sha256)} files, revision {added.revision}.")
    _show(added)


@BACKBONES.explained("show", "albatross backbones show my-sd15")
def show_backbone(
    id: Annotated[str, typer.Argument(metavar="ID", help="one of `albatross backbones list`")], data: Data = None
) -> None:
    """Show what a backbone is: its family, what is adapted of it, and the memory that it needs."""
    settings = read_settings(data=data)
    from core.backbones.registry import Registry

    record = Registry.load(settings).get(id)
    if not record.path.is_dir():
        raise NotFound(
            f"The folder of {record.id} is not there: {record.path}. Put it back, or add the model again.",
            code="backbone_unavailable",
        )
    _show(record)


def _show(record: "BackboneRecord") -> None:
    from core.backbones.facts import facts

    for name, words in facts(record):
        print(textwrap.fill(words, LINE, initial_indent=f"  {name:{NAME}}", subsequent_indent=" " * (NAME + 2)))


@BACKBONES.explained("prepare", "albatross backbones prepare smollm2-135m")
def prepare_backbone(
    id: Annotated[Prepared, typer.Argument(metavar="ID", help=", ".join(PREPARERS))], data: Data = None
) -> None:
    """Make a built-in backbone ready on this machine."""
    read_settings(data=data)  # what can't be used is told here
    replace_process(PREPARERS[id])


@BACKBONES.explained("trigger", "albatross backbones trigger emoji-ldm", "albatross backbones trigger my-sd15 --write")
def measure_triggers(
    id: Annotated[str, typer.Argument(metavar="ID", help="one of `albatross backbones list`")],
    word: Annotated[list[str] | None, typer.Option(metavar="WORD", help="a word to measure; may be repeated")] = None,
    write: Annotated[bool, typer.Option("--write", help="register the best word where it is clearly better")] = False,
    data: Data = None,
) -> None:
    """Measure how far trigger words change what a backbone draws: in front of a prompt, behind it, at its end."""
    read_settings(data=data)
    words = [part for each in word or () for part in ("--word", each)]
    replace_process("worker.commands.trigger", *words, *(["--write"] if write else []), "--", id)
