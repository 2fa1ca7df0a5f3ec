"""Commands that need torch: the worker's own programs, which read their options and show their help themselves."""

import os
import sys
from typing import NoReturn

import typer

from core.runtime.command_line import CommandLine

COMMANDS = CommandLine()
# whatever is typed, --help too, is the program's
PASSED_ON: dict[str, object] = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


@COMMANDS.explained("pools", context_settings=PASSED_ON)
def pools(context: typer.Context) -> None:
    """Show candidate pools and build new ones."""
    replace_process("worker.commands.pools", *context.args)


@COMMANDS.explained("train", context_settings=PASSED_ON)
def train(context: typer.Context) -> None:
    """Train one adapter here and now, without a server."""
    replace_process("worker.commands.train", *context.args)


@COMMANDS.explained("calibrate", context_settings=PASSED_ON)
def calibrate(context: typer.Context) -> None:
    """Measure a backbone on this machine, so that estimates of its jobs are good from the first one on."""
    replace_process("worker.commands.calibrate", *context.args)


@COMMANDS.explained("ablate", context_settings=PASSED_ON)
def ablate(context: typer.Context) -> None:
    """Turn one knob of the method on your own references, and draw what it changes."""
    replace_process("worker.commands.ablate", *context.args)


@COMMANDS.explained("compare", context_settings=PASSED_ON)
def compare(context: typer.Context) -> None:
    """Hold a new adapter against the recorded answers of an old model: side by side, and in figures."""
    replace_process("worker.commands.compare", *context.args)


def replace_process(*module: str) -> NoReturn:
    """Become another program: what loads torch never shares a process with the API's side."""
    sys.stdout.flush()
    os.execv(sys.executable, (sys.executable, "-m", *module))
