"""Makes a pool of what a backbone draws or writes itself, round by round, within a time and a number of tries."""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from core.backbones.record import BackboneRecord
from core.disk import replacing, write_whole
from core.errors import InvalidInput
from core.runtime.progress import ProgressLine, duration
from worker.commands.candidates.begun import Begun
from worker.commands.candidates.makers import Maker, loaded
from worker.commands.candidates.order import Order, Round
from worker.protocol import Json
from worker.stages.likeness.sieve import Sieve
from worker.stages.pool import Pool, load

TRIES, FIRST_TRIES = 4, 128  # examples that are tried for each that is wanted, at most; and of a few at least
NAMES = {"images": "pictures", "texts": "texts"}
USELESS = {
    "images": "was flat or nearly the same as one before",
    "texts": "had no full sentence of 12 words, or was nearly the same as one before",
}


def write_generated(order: Order, folder: Path, device: str = "cpu") -> str:
    """Write a pool folder of what the backbone makes, beside what its pool has already; return what to say of it.

    Raises InvalidInput where nothing of what it makes is of use. What is stopped goes on when it is asked for again.
    """
    present, begun = load(order.record), Begun(folder / "begun")
    rounds = begun.rounds(order)
    if not rounds:
        begun.begin(order)
    line = ProgressLine()
    try:
        if _count(rounds) < order.amount:
            with loaded(order, device) as make:
                for made in _rounds(order, rounds, present, make, line):
                    begun.keep(made)
                    rounds.append(made)
    except KeyboardInterrupt:
        line.close(f"Stopped with {_count(rounds)} of {order.amount}, which are kept: the same command goes on.")
        raise
    line.close()
    if not _count(rounds):
        begun.forget()
        raise _nothing(order, rounds)
    _write_pool(order, rounds, present, folder)
    begun.forget()
    return _ending(order, rounds)


def _rounds(
    order: Order, earlier: Sequence[Round], present: Pool | None, make: Maker, line: ProgressLine
) -> Iterator[Round]:
    """Yield rounds until there are enough, or until time or tries are over."""
    sieve = Sieve([*present.candidates, *present.probe] if present else [])
    probed = present is not None and bool(present.probe)
    for candidate in chain.from_iterable(made.candidates() for made in earlier):
        sieve.passes(candidate)
    count, tried, number, began = _count(earlier), _tried(earlier), len(earlier), time.monotonic()
    before = count
    while count < order.amount and tried < _most(order) and time.monotonic() - began < 60 * order.minutes:
        made = make(number, tried)
        if probed:  # all of it may be replayed
            made = Round(made.tried, tuple(row | {"split": "candidate"} for row in made.rows), made.pictures)
        made = made.without([sieve.passes(candidate) for candidate in made.candidates()])
        yield made
        count, tried, number = count + len(made.rows), tried + made.tried, number + 1
        line.show(_progress(order, count, tried, count - before, time.monotonic() - began), count / order.amount)


def _most(order: Order) -> int:
    return max(FIRST_TRIES, TRIES * order.amount)


def _count(rounds: Sequence[Round]) -> int:
    return sum(len(made.rows) for made in rounds)


def _tried(rounds: Sequence[Round]) -> int:
    return sum(made.tried for made in rounds)


def _progress(order: Order, count: int, tried: int, lately: int, seconds: float) -> str:
    words = f"{min(count, order.amount)} of {order.amount} {NAMES[order.record.kind]}"
    if lately and count < order.amount:
        left = min(seconds / lately * (order.amount - count), max(0.0, 60 * order.minutes - seconds))
        words += f"  about {duration(left)} left"
    return words + (f"  {tried - count} of no use" if tried > count else "")


def _nothing(order: Order, rounds: Sequence[Round]) -> InvalidInput:
    names = NAMES[order.record.kind]
    tried = f"Of {_tried(rounds)} {names} each {USELESS[order.record.kind]}" if rounds else "There was no time for one"
    return InvalidInput(
        f"{tried}; 0 of {order.amount} were made. Give {order.record.id} a pool of {names}, or --minutes more.",
        code="no_candidates",
        param="generate",
    )


def _ending(order: Order, rounds: Sequence[Round]) -> str:
    count, tried, names = min(_count(rounds), order.amount), _tried(rounds), NAMES[order.record.kind]
    if count == order.amount:
        return f"{order.record.id} has made {count} {names}."
    why = f"{tried} were tried" if tried >= _most(order) else f"{order.minutes:g} minutes are over"
    return f"{order.record.id} has made {count} of {order.amount} {names}: {why}."


def _write_pool(order: Order, rounds: Sequence[Round], present: Pool | None, folder: Path) -> None:
    """Write pictures first, so that an index never names one that is not there."""
    rows, place = _present_rows(order.record)
    first = sum(str(row["id"]).startswith(f"own-{order.seed}-") for row in rows)
    made, pictures = list[Json](), dict[str, bytes]()
    for number, (row, content) in enumerate(list(_kept(rounds))[: order.amount], first + 1):
        id = f"own-{order.seed}-{number:04d}"
        if content is not None:
            row, pictures[f"{id}.png"] = row | {"file": f"{id}.png"}, content
        made.append({"id": id} | row)
    if pictures:
        with replacing(folder / "images.zip") as draft, zipfile.ZipFile(draft, "w") as archive:
            if present is not None and place is not None:
                with zipfile.ZipFile(place / "images.zip") as held:
                    for name in sorted({row["file"] for row in rows}):
                        archive.writestr(name, held.read(name))
            for name, content in pictures.items():
                archive.writestr(name, content)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in [*rows, *made])
    write_whole(folder / "index.jsonl", "".join(lines).encode())


def _kept(rounds: Sequence[Round]) -> Iterator[tuple[Json, bytes | None]]:
    for made in rounds:
        for row in made.rows:
            yield row, made.pictures.get(row.get("file", ""))


def _present_rows(record: BackboneRecord) -> tuple[list[Json], Path | None]:
    """Return the rows of the pool that is there, and where its pictures lie."""
    if record.pool is None:
        return [], None
    index = record.pool if record.pool.is_file() else record.pool / "index.jsonl"
    return [json.loads(line) for line in index.read_text(encoding="utf-8").split("\n") if line.strip()], index.parent
