"""`albatross pools`: describe a folder of candidates, or write generated ones."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from core.backbones.record import BackboneRecord
from core.backbones.registry import Registry
from core.errors import AlbatrossError, InvalidInput
from core.settings import Settings
from worker.stages.pool import load


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
    from core.method.backbones.language import LanguageBackbone
    from worker.commands.generation import generate

    if record.family != "language":
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


def main() -> None:
    """Show pools, or let a text backbone write candidates."""
    parser = argparse.ArgumentParser(prog="albatross pools", description=__doc__)
    parser.add_argument("--data", type=Path, help="data folder of the service (default: ALBATROSS_DATA)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="list the candidate pools")
    build = commands.add_parser(
        "build", help="check a pool, and with --generate add the backbone's own texts to a new one"
    )
    build.add_argument("id", metavar="ID", help="a backbone")
    build.add_argument("--generate", type=int, default=0, metavar="N", help="let a text backbone write N candidates")
    build.add_argument("--seed", type=int, default=7)
    build.add_argument("--out", type=Path, help="folder of the new pool (default: DATA/pools/ID)")
    chosen = parser.parse_args()
    settings = Settings(data=chosen.data) if chosen.data else Settings()
    registry = Registry.load(settings)
    try:
        if chosen.command == "list":
            print("\n".join(describe(record) for record in registry))
            return
        record = registry.get(chosen.id)
        if chosen.generate:
            folder = write_generated(
                record, chosen.generate, chosen.seed, chosen.out or settings.data / "pools" / record.id
            )
            print(f"Wrote {folder}; register a backbone with `--pool {folder}` to use it.")
        print(describe(record))
    except AlbatrossError as error:
        raise SystemExit(error.message) from None


if __name__ == "__main__":
    main()
