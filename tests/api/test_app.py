"""The outside of the service: envelopes, request ids, keys, accounts."""

from __future__ import annotations

import re

import httpx
import openai
import pytest

from core.database.engine import now
from core.database.tables import WebhookDelivery, WebhookEndpoint, WebhookEvent
from tests.api.server import Service, png, refused

PUBLIC = "alb_aaaaaaaa_"
BAD_KEYS = ["alb_short", "sk-" + "x" * 48, PUBLIC + "x" * 49, "x" * 10_000, "ünïcode", PUBLIC + "\u0660" * 49]
BAD_PATHS = ["files/%00", "files/..%2f..%2fetc", "models/%F0%9F%98%80", "fine_tuning/jobs/" + "x" * 5000]
BAD_LIMITS = ["0", "-1", "1000000000", "ten", "1.5", "9" * 5000]
BAD_QUERIES = [*(f"limit={limit}" for limit in BAD_LIMITS), "order=;drop", "after=", "after=%00"]
UNGUARDED = {
    "/v1/capabilities",
    "/start",
    "/healthz",
    "/readyz",
    "/metrics",
    "/v1/storage/{key}",
    "/v1/accounts/{account_id}/erasure",
}


def routes(service: Service) -> list[tuple[str, str]]:
    """All (method, path pattern) of the interface that need a key."""
    paths = httpx.get(f"{service.address}/openapi.json", timeout=60).json()["paths"]
    return [(method.upper(), path) for path, methods in paths.items() for method in methods if path not in UNGUARDED]


def test_every_route_wants_a_key_before_anything_else(service: Service) -> None:
    found = routes(service)
    assert len(found) >= 18
    for method, path in found:
        answer = httpx.request(method, service.address + re.sub(r"\{\w+\}", "x", path), content=b"{", timeout=60)
        assert refused(answer, 401, "missing_api_key")["type"] == "authentication_error"
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_key_that_is_not_one_is_401(service: Service, key: str) -> None:
    answer = httpx.get(f"{service.address}/v1/files", headers={"Authorization": f"Bearer {key}".encode()})
    refused(answer, 401)
    assert key not in answer.text


def test_a_key_in_the_query_is_no_key(service: Service) -> None:
    refused(httpx.get(f"{service.address}/v1/files", params={"api_key": service.key()}), 401)


def test_an_address_that_is_not_there_answers_in_the_envelope(http: httpx.Client) -> None:
    assert refused(http.get("/v2/nothing"), 404)["type"] == "not_found_error"


@pytest.mark.parametrize("path", BAD_PATHS)
def test_an_id_that_no_database_could_hold_is_404(http: httpx.Client, path: str) -> None:
    refused(http.get(f"/v1/{path}"), 404)


def test_a_method_that_is_not_taken_is_405_and_names_those_that_are(http: httpx.Client) -> None:
    answer = http.put("/v1/files")
    refused(answer, 405)
    assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize("query", BAD_QUERIES)
def test_a_query_that_makes_no_sense_is_400(http: httpx.Client, query: str) -> None:
    refused(http.get(f"/v1/files?{query}"), 400)


def test_an_unknown_cursor_is_400(http: httpx.Client) -> None:
    for path in ("/v1/files", "/v1/fine_tuning/jobs"):
        assert refused(http.get(path, params={"after": "file-unknown"}), 400, "invalid_cursor")["param"] == "after"


def webhook(service: Service, client: openai.OpenAI) -> dict[str, str]:
    """An endpoint of alice with a delivery."""
    url, account = "https://hooks.invalid/", client.fine_tuning.jobs.list(limit=1).data[0].organization_id
    found = client.webhooks.create(name="n", url=url, event_types=["fine_tuning.job.failed"]).id
    with service.sessions.begin() as session:
        at = now(session)
        event = WebhookEvent(account_id=account, type="fine_tuning.job.failed", created_at=at, spread_at=at)
        session.add(event)
        session.flush()
        delivery = WebhookDelivery(
            account_id=account, endpoint_id=found, event_id=event.id, state="failed", created_at=at, ended_at=at
        )
        session.add(delivery)
        session.flush()
        assert session.get_one(WebhookEndpoint, found).account_id == account
        return {"webhook_endpoint_id": found, "delivery_id": delivery.id}


BODIES: dict[tuple[str, str], object] = {
    ("POST", "/v1/fine_tuning/jobs/{job_id}"): {"name": "mine now"},
    ("POST", "/v1/files/{file_id}/items"): {"items": [{"filename": "a.png", "caption": "mine now"}]},
    ("PUT", "/v1/files/{file_id}/items/{item_id}"): {"text": "mine now"},
}


def test_nothing_of_an_account_is_there_for_another(
    service: Service, published: dict[str, str], client: openai.OpenAI
) -> None:
    ids = {"file_id": published["file"], "job_id": published["job"], "model": published["model"], "item_id": "a.png"}
    [checkpoint] = client.fine_tuning.jobs.checkpoints.list(published["job"]).data
    ids |= webhook(service, client) | {"sample_id": "1", "checkpoint_id": checkpoint.id}
    with service.http("alice") as owner, service.http("mallory") as stranger:
        spare = owner.post("/v1/files", files={"file": ("a.png", png())}, data={"purpose": "fine-tune"}).json()["id"]
        ids["erasure_id"] = owner.delete(f"/v1/files/{spare}").json()["bat"]["erasure"]
        for method, path in routes(service):
            wanted = re.findall(r"\{(\w+)\}", path)
            if not wanted:
                continue
            address = re.sub(r"\{(\w+)\}", lambda match: ids[match[1]], path)
            refused(stranger.request(method, address, json=BODIES.get((method, path))), 404)
            if method == "GET":
                assert owner.get(address).status_code == 200, path
        for path in ("/v1/files", "/v1/fine_tuning/jobs", "/v1/erasures", "/v1/webhook_endpoints"):
            assert stranger.get(path).json()["data"] == []
            assert refused(stranger.get(path, params={"after": published["job"]}), 400, "invalid_cursor")
        assert published["model"] not in stranger.get("/v1/models").text


def test_another_accounts_file_cannot_be_trained_on(service: Service, image_file: str) -> None:
    with service.http("mallory") as stranger:
        answer = stranger.post("/v1/fine_tuning/jobs", json={"model": "tiny-images", "training_file": image_file})
    assert refused(answer, 400, "file_not_found")["param"] == "training_file"


def test_the_docs_describe_the_body_of_a_job(http: httpx.Client) -> None:
    schemas = http.get("/openapi.json").json()["components"]["schemas"]
    assert {"model", "training_file", "bat"} <= set(schemas["JobRequest"]["properties"])
    assert "gamma" in schemas["BatRequest"]["properties"]
    assert http.get("/docs").status_code == 200


def test_what_is_a_word_or_a_number_is_described_as_both(http: httpx.Client) -> None:
    """A form that is made of the document can offer the words beside the number."""
    gamma = http.get("/openapi.json").json()["components"]["schemas"]["BatRequest"]["properties"]["gamma"]
    words = [choice["enum"] for choice in gamma["anyOf"] if "enum" in choice]
    numbers = [choice for choice in gamma["anyOf"] if choice["type"] == "number"]
    assert (words, numbers) == ([["auto"], ["natural"]], [{"type": "number", "minimum": 0, "maximum": 0.95}])
    assert "natural: all examples are drawn alike" in gamma["description"]


def test_gamma_may_be_the_word(http: httpx.Client, image_file: str) -> None:
    body = {"model": "tiny-images", "training_file": image_file, "bat": {"gamma": "natural"}}
    assert http.post("/v1/fine_tuning/jobs", json=body).json()["bat"]["request"] == {"gamma": "natural"}
