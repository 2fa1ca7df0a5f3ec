"""The container files say what the code understands, and their commands really run against the real servers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from core.settings import Settings

ROOT = Path(__file__).parent.parent
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
OURS = {name: service for name, service in COMPOSE["services"].items() if "build" in service}


def test_every_setting_in_the_compose_file_is_a_setting_of_the_code() -> None:
    named = {name for service in OURS.values() for name in service["environment"] if name.startswith("ALBATROSS_")}
    known = {f"ALBATROSS_{field.upper()}" for field in Settings.model_fields}
    assert named
    assert named - known == set()


@pytest.mark.parametrize("service", sorted(OURS))
def test_every_service_builds_a_target_that_the_dockerfile_has(service: str) -> None:
    targets = set(re.findall(r"^FROM \S+ AS (\w+)$", (ROOT / "Dockerfile.gpu").read_text(), flags=re.MULTILINE))
    assert OURS[service]["build"]["target"] in targets


def test_every_path_that_the_dockerfile_copies_exists() -> None:
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile.gpu").read_text(), flags=re.MULTILINE)
    paths = {path for line in copied for path in line.split()}
    assert {path for path in paths if not (ROOT / path).exists()} == set()


def test_the_api_image_installs_no_torch() -> None:
    stage = (ROOT / "Dockerfile.gpu").read_text().split("AS api")[1].split("AS worker")[0]
    assert "torch" not in stage
    assert "[worker]" not in stage
