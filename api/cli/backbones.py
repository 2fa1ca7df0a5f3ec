"""`albatross backbones`: list, add and prepare backbones, and measure trigger words."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from api.cli.worker_commands import replace_process
from core.runtime.command_line import CommandLine, Data, read_settings

COMMANDS = CommandLine()
BACKBONES = CommandLine("Show, add and prepare backbones, and measure what trigger words do to them.")
COMMANDS.add_typer(BACKBONES, name="backbones")
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


@BACKBONES.explained("add", "albatross backbones add my-sd15 /models/sd15 --licence CreativeML-OpenRAIL-M")
def add_backbone(
    id: Annotated[str, typer.Argument(metavar="ID", help="the name that jobs will use")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="a diffusers or transformers folder")],
    licence: Annotated[str, typer.Option(metavar="NAME", help="of the weights; it is written on every adapter's card")],
    pool: Annotated[Path | None, typer.Option(metavar="DIR", help="folder of a candidate pool")] = None,
    resolution: Annotated[
        int | None, typer.Option(metavar="PIXELS", help="side of the training images in pixels")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(metavar="N", help="tokens of a text that a job takes unless it asks for other")
    ] = None,
    target: Annotated[list[str] | None, typer.Option(metavar="NAME", help="a module to adapt; may be repeated")] = None,
    hub_name: Annotated[
        str | None, typer.Option(metavar="ORG/NAME", help="the name that others know it by; adapters carry it")
    ] = None,
    data: Data = None,
) -> None:
    """Register a folder with a pre-trained model (safetensors only); every file is hashed."""
    settings = read_settings(data=data)
    from core.backbones.registry import Registry

    added = Registry.load(settings).add(
        id,
        folder,
        licence=licence,
        pool=pool,
        resolution=resolution,
        target_modules=tuple(target) if target else None,
        hub_name=hub_name,
        defaults=None if max_tokens is None else {"max_tokens": max_tokens},
    )
    print(f"Added {added.id}: {len(added.sha256)} files, revision {added.revision}.")


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
