"""`albatross pools`: describe a folder of candidates, or write generated ones."""

from __future__ import annotations

import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from core.backbones.record import BackboneRecord
from core.backbones.registry import Registry
from core.errors import InvalidInput
from core.parameters.protection.means import GENERATE
from core.parameters.request import BatRequest
from core.parameters.service_defaults import ServiceDefaults
from core.parameters.summary import ReferenceSummary
from core.runtime.command_line import CommandLine, Data, read_settings
from core.settings import Settings
from worker.commands.candidates.order import Order
from worker.commands.train import draw
from worker.device import device, device_class
from worker.job_folder import JobFolder
from worker.stages.pool import load
from worker.supervision.pool_encoding import USUAL_COUNT, PoolEncoding
from worker.trainer import gpu_check
from worker.trainer.process import fixed

COMMANDS = CommandLine("Show candidate pools and build new ones.")


def describe(record: BackboneRecord) -> str:
    """One line about the pool of a backbone."""
    pool = load(record)
    if pool is None:
        return f"{record.id:24} no candidate pool"
    sources = len({candidate.source for candidate in pool.candidates})
    return (
        f"{record.id:24} {len(pool.candidates):6} candidates from {sources} sources, {len(pool.probe)} kept as a probe"
    )


@COMMANDS.explained(
    "build",
    "albatross pools build emoji-ldm",
    "albatross pools build smollm2-135m --generate 200",
    'albatross pools build sd15 --generate 300 --class "a cat"',
    words="""Check a backbone's pool; with --generate, make a new one with what the backbone draws or writes itself.

    Pictures that are flat, and all that is nearly the same as something before, are left out. What is stopped by Ctrl-C
    goes on with the same command.""",
)
def build(
    id: Annotated[str, typer.Argument(metavar="ID", help="a backbone")],
    generate: Annotated[
        int, typer.Option(metavar="N", min=0, max=2000, help="let it make N pictures or texts from plain prompts")
    ] = 0,
    word: Annotated[
        str | None,
        typer.Option("--class", metavar="WORDS", help='draw half of them of this, said as in a prompt: "a cat"'),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="S", min=0, max=10**6, help="of what it makes")] = 7,
    minutes: Annotated[float, typer.Option(metavar="M", min=0, help="how long it may take")] = 60.0,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="folder of the new pool (default: DATA/pools/ID)")
    ] = None,
    data: Data = None,
) -> None:
    settings = read_settings(data=data)
    registry = Registry.load(settings)
    record = registry.get(id)
    if word is not None and (record.kind == "texts" or not word.strip()):
        told = "Texts are of no class" if record.kind == "texts" else "--class is a few words"
        raise InvalidInput(f"{told}; leave --class out.", code="wrong_family", param="class")
    if generate:
        registry.verify(record)
        folder, order = out or settings.data / "pools" / record.id, Order(record, generate, seed, word, minutes)
        os.environ |= fixed(settings)
        gpu_check.require(device(settings))
        from worker.commands.candidates.making import write_generated  # after the environment is set: it imports torch

        print(write_generated(order, folder, device(settings)))
        print(f"Wrote {folder}; register a backbone with `--pool {folder}` to use it.")
        record = record.model_copy(update={"pool": folder})
    print(describe(record))


@COMMANDS.explained("own", "albatross pools own emoji-ldm", "albatross pools own emoji-ldm --pool")
def own(
    id: Annotated[str, typer.Argument(metavar="ID", help="a backbone")],
    resolution: Annotated[int | None, typer.Option(metavar="PIXELS", help="of jobs of images (default: usual)")] = None,
    max_tokens: Annotated[int | None, typer.Option(metavar="N", help="of jobs of texts (default: usual)")] = None,
    pool: Annotated[bool, typer.Option("--pool", help="make the pool of jobs with bat.pool generate instead")] = False,
    data: Data = None,
) -> None:
    """Let a backbone make the samples of its own, ahead of the first job that is protected on them."""
    settings = read_settings(data=data)
    record = Registry.load(settings).get(id)
    sizes = {"resolution": resolution, "max_tokens": max_tokens}
    asked = {name: value for name, value in sizes.items() if value is not None}
    request = BatRequest.model_validate(({"pool": GENERATE} if pool else {"protect_on": "own"}) | asked)
    with tempfile.TemporaryDirectory() as place:
        folder = JobFolder(Path(place))
        folder.write_spec(own_samples(record, request, settings).specification())
        os.environ |= fixed(settings)
        gpu_check.require(device(settings))
        from worker.stages import run  # after the environment is set: it imports torch

        draw(run(folder))


def own_samples(record: BackboneRecord, request: BatRequest, settings: Settings) -> PoolEncoding:
    """Return what a job of these sizes needs of the backbone's own data."""
    summary = ReferenceSummary(kind=record.kind, count=USUAL_COUNT)
    defaults = ServiceDefaults.load(settings, device_class(settings))
    parameters = defaults.resolve(request, None, backbone=record, summary=summary, seed=0)
    return PoolEncoding(record, parameters, datetime.now(UTC).date(), settings)


@COMMANDS.explained("list", "albatross pools list")
def list_pools(data: Data = None) -> None:
    """List the candidate pools."""
    print("\n".join(describe(record) for record in Registry.load(read_settings(data=data))))


if __name__ == "__main__":
    sys.exit(COMMANDS.run("albatross pools", failed=1))
