"""`albatross backbones`: list, add and prepare backbones."""

import argparse
from pathlib import Path

from api.cli.commands import Subparsers, add_command, add_group
from api.cli.worker_commands import replace_process
from core.settings import Settings

BACKBONE_PREPARERS = {"smollm2-135m": "worker.commands.smollm2"}


def add_backbones(commands: Subparsers) -> None:
    backbones = add_group(commands, "backbones", "Show, add and prepare backbones.")
    add_command(
        backbones, "list", "List the backbones that jobs may name.", ("albatross backbones list",), _list_backbones
    )
    words = "Register a folder with a pre-trained model (safetensors only); every file is hashed."
    examples = ("albatross backbones add my-sd15 /models/sd15 --family diffusion --licence CreativeML-OpenRAIL-M",)
    add = add_command(backbones, "add", words, examples, _add_backbone)
    add.add_argument("id", metavar="ID", help="the name that jobs will use")
    add.add_argument("folder", metavar="FOLDER", type=Path, help="a diffusers or transformers folder")
    add.add_argument("--family", required=True, choices=("diffusion", "language"))
    add.add_argument("--licence", required=True, help="of the weights; it is written on every adapter's card")
    add.add_argument("--pool", type=Path, help="folder of a candidate pool")
    add.add_argument("--resolution", type=int, help="side of the training images in pixels")
    add.add_argument("--target", action="append", metavar="NAME", help="a module to adapt; may be repeated")
    words = "Make a built-in backbone ready on this machine."
    prepare = add_command(backbones, "prepare", words, ("albatross backbones prepare smollm2-135m",), _prepare_backbone)
    prepare.add_argument("id", metavar="ID", choices=sorted(BACKBONE_PREPARERS), help=", ".join(BACKBONE_PREPARERS))


def _list_backbones(chosen: argparse.Namespace, settings: Settings) -> int:
    from core.backbones.registry import Registry

    for backbone in Registry.load(settings):
        pool = "with a candidate pool" if backbone.pool else "without a candidate pool"
        print(f"{backbone.id:24} {backbone.kind:7} {pool:24} {backbone.licence}")
    return 0


def _add_backbone(chosen: argparse.Namespace, settings: Settings) -> int:
    from core.backbones.registry import Registry

    added = Registry.load(settings).add(
        chosen.id,
        chosen.folder,
        chosen.family,
        licence=chosen.licence,
        pool=chosen.pool,
        resolution=chosen.resolution,
        target_modules=tuple(chosen.target) if chosen.target else None,
    )
    print(f"Added {added.id}: {len(added.sha256)} files, revision {added.revision}.")
    return 0


def _prepare_backbone(chosen: argparse.Namespace, settings: Settings) -> int:
    replace_process(BACKBONE_PREPARERS[chosen.id])
