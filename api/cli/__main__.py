"""The `albatross` command."""

import sys
from collections.abc import Sequence

from api.cli import accounts, backbones, backups, inspect, keys, record, service, taggers, worker_commands
from core.runtime.command_line import CommandLine

COMMANDS = CommandLine(
    "A few images or texts in, the right LoRA adapter out.",
    epilog="Every setting can be given as an environment variable ALBATROSS_<NAME>; see the README.",
)
for part in (service, backups, keys, accounts, backbones, taggers, worker_commands, inspect, record):
    COMMANDS.add_typer(part.COMMANDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    return COMMANDS.run("albatross", arguments)


if __name__ == "__main__":
    sys.exit(main())
