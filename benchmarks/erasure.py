"""How long an account with many jobs takes to erase, and how it feels to other tenants who write meanwhile (SQLite).

Other tenants are processes of their own that write small transactions all the time, as calls do; they are measured
alone first, and then while the account goes. A hold is the time from BEGIN IMMEDIATE to the end of a transaction.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

from sqlalchemy import Connection, Engine, event, insert
from sqlalchemy.orm import Session, sessionmaker

from core.database.engine import connect, now, sessions
from core.database.migrations import migrate
from core.database.tables import Account, Erasure, File, Job, JobEvent, Metric, new_id
from core.erasure import request
from core.erasure.eraser import Eraser
from core.settings import Settings
from core.storage.factory import storage
from core.storage.keys import file_key, job_key

RESULTS = Path(__file__).parent / "results" / "erasure.json"
EVENTS, METRICS, OBJECTS = 5, 20, 2  # of each job
ALONE_SECONDS, PAUSE_SECONDS, WRITERS = 15.0, 0.005, 2
GIANT, CHUNK = "acct-giant", 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--files", type=int, default=10_000, help="uploads of the account")
    parser.add_argument("--others", type=int, default=190_000, help="uploads of other tenants")
    parser.add_argument("--results", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Settings(data=Path(folder)), chosen.jobs, chosen.files, chosen.others)
    print(json.dumps(result, indent=1))
    chosen.results.write_text(json.dumps(result, indent=1) + "\n")


def measure(settings: Settings, jobs: int, files: int, others: int) -> dict[str, object]:
    """Fill a service, and erase its largest account while others write."""
    migrate(settings.database)
    engine = connect(settings.database)
    made = sessions(engine)
    fill(made, settings, jobs, files, others)
    alone = written(settings, lambda: time.sleep(ALONE_SECONDS))
    with made.begin() as session:
        erasure_id = request.request(session, GIANT, "account", GIANT).id
    eraser = Eraser(made, storage(settings), settings.keyring, settings.data)
    began = time.monotonic()
    with held(engine) as holds:
        meanwhile = written(settings, lambda: until_done(eraser, made, erasure_id))
    seconds = time.monotonic() - began
    with made() as session:
        done = session.get_one(Erasure, erasure_id)
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]},
        "account": {"jobs": jobs, "uploads": files, "events": EVENTS, "metrics": METRICS, "objects": OBJECTS},
        "uploads_of_others": others,
        "seconds": round(seconds, 1),
        "rows": done.rows,
        "objects": done.objects,
        "transactions": len(holds),
        "longest_hold_ms": ms(max(holds)),
        "hold_p99_ms": ms(sorted(holds)[int(len(holds) * 0.99)]),
        "others_write_ms": {"alone": spread(alone), "meanwhile": spread(meanwhile)},
    }


def fill(made: sessionmaker[Session], settings: Settings, jobs: int, files: int, others: int) -> None:
    """Write the rows and objects of the giant, and the rows of the others."""
    store = storage(settings)
    with made.begin() as session:
        names = (GIANT, *(f"acct-{number}" for number in range(WRITERS)))
        session.execute(insert(Account), [{"id": name, "name": name, "created_at": 1.0} for name in names])
    for start in range(0, jobs, CHUNK):
        ids = [f"ftjob-{number:06}" for number in range(start, min(start + CHUNK, jobs))]
        with made.begin() as session:
            _add_jobs(session, ids)
        for job_id in ids:
            for name in range(OBJECTS):  # not through put, whose fsync is not what is measured
                path = settings.data / "storage" / job_key(GIANT, job_id, 1, f"export/{name}")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"x" * 1000)
    for owner, count in ((GIANT, files), ("acct-0", others)):
        for start in range(0, count, 10 * CHUNK):
            numbers = range(start, min(start + 10 * CHUNK, count))
            with made.begin() as session:
                session.execute(insert(File), [_upload(owner, number) for number in numbers])
    store.put(file_key(GIANT, f"file-{GIANT}-0"), b"x")


def _add_jobs(session: Session, ids: Sequence[str]) -> None:
    plain = {"account_id": GIANT, "queue": "gpu", "state": "FAILED", "backbone": "tiny", "request": {"p": "x" * 300}}
    ended = {**plain, "training_files": [], "seed": 1, "created_at": 1.0, "finished_at": 2.0}
    session.execute(insert(Job), [{**ended, "id": name} for name in ids])
    lines = {"created_at": 1.0, "message": "A line of its history.", "actor": "worker"}
    session.execute(
        insert(JobEvent), [{**lines, "job_id": name, "seq": seq} for name in ids for seq in range(1, EVENTS + 1)]
    )
    curve = {"stage": "train", "attempt": 1, "created_at": 1.0, "data": {"loss": 0.5}}
    session.execute(
        insert(Metric), [{**curve, "job_id": name, "step": step} for name in ids for step in range(METRICS)]
    )


def _upload(owner: str, number: int) -> dict[str, object]:
    name = f"file-{owner}-{number}"
    return {
        "id": name,
        "account_id": owner,
        "filename": "cats.zip",
        "purpose": "fine-tune",
        "bytes": 1,
        "sha256": "",
        "storage_key": file_key(owner, name),
        "status": "processed",
        "created_at": 1.0,
    }


def until_done(eraser: Eraser, made: sessionmaker[Session], erasure_id: str) -> None:
    """Make rounds as a dispatcher does, without its pauses."""
    while True:
        eraser.round()
        with made() as session:
            if session.get_one(Erasure, erasure_id).done_at is not None:
                return


@contextmanager
def held(engine: Engine) -> Iterator[list[float]]:
    """Collect how long each writing transaction of this process has held the lock."""
    holds: list[float] = []

    def statement(connection: Connection, _: object, words: str, *__: object) -> None:
        if words == "BEGIN IMMEDIATE":
            connection.info["since"] = time.monotonic()

    def ended(connection: Connection) -> None:
        if (since := connection.info.pop("since", None)) is not None:
            holds.append(time.monotonic() - since)

    def committed(_: object, record: object) -> None:
        if (since := record.info.pop("since", None)) is not None:  # type: ignore[attr-defined]
            holds.append(time.monotonic() - since)

    event.listen(engine, "after_cursor_execute", statement)
    event.listen(engine, "rollback", ended)
    event.listen(engine, "checkin", committed)  # right after the commit
    yield holds
    event.remove(engine, "after_cursor_execute", statement)
    event.remove(engine, "rollback", ended)
    event.remove(engine, "checkin", committed)


def written(settings: Settings, during: object) -> list[float]:
    """Return how long writes of other processes took while something was done."""
    context = multiprocessing.get_context("spawn")
    over, ready = context.Event(), context.Barrier(WRITERS + 1)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / str(number) for number in range(WRITERS)]
        arguments = [(settings.database, number, path, over, ready) for number, path in enumerate(paths)]
        writers = [context.Process(target=write, args=given) for given in arguments]
        for process in writers:
            process.start()
        ready.wait()
        during()  # type: ignore[operator]
        over.set()
        for process in writers:
            process.join()
        return [value for path in paths for value in json.loads(path.read_text())]


def write(url: str, number: int, path: Path, over: Event, ready: object) -> None:
    """Write small transactions until it is over."""
    made, took = sessions(connect(url)), list[float]()
    ready.wait()  # type: ignore[attr-defined]
    while not over.is_set():
        began = time.monotonic()
        with made.begin() as session:
            at = now(session)
            row = _upload(f"acct-{number}", 0)
            session.execute(insert(File), [{**row, "id": new_id("file-"), "created_at": at}])
        took.append(time.monotonic() - began)
        time.sleep(PAUSE_SECONDS)
    path.write_text(json.dumps(took))


def spread(took: Sequence[float]) -> dict[str, float]:
    ordered = sorted(took)
    at = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
    told = {name: ms(ordered[int(len(ordered) * share)]) for name, share in at.items()}
    return {"writes": len(ordered), **told, "max": ms(ordered[-1])}


def ms(seconds: float) -> float:
    return round(1000 * seconds, 1)


if __name__ == "__main__":
    main()
