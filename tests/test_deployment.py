"""The container files say what the code understands, and their commands really run against the real servers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx
import openai
import pytest
import yaml

from core.settings import Settings
from tests.api.server import pictures, register
from tests.conftest import PostgreSQL, free_port, running, s3_settings, until
from tests.worker.floor import FAST_TRAINER

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


def environment(data: Path, postgresql_url: str, valkey_url: str, s3: str) -> dict[str, str]:
    """The compose file's own variables, with the test servers' addresses in place of its host names."""
    named = OURS["api"]["environment"]
    store = s3_settings(s3, data)
    found = {
        "ALBATROSS_DATA": str(data),
        "ALBATROSS_DATABASE_URL": postgresql_url,
        "ALBATROSS_BROKER_URL": valkey_url,
        "ALBATROSS_STORAGE": named["ALBATROSS_STORAGE"],
        "ALBATROSS_S3_ENDPOINT": s3,
        "ALBATROSS_S3_BUCKET": store.s3_bucket,
        "ALBATROSS_S3_REGION": named["ALBATROSS_S3_REGION"],
        "ALBATROSS_S3_ACCESS_KEY": str(store.s3_access_key),
        "ALBATROSS_S3_SECRET_KEY": str(store.s3_secret_key),
        "ALBATROSS_SIGNING_SECRET": "signing" * 5,
    }
    assert found.keys() == named.keys()
    return {**os.environ, **found, "ALBATROSS_TRAINER": FAST_TRAINER}


def command(service: str, port: int) -> list[str]:
    """The service's command line, with this interpreter and an address of this machine."""
    replaced = {"python": sys.executable, "0.0.0.0": "127.0.0.1", "8000": str(port)}
    return [replaced.get(part, part) for part in OURS[service]["command"]]


def test_the_commands_of_the_compose_file_take_a_job_to_its_end(
    tmp_path: Path, postgresql: PostgreSQL, valkey_url: str, s3: str
) -> None:
    settings, port = Settings(data=tmp_path), free_port()
    variables = environment(tmp_path, postgresql.fresh(), valkey_url, s3)
    register(settings)
    options = {"env": variables, "cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(command("migrate", port), check=True, **options)
    with ExitStack() as stack:
        for service in ("api", "dispatcher", "worker"):
            stack.enter_context(running(command(service, port), start_new_session=True, **options))
        address = f"http://127.0.0.1:{port}"
        until(lambda: answers(f"{address}/readyz"))
        made = subprocess.run(
            [sys.executable, "-m", "api.cli", "keys", "create", "me"],
            check=True,
            env=variables,
            cwd=ROOT,
            text=True,
            capture_output=True,
        )
        client = openai.OpenAI(base_url=f"{address}/v1", api_key=made.stdout.split()[-1])
        file = client.files.create(file=("cat.zip", pictures()), purpose="fine-tune")
        job = client.fine_tuning.jobs.create(model="tiny-images", training_file=file.id)
        until(lambda: client.fine_tuning.jobs.retrieve(job.id).status == "succeeded")
        assert client.files.content(client.fine_tuning.jobs.retrieve(job.id).result_files[0]).read() == b"metrics.csv"


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False
