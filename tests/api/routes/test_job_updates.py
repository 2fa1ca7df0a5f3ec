"""A job's name and metadata, which its owner may change at any time."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import openai
import pytest

from core.accounts import api_keys
from tests.api.server import Service, refused

JOBS = "/v1/fine_tuning/jobs"
Create = Callable[..., httpx.Response]


def test_a_job_and_its_adapter_are_called_as_their_owner_says(
    http: httpx.Client, client: openai.OpenAI, published: dict[str, str]
) -> None:
    address = f"{JOBS}/{published['job']}"
    assert http.get(address).json()["bat"]["name"] is None
    name = '<img src=x onerror=alert(1)> "Minka" \U0001f408\u200d\u2b1b {{7*7}}'
    said = client.post(address.removeprefix("/v1"), body={"name": name}, cast_to=openai.types.fine_tuning.FineTuningJob)
    assert (said.metadata, said.model_extra["bat"]["name"]) == ({"name": name}, name)
    (listed,) = http.get(JOBS, params={"metadata[name]": name}).json()["data"]
    assert (listed["id"], listed["bat"]["name"]) == (published["job"], name)
    assert http.get(f"/v1/models/{published['model']}").json()["bat"]["name"] == name
    assert name in [model["bat"]["name"] for model in http.get("/v1/models").json()["data"]]
    assert said.fine_tuned_model == published["model"]  # which keeps its own


def test_what_is_not_named_stays_and_null_takes_it_away(http: httpx.Client, create: Create) -> None:
    job = create(metadata={"name": "Minka", "run": "7"}).json()
    assert job["bat"]["name"] == "Minka"
    address = f"{JOBS}/{job['id']}"

    def said(**body: object) -> dict[str, str] | None:
        answer = http.post(address, json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json() == http.get(address).json()
        return answer.json()["metadata"]

    assert said(name="Tom") == {"name": "Tom", "run": "7"}
    assert said(metadata={"run": "8"}) == {"run": "8"}
    assert said(name="Tom", metadata={"run": "9", "name": "Minka"}) == {"run": "9", "name": "Tom"}
    assert said(name=None) == {"run": "9"}
    assert said(metadata=None) is None
    assert http.get(JOBS, params={"metadata": "null"}).json()["data"][0]["id"] == job["id"]


def test_a_name_is_one_line_that_can_be_seen(http: httpx.Client, create: Create) -> None:
    address = f"{JOBS}/{create().json()['id']}"
    for name in ("", " Tom", "Tom ", "a\nb", "a\u202eb", "\u200b", "x" * 81, 7, ["Tom"], "\ud800"):
        answer = http.post(address, content=json.dumps({"name": name}), headers={"Content-Type": "application/json"})
        assert refused(answer, 400)["code"] in ("invalid_parameter", "invalid_json")  # what no JSON of ours holds
    assert "`name`" in refused(http.post(address, json={}), 400, "missing_required_parameter")["message"]
    refused(http.post(address, json={"suffix": "x"}), 400, "invalid_parameter")
    refused(http.post(address, json={"metadata": {"a": "x" * 513}}), 400, "invalid_parameter")
    full = {f"k{n}": "v" for n in range(16)}
    assert http.post(address, json={"metadata": full}).status_code == 200
    error = refused(http.post(address, json={"name": "Tom"}), 400, "too_much_metadata")
    assert error["message"].startswith("With its name the job would have 17 pairs")
    assert http.post(address, json={"metadata": {"name": "two\nlines"}}).json()["bat"]["name"] is None


def test_a_stranger_names_nothing(service: Service, http: httpx.Client, create: Create) -> None:
    address = f"{JOBS}/{create().json()['id']}"
    with service.http("bob") as bob:
        refused(bob.post(address, json={"nonsense": 1}), 404, "job_not_found")
    with service.sessions.begin() as session:
        reader = api_keys.create(session, "alice", scopes=["read"])
    refused(http.post(address, json={"name": "Tom"}, headers={"Authorization": f"Bearer {reader}"}), 403)


@pytest.mark.parametrize("path", ["estimate"])
def test_other_calls_keep_their_addresses(http: httpx.Client, image_file: str, path: str) -> None:
    body = {"model": "tiny-images", "training_file": image_file}
    assert http.post(f"{JOBS}/{path}", json=body).json()["object"] == "fine_tuning.job.estimate"
