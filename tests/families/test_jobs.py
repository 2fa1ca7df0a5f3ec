"""A whole job over HTTP on every family: added by the command line, killed on its way, exported, loaded, erased."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.orm import Session, sessionmaker

from api.cli.__main__ import main
from core.accounts import api_keys
from core.backbones.families import family
from core.database.engine import connect, sessions
from core.database.migrations import migrate
from core.database.tables import Job
from core.settings import Settings
from tests.api.cli.test_backups import serving, upload
from tests.api.cli.test_serve import descendants
from tests.api.server import chats, pictures
from tests.consumers.strangers import Reader, strange_reader
from tests.families.conftest import Folder, at_length
from tests.families.images import FLOWS, IMAGES, SIDE, readable

pytestmark = pytest.mark.slow
QUICK = {
    "max_steps": 8,
    "surrogate_steps": 4,
    "rank": 2,
    "learning_rate": 1e-2,
    "augment": False,
    "folds": 2,
    "window": 2,
    "interval": 1,
    "merged": True,
}
PATIENCE = 300  # seconds for one job, on a slow machine
ENDED = {"succeeded", "failed", "cancelled"}


UNNAMED = {*FLOWS} - {"qwen-image"}


def read_of(name: str) -> set[str]:
    """The files beside peft's: kohya's names of FLUX.1 are read at its true width alone."""
    if name not in IMAGES:
        return {"transformers", "merged"}
    return {"diffusers", "merged"} | (set() if name in UNNAMED else {"kohya"})


def kind_of(name: str) -> str:
    return "images" if name in IMAGES else "texts"


@dataclass(frozen=True)
class Ended:
    """A job that has ended, and the files of its adapter."""

    job: dict[str, Any]
    folder: Path

    @property
    def card(self) -> dict[str, Any]:
        return json.loads((self.folder / "card.json").read_text())


@dataclass(frozen=True)
class Service:
    """A running service and what it takes to talk to it."""

    http: httpx.Client
    settings: Settings
    sessions: sessionmaker[Session]
    folder: Path

    def attempts(self, job_id: str) -> int:
        with self.sessions() as session:
            return session.get_one(Job, job_id).attempt

    def start(self, name: str) -> str:
        file = ("cat.zip", pictures()) if kind_of(name) == "images" else ("pirate.jsonl", chats())
        body = {"model": name, "training_file": upload(self.http, *file), "seed": 1, "bat": QUICK}
        answer = self.http.post("/v1/fine_tuning/jobs", json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def look(self, job_id: str) -> dict[str, Any]:
        return self.http.get(f"/v1/fine_tuning/jobs/{job_id}").json()

    def end(self, job_id: str) -> Ended:
        deadline = time.monotonic() + PATIENCE
        while (job := self.look(job_id))["status"] not in ENDED:
            assert time.monotonic() < deadline, job
            time.sleep(0.1)
        assert job["status"] == "succeeded", job["error"]
        folder = self.folder / job_id
        folder.mkdir()
        for file in job["result_files"]:
            name = self.http.get(f"/v1/files/{file}").json()["filename"]
            (folder / name).write_bytes(self.http.get(f"/v1/files/{file}/content").content)
        return Ended(job, folder)

    def kill_trainer_in(self, job_id: str, stage: str) -> None:
        """Kill -9 the process that trains, once the stage has done some steps."""
        deadline = time.monotonic() + PATIENCE
        while not any(self.settings.data.glob(f"work/*/{job_id}-e1/saves/{stage}*")):
            assert time.monotonic() < deadline, self.look(job_id)
            time.sleep(0.01)
        for pid in descendants(os.getpid()):
            with suppress(FileNotFoundError, ProcessLookupError):  # one that has ended since they were listed
                if b"worker.trainer" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module", params=at_length("z-image", "llama"))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def chosen_of(session: pytest.Session) -> list[str]:
    """Return the families whose tests of this file are to run."""
    here = (item for item in session.items if isinstance(item, pytest.Function) and item.path == Path(__file__))
    return sorted({str(item.callspec.params["name"]) for item in here})


def draw_in_few_steps(settings: Settings) -> None:
    """Most of a tiny job's time is drawing: let its backbone be registered as one that is distilled is."""
    registered = json.loads(settings.registry_file.read_text())
    for name, record in registered["backbones"].items():
        if name in IMAGES:
            record["defaults"] |= {"sample_steps": 4}
    settings.registry_file.write_text(json.dumps(registered))


@pytest.fixture(scope="module")
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, folder_of: Folder
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("families")
    chosen = Settings(data=folder / "data", save_seconds=0, retry_seconds=0.1, min_image_side=8, active_job_limit=100)
    migrate(chosen.database)
    for name in chosen_of(request.session):
        side = ["--resolution", str(SIDE)] if name in IMAGES else []
        main(["backbones", "add", name, str(folder_of(name)), "--licence", "CC0", "--data", str(chosen.data), *side])
    draw_in_few_steps(chosen)
    engine = connect(chosen.database)
    opened = sessions(engine)
    with opened.begin() as session:
        key = api_keys.create(session, "alice")
    with serving(chosen, folder / "serve.log", key) as http:
        yield Service(http, chosen, opened, folder)
    engine.dispose()


@pytest.fixture(scope="module")
def reader(service: Service) -> Iterator[Reader]:
    with strange_reader("families.py", service.folder) as reader:
        yield reader


@pytest.fixture
def known_of(folder_of: Folder, tmp_path: Path) -> Folder:
    """Folders as programs without our code read them."""
    return lambda name: readable(folder_of(name), tmp_path / name) if name in IMAGES else folder_of(name)


@pytest.fixture(scope="module")
def undisturbed(name: str, service: Service) -> Ended:
    return service.end(service.start(name))


def test_every_file_is_read_alike_by_its_consumers(
    name: str, undisturbed: Ended, reader: Reader, known_of: Folder
) -> None:
    errors = reader({"kind": kind_of(name), "backbone": str(known_of(name)), "export": str(undisturbed.folder)})
    print(errors)
    assert errors.pop("none") == pytest.approx(1)
    assert errors.keys() == read_of(name)
    assert max(errors.values()) <= 1e-3


def test_a_file_that_no_adapter_of_the_family_has_is_no_reason_to_warn(
    name: str, service: Service, undisturbed: Ended
) -> None:
    events = service.http.get(f"/v1/fine_tuning/jobs/{undisturbed.job['id']}/events", params={"limit": 100}).json()
    told = {event["level"] for event in events["data"] if event["message"].startswith("There is no kohya file")}
    level = "warn" if name in IMAGES and "kohya" in family(IMAGES[name].id).exports else "info"
    assert told == ({level} if name in UNNAMED else set())


def test_a_job_whose_trainer_was_killed_ends_with_the_same_adapter(
    name: str, service: Service, undisturbed: Ended
) -> None:
    job_id = service.start(name)
    service.kill_trainer_in(job_id, "train")
    killed = service.end(job_id)
    assert service.attempts(job_id) == 2
    assert killed.card["adapter"]["sha256"] == undisturbed.card["adapter"]["sha256"]


def test_another_kept_step_becomes_a_model_of_its_own(
    name: str, service: Service, undisturbed: Ended, reader: Reader, known_of: Folder
) -> None:
    path, published = f"/v1/fine_tuning/jobs/{undisturbed.job['id']}", undisturbed.job["bat"]["published_step"]
    steps = {row["step_number"]: row for row in service.http.get(f"{path}/checkpoints").json()["data"]}
    step = max(other for other in steps if other != published)
    asked = service.http.post(f"{path}/checkpoints/{steps[step]['id']}/publish").json()
    ended = service.end(asked["id"])
    assert ended.job["bat"]["published_from"]["named"]["step"] == published
    assert (ended.job["bat"]["published_step"], ended.job["bat"]["stop_rule"]) == (step, "owner")
    own = f"/v1/fine_tuning/jobs/{asked['id']}"
    for what in ("influence", "samples"):
        assert service.http.get(f"{own}/{what}").json()["ready"] is True
    [kept] = service.http.get(f"{own}/checkpoints").json()["data"]
    weights = [
        service.http.get(f"/v1/models/{row['fine_tuned_model_checkpoint']}/download").content
        for row in (steps[step], kept)
    ]
    assert weights[0] == weights[1]
    assert ended.card["adapter"]["sha256"] != undisturbed.card["adapter"]["sha256"]
    errors = reader({"kind": kind_of(name), "backbone": str(known_of(name)), "export": str(ended.folder)})
    assert errors.pop("none") == pytest.approx(1)
    assert max(errors.values()) <= 1e-3
    assert service.http.delete(own).status_code == 200
    assert service.http.get(f"/v1/models/{undisturbed.job['fine_tuned_model']}/download").status_code == 200


def test_an_erased_job_leaves_nothing_of_it(service: Service, undisturbed: Ended) -> None:
    job_id = undisturbed.job["id"]
    assert service.http.delete(f"/v1/fine_tuning/jobs/{job_id}").status_code == 200
    assert service.http.get(f"/v1/fine_tuning/jobs/{job_id}").status_code == 404
    assert [path for path in service.settings.data.rglob("*") if job_id in path.name] == []
