"""What another process of the service's user can learn of the processes that hold its credentials."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.settings import Settings
from tests.worker.floor import ROOT, environment, settings

CANARY = "canary-of-a-password"
SECRET = {"ALBATROSS_S3_SECRET_KEY": CANARY, "AWS_SECRET_ACCESS_KEY": CANARY}
READER = """
import re, sys
def environment(pid):
    with open(f"/proc/{pid}/environ", "rb") as opened:
        yield opened.read()
def memory(pid):
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as opened:
        for begin, end in re.findall("^([0-9a-f]+)-([0-9a-f]+) rw", maps.read(), re.MULTILINE):
            try:
                opened.seek(int(begin, 16))
                yield opened.read(int(end, 16) - int(begin, 16))
            except (OSError, OverflowError):
                pass
for pid in sys.argv[2:]:
    for look in (environment, memory):
        try:
            if any(sys.argv[1].encode() in part for part in look(pid)):
                print(pid, look.__name__)
        except OSError:
            pass
"""
# root could read everything: as it is tested here it is an ordinary user, without capabilities
ORDINARY = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"] if os.geteuid() == 0 else []


@contextmanager
def running(chosen: Settings, *command: str) -> Iterator[int]:
    """A program of an ordinary user's with secrets in its environment."""
    variables = environment(chosen) | SECRET | {"ALBATROSS_SANDBOX": "off"}
    process = subprocess.Popen([*ORDINARY, sys.executable, *command], cwd=ROOT, env=variables, start_new_session=True)
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def family(pid: int) -> dict[int, str]:
    """A process and all below it, with their command lines."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        words = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return {}
    return {pid: words} | {found: told for child in children for found, told in family(int(child)).items()}


def learned(pids: dict[int, str]) -> list[str]:
    """What another process of the same user reads: a secret in an environment, or memory."""
    command = [*ORDINARY, sys.executable, "-S", "-c", READER, CANARY, *map(str, pids)]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    return [f"{pids[int(line.split()[0])]}: {line.split()[1]}" for line in told.stdout.splitlines()]


def test_what_is_not_hidden_can_be_read(tmp_path: Path) -> None:
    with running(settings(tmp_path / "data"), "-c", "import time; print(flush=True); time.sleep(60)") as pid:
        assert soon(lambda: {line.rpartition(": ")[2] for line in learned(family(pid))} == {"environment", "memory"})


@pytest.mark.slow
def test_nobody_else_of_its_user_reads_a_secret_in_a_process_of_the_service(tmp_path: Path) -> None:
    """Once they have begun: a program that has just been started hides as soon as it has read its own code."""
    programs = (
        "api.cli serve",
        "valkey-server",
        "-m api",
        "decoder",
        "dispatcher",
        "celery",
        "semaphore",
        "spawn_main",
    )
    with running(settings(tmp_path / "data"), "-m", "api.cli", "serve", "--port", "0") as pid:
        complete = lambda: all(any(name in words for words in family(pid).values()) for name in programs)  # noqa: E731
        assert soon(complete), family(pid)
        assert soon(lambda: learned(family(pid)) == []), learned(family(pid))
        assert complete()


def soon(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)
    return condition()
