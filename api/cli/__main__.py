"""The `albatross` command."""

import argparse
import os
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from api.cli import accounts, inspect, record, taggers
from api.cli.backbones import add_backbones
from api.cli.backups import add_backup
from api.cli.commands import Command, Subparsers, add_command
from api.cli.worker_commands import add_pools, add_train, replace_process, run_module
from core.errors import AlbatrossError
from core.settings import Settings
from core.text_safety import shown


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
        prog="albatross",
        description="A few images or texts in, the right LoRA adapter out.",
        epilog="Every setting can be given as an environment variable ALBATROSS_<NAME>; see the README.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_service(commands)
    add_backup(commands)
    accounts.add(commands)
    add_backbones(commands)
    taggers.add(commands)
    add_pools(commands)
    add_train(commands)
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
    add_command(commands, "dispatcher", words, (example,), run_module("worker.dispatcher"))


def _serve(chosen: argparse.Namespace, settings: Settings) -> int:
    from api.cli.serve import serve  # not needed by the other commands, and slow to import
    from core.parameters import presets

    presets.load(settings.presets_folder)  # one that can't be used is told here, not in the log of a child
    return serve(settings)


def _worker(chosen: argparse.Namespace, settings: Settings) -> int:
    from api.cli.serve import worker_command

    replace_process(*worker_command(settings, "worker"))


if __name__ == "__main__":
    sys.exit(main())
