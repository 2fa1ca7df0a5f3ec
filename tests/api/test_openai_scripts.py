"""What scripts that were written for OpenAI ask for, and what they are told."""

from __future__ import annotations

import httpx
import openai
import pytest

from core.settings import Settings
from tests.api.server import Service, chats, refused, serving

JOBS = "/v1/fine_tuning/jobs"
WANDB = [{"type": "wandb", "wandb": {"project": "support"}}]


@pytest.mark.parametrize("kind", ["dpo", "reinforcement"])
def test_another_method_is_refused_by_its_name(create, kind: str) -> None:
    error = refused(create(method={"type": kind, kind: {"hyperparameters": {"beta": 0.1}}}), 400)
    assert error["param"] == "method"
    assert error["message"].startswith(f"method: {kind} is not served: send type supervised")


def test_an_integration_is_refused_and_none_is_taken(create) -> None:
    error = refused(create(integrations=WANDB), 400)
    assert error["param"] == "integrations"
    assert "leave this parameter out" in error["message"]
    assert create(integrations=[]).json()["integrations"] == []
    assert create(integrations=None).status_code == 200


def test_a_suffix_that_can_not_stand_in_a_name_is_refused(create) -> None:
    error = refused(create(suffix="customer support"), 400)
    assert error["param"] == "suffix"
    assert "A-Z a-z 0-9" in error["message"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1/chat/completions", "load it where you run models"),
        ("/v1/responses", "load it where you run models"),
        ("/v1/uploads", "POST /v1/files"),
        ("/files", "base_url in /v1"),
        ("/fine_tuning/jobs", "base_url in /v1"),
        ("/v1/fine_tuning/alpha/graders/run", "see /docs"),
        ("/v1/fine-tunes", "Jobs are at /v1/fine_tuning/jobs"),
        ("/v1/fine-tunes/ft-abc/events", "n_epochs and the like stand in hyperparameters"),
        ("/fine-tunes", "Jobs are at /v1/fine_tuning/jobs"),
        ("/v1/fine-tuning/jobs", "Jobs are at /v1/fine_tuning/jobs"),
        ("/v1/fine_tuning", "Jobs are at /v1/fine_tuning/jobs"),
        ("/openai/files?api-version=2024-10-21", "an address of Azure OpenAI"),
        ("/openai/fine_tuning/jobs?api-version=2024-10-21", "jobs at /v1/fine_tuning/jobs"),
        ("/openai/deployments/gpt-4o-mini/chat/completions", "OpenAI instead of AzureOpenAI"),
        ("/openai/v1/files", "a base_url that ends in /v1"),
        ("/v1/openai/files", "an address of Azure OpenAI"),
        ("/v1/v1/files", "holds /v1 twice"),
        ("/v1/files/", "addresses end without a slash"),
    ],
)
def test_an_address_that_is_not_there_says_where_to_go(http: httpx.Client, path: str, words: str) -> None:
    assert words in refused(http.post(path, json={}), 404)["message"]


def test_azure_s_client_is_told_which_one_to_take(service: Service, client: openai.OpenAI) -> None:
    azure = openai.AzureOpenAI(
        azure_endpoint=service.address, api_key=service.key(), api_version="2024-10-21", max_retries=0
    )
    for call in (azure.files.list, azure.fine_tuning.jobs.list):
        with pytest.raises(openai.NotFoundError, match="use the client OpenAI instead of AzureOpenAI"):
            call()
    assert client.files.list() is not None


def test_jobs_without_metadata_are_found(http: httpx.Client, create) -> None:
    bare, marked = create().json()["id"], create(metadata={"a": "b"}).json()["id"]
    listed = [row["id"] for row in http.get(JOBS, params={"metadata": "null", "limit": 1000}).json()["data"]]
    assert bare in listed
    assert marked not in listed


def test_an_alias_is_a_name_of_a_backbone(tmp_path) -> None:
    names = {"gpt-4o-mini": "tiny-texts", "tiny-images": "tiny-texts", "gone": "nothing"}
    with serving(Settings(data=tmp_path, model_aliases=names)) as service, service.http() as http:
        form = {"files": {"file": ("a.jsonl", chats())}, "data": {"purpose": "fine-tune"}}
        body = {"model": "gpt-4o-mini", "training_file": http.post("/v1/files", **form).json()["id"]}
        assert http.post(JOBS, json=body).json()["model"] == "tiny-texts"
        assert http.get("/v1/models/gpt-4o-mini").json()["id"] == "tiny-texts"
        aliases = {row["id"]: row["bat"]["aliases"] for row in http.get("/v1/models").json()["data"]}
        assert aliases == {"emoji-flow": [], "emoji-ldm": [], "tiny-images": [], "tiny-texts": ["gpt-4o-mini"]}
        assert http.get("/v1/models/tiny-images").json()["id"] == "tiny-images"  # a backbone's own name comes first
        refused(http.delete("/v1/models/gpt-4o-mini"), 403, "not_yours")
        for name in ("gone", "gpt-4.1"):
            error = refused(http.post(JOBS, json=body | {"model": name}), 400, "model_not_found")
            assert "tiny-images, tiny-texts" in error["message"]
            assert "ALBATROSS_MODEL_ALIASES" in error["message"]
