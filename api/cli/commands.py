"""How the `albatross` command is put together: commands, groups of them, examples in every --help."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from core.settings import Settings

Command = Callable[[argparse.Namespace, Settings], int]
Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_command(
    commands: Subparsers, name: str, words: str, examples: Sequence[str], command: Command, *, passes_on: bool = False
) -> argparse.ArgumentParser:
    """Add a command; one that `passes_on` hands arguments that are not known here, and --help, to its program."""
    epilog = "examples:\n" + "\n".join(f"  {example}" for example in examples)
    added = commands.add_parser(
        name,
        help=words,
        description=words,
        epilog=epilog,
        add_help=not passes_on,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if passes_on:
        added.add_argument("-h", "--help", action="store_true", dest="explain", help="show all options and exit")
    added.add_argument(
        "--data", type=Path, help="folder of everything local (default: $ALBATROSS_DATA or albatross-data)"
    )
    added.set_defaults(command=command, passes_on=passes_on, epilog=epilog)
    return added


def add_group(commands: Subparsers, name: str, words: str) -> Subparsers:
    """Add a group of commands."""
    group = commands.add_parser(name, help=words, description=words)
    return group.add_subparsers(required=True, metavar="COMMAND")
