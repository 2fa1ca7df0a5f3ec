"""What an upload's decoder suffers, the service does not."""

from __future__ import annotations

import io
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from PIL import Image

from core.settings import Settings
from tests.api.server import png, refused, serving
from tests.core.uploads.test_reader import busy, children, eventually, server


def slow_picture(number: int) -> bytes:
    """A picture that takes a second or so to decode."""
    buffer = io.BytesIO()
    Image.radial_gradient("L").resize((4000, 4000 + number)).save(buffer, "JPEG", quality=30)
    return buffer.getvalue()


def holds_memory(pid: int) -> bool:
    try:
        return "VmRSS" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def upload(http: httpx.Client, content: bytes) -> httpx.Response:
    return http.post("/v1/files", files={"file": ("a.jpg", content)}, data={"purpose": "fine-tune"}, timeout=120)


@pytest.mark.slow
def test_a_decoder_that_dies_is_a_400_and_others_take_their_turn(tmp_path: Path) -> None:
    with serving(Settings(data=tmp_path, readers=2)) as service, service.http() as http, ThreadPoolExecutor(5) as pool:
        assert upload(http, png()).status_code == 200
        there = server()
        answers = [pool.submit(upload, http, slow_picture(number)) for number in range(5)]
        assert eventually(lambda: busy(there))
        os.kill(next(iter(busy(there))), signal.SIGKILL)
        most = 0
        while not all(answer.done() for answer in answers):
            most = max(most, sum(map(holds_memory, children(there))))
            assert http.get("/healthz", timeout=5).status_code == 200
        assert most == 3, "two that decode, and one that waits for the next upload"
        assert sorted(answer.result().status_code for answer in answers) == [200, 200, 200, 200, 400]
        error = refused(next(a.result() for a in answers if a.result().status_code == 400), 400, "unreadable")
        assert "upload them again" in error["message"]
        assert list((tmp_path / "uploads").glob("*/*/*")) == []
    assert not Path(f"/proc/{there}").exists()
