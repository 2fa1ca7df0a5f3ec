"""Let schemathesis call a live service with whatever its OpenAPI document allows and forbids, as two accounts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.api.outcome import publish
from tests.api.server import Service, chats

PHASES = "examples,coverage,fuzzing,stateful"
# Left out: what asks for a 2xx to everything that the document allows, and for a 4xx to everything that it does not. A
# document cannot say that a file must be there, and parameters of a GET that are not known are ignored.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ignored_auth",
    "object_level_authorization",
)
ACCOUNTS = ("alice", "bob")
CONFIGURATION = """
hooks = "{hooks}"
[auth.wfc]
path = "{folder}/accounts.json"
user = "alice"
peers = ["alice", "bob"]
[parameters]
"path.file_id" = {{ dictionary = "files", probability = 0.7 }}
"path.job_id" = {{ dictionary = "jobs", probability = 0.7 }}
"path.model" = {{ dictionary = "models", probability = 0.7 }}
"query.after" = {{ dictionary = "cursors", probability = 0.5 }}
[dictionaries]
"""
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    """How many calls were made, what was found wrong with the answers, and all that schemathesis has said."""

    cases: int
    failures: int
    said: str


def explore(service: Service, folder: Path, *, examples: int, seed: int, seconds: float | None = None) -> Outcome:
    """Make up to `examples` calls of each kind to each operation; with `seconds`, over again until they are over."""
    known = prepare(service)
    configure(service, folder, known)
    report = folder / "report.json"
    command = [
        Path(sys.executable).parent / "schemathesis",
        "--config-file",
        folder / "schemathesis.toml",
        "run",
        f"{service.address}/openapi.json",
        f"--phases={PHASES}",
        f"--checks={','.join(CHECKS)}",
        "--no-color",
        f"--max-examples={examples}",
        f"--seed={seed}",
        f"--report-json-path={report}",
        "--continue-on-failure",
        "--generation-database=none",
        "--no-shrink",
        "--request-timeout=60",
        "--suppress-health-check=all",
        *([f"--max-time={seconds:.0f}"] if seconds else []),
    ]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "KNOWN_IDS": json.dumps(known)}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=folder, env=variables)
    said = done.stdout + done.stderr
    assert report.exists(), said
    counted = json.loads(report.read_text())
    failures = counted["test_cases"]["unique_failures"] + len(counted["errors"])
    return Outcome(counted["test_cases"]["generated"], failures, said)


def prepare(service: Service) -> dict[str, str]:
    """Put references and finished jobs into alice's account; returns what to know them by."""
    with service.openai("alice") as client:
        done = [publish(service, client) for _ in range(3)]
        texts = client.files.create(file=("a.jsonl", chats()), purpose="fine-tune").id
    known = {"images": done[0]["file"], "texts": texts}
    return known | {f"{kind} {number}": ids[kind] for number, ids in enumerate(done) for kind in ids}


def configure(service: Service, folder: Path, known: dict[str, str]) -> None:
    headers = {name: [{"name": "Authorization", "value": f"Bearer {service.key(name)}"}] for name in ACCOUNTS}
    accounts = {"auth": [{"name": name, "fixedHeaders": fixed} for name, fixed in headers.items()]}
    (folder / "accounts.json").write_text(json.dumps(accounts))
    words = {f"{kind}s": [known[f"{kind} {number}"] for number in range(3)] for kind in ("file", "job", "model")}
    words["cursors"] = [*words["files"], *words["jobs"], "train:1", "surrogate:2", "emoji/2", "\0"]
    lines = [f"{name} = {{ values = {json.dumps(values)} }}" for name, values in words.items()]
    text = CONFIGURATION.format(folder=folder, hooks=Path(__file__).with_name("hooks.py"))
    (folder / "schemathesis.toml").write_text(text + "\n".join(lines))
