"""`albatross serve` as a real tree of processes: it comes up, heals, and ends as one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest

from api.cli.serve import address_of_running, only_one
from core.disk import ROOT
from core.errors import Conflict, NotFound
from tests.api.server import pictures

CHILDREN = {"broker", "api", "dispatcher", "worker"}


@dataclass
class Tree:
    """A running `albatross serve` and what it has said."""

    process: subprocess.Popen[bytes]
    log: Path
    data: Path

    def children(self) -> dict[str, int]:
        """The latest process of each child, by name."""
        return {name: int(pid) for name, pid in re.findall(r"started (\w+) \(process (\d+)\)", self.log.read_text())}

    def address(self) -> str | None:
        found = re.search(r"Albatross is ready at (\S+)", self.log.read_text())
        return found[1] if found else None


def eventually(condition: Callable[[], object], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False


def lives(pid: int) -> bool:
    """Whether the process exists and is not merely unburied."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def descendants(pid: int) -> set[int]:
    """All processes below this one."""
    found: set[int] = set()
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            found |= {child} | descendants(child)
    return found


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "api.cli", *arguments]


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    log = tmp_path / "serve.log"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ALBATROSS_")}
    with log.open("w") as output:
        process = subprocess.Popen(
            command("serve", "--data", str(tmp_path / "data"), "--port", "0"),
            cwd=ROOT,
            env=clean,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    tree = Tree(process, log, tmp_path / "data")
    try:
        assert eventually(lambda: tree.address() or process.poll() is not None), log.read_text()
        assert process.poll() is None, log.read_text()
        yield tree
    finally:
        process.kill()
        process.wait()


def test_the_service_comes_up_heals_a_killed_child_and_stops_when_asked(tree: Tree) -> None:
    address, first = tree.address(), tree.children()
    assert set(first) == CHILDREN
    assert httpx.get(f"{address}/readyz").json()["status"] == "ready"
    for name in ("api", "broker", "dispatcher", "worker"):
        os.kill(first[name], signal.SIGKILL)
    assert eventually(lambda: all(tree.children()[name] != first[name] for name in CHILDREN))
    assert eventually(lambda: answers(f"{address}/readyz"))
    everything = descendants(tree.process.pid)
    assert len(everything) >= len(CHILDREN)
    began = time.monotonic()
    tree.process.terminate()
    assert tree.process.wait(30) == 0
    assert time.monotonic() - began < 30
    assert eventually(lambda: not any(map(lives, everything)), 5)


def answers(address: str) -> bool:
    try:
        return httpx.get(address, verify=False).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.slow
def test_nothing_outlives_a_service_that_is_killed(tree: Tree) -> None:
    everything = descendants(tree.process.pid)
    assert set(tree.children().values()) <= everything
    tree.process.kill()
    tree.process.wait()
    assert eventually(lambda: not any(map(lives, everything)), 10), [pid for pid in everything if lives(pid)]


@pytest.mark.slow
def test_a_key_made_beside_a_running_service_works_and_a_second_service_does_not(tree: Tree) -> None:
    made = subprocess.run(
        command("keys", "create", "me", "--data", str(tree.data)), cwd=ROOT, check=True, capture_output=True, text=True
    )
    client = openai.OpenAI(base_url=f"{tree.address()}/v1", api_key=made.stdout.strip().splitlines()[-1])
    assert "emoji-ldm" in [model.id for model in client.models.list()]
    second = subprocess.run(
        command("serve", "--data", str(tree.data), "--port", "0"), cwd=ROOT, capture_output=True, text=True, timeout=90
    )
    assert second.returncode == 2
    assert "Another `albatross serve`" in second.stderr
    linked = subprocess.run(
        command("link", "--data", str(tree.data)), cwd=ROOT, check=True, capture_output=True, text=True
    )
    address, token = linked.stdout.strip().split("/#start=")
    assert address == tree.address()
    assert httpx.post(f"{address}/start", json={"token": token}).json()["key"].startswith("alb_")
    assert "#start=" not in tree.log.read_text()  # what is logged is kept
    assert_link_to_job(tree, client)


def assert_link_to_job(tree: Tree, client: openai.OpenAI) -> None:
    """A link to a job opens its adapter with a key of the account that it belongs to."""
    file = client.files.create(file=("cat.zip", pictures()), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(model="emoji-ldm", training_file=file.id)
    client.fine_tuning.jobs.cancel(job.id)
    linked = subprocess.run(
        command("link", "--job", job.id, "--data", str(tree.data)), cwd=ROOT, check=True, capture_output=True, text=True
    )
    address, token = linked.stdout.strip().split("#start=")
    assert address == f"{tree.address()}/adapters/{job.id}"
    key = httpx.post(f"{tree.address()}/start", json={"token": token}).json()["key"]
    answer = httpx.get(
        f"{tree.address()}/v1/fine_tuning/jobs/{job.id}", headers={"Authorization": f"Bearer {key}"}, timeout=30
    )
    assert answer.json()["id"] == job.id


def test_a_link_is_made_only_for_a_service_that_runs(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="No `albatross serve` runs"):
        address_of_running(tmp_path)
    with only_one(tmp_path) as lock:
        lock.write("http://127.0.0.1:8123")
        lock.flush()
        assert address_of_running(tmp_path) == "http://127.0.0.1:8123"
        with pytest.raises(Conflict), only_one(tmp_path):
            pass
        assert address_of_running(tmp_path) == "http://127.0.0.1:8123"
    with pytest.raises(NotFound):
        address_of_running(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("host", "on_terminal", "shown"),
    [("127.0.0.1", True, True), ("::1", True, True), ("127.0.0.1", False, False), ("0.0.0.0", True, False)],
)
def test_a_start_link_is_shown_on_a_terminal_and_written_into_no_log(
    tmp_path: Path, host: str, on_terminal: bool, shown: bool
) -> None:
    program = (
        "from api.cli.serve import show_start_link; from core.settings import Settings; from core.runtime import logs; "
        f"s = Settings(data={str(tmp_path)!r}, host={host!r}); logs.configure(s, 'serve'); "
        "show_start_link(s, 'http://127.0.0.1:8123')"
    )
    ours, theirs = os.openpty()
    with (tmp_path / "log").open("wb") as log:
        output = theirs if on_terminal else log
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, stdout=output, stderr=log, check=True)
    os.write(theirs, b"end\n")
    said = os.read(ours, 65536).decode()
    assert ("http://127.0.0.1:8123/#start=" in said) is shown
    assert "#start=" not in (tmp_path / "log").read_text()
