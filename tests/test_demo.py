"""What the demo leaves open when it is asked to: the service, and an address that opens its own adapter."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import openai
import pytest

from core.disk import ROOT
from demo.service import create_key, running_service
from tests.api.server import pictures

pytestmark = pytest.mark.slow
# a program started in the background may have been told to pass over what Ctrl-C sends
KEEP = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from pathlib import Path; from demo.service import keep_serving; "
    "keep_serving(Path(sys.argv[1]), sys.argv[2])"
)


def words_of(terminal: int, end: str) -> str:
    """Read a terminal until it shows `end`."""
    said = ""
    while end not in said:
        said += os.read(terminal, 65536).decode()
    return said


def test_the_demo_ends_with_an_address_that_opens_its_adapter(tmp_path: Path) -> None:
    with running_service(tmp_path / "data", tmp_path / "serve.log") as address:
        key = create_key(tmp_path / "data", "demo")
        with openai.OpenAI(base_url=f"{address}/v1", api_key=key) as client:
            file = client.files.create(file=("cat.zip", pictures()), purpose="fine-tune")
            job = client.fine_tuning.jobs.create(model="emoji-ldm", training_file=file.id)
            client.fine_tuning.jobs.cancel(job.id)
        ours, theirs = os.openpty()
        waiting = subprocess.Popen([sys.executable, "-c", KEEP, tmp_path / "data", job.id], cwd=ROOT, stdout=theirs)
        said = words_of(ours, "Ctrl-C ends it.")
        found = re.search(rf"{address}/adapters/{job.id}#start=(\S+)", said)
        assert found is not None, said
        given = httpx.post(f"{address}/start", json={"token": found[1]}).raise_for_status().json()
        with openai.OpenAI(base_url=f"{address}/v1", api_key=given["key"]) as client:
            assert client.fine_tuning.jobs.retrieve(job.id).id == job.id
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(30) == 0
        assert "#start=" not in (tmp_path / "serve.log").read_text()
