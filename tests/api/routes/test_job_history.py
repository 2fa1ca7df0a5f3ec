"""What a job leaves: events, streams, checkpoints, curves, influence, samples."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import httpx
import openai
import pytest

from api.http.stream_limit import MAX_STREAMS
from core.accounts import api_keys
from core.database.engine import now
from core.database.tables import ApiKey, Job, Metric
from core.erasure import request as erasing
from core.jobs import control, events, leases
from core.jobs.event_codes import EventCode
from core.jobs.leases import Claim
from tests.api.outcome import OUTCOME, USAGE, keep, show
from tests.api.server import Service, pictures, png, refused
from tests.conftest import until

JOBS = "/v1/fine_tuning/jobs"


def streamed(http: httpx.Client, job: str, **headers: str) -> list[dict[str, str]]:
    """All blocks of the event stream, until it ends."""
    blocks: list[dict[str, str]] = []
    with http.stream("GET", f"{JOBS}/{job}/events", headers={"Accept": "text/event-stream", **headers}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for block in "".join(answer.iter_text()).strip().split("\n\n"):
            blocks.append(dict(line.split(": ", 1) for line in block.splitlines()))
    return blocks


def test_a_finished_job_tells_what_came_of_it(client: openai.OpenAI, published: dict[str, str]) -> None:
    job = client.fine_tuning.jobs.retrieve(published["job"])
    assert (job.status, job.fine_tuned_model) == ("succeeded", published["model"])
    assert job.hyperparameters.batch_size == 4
    bat = job.model_extra["bat"]
    assert {name: bat[name] for name in OUTCOME} == OUTCOME
    assert bat["resolved"]["reasons"] == {"rank": "usual"}
    assert len(job.result_files) == 5
    assert client.files.content(job.result_files[0]).text.startswith("step,train_loss")
    assert {"peft", "diffusers", "card"} <= {artifact["format"] for artifact in bat["artifacts"]}
    assert {a["format"]: a["usage"] for a in bat["artifacts"] if a["usage"]} == USAGE
    assert "usage" not in bat
    assert client.files.retrieve(job.result_files[1]).purpose == "fine-tune-results"


def test_events_come_newest_first_in_pages(client: openai.OpenAI, published: dict[str, str]) -> None:
    listed = list(client.fine_tuning.jobs.list_events(published["job"], limit=1))
    assert len(listed) == 4
    assert "succeeded" in listed[0].message
    loss = {"code": "loss", "stage": "train", "step": 2, "train_loss": 1 / 3}
    assert (listed[1].type, listed[1].data) == ("metrics", loss)
    assert listed[0].data == {"code": "published", "model": published["model"], "step": 120}
    assert [event.data["code"] for event in listed[2:]] == ["taken", "queued"]
    assert {event.type for event in listed} == {"message", "metrics"}  # all that OpenAI's clients know
    assert listed[-1].message == "The job is queued."


def test_a_stream_gives_every_event_in_order_and_goes_on_where_a_client_left(
    http: httpx.Client, published: dict[str, str]
) -> None:
    blocks = streamed(http, published["job"])
    newest_first = http.get(f"{JOBS}/{published['job']}/events").json()["data"]
    assert [block["id"] for block in blocks[:-1]] == [event["id"] for event in newest_first[::-1]]
    assert json.loads(blocks[0]["data"])["message"] == "The job is queued."
    assert blocks[-1]["event"] == "done"
    again = streamed(http, published["job"], **{"Last-Event-ID": blocks[1]["id"]})
    assert again == blocks[2:]


def test_a_stream_of_an_event_that_is_not_there_is_400(http: httpx.Client, published: dict[str, str]) -> None:
    headers = {"Accept": "text/event-stream", "Last-Event-ID": "ftevent-unknown"}
    refused(http.get(f"{JOBS}/{published['job']}/events", headers=headers), 400, "invalid_cursor")


@pytest.mark.parametrize("what", ["revoke", "expire", "erase", "delete"])
def test_a_stream_ends_with_the_right_to_see_it(service: Service, what: str) -> None:
    """What happens afterwards is not told, and no event says that the job is done: whoever comes back is refused."""
    account = f"stream-{what}"
    with service.http(account) as http, service.openai(account) as client:
        file = client.files.create(file=("cat.zip", pictures()), purpose="fine-tune").id
        job = client.fine_tuning.jobs.create(model="tiny-images", training_file=file).id
        with http.stream("GET", f"{JOBS}/{job}/events", headers={"Accept": "text/event-stream"}) as answer:
            lines = answer.iter_lines()
            assert next(lines).startswith("id: ")
            with service.sessions.begin() as session:
                key = session.get_one(ApiKey, service.key(account).split("_")[1])
                if what == "revoke":
                    api_keys.revoke(session, key.id)
                elif what == "expire":
                    key.expires_at = now(session) - 1
                elif what == "erase":
                    erasing.request(session, key.account_id, "account", key.account_id)
                else:
                    erasing.request(session, key.account_id, "job", job)
            with service.sessions.begin() as session:
                events.record(session, job, "This is nobody's to see.", code=EventCode.NOTE, actor="test")
            rest = list(lines)
        assert not any("nobody's" in line or "DONE" in line for line in rest)


def test_an_account_has_so_many_streams_at_once(http: httpx.Client, create) -> None:
    address, headers = f"{JOBS}/{create().json()['id']}/events", {"Accept": "text/event-stream"}
    with ExitStack() as stack:
        answers = [stack.enter_context(http.stream("GET", address, headers=headers)) for _ in range(MAX_STREAMS)]
        lines = [answer.iter_lines() for answer in answers]  # a stream whose lines nobody keeps is closed
        assert all(next(each).startswith("id: ") for each in lines)
        with http.stream("GET", address, headers=headers) as answer:
            answer.read()
            refused(answer, 429, "too_many_streams")
        assert http.get(address).status_code == 200

    def opens() -> bool:
        with http.stream("GET", address, headers=headers) as answer:
            return answer.status_code == 200

    until(opens)


def test_a_stream_shows_an_event_soon_after_it_happens(service: Service, http: httpx.Client, create) -> None:
    job = create().json()["id"]
    arrived: list[str] = []

    def listen() -> None:
        with http.stream("GET", f"{JOBS}/{job}/events", headers={"Accept": "text/event-stream"}) as answer:
            for line in answer.iter_lines():
                if "tick" in line:
                    arrived.append(line)

    listener = threading.Thread(target=listen)
    listener.start()
    time.sleep(0.7)
    with service.sessions.begin() as session:
        events.record(session, job, "tick", code=EventCode.NOTE, actor="worker")
    until(lambda: bool(arrived))  # while the stream is still open
    with service.http() as other:
        other.post(f"{JOBS}/{job}/cancel")
    listener.join(60)
    assert len(arrived) == 1


def test_a_stream_tells_where_the_job_stands_when_that_has_changed(
    service: Service, http: httpx.Client, create
) -> None:
    job = create().json()["id"]
    told: list[dict[str, Any]] = []

    def move(state: str, stage: str | None, progress: float, eta: float | None) -> None:
        with service.sessions.begin() as session:
            row = session.get_one(Job, job)
            row.stage, row.progress, row.eta_seconds = stage, progress, eta
            row.course, row.heartbeat_at = {"stages": {}, "overall": progress}, now(session)
            row.state, row.lease_until = state, now(session) + 600 if state == "RUNNING" else None

    def listen() -> None:
        asked = {"params": {"progress": "true"}, "headers": {"Accept": "text/event-stream"}}
        with http.stream("GET", f"{JOBS}/{job}/events", **asked) as answer:
            lines = answer.iter_lines()
            for line in lines:
                if line == "event: progress":
                    told.append(json.loads(next(lines).removeprefix("data: ")))

    listener = threading.Thread(target=listen)
    listener.start()
    until(lambda: len(told) == 1)
    move("RUNNING", "train", 0.25, 90.0)
    until(lambda: len(told) == 2)
    move("RUNNING", "train", 0.25, 80.0)
    move("RUNNING", "train", 0.5, 60.0)
    until(lambda: len(told) == 3)
    move("QUEUED", None, 0.5, None)
    with service.http() as other:
        other.post(f"{JOBS}/{job}/cancel")
    listener.join(60)
    clocks = [row.pop("eta_seconds") for row in told]
    assert told[0] == {"status": "queued", "stage": None, "progress": 0.0, "overall": 0.0}
    assert told[1] == {"status": "running", "stage": "train", "progress": 0.25, "overall": 0.25}
    assert told[2] == {"status": "running", "stage": "train", "progress": 0.5, "overall": 0.5}
    assert clocks[0] is clocks[-1] is None
    assert 0 <= clocks[1] <= 90
    assert 0 <= clocks[2] <= 60
    assert (told[-1]["status"], len(told)) in (("cancelled", 4), ("cancelled", 5))  # queued in between, perhaps


def test_kept_steps_of_a_job_that_trains_are_listed_and_can_be_downloaded(
    service: Service, client: openai.OpenAI, http: httpx.Client, create
) -> None:
    job = create(suffix="kept").json()["id"]
    address = f"{JOBS}/{job}/checkpoints"
    empty = {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None, "ready": False}
    assert http.get(address).json() == empty
    show(service, job)
    kept = keep(service, job, 40)
    (listed,) = client.fine_tuning.jobs.checkpoints.list(job)
    assert (listed.id, listed.step_number, listed.metrics.train_loss) == (kept, 40, 0.25)
    assert listed.model_extra["bat"]["labels"] == []
    assert http.get(address).json()["ready"] is False
    event = client.fine_tuning.jobs.list_events(job, limit=1).data[0]
    assert event.data == {"code": "checkpoint_kept", "stage": "train", "checkpoint": kept, "step": 40}
    name = listed.fine_tuned_model_checkpoint
    assert event.message.endswith(f"can be downloaded as {name}.")
    assert http.get(f"/v1/models/{name}/download").content == b"weights of 40"
    refused(http.get(f"/v1/models/{name.replace('-40', '-41')}/download"), 404, "checkpoint_not_found")
    refused(http.get(f"/v1/models/{name.replace('kept', 'other')}/download"), 404, "model_not_found")
    refused(http.get(f"/v1/models/{name.partition(':ckpt')[0]}/download"), 404, "model_not_found")
    with service.http("bob") as bob:
        refused(bob.get(f"/v1/models/{name}/download"), 404, "model_not_found")
    http.post(f"{JOBS}/{job}/cancel")
    with service.sessions.begin() as session:
        assert leases.stopped(session, Claim(job, 1))
    assert http.get(address).json()["ready"] is True
    assert http.get(f"/v1/models/{name}/download").content == b"weights of 40"
    refused(http.post(f"{address}/{kept}/publish"), 409, "job_not_succeeded")
    http.delete(f"{JOBS}/{job}")
    refused(http.get(f"/v1/models/{name}/download"), 404, "model_not_found")


def test_an_erased_model_leaves_no_kept_step(http: httpx.Client, published: dict[str, str]) -> None:
    http.delete(f"/v1/models/{published['model']}")
    assert http.get(f"{JOBS}/{published['job']}/checkpoints").json()["data"] == []
    refused(http.get(f"/v1/models/{published['model']}:ckpt-step-120/download"), 404, "model_not_found")


def test_a_checkpoint_names_its_weights(client: openai.OpenAI, http: httpx.Client, published: dict[str, str]) -> None:
    (checkpoint,) = client.fine_tuning.jobs.checkpoints.list(published["job"])
    assert checkpoint.step_number == checkpoint.metrics.step == 120
    assert checkpoint.metrics.model_extra["cosine_similarity"] == 0.2
    assert checkpoint.model_extra["bat"]["labels"] == ["published", "turning_point"]
    assert checkpoint.fine_tuned_model_checkpoint == f"{published['model']}:ckpt-step-120"
    answer = http.get(f"/v1/models/{checkpoint.fine_tuned_model_checkpoint}/download")
    assert answer.content == b"weights of 120"
    refused(http.get(f"/v1/models/{published['model']}:ckpt-step-121/download"), 404)


def test_curves_come_in_the_order_of_the_stages(http: httpx.Client, published: dict[str, str]) -> None:
    address = f"{JOBS}/{published['job']}/metrics"
    rows, after = [], None
    while True:
        page = http.get(address, params={"limit": 4} | ({"after": after} if after else {})).json()
        rows += page["data"]
        after = page["last_id"]
        if not page["has_more"]:
            break
    assert [(row["stage"], row["step"]) for row in rows] == [(s, n) for s in ("surrogate", "train") for n in range(3)]
    assert rows[4]["loss"] == 0.5
    assert rows[4]["cosine_similarity"] == 0.1
    assert len(http.get(address, params={"stage": "train"}).json()["data"]) == 3


@pytest.mark.parametrize("after", ["train", "train:x", "train:99", "x:1", "train:" + "9" * 50])
def test_a_curve_after_no_step_is_400(http: httpx.Client, published: dict[str, str], after: str) -> None:
    refused(http.get(f"{JOBS}/{published['job']}/metrics", params={"after": after}), 400, "invalid_cursor")


def test_a_chart_takes_whole_curves_at_once_and_then_only_what_is_new(
    service: Service, http: httpx.Client, create
) -> None:
    job = create().json()["id"]
    address = f"{JOBS}/{job}/metrics"

    def draw(stage: str, steps: Iterable[int]) -> list[Metric]:
        fixed = {"job_id": job, "stage": stage, "attempt": 1, "created_at": 1.0}
        return [Metric(**fixed, step=step, data={"loss": 1 / (step + 1)}) for step in steps]

    with service.sessions.begin() as session:
        session.add_all(draw("train", range(90)) + draw("surrogate", range(90)))
    whole = http.get(address, params={"points": 12, "limit": 1}).json()
    assert not whole["has_more"]
    stages = [row["stage"] for row in whole["data"]]
    assert stages == sorted(stages)
    assert all(8 <= stages.count(stage) <= 12 for stage in ("surrogate", "train"))
    assert {"train:0", "train:89", "surrogate:0"} <= {row["id"] for row in whole["data"]}
    assert whole["last_id"] == "train:89"
    assert http.get(address, params={"after": whole["last_id"]}).json()["data"] == []
    with service.sessions.begin() as session:
        session.add_all(draw("train", [90]) + draw("export", [0]))
    new = http.get(address, params={"after": whole["last_id"]}).json()["data"]
    assert [row["id"] for row in new] == ["train:90", "export:0"]
    assert {row["stage"] for row in http.get(address, params={"points": 5, "stage": "train"}).json()["data"]} == {
        "train"
    }
    error = refused(http.get(address, params={"points": 5, "after": "train:90"}), 400, "contradiction")
    assert "without `points`" in error["message"]
    for points in ("1", "5001", "x"):
        assert refused(http.get(address, params={"points": points}), 400)["param"] == "points"


def test_influence_comes_with_the_most_helpful_first(http: httpx.Client, published: dict[str, str]) -> None:
    address = f"{JOBS}/{published['job']}/influence"
    first = http.get(address, params={"limit": 3}).json()
    assert [row["score"] for row in first["data"]] == [1, 0, -1]
    assert first["has_more"]
    rest = http.get(address, params={"after": first["last_id"]}).json()
    assert [row["score"] for row in rest["data"]] == [-2, -3, None]
    assert not rest["has_more"]
    assert (rest["ready"], rest["selection"]) == (True, "ranked")
    worst_first = http.get(address, params={"order": "asc"}).json()["data"]
    assert [row["score"] for row in worst_first] == [-3, -2, -1, 0, 1, None]
    refused(http.get(address, params={"after": "nobody"}), 400, "invalid_cursor")


def test_samples_show_before_right_and_too_late(http: httpx.Client, published: dict[str, str]) -> None:
    page = http.get(f"{JOBS}/{published['job']}/samples").json()
    rows = page["data"]
    assert page["ready"] is True
    assert [(row["step"], row["labels"][0]) for row in rows] == [(0, "before"), (120, "published"), (300, "overfitted")]
    assert {row["number"] for row in rows} == {None}  # which older versions did not say
    assert base64.b64decode(rows[1]["image"].split(",")[1]) == png(120)
    assert httpx.get(str(http.base_url) + rows[1]["url"]).content == png(120)


def test_influence_that_can_not_be_there_yet_is_an_empty_list_that_is_not_ready(create, http: httpx.Client) -> None:
    address = f"{JOBS}/{create().json()['id']}"
    nothing = {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None, "selection": None}
    assert http.get(f"{address}/influence").json() == nothing | {"ready": False}
    assert http.post(f"{address}/cancel").status_code == 200
    assert http.get(f"{address}/influence").json() == nothing | {"ready": True}  # nothing is to come any more


def test_a_picture_of_a_sample_is_shown_in_its_place_with_the_key_alone(
    service: Service, http: httpx.Client, published: dict[str, str]
) -> None:
    rows = http.get(f"{JOBS}/{published['job']}/samples").json()["data"]
    row = rows[1]
    assert row["image_url"] == f"{JOBS}/{published['job']}/samples/{row['id']}/image"
    assert (row["width"], row["height"]) == (32, 32)
    assert base64.b64decode(row["thumbnail"].split(",")[1]) == png(121)
    answer = http.get(row["image_url"])
    assert answer.content == png(120)
    told = {name: answer.headers[name] for name in ("content-type", "content-disposition", "x-content-type-options")}
    assert told == {"content-type": "image/png", "content-disposition": "inline", "x-content-type-options": "nosniff"}
    assert answer.headers["content-security-policy"] == "default-src 'none'"
    assert http.get(row["image_url"], params={"size": 256}).content == png(121)
    assert http.get(rows[0]["image_url"], params={"size": 256}).content == png(0)  # of an older version: there is none
    refused(http.get(row["image_url"], params={"size": 64}), 400)
    assert httpx.get(f"{service.address}{row['image_url']}").status_code == 401
    with service.http("mallory") as other:
        refused(other.get(row["image_url"]), 404, "job_not_found")
    for sample in ("99", "..%2f0", "x"):
        refused(http.get(f"{JOBS}/{published['job']}/samples/{sample}/image"), 404)


def test_samples_of_a_job_that_trains_are_there_at_once_and_stay_where_it_is_cancelled(
    service: Service, http: httpx.Client, create
) -> None:
    job = create().json()["id"]
    assert http.get(f"{JOBS}/{job}/samples").json() == {
        "object": "list",
        "data": [],
        "has_more": False,
        "first_id": None,
        "last_id": None,
        "ready": False,
    }
    show(service, job)
    page = http.get(f"{JOBS}/{job}/samples").json()
    assert page["ready"] is False
    [row] = page["data"]
    assert (row["id"], row["step"], row["number"], row["labels"]) == ("0-0", 0, 0, ["before"])
    assert http.get(row["image_url"]).content == png(7)
    with service.sessions.begin() as session:
        state = session.get_one(Job, job)
        control.cancel(session, state)
        assert leases.stopped(session, Claim.of(state))
    page = http.get(f"{JOBS}/{job}/samples").json()
    assert page["ready"] is True
    assert page["data"][0]["thumbnail"] == row["thumbnail"]
