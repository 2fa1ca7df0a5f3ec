"""The commands about taggers: models that caption images whose owner has not."""

import argparse
from pathlib import Path

from api.cli.commands import Subparsers, add_command, add_group
from core.settings import Settings


def add(commands: Subparsers) -> None:
    """Add the group taggers."""
    taggers = add_group(commands, "taggers", "Show and add models that caption images.")
    add_command(taggers, "list", "List the taggers that bat.caption may name.", ("albatross taggers list",), _list)
    words = "Register a folder with a captioning model (safetensors only); every file is hashed."
    examples = ("albatross taggers add blip /models/blip-image-captioning-base --licence BSD-3-Clause",)
    adding = add_command(taggers, "add", words, examples, _add)
    adding.add_argument("id", metavar="ID", help="the name that jobs will use")
    adding.add_argument("folder", metavar="FOLDER", type=Path, help="a transformers folder with model and tokenizer")
    adding.add_argument("--licence", required=True, help="of the weights")
    adding.add_argument("--prompt", help="words that each caption begins with, for models that want some")
    adding.add_argument("--max-tokens", type=int, default=40, help="longest caption (default: 40)")


def _list(chosen: argparse.Namespace, settings: Settings) -> int:
    from core.backbones.taggers import BUILT_IN, Taggers  # the other commands start faster without

    for id in BUILT_IN:
        print(f"{id:24} built in")
    for record in Taggers.load(settings):
        print(f"{record.id:24} {record.licence:24} {record.path}")
    return 0


def _add(chosen: argparse.Namespace, settings: Settings) -> int:
    from core.backbones.taggers import Taggers

    record = Taggers.load(settings).add(
        chosen.id, chosen.folder, licence=chosen.licence, prompt=chosen.prompt, max_tokens=chosen.max_tokens
    )
    print(f"Added {record.id}: {len(record.sha256)} files, revision {record.revision}.")
    return 0
