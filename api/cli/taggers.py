"""`albatross taggers`: list and add models that caption images whose owner has not."""

from pathlib import Path
from typing import Annotated

import typer

from core.runtime.command_line import CommandLine, Data, read_settings

COMMANDS = CommandLine()
TAGGERS = CommandLine("Show and add models that caption images.")
COMMANDS.add_typer(TAGGERS, name="taggers")


@TAGGERS.explained("list", "albatross taggers list")
def list_taggers(data: Data = None) -> None:
    """List the taggers that bat.caption may name."""
    settings = read_settings(data=data)
    from core.backbones.taggers import BUILT_IN, Taggers  # the other commands start faster without

    for id in BUILT_IN:
        print(f"{id:24} built in")
    for record in Taggers.load(settings):
        print(f"{record.id:24} {record.licence:24} {record.path}")


@TAGGERS.explained("add", "albatross taggers add blip /models/blip-image-captioning-base --licence BSD-3-Clause")
def add_tagger(
    id: Annotated[str, typer.Argument(metavar="ID", help="the name that jobs will use")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="a transformers folder with model and tokenizer")],
    licence: Annotated[str, typer.Option(metavar="NAME", help="of the weights")],
    prompt: Annotated[
        str | None, typer.Option(metavar="WORDS", help="words that each caption begins with, for models that want some")
    ] = None,
    max_tokens: Annotated[int, typer.Option(metavar="N", help="longest caption")] = 40,
    data: Data = None,
) -> None:
    """Register a folder with a captioning model (safetensors only); every file is hashed."""
    settings = read_settings(data=data)
    from core.backbones.taggers import Taggers

    record = Taggers.load(settings).add(id, folder, licence=licence, prompt=prompt, max_tokens=max_tokens)
    print(f"Added {record.id}: {len(record.sha256)} files, revision {record.revision}.")
