"""C44 to C55 and C100 to C106: numbers out of range, calls at the wrong time, and calls while something is away."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from core.database.tables import Adapter, Job, JobState, new_id
from core.jobs import leases
from core.jobs.leases import Claim
from core.settings import Settings
from core.storage.factory import storage
from tests.api.outcome import publish
from tests.api.server import Service, pictures, serving
from tests.conftest import PostgreSQL, free_port, running, s3_settings, until
from tests.inputs.catalogue import FILES, JOBS, Case, Scene, Send, job, request, table
from tests.inputs.wire import Answer, exchange, head

NUMBERS: dict[str, list[object]] = {
    "max_steps": [0, -1, 10**9, 1.5, True],
    "surrogate_steps": [0, 10**9],
    "rank": [0, -1, 7.5, 4096, "8"],
    "alpha": [0, -1, 1e9],
    "learning_rate": [0, -1, 10, 1e-300],
    "batch_size": [0, 10**6],
    "resolution": [513, 0, 16_384, -8],
    "max_tokens": [0, 31, 10**6, 64.5, "96"],
    "gamma": [-0.1, 1, 1e308],
    "selected_count": [0, 10**6],
    "folds": [1, 10**6],
    "window": [1, 10**6],
    "interval": [0, 10**6],
    "sample_ratio": [0, 2],
    "dropout_caption": [-1, 1],
    "min_snr": [0, -1, 1e6, "5"],
}
CONTRADICTIONS: dict[str, dict[str, Any]] = {
    "a preset for texts": {"preset": "tone"},
    "no augmentation and a share of it": {"augment": False, "gamma": 0.5},
    "tokens of images": {"max_tokens": 64},
    "a pool of another backbone": {"pool": "tiny-texts"},
}
VALUES = [
    *(
        Case("C53", f"{name} of {value}", job(bat={name: value}), 400, "invalid_parameter")
        for name, values in NUMBERS.items()
        for value in values
    ),
    *(Case("C53", f"a seed of {seed}", job(seed=seed), 400, "invalid_parameter") for seed in (2**64, 2**31, -1, 1.5)),
    *(
        Case("C53", f"{name} of 0", job(hyperparameters={name: 0}), 400, "invalid_parameter")
        for name in ("n_epochs", "batch_size", "learning_rate_multiplier")
    ),
    *(Case("C55", what, job(bat=bat), 400, "contradiction") for what, bat in CONTRADICTIONS.items()),
    Case(
        "C55",
        "texts for an image backbone",
        lambda scene: scene.job(training_file=scene.file("texts")),
        400,
        "wrong_kind_of_file",
    ),
    Case(
        "C55",
        "a resolution for texts",
        lambda scene: scene.job(model="tiny-texts", training_file=scene.file("texts"), bat={"resolution": 512}),
        400,
        "contradiction",
    ),
]


@table(VALUES)
def test_values_that_are_not_taken(scene: Scene, case: Case) -> None:
    case.check(scene)


def keyed(key: str | bytes) -> Send:
    return lambda scene: scene.job({"Idempotency-Key": key})  # type: ignore[dict-item]


def twice(second: dict[str, object]) -> Send:
    """Create a job twice under one key, the second time with other fields."""

    def send(scene: Scene) -> Answer:
        headers = {"Idempotency-Key": new_id("key-")}
        first = scene.job(headers)
        answer = scene.job(headers, **second)
        assert second or answer.json() == first.json()
        return answer

    return send


def at_once(scene: Scene) -> Answer:
    headers = {"Idempotency-Key": new_id("key-")}
    scene.file()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: scene.job(headers), range(8)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.json()["id"] for answer in answers}) == 1
    return answers[0]


def cancelled_twice(scene: Scene) -> Answer:
    path = f"{JOBS}/{scene.job().json()['id']}/cancel"
    first, second = scene.send("POST", path), scene.send("POST", path)
    assert first.json() == second.json()
    return second


def on_the_published(method: str, path: str) -> Send:
    def send(scene: Scene) -> Answer:
        with scene.service.openai() as client:
            published = publish(scene.service, client)
        return scene.send(method, path.format(**published))

    return send


def on_a_waiting_job(method: str, path: str) -> Send:
    return lambda scene: scene.send(method, path.format(job=scene.job().json()["id"], file=scene.file()))


def deleted_twice(scene: Scene) -> Answer:
    path = f"{FILES}/{scene.upload(pictures()).json()['id']}"
    assert scene.send("DELETE", path).status == 200
    return scene.send("DELETE", path)


def link(*, method: str = "GET", seconds: int = 300, key: str = "", deleted: bool = False) -> Send:
    """Follow a signed link of a stored file, with something about it wrong."""

    def send(scene: Scene) -> Answer:
        store = storage(scene.service.settings)
        stored = f"accounts/x/{new_id('file-')}"
        store.put(stored, b"content")
        address = store.url(stored, seconds=seconds)
        assert address is not None
        if deleted:
            store.delete_prefix(stored)
        return scene.send(method, address.replace(stored, key or stored), account=None)

    return send


STATES = [
    Case("C44", "the same key and body twice", twice({}), 200),
    Case(
        "C45",
        "the same key and another body",
        twice({"suffix": "b"}),
        409,
        "idempotency_mismatch",
        why="409, which OpenAI's clients know, with a header that says not to retry",
    ),
    Case("C46", "eight calls at once with one key", at_once, 200, why="the others wait for the first and get its job"),
    Case("C47", "a key of 256", keyed("x" * 256), 400, "invalid_idempotency_key"),
    Case("C47", "an empty key", keyed(""), 400, "invalid_idempotency_key"),
    Case("C47", "a key of other letters", keyed("é"), 400, "invalid_idempotency_key"),
    Case(
        "C47",
        "a key with a line end in it",
        keyed("a\r\n b"),
        200,
        why="a header that goes on in the next line is one line",
    ),
    Case(
        "C48",
        "a finished job is cancelled",
        on_the_published("POST", f"{JOBS}/{{job}}/cancel"),
        409,
        "job_not_cancellable",
    ),
    Case("C48", "a cancelled job is cancelled", cancelled_twice, 200),
    Case(
        "C49",
        "an adapter is wanted before there is one",
        on_a_waiting_job("GET", "/v1/models/ft:tiny-images:x:{job}/download"),
        404,
        "model_not_found",
        why="an adapter has a name only when it is there",
    ),
    Case(
        "C49",
        "scores are wanted before there are any",
        on_a_waiting_job("GET", f"{JOBS}/{{job}}/influence"),
        200,
        why="an empty list that says that it is not ready",
    ),
    Case(
        "C50",
        "a file that a job waits for is deleted",
        on_a_waiting_job("DELETE", f"{FILES}/{{file}}"),
        409,
        "file_in_use",
    ),
    Case("C51", "a file is deleted twice", deleted_twice, 404, "file_not_found"),
    Case("C52", "a job on no file", job(training_file=""), 400, "invalid_parameter"),
    Case("C52", "a job on a file that is not there", job(training_file="file-x"), 400, "file_not_found"),
    Case("C52", "a job on one image", lambda scene: scene.job(training_file=one_image(scene)), 400, "contradiction"),
    Case("C100", "a link that is too old", link(seconds=-1), 403, "invalid_signature"),
    Case("C100", "a link for another file", link(key="accounts/y/file"), 403, "invalid_signature"),
    Case("C100", "a link by another method", link(method="DELETE"), 405, "method_not_allowed"),
    Case("C101", "a link to a file that was deleted", link(deleted=True), 404, "file_gone"),
]


def one_image(scene: Scene) -> str:
    buffer = io.BytesIO(pictures(1))
    assert len(zipfile.ZipFile(buffer).namelist()) == 2
    return str(scene.upload(buffer.getvalue()).json()["id"])


@table(STATES)
def test_calls_at_the_wrong_time(scene: Scene, case: Case) -> None:
    answer = case.check(scene)
    if answer.status == 409:
        assert answer.headers["x-should-retry"] == "false"


@pytest.mark.slow
def test_c104_a_cancel_that_races_the_end_of_its_job_leaves_one_of_the_two(scene: Scene) -> None:
    seen = set()
    with ThreadPoolExecutor(1) as worker:
        for number in range(40):
            job_id = str(scene.job().json()["id"])
            running_job(scene, job_id)
            ending = worker.submit(finish, scene, job_id, delay=number % 10 / 250)
            answer = scene.send("POST", f"{JOBS}/{job_id}/cancel")
            published = ending.result()
            with scene.service.sessions() as session:
                state = session.get_one(Job, job_id).state
                adapters = session.query(Adapter).filter_by(job_id=job_id).count()
            assert (published, adapters) == ((True, 1) if state == JobState.SUCCEEDED else (False, 0))
            assert answer.status == (409 if state == JobState.SUCCEEDED else 200)
            seen.add(state)
    assert len(seen) == 2, "one of the two has always won: this was no race"


def running_job(scene: Scene, job_id: str) -> None:
    with scene.service.sessions.begin() as session:
        job = session.get_one(Job, job_id)
        job.priority = 99
        session.flush()
        claimed = leases.claim(session, queue=job.queue, worker_id="w", lease_seconds=600, account_job_limit=10**6)
        assert claimed is not None
        assert claimed.id == job_id


def finish(scene: Scene, job_id: str, delay: float) -> bool:
    time.sleep(delay)
    with scene.service.sessions.begin() as session:
        job = session.get_one(Job, job_id)
        adapter = Adapter(
            id=new_id("ft:"),
            job_id=job_id,
            account_id=job.account_id,
            backbone="tiny-images",
            kind="images",
            attempt=1,
            published_step=1,
        )
        return leases.finish(session, Claim(job_id, 1), adapter, {})


FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, 4_000_000))
sys.argv = ["api", sys.argv[1]]
from api.__main__ import main
main()
"""


@contextmanager
def on_a_full_disk(folder: Path) -> Iterator[Service]:
    """A service in a process of its own that can write no file beyond 4 MB."""
    settings = Settings(data=folder)
    with serving(settings) as prepared:
        key = prepared.key()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.set_inheritable(True)
    command = [sys.executable, "-c", FULL, listener.fileno()]
    environment = {"PATH": "/usr/bin:/bin", "ALBATROSS_DATA": str(folder)}
    with running(command, env=environment, pass_fds=[listener.fileno()], stderr=subprocess.DEVNULL):
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        until(lambda: exchange(address, "GET", head("GET", "/healthz", {})).status == 200)
        yield Service(address, settings, prepared.sessions, {"alice": key})
    listener.close()


@pytest.mark.slow
def test_c105_a_full_disk_is_answered_503(tmp_path: Path) -> None:
    with on_a_full_disk(tmp_path) as service:
        scene = Scene(service)
        content = pictures() + b"\0" * 8_000_000
        Case("C105", "an upload", lambda scene: scene.upload(content), 503, "disk_full").check(scene)
        assert scene.upload(pictures()).status == 200


def answered(scene: Scene, send: Send) -> Answer:
    began = time.monotonic()
    answer = send(scene)
    assert time.monotonic() - began < 5, "the client has waited for too long"
    return answer


def nowhere() -> str:
    return f"127.0.0.1:{free_port()}"


def test_c106_without_a_broker_jobs_are_taken(tmp_path: Path) -> None:
    with serving(Settings(data=tmp_path, broker_url=f"redis://{nowhere()}/0")) as service:
        scene = Scene(service)
        scene.file()
        assert answered(scene, job()).status == 200


def test_c106_without_an_object_store_uploads_are_503(tmp_path: Path) -> None:
    with serving(s3_settings(f"http://{nowhere()}", tmp_path)) as service:
        case = Case(
            "C106",
            "an upload",
            lambda scene: answered(scene, lambda scene: scene.upload(pictures())),
            503,
            "storage_unavailable",
        )
        case.check(Scene(service))


def test_c106_without_a_database_everything_is_503(tmp_path: Path, postgresql: PostgreSQL) -> None:
    url = postgresql.fresh()
    with serving(Settings(data=tmp_path, database_url=url)) as service:
        scene = Scene(service)
        scene.file()
        with shut(postgresql, url):
            for send in (job(), request("GET", FILES), lambda scene: scene.upload(pictures())):
                answer = answered(scene, send)
                assert (answer.status, answer.json()["error"]["code"]) == (503, "database_unavailable")  # type: ignore[index]
                assert int(answer.headers["Retry-After"]) > 0
        assert scene.left_behind() == []
        assert scene.job().status == 200


@contextmanager
def shut(postgresql: PostgreSQL, url: str) -> Iterator[None]:
    """Throw everybody out of the database, and let nobody in, until the block ends."""
    name = url.rpartition("/")[2]
    engine = create_engine(postgresql.url("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"))
        yield
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
    engine.dispose()
