"""What a job would take, asked over HTTP: checked as a create call, and without a trace."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, func, select

from core.accounts import api_keys
from core.database.engine import now
from core.database.tables import Idempotency, Job, JobEvent, Measurement, Worker
from core.estimates import measurements
from core.estimates.measurements import Measured
from core.estimates.sizes import DataSize, JobSize, Steps
from core.parameters.sample_prompts import EVERYDAY_QUESTIONS, QUESTIONS
from core.parameters.schedule import STAGES
from tests.api.server import Service, pictures, refused
from tests.core.estimates.measured import DATA, OTHER, SMALL, measured

ESTIMATE, JOBS = "/v1/fine_tuning/jobs/estimate", "/v1/fine_tuning/jobs"
RAN = Steps(12, 24, 16)


@pytest.fixture(autouse=True)
def _nothing_measured(service: Service) -> Iterator[None]:
    yield
    with service.sessions.begin() as session:
        session.execute(delete(Measurement))
        session.execute(delete(Worker))


def keep(service: Service, backbone: str, *rows: Measured) -> None:
    with service.sessions.begin() as session:
        for row in rows:
            measurements.add(session, backbone, "1", row)
            time.sleep(0.002)  # SQLite's clock counts milliseconds, and of two rows of one of them neither is newer


def ask(http: httpx.Client, **body: object) -> dict[str, Any]:
    answer = http.post(ESTIMATE, json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def counted(service: Service) -> list[int | None]:
    with service.sessions() as session:
        return [session.scalar(select(func.count()).select_from(table)) for table in (Job, JobEvent, Idempotency)]


def test_before_anything_is_measured_it_is_a_rule_of_thumb(
    service: Service, http: httpx.Client, image_file: str, text_file: str
) -> None:
    before = counted(service)
    for model, file in (("tiny-images", image_file), ("tiny-texts", text_file)):
        found = ask(http, model=model, training_file=file)
        assert found["object"] == "fine_tuning.job.estimate"
        assert (found["basis"]["kind"], found["basis"]["jobs"]) == ("rule_of_thumb", 0)
        assert "albatross calibrate" in found["basis"]["message"]
        assert list(found["stages"]) == list(STAGES)
        assert 0 < found["seconds"]["low"] < found["seconds"]["expected"] < found["seconds"]["high"]
        assert found["peak_memory_bytes"]["expected"] > 0
        assert found["result_bytes"]["expected"] > 0
        assert found["resolved"]["rank"] in (8, 16)
        assert found["resolved"]["reasons"]["rank"].endswith("on a CPU.")
    assert counted(service) == before


def test_what_is_measured_is_what_is_told(service: Service, http: httpx.Client, image_file: str) -> None:
    keep(service, "tiny-images", measured(SMALL, RAN), measured(OTHER, RAN))
    found = ask(http, model="tiny-images", training_file=image_file, bat={"stop": "max_steps", "rank": 4})
    assert found["basis"] == {
        "kind": "measured",
        "jobs": 0,
        "calibrations": 2,
        "device": "cpu: toy",
        "message": "Measured in 2 calibration runs on cpu: toy.",
    }
    more = ask(http, model="tiny-images", training_file=image_file, bat={"stop": "max_steps", "max_steps": 3000})
    assert more["stages"]["train"]["expected"] > 4 * found["stages"]["train"]["expected"]
    assert more["stages"]["prepare"] == found["stages"]["prepare"]
    longer = ask(http, model="tiny-images", training_file=image_file, hyperparameters={"n_epochs": 900})
    assert longer["resolved"]["max_steps"] == 900
    assert "900 epochs" in longer["resolved"]["reasons"]["max_steps"]


def test_texts_are_told_by_their_length(service: Service, http: httpx.Client, client: Any) -> None:
    shape = replace(SMALL, kind="texts", resolution=None, max_tokens=128)
    calibrated = measured(shape, RAN, data=replace(DATA, lengths=(20.0,) * 6))
    told = {"references": 6, "candidates": 200, "probe": 16, "references_tokens": 300}
    work = {**calibrated.work, "prepare": {**calibrated.work["prepare"], "facts": told}}
    keep(service, "tiny-texts", replace(calibrated, work=work, characters=1200))
    seconds = []
    for repeated in (1, 20):
        rows = "\n".join(f'{{"prompt": "say {n}", "completion": "{"arr " * repeated}{n}"}}' for n in range(6))
        file = client.files.create(file=("t.jsonl", rows.encode()), purpose="fine-tune").id
        found = ask(http, model="tiny-texts", training_file=file, bat={"stop": "max_steps"})
        assert found["resolved"]["sample_prompts"] == list(EVERYDAY_QUESTIONS[:QUESTIONS])
        seconds.append(found["stages"]["surrogate"]["expected"])
    assert seconds[1] > 2 * seconds[0]


def test_texts_that_are_probably_too_long_are_told_with_the_limit_and_by_how_much(
    service: Service, http: httpx.Client, client: Any, text_file: str
) -> None:
    rows = [{"prompt": f"say {n}", "completion": "arr " * (5 if n else 250) + str(n)} for n in range(6)]
    content = "\n".join(map(json.dumps, rows)).encode()
    long = client.files.create(file=("t.jsonl", content, "application/jsonl"), purpose="fine-tune").id
    told = (
        "Of 6 texts, about 1 is longer than the 128 tokens that are usual on a CPU, guessed from its characters: text 1"
    )
    body = {"model": "tiny-texts", "training_file": long}
    (note,) = [note for note in ask(http, **body)["notes"] if "tokens" in note]
    assert note.startswith(f"{told} by about 124. Of a chat older turns")
    assert note.endswith("or split what is too long into several texts, each whole in itself.")
    job = http.post(JOBS, json=body).json()
    (finding,) = [finding for finding in job["bat"]["findings"] if finding["code"] == "too_long"]
    assert note == f"{finding['message']} {finding['fix']}"
    assert "Set bat.max_tokens to about 256" in finding["fix"]
    for enough in ({**body, "bat": {"max_tokens": 256}}, {**body, "training_file": text_file}):
        found = ask(http, **enough)
        assert not any("tokens" in note for note in found["notes"])
        assert found["resolved"]["max_tokens"] in (128, 256)
        job = http.post(JOBS, json=enough).json()
        assert not [finding for finding in job["bat"]["findings"] if finding["code"] == "too_long"]


def test_every_refusal_is_that_of_a_create_call(http: httpx.Client, image_file: str, text_file: str) -> None:
    right = {"model": "tiny-images", "training_file": image_file}
    wrong: list[dict[str, object]] = [
        {"model": "nothing"},
        {"training_file": "file-unknown"},
        {"training_file": text_file},
        {"validation_file": "file-unknown"},
        {"bat": {"training_files": [image_file]}},
        {"bat": {"rank": 0}},
        {"bat": {"augment": False, "gamma": 0.5}},
        {"bat": {"preset": "tone"}},
        {"unknown": 1},
        {"seed": -1},
    ]
    for change in wrong:
        answers = [http.post(path, json=right | change) for path in (JOBS, ESTIMATE)]
        assert [answer.status_code for answer in answers] == [400, 400], change
        assert answers[0].json() == answers[1].json()
    refused(http.post(ESTIMATE, content=b"{", headers={"Content-Type": "application/json"}), 400)


def test_a_key_that_may_only_read_may_ask(service: Service, image_file: str) -> None:
    body = {"model": "tiny-images", "training_file": image_file}
    with service.sessions.begin() as session:
        made = {scope: api_keys.create(session, scope, account="alice", scopes=(scope,)) for scope in ("read", "write")}
    for key in made.values():
        headers = {"Authorization": f"Bearer {key}"}
        assert httpx.post(f"{service.address}{ESTIMATE}", json=body, headers=headers).status_code == 200
    refused(httpx.post(f"{service.address}{ESTIMATE}", json=body), 401)


def test_a_file_of_another_account_is_not_there(service: Service, image_file: str) -> None:
    with service.http("mallory") as stranger:
        answer = stranger.post(ESTIMATE, json={"model": "tiny-images", "training_file": image_file})
    refused(answer, 400, "file_not_found")


def test_the_queue_is_told_with_what_stands_before(service: Service, http: httpx.Client, image_file: str) -> None:
    body: dict[str, Any] = {"model": "tiny-images", "training_file": image_file}
    keep(service, "tiny-images", measured(SMALL, RAN), measured(OTHER, RAN))
    for job in http.get(JOBS, params={"limit": 1000}).json()["data"]:
        http.post(f"{JOBS}/{job['id']}/cancel")
    alone = ask(http, **body)
    assert (alone["queue"]["position"], alone["queue"]["seconds"]) == (0, None)
    assert any("albatross worker" in note for note in alone["notes"])
    with service.sessions.begin() as session:
        at, queue = now(session), service.settings.queue
        session.add(Worker(id="w:1", queue=queue, host="w", pid=1, started_at=at, seen_at=at, device="cpu: toy"))
    free = ask(http, **body)["queue"]
    assert (free["position"], free["workers"], free["seconds"]) == (0, 1, 0.0)
    for _ in range(2):
        assert http.post(JOBS, json=body).status_code == 200
    told = ask(http, **body)
    assert told["queue"]["position"] == 2
    assert told["queue"]["seconds"] == pytest.approx(2 * told["seconds"]["expected"], rel=0.2)
    with service.sessions.begin() as session:
        session.add(Worker(id="w:2", queue=queue, host="w", pid=2, started_at=at, seen_at=at))
    assert ask(http, **body)["queue"]["seconds"] == pytest.approx(told["seconds"]["expected"], rel=0.2)


def waiting(service: Service, http: httpx.Client, **body: object) -> str:
    """Leave one job alone in the queue, with a worker there to take it."""
    for job in http.get(JOBS, params={"limit": 1000}).json()["data"]:
        http.post(f"{JOBS}/{job['id']}/cancel")
    with service.sessions.begin() as session:
        at, queue = now(session), service.settings.queue
        session.add(Worker(id="w:1", queue=queue, host="w", pid=1, started_at=at, seen_at=at, device="cpu: toy"))
    answer = http.post(JOBS, json=body)
    assert answer.status_code == 200, answer.text
    created: str = answer.json()["id"]
    return created


@pytest.mark.parametrize("rate", [5e-324, 1e-310])
def test_a_queued_job_that_cannot_be_foretold_takes_the_estimate_from_nobody(
    service: Service, http: httpx.Client, image_file: str, rate: float
) -> None:
    body: dict[str, Any] = {"model": "tiny-images", "training_file": image_file}
    keep(service, "tiny-images", measured(SMALL, RAN), measured(OTHER, RAN))
    resolved = ask(http, **body)["resolved"]
    job = waiting(service, http, **body)
    with service.sessions.begin() as session:
        session.get_one(Job, job).parameters = resolved | {"learning_rate": rate}
    queue = ask(http, **body)["queue"]
    assert (queue["position"], queue["seconds"]) == (1, 0.0)


@pytest.fixture
def tagger(service: Service) -> Iterator[str]:
    """The id of a tagger that is registered, as a fact only."""
    record = {"id": "blip", "path": "/nowhere", "revision": "1", "sha256": {}, "licence": "CC0"}
    service.settings.taggers_file.write_text(json.dumps({"version": 1, "taggers": {"blip": record}}))
    yield "blip"
    service.settings.taggers_file.unlink()


def test_a_queued_job_with_a_registered_tagger_takes_its_time(
    service: Service, http: httpx.Client, image_file: str, tagger: str
) -> None:
    body: dict[str, Any] = {"model": "tiny-images", "training_file": image_file}
    keep(service, "tiny-images", measured(SMALL, RAN), measured(OTHER, RAN))
    waiting(service, http, **body, bat={"caption": tagger})
    assert ask(http, **body)["queue"]["seconds"] > 0


def test_a_queued_job_with_an_operators_preset_takes_its_time(
    service: Service, http: httpx.Client, image_file: str
) -> None:
    body: dict[str, Any] = {"model": "tiny-images", "training_file": image_file}
    keep(service, "tiny-images", measured(SMALL, RAN), measured(OTHER, RAN))
    folder = service.settings.presets_folder
    folder.mkdir(exist_ok=True)
    own = 'name = "logo"\nversion = 1\nkind = "images"\ndescription = "a mark"\nlearns = "its lines"\n'
    (folder / "logo.toml").write_text(own)
    waiting(service, http, **body, bat={"preset": "logo"})
    assert ask(http, **body)["queue"]["seconds"] > 0
    (folder / "logo.toml").unlink()


def test_the_workers_device_decides_what_auto_becomes(service: Service, http: httpx.Client, image_file: str) -> None:
    with service.sessions.begin() as session:
        at, queue = now(session), service.settings.queue
        session.add(Worker(id="w:3", queue=queue, host="w", pid=3, started_at=at, seen_at=at, device="cuda: H200"))
    found = ask(http, model="tiny-images", training_file=image_file)
    assert found["resolved"]["device_class"] == "cuda"
    assert found["memory_of"] == "device"


def test_measurements_are_kept_newest_first_and_not_for_ever(service: Service) -> None:
    rows = [measured(replace(SMALL, rank=rank), RAN, data=DataSize(6)) for rank in range(1, 50)]
    keep(service, "tiny-images", *rows)
    with service.sessions() as session:
        assert session.scalar(select(func.count()).select_from(Measurement)) == measurements.KEPT
        found = measurements.recent(session, "tiny-images", "1", "cpu: toy")
        assert [row.shape.rank for row in found[:3]] == [49, 48, 47]
        assert found[0] == rows[-1]
        assert isinstance(found[0].shape, JobSize)
        assert measurements.recent(session, "tiny-images", "2", "cpu: toy") == []
        assert measurements.recent(session, "tiny-images", "1", "cuda: H200") == []
        assert measurements.recent(session, "tiny-images", "1", None)


@pytest.fixture
def without_tools(service: Service) -> Iterator[str]:
    """A backbone whose chat template knows neither tools nor a system prompt."""
    file = service.settings.registry_file
    before = json.loads(file.read_text())
    facts = {"template": True, "system": False, "tools": False}
    record = before["backbones"]["tiny-texts"] | {"id": "plain-texts", "chat": facts}
    file.write_text(json.dumps(before | {"backbones": before["backbones"] | {"plain-texts": record}}))
    yield "plain-texts"
    file.write_text(json.dumps(before))


def with_tools(http: httpx.Client, calling: int, others: int) -> str:
    def row(number: int) -> dict[str, Any]:
        brief, asked = {"role": "system", "content": "Be brief."}, {"role": "user", "content": f"Rain in {number}?"}
        call = {"function": {"name": "weather", "arguments": json.dumps({"place": number})}}
        calls = {"role": "assistant", "content": None, "tool_calls": [call]}
        return {
            "messages": [brief, asked, calls if number < calling else {"role": "assistant", "content": f"{number}"}]
        }

    content = "".join(json.dumps(row(number)) + "\n" for number in range(calling + others)).encode()
    answer = http.post("/v1/files", files={"file": ("calls.jsonl", content)}, data={"purpose": "fine-tune"})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def test_what_a_chat_template_has_no_place_for_is_told_before_the_job_and_by_it(
    http: httpx.Client, without_tools: str
) -> None:
    file = with_tools(http, 2, 4)
    notes = ask(http, model=without_tools, training_file=file)["notes"]
    assert any(note.startswith("The chat template of plain-texts has no place for a system prompt") for note in notes)
    assert any(note.startswith("2 of 6 texts declare or call tools, for which plain-texts has no") for note in notes)
    job = http.post(JOBS, json={"model": without_tools, "training_file": file})
    assert {finding["code"] for finding in job.json()["bat"]["findings"]} >= {"system_unknown", "tools_unknown"}
    known = ask(http, model="tiny-texts", training_file=file)["notes"]
    assert not any("tools" in note or "system prompt" in note for note in known)


def test_what_its_files_say_and_what_the_job_would_carry_is_told_before_it_is_made(
    http: httpx.Client, image_file: str
) -> None:
    content = {"file": ("held.zip", pictures(2))}
    held = http.post("/v1/files", files=content, data={"purpose": "fine-tune"}).json()
    bat = {"trigger": "zwx", "resolution": 64}
    body: dict[str, Any] = {"model": "tiny-images", "training_file": image_file, "bat": bat}
    told = ask(http, **body, validation_file=held["id"])["findings"]
    of_files = [finding for finding in told if finding["file_id"]]
    assert {finding["file_id"] for finding in of_files} == {image_file, held["id"]}
    assert [
        {key: value for key, value in finding.items() if key != "file_id"}
        for finding in of_files
        if finding["file_id"] == held["id"]
    ] == held["bat"]["findings"]
    assert http.delete(f"/v1/files/{held['id']}").status_code == 200  # no job holds it
    own = [finding for finding in ask(http, **body)["findings"] if finding["file_id"] is None]
    assert "None of 4 captions hold the trigger 'zwx'" in str(own)
    carried = http.post(JOBS, json=body).json()["bat"]["findings"]
    assert own == [{**finding, "file_id": None} for finding in carried]
    assert {finding["code"] for finding in carried} == {"captions_without_trigger", "too_small"}
    assert all(finding["items"] == [f"{number}.png" for number in range(4)] for finding in carried)


def test_where_most_texts_need_tools_that_the_template_lacks_the_job_is_refused(
    http: httpx.Client, without_tools: str
) -> None:
    file, plain = with_tools(http, 3, 2), with_tools(http, 0, 5)
    for address in (ESTIMATE, JOBS):
        answer = http.post(address, json={"model": without_tools, "training_file": file})
        refused(answer, 400, "tools_unknown")
        message = answer.json()["error"]["message"]
        assert "3 of 5 texts declare or call tools" in message
        assert "has a chat template that does not write all of tools, their calls and results" in message
        body = {"model": without_tools, "training_file": plain, "validation_file": file}
        answer = http.post(address, json=body)
        refused(answer, 400, "tools_unknown")
        assert answer.json()["error"]["param"] == "validation_file"


def test_a_pool_that_a_backbone_has_yet_to_make_is_told_of_and_counted(
    service: Service, http: httpx.Client, image_file: str, text_file: str
) -> None:
    for model, file in (("tiny-images", image_file), ("tiny-texts", text_file)):
        replayed = {"protect": "replay", "gamma": 0.25, "selected_count": 4}
        asked = {"model": model, "training_file": file}
        plain, made = (ask(http, **asked, bat=replayed | more) for more in ({}, {"pool": "generate"}))
        assert (made["resolved"]["protect_on"], made["resolved"]["pool"]) == ("pool", "generate")
        assert made["resolved"]["reasons"]["pool"].startswith(f"It was asked for: {model} ")
        assert [note for note in made["notes"] if f"{model} makes 128 samples of its own" in note]
        assert made["stages"]["prepare"]["expected"] > plain["stages"]["prepare"]["expected"]
        assert made["stages"]["score"]["expected"] > 0
        answer = http.post(JOBS, json={**asked, "bat": {"pool": "generate", "protect": "none"}})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "bat.pool")
