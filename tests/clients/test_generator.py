"""A generator makes a client of the OpenAPI document without a word of complaint, and that client works."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import httpx
import pytest

from tests.clients.plant import HERE, Plant, placed, said


@pytest.mark.slow
def test_a_client_is_generated_and_works(plant: Plant, chat_file: Path, tmp_path: Path) -> None:
    document = tmp_path / "openapi.json"
    document.write_bytes(httpx.get(f"{plant.service.address}/openapi.json").content)
    beside = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # the generator calls ruff
    tools = {"PYTHONPATH": f"{placed('generator')}:{tmp_path}", "PATH": beside}
    generator = [sys.executable, "-m", "openapi_python_client", "generate", "--path", document, "--fail-on-warning"]
    spoken = said([*generator, "--meta", "none", "--output-path", tmp_path / "albatross_client"], tools)
    assert "warning" not in spoken.lower()
    lines = said([sys.executable, HERE / "generated.py", chat_file], plant.environment() | tools).splitlines()
    assert lines[0] == "queued made 4"
    assert lines[1:4] == ["True"] * 3
    assert lines[4:] == ["The job is queued.", "True", "True", "True model"]
