"""`albatross pools`: describe a folder of candidates, or write generated ones."""

from __future__ import annotations

import json
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
from core.parameters.request import BatRequest
from core.parameters.service_defaults import ServiceDefaults
from core.parameters.summary import ReferenceSummary
from core.runtime.command_line import CommandLine, Data, read_settings
from core.settings import Settings
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


def write_generated(record: BackboneRecord, amount: int, seed: int, folder: Path) -> Path:
    """Write a pool folder of the backbone's own texts beside those it has already; returns the folder."""
    from core.method.backbones.texts.language import LanguageBackbone
    from core.method.protection.own import generate

    if record.kind != "texts":
        raise InvalidInput("Only text backbones can write candidates.", code="wrong_family", param="id")
    backbone = LanguageBackbone.load(record.path, max_tokens=128, target_modules=record.target_modules)
    rows = []
    for number, text in enumerate(generate(backbone, amount, seed), 1):
        rows.append(
            {
                "id": f"own-{seed}-{number:04d}",
                "text": text,
                "source": record.id,
                "licence": record.licence,
                "split": "candidate",
            }
        )
        print(f"\r  {number} of {amount} texts", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    present = record.pool
    if present is not None:
        index = present if present.is_file() else present / "index.jsonl"
        rows = [json.loads(line) for line in index.read_text().split("\n") if line.strip()] + rows
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return folder


@COMMANDS.explained("build", "albatross pools build emoji-ldm", "albatross pools build smollm2-135m --generate 200")
def build(
    id: Annotated[str, typer.Argument(metavar="ID", help="a backbone")],
    generate: Annotated[int, typer.Option(metavar="N", help="let a text backbone write N candidates")] = 0,
    seed: Annotated[int, typer.Option(metavar="S", help="of what it writes")] = 7,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="folder of the new pool (default: DATA/pools/ID)")
    ] = None,
    data: Data = None,
) -> None:
    """Check a backbone's pool; with --generate, make a new one with texts that the backbone writes itself."""
    settings = read_settings(data=data)
    record = Registry.load(settings).get(id)
    if generate:
        folder = write_generated(record, generate, seed, out or settings.data / "pools" / record.id)
        print(f"Wrote {folder}; register a backbone with `--pool {folder}` to use it.")
    print(describe(record))


@COMMANDS.explained("own", "albatross pools own emoji-ldm")
def own(
    id: Annotated[str, typer.Argument(metavar="ID", help="a backbone")],
    resolution: Annotated[int | None, typer.Option(metavar="PIXELS", help="of jobs of images (default: usual)")] = None,
    max_tokens: Annotated[int | None, typer.Option(metavar="N", help="of jobs of texts (default: usual)")] = None,
    data: Data = None,
) -> None:
    """Let a backbone make the samples of its own, ahead of the first job that is protected on them."""
    settings = read_settings(data=data)
    record = Registry.load(settings).get(id)
    sizes = {"resolution": resolution, "max_tokens": max_tokens}
    asked = {name: value for name, value in sizes.items() if value is not None}
    request = BatRequest.model_validate({"protect_on": "own", **asked})
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
