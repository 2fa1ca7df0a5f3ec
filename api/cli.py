"""The `albatross` command."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TypeAlias

from pydantic import ValidationError

from core.errors import AlbatrossError
from core.settings import Settings

Command = Callable[[argparse.Namespace, Settings], int]
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
    except OSError as error:
        print(f"albatross: {error.filename or 'an operation'}: {error.strerror}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="albatross", description="A few images or texts in, the right LoRA adapter out.",
        epilog="Every setting can be given as an environment variable ALBATROSS_<NAME>; see the README.",
    )  # fmt: skip
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_service(commands)
    _add_backup(commands)
    _add_keys(commands)
    _add_backbones(commands)
    _add_pools(commands)
    _add_train(commands)
    return parser


Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _add(
    commands: Subparsers, name: str, words: str, examples: Sequence[str], command: Command, *, passes_on: bool = False
) -> argparse.ArgumentParser:
    """Add a command; one that `passes_on` hands arguments that are not known here, and --help, to its program."""
    epilog = "examples:\n" + "\n".join(f"  {example}" for example in examples)
    added = commands.add_parser(
        name, help=words, description=words, epilog=epilog, add_help=not passes_on, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    if passes_on:
        added.add_argument("-h", "--help", action="store_true", dest="explain", help="show all options and exit")
    added.add_argument(
        "--data", type=Path, help="folder of everything local (default: $ALBATROSS_DATA or albatross-data)"
    )
    added.set_defaults(command=command, passes_on=passes_on, epilog=epilog)
    return added


def _group(commands: Subparsers, name: str, words: str) -> Subparsers:
    group = commands.add_parser(name, help=words, description=words)
    return group.add_subparsers(required=True, metavar="COMMAND")


def _add_service(commands: Subparsers) -> None:
    words = "Run the whole service on this machine: API, dispatcher, worker and, unless one is configured, a broker."
    examples = ("albatross serve", "albatross serve --data /srv/albatross --host 0.0.0.0 --port 8000")
    serve = _add(commands, "serve", words, examples, _serve)
    serve.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    serve.add_argument("--port", type=int, help="port to listen on; 0 takes a free one (default: 8000)")
    words = "Run one worker: it takes jobs from the queue and trains them."
    examples = (
        "ALBATROSS_BROKER_URL=redis://broker:6379/0 albatross worker",
        "CUDA_VISIBLE_DEVICES=1 albatross worker",
    )
    _add(commands, "worker", words, examples, _worker)
    words = "Run the dispatcher: it wakes workers and takes jobs back from dead ones."
    _add(commands, "dispatcher", words, ("albatross dispatcher --data /srv/albatross",), _execute("worker.dispatcher"))


def _add_backup(commands: Subparsers) -> None:
    words = "Copy a service, which may be running, into a new folder: database, files and keys."
    examples = ("albatross backup /backups/monday", "albatross backup /backups/monday --data /srv/albatross")
    _add(commands, "backup", words, examples, _backup).add_argument("folder", metavar="FOLDER", type=Path)
    words = "Make a new data folder from a backup, after checking every file of it."
    example = "albatross restore /backups/monday --data /srv/albatross-again"
    _add(commands, "restore", words, (example,), _restore).add_argument("folder", metavar="FOLDER", type=Path)


def _add_keys(commands: Subparsers) -> None:
    keys = _group(commands, "keys", "Make API keys.")
    words = "Make an API key, and an account of the same name if there is none; the last line printed is the key alone."
    examples = ("albatross keys create alice --data /srv/albatross", "KEY=$(albatross keys create alice | tail -n 1)")
    create = _add(keys, "create", words, examples, _create_key)
    create.add_argument("name", metavar="NAME", help="who will use the key")
    create.add_argument("--account", help="put the key into this existing account instead")


def _add_backbones(commands: Subparsers) -> None:
    backbones = _group(commands, "backbones", "Show, add and prepare backbones.")
    _add(backbones, "list", "List the backbones that jobs may name.", ("albatross backbones list",), _list_backbones)
    words = "Register a folder with a pre-trained model (safetensors only); every file is hashed."
    examples = ("albatross backbones add my-sd15 /models/sd15 --family diffusion --licence CreativeML-OpenRAIL-M",)
    add = _add(backbones, "add", words, examples, _add_backbone)
    add.add_argument("id", metavar="ID", help="the name that jobs will use")
    add.add_argument("folder", metavar="FOLDER", type=Path, help="a diffusers or transformers folder")
    add.add_argument("--family", required=True, choices=("diffusion", "language"))
    add.add_argument("--licence", required=True, help="of the weights; it is written on every adapter's card")
    add.add_argument("--pool", type=Path, help="folder of a candidate pool")
    add.add_argument("--resolution", type=int, help="side of the training images in pixels")
    add.add_argument("--target", action="append", metavar="NAME", help="a module to adapt; may be repeated")
    words = "Make a built-in backbone ready on this machine."
    prepare = _add(backbones, "prepare", words, ("albatross backbones prepare smollm2-135m",), _prepare_backbone)
    prepare.add_argument("id", metavar="ID", choices=sorted(BACKBONE_PREPARERS), help=", ".join(BACKBONE_PREPARERS))


def _add_pools(commands: Subparsers) -> None:
    pools = _group(commands, "pools", "Show candidate pools and build new ones.")
    described = {
        "build": ("Encode a backbone's candidate pool ahead of its first job, or let it write one.", "build emoji-ldm"),
        "list": ("List the candidate pools.", "list"),
    }
    for name, (words, example) in described.items():
        _add(pools, name, words, (f"albatross pools {example}",), _execute("worker.pools", name), passes_on=True)


def _add_train(commands: Subparsers) -> None:
    words = "Train one adapter here and now, without a server."
    examples = (
        "albatross train --backbone emoji-ldm --references pictures/ --out adapter/",
        "albatross train --backbone smollm2-135m --references talk.jsonl --out adapter/ --bat '{\"max_steps\": 40}'",
    )
    _add(commands, "train", words, examples, _execute("worker.train"), passes_on=True)
    words = "Turn one knob of the method on your own references, and draw what it changes."
    examples = (
        "albatross ablate gamma --backbone emoji-ldm --references cats/ --validation other-cats/ --out gamma/",
        "albatross ablate window --backbone emoji-ldm --references cats/ --validation other-cats/ --out window/",
    )
    _add(commands, "ablate", words, examples, _execute("worker.ablate"), passes_on=True)


def _serve(chosen: argparse.Namespace, settings: Settings) -> int:
    from api.serve import serve  # not needed by the other commands, and slow to import

    return serve(settings)


def _worker(chosen: argparse.Namespace, settings: Settings) -> int:
    from api.serve import worker_command

    _replace(*worker_command(settings, "worker"))


def _backup(chosen: argparse.Namespace, settings: Settings) -> int:
    from core.backup import backup

    report = backup(settings, chosen.folder)
    print(f"Copied {report.files} files, {report.bytes:,} bytes, to {chosen.folder}.")
    _say_what_is_missing(report.missing)
    return 0


def _restore(chosen: argparse.Namespace, settings: Settings) -> int:
    from core.backup import restore

    report = restore(settings, chosen.folder)
    print(f"Restored {report.files} files, {report.bytes:,} bytes, to {settings.data}.")
    _say_what_is_missing(report.missing)
    return 0


def _say_what_is_missing(missing: Sequence[str]) -> None:
    if missing:
        print(f"{len(missing)} files that the database names were not in the storage; erased meanwhile, or lost:")
        print("\n".join(f"  {key}" for key in missing))


def _create_key(chosen: argparse.Namespace, settings: Settings) -> int:
    from core import keys
    from core.database import connect, migrate, sessions

    settings.data.mkdir(parents=True, exist_ok=True)
    migrate(settings.database)
    with sessions(connect(settings.database)).begin() as session:
        key = keys.create(session, chosen.name, account=chosen.account)
    print("This key is shown only once:")
    print(key)
    return 0


def _list_backbones(chosen: argparse.Namespace, settings: Settings) -> int:
    from core.backbones import Registry

    for record in Registry.load(settings):
        pool = "with a candidate pool" if record.pool else "without a candidate pool"
        print(f"{record.id:24} {record.kind:7} {pool:24} {record.licence}")
    return 0


def _add_backbone(chosen: argparse.Namespace, settings: Settings) -> int:
    from core.backbones import Registry

    record = Registry.load(settings).add(
        chosen.id, chosen.folder, chosen.family, licence=chosen.licence, pool=chosen.pool,
        resolution=chosen.resolution, target_modules=tuple(chosen.target) if chosen.target else None,
    )  # fmt: skip
    print(f"Added {record.id}: {len(record.sha256)} files, revision {record.revision}.")
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
