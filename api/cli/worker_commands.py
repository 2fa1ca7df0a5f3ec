"""Commands that need torch: handed to the worker's own modules, in another process."""

import argparse
import os
import sys
from typing import NoReturn

from api.cli.commands import Command, Subparsers, add_command, add_group
from core.settings import Settings


def add_pools(commands: Subparsers) -> None:
    pools = add_group(commands, "pools", "Show candidate pools and build new ones.")
    described = {
        "build": ("Encode a backbone's candidate pool ahead of its first job, or let it write one.", "build emoji-ldm"),
        "list": ("List the candidate pools.", "list"),
    }
    for name, (words, example) in described.items():
        add_command(
            pools,
            name,
            words,
            (f"albatross pools {example}",),
            run_module("worker.commands.pools", name),
            passes_on=True,
        )


def add_train(commands: Subparsers) -> None:
    words = "Train one adapter here and now, without a server."
    examples = (
        "albatross train --backbone emoji-ldm --references pictures/ --out adapter/",
        "albatross train --backbone smollm2-135m --references talk.jsonl --out adapter/ --bat '{\"max_steps\": 40}'",
    )
    add_command(commands, "train", words, examples, run_module("worker.commands.train"), passes_on=True)
    words = "Measure a backbone on this machine, so that estimates of its jobs are good from the first one on."
    example = "albatross calibrate --backbone emoji-ldm"
    add_command(commands, "calibrate", words, (example,), run_module("worker.commands.calibrate"), passes_on=True)
    words = "Turn one knob of the method on your own references, and draw what it changes."
    examples = (
        "albatross ablate gamma --backbone emoji-ldm --references cats/ --validation other-cats/ --out gamma/",
        "albatross ablate window --backbone emoji-ldm --references cats/ --validation other-cats/ --out window/",
    )
    add_command(commands, "ablate", words, examples, run_module("worker.commands.ablate"), passes_on=True)
    words = "Hold a new adapter against the recorded answers of an old model: side by side, and in figures."
    example = "albatross compare answers.jsonl --model adapter/ --backbone smollm2-135m --out comparison/"
    add_command(commands, "compare", words, (example,), run_module("worker.commands.compare"), passes_on=True)


def run_module(*module: str) -> Command:
    def run(chosen: argparse.Namespace, settings: Settings) -> int:
        if getattr(chosen, "explain", False):
            print(f"{chosen.epilog}\n")
            replace_process(*module, "--help")
        replace_process(*module, *chosen.further)

    return run


def replace_process(*module: str) -> NoReturn:
    """Become another program: what loads torch never shares a process with the API's side."""
    sys.stdout.flush()
    os.execv(sys.executable, (sys.executable, "-m", *module))
