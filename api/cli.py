"""The `albatross` command."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError

from api import inspect, people, record, taggers
from api.commands import Command, Subparsers, add_command, add_group
from core.errors import AlbatrossError
from core.settings import Settings
from core.text_safety import shown

BACKBONE_PREPARERS = {"smollm2-135m": "worker.smollm2"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; an error that the operator can mend is one line, not a traceback."""
    chosen, further = _parser().parse_known_args(arguments)
    if further and not chosen.passes_on:
        _parser().error(f"unrecognized arguments: {' '.join(further)}")
    chosen.further = further
    for name in ("data", "host", "port"):
        value = getattr(chosen, name, None)
        if value is not None:
            os.environ[f"ALBATROSS_{name.upper()}"] = str(value)  # the children read it too
    command: Command = chosen.command
    try:
        settings = Settings()
    except ValidationError as error:
        problems = (f"{'_'.join(map(str, found['loc'])) or 'settings'}: {found['msg']}" for found in error.errors())
        print(f"albatross: {'; '.join(problems)}", file=sys.stderr)
        return 2
    try:
        return command(chosen, settings)
    except AlbatrossError as error:
        print(f"albatross: {error.message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        print(f"albatross: {shown(str(error.filename or 'an operation'))}: {error.strerror}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="albatross", description="A few images or texts in, the right LoRA adapter out.",
        epilog="Every setting can be given as an environment variable ALBATROSS_<NAME>; see the README.",
    )  # fmt: skip
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_service(commands)
    _add_backup(commands)
    people.add(commands)
    _add_backbones(commands)
    taggers.add(commands)
    _add_pools(commands)
    _add_train(commands)
    inspect.add(commands)
    record.add(commands)
    return parser


def _add_service(commands: Subparsers) -> None:
    words = "Run the whole service on this machine: API, dispatcher, worker and, unless one is configured, a broker."
    examples = ("albatross serve", "albatross serve --data /srv/albatross --host 0.0.0.0 --port 8000")
    serve = add_command(commands, "serve", words, examples, _serve)
    serve.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    serve.add_argument("--port", type=int, help="port to listen on; 0 takes a free one (default: 8000)")
    words = "Run one worker: it takes jobs from the queue and trains them."
    examples = (
        "ALBATROSS_BROKER_URL=redis://broker:6379/0 albatross worker",
        "CUDA_VISIBLE_DEVICES=1 albatross worker",
    )
    add_command(commands, "worker", words, examples, _worker)
    words = "Run the dispatcher: it wakes workers and takes jobs back from dead ones."
    example = "albatross dispatcher --data /srv/albatross"
    add_command(commands, "dispatcher", words, (example,), _execute("worker.dispatcher"))


def _add_backup(commands: Subparsers) -> None:
    words = "Copy a service, which may be running, into a new folder: database, files and keys."
    examples = ("albatross backup /backups/monday", "albatross backup /backups/monday --data /srv/albatross")
    backup = add_command(commands, "backup", words, examples, _backup)
    backup.add_argument("folder", metavar="FOLDER", type=Path)
    words = "Make a new data folder from a backup, after checking every file of it."
    example = "albatross restore /backups/monday --data /srv/albatross-again"
    restore = add_command(commands, "restore", words, (example,), _restore)
    restore.add_argument("folder", metavar="FOLDER", type=Path)


def _add_backbones(commands: Subparsers) -> None:
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


def _add_pools(commands: Subparsers) -> None:
    pools = add_group(commands, "pools", "Show candidate pools and build new ones.")
    described = {
        "build": ("Encode a backbone's candidate pool ahead of its first job, or let it write one.", "build emoji-ldm"),
        "list": ("List the candidate pools.", "list"),
    }
    for name, (words, example) in described.items():
        add_command(pools, name, words, (f"albatross pools {example}",), _execute("worker.pools", name), passes_on=True)


def _add_train(commands: Subparsers) -> None:
    words = "Train one adapter here and now, without a server."
    examples = (
        "albatross train --backbone emoji-ldm --references pictures/ --out adapter/",
        "albatross train --backbone smollm2-135m --references talk.jsonl --out adapter/ --bat '{\"max_steps\": 40}'",
    )
    add_command(commands, "train", words, examples, _execute("worker.train"), passes_on=True)
    words = "Measure a backbone on this machine, so that estimates of its jobs are good from the first one on."
    example = "albatross calibrate --backbone emoji-ldm"
    add_command(commands, "calibrate", words, (example,), _execute("worker.calibrate"), passes_on=True)
    words = "Turn one knob of the method on your own references, and draw what it changes."
    examples = (
        "albatross ablate gamma --backbone emoji-ldm --references cats/ --validation other-cats/ --out gamma/",
        "albatross ablate window --backbone emoji-ldm --references cats/ --validation other-cats/ --out window/",
    )
    add_command(commands, "ablate", words, examples, _execute("worker.ablate"), passes_on=True)
    words = "Hold a new adapter against the recorded answers of an old model: side by side, and in figures."
    example = "albatross compare answers.jsonl --model adapter/ --backbone smollm2-135m --out comparison/"
    add_command(commands, "compare", words, (example,), _execute("worker.compare"), passes_on=True)


def _serve(chosen: argparse.Namespace, settings: Settings) -> int:
    from api.serve import serve  # not needed by the other commands, and slow to import
    from core.parameters import presets

    presets.load(settings.presets_folder)  # one that can't be used is told here, not in the log of a child
    return serve(settings)


def _worker(chosen: argparse.Namespace, settings: Settings) -> int:
    from api.serve import worker_command

    _replace(*worker_command(settings, "worker"))


def _backup(chosen: argparse.Namespace, settings: Settings) -> int:
    from core.database.backup import backup

    report = backup(settings, chosen.folder)
    print(f"Copied {report.files} files, {report.bytes:,} bytes, to {chosen.folder}.")
    _say_what_is_missing(report.missing)
    return 0


def _restore(chosen: argparse.Namespace, settings: Settings) -> int:
    from core.database.backup import restore

    report = restore(settings, chosen.folder)
    print(f"Restored {report.files} files, {report.bytes:,} bytes, to {settings.data}.")
    _say_what_is_missing(report.missing)
    return 0


def _say_what_is_missing(missing: Sequence[str]) -> None:
    if missing:
        print(f"{len(missing)} files that the database names were not in the storage; erased meanwhile, or lost:")
        print("\n".join(f"  {key}" for key in missing))


def _list_backbones(chosen: argparse.Namespace, settings: Settings) -> int:
    from core.backbones.registry import Registry

    for backbone in Registry.load(settings):
        pool = "with a candidate pool" if backbone.pool else "without a candidate pool"
        print(f"{backbone.id:24} {backbone.kind:7} {pool:24} {backbone.licence}")
    return 0


def _add_backbone(chosen: argparse.Namespace, settings: Settings) -> int:
    from core.backbones.registry import Registry

    added = Registry.load(settings).add(
        chosen.id, chosen.folder, chosen.family, licence=chosen.licence, pool=chosen.pool,
        resolution=chosen.resolution, target_modules=tuple(chosen.target) if chosen.target else None,
    )  # fmt: skip
    print(f"Added {added.id}: {len(added.sha256)} files, revision {added.revision}.")
    return 0


def _prepare_backbone(chosen: argparse.Namespace, settings: Settings) -> int:
    _replace(BACKBONE_PREPARERS[chosen.id])


def _execute(*module: str) -> Command:
    def execute(chosen: argparse.Namespace, settings: Settings) -> int:
        if getattr(chosen, "explain", False):
            print(f"{chosen.epilog}\n")
            _replace(*module, "--help")
        _replace(*module, *chosen.further)

    return execute


def _replace(*module: str) -> NoReturn:
    """Become another program: what loads torch never shares a process with the API's side."""
    sys.stdout.flush()
    os.execv(sys.executable, (sys.executable, "-m", *module))


if __name__ == "__main__":
    sys.exit(main())
