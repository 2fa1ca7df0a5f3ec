"""Webhooks over the wire: the stock client manages them, and what arrives passes the checks of two stock libraries."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import httpx
import openai
import pytest
from sqlalchemy import select, update

from core.database.engine import now
from core.database.tables import Audit, WebhookDelivery, WebhookEndpoint
from core.settings import Settings
from tests.api.outcome import publish
from tests.api.server import Service, refused, started
from tests.receiver import Arrived, Receiver, receiving
from worker.webhook_sender import WebhookSender

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # at import it warns of what newer libraries will do
    from replicate.webhook import InvalidSignatureError, Webhooks, WebhookSigningSecret

SUCCEEDED = "fine_tuning.job.succeeded"
ALL = [SUCCEEDED, "fine_tuning.job.failed", "fine_tuning.job.cancelled"]
PATH = "/v1/webhook_endpoints"
SECRET = "whsec_"


@pytest.fixture(params=[pytest.param("sqlite", marks=pytest.mark.slow), "postgresql"], scope="module")
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    url = None if request.param == "sqlite" else request.getfixturevalue("postgresql").fresh()
    yield from started(
        Settings(
            data=tmp_path_factory.mktemp("hooks"),
            database_url=url,
            active_job_limit=1000,
            webhook_seconds=2,
            webhook_private_networks="127.0.0.0/8",
            webhook_retry_seconds=0.001,
        )
    )


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def cleared(client: openai.OpenAI) -> None:
    for endpoint in client.webhooks.list():
        client.webhooks.delete(endpoint.id)


def made(client: openai.OpenAI, receiver: Receiver, types: list[str] = ALL):  # type: ignore[no-untyped-def]
    return client.webhooks.create(name="mine", url=receiver.url, event_types=types)  # type: ignore[arg-type]


def cancelled(client: openai.OpenAI, image_file: str) -> str:
    job = client.fine_tuning.jobs.create(model="tiny-images", training_file=image_file)
    return client.fine_tuning.jobs.cancel(job.id).id


def send(service: Service) -> int:
    return WebhookSender(service.settings, service.sessions).round()


def unwrap(client: openai.OpenAI, arrived: Arrived, secret: str):  # type: ignore[no-untyped-def]
    """Both libraries say that the request is genuine."""
    said = Webhooks.validate(
        headers=arrived.headers, body=arrived.body.decode(), secret=WebhookSigningSecret(key=secret), tolerance=300
    )
    assert said is None  # it raises what it has against a request
    return client.webhooks.unwrap(arrived.body, arrived.headers, secret=secret)


def log(http: httpx.Client, endpoint: str, **query: str) -> list[dict]:  # type: ignore[type-arg]
    return http.get(f"{PATH}/{endpoint}/deliveries", params=query).json()["data"]


def test_the_stock_client_manages_endpoints_and_sees_a_secret_once(client: openai.OpenAI, receiver: Receiver) -> None:
    assert client.webhooks.event_types.list().data == ALL
    first = made(client, receiver)
    assert first.signing_secret.startswith(SECRET)
    assert first.signing_secret_hint == f"whsec_...{first.signing_secret[-4:]}"
    assert (first.name, first.url, first.event_types) == ("mine", receiver.url, ALL)
    second = made(client, receiver, [SUCCEEDED])
    assert [one.id for one in client.webhooks.list(limit=1)] == [second.id, first.id]
    assert first.signing_secret not in client.webhooks.with_raw_response.list().text
    assert first.signing_secret not in client.webhooks.with_raw_response.retrieve(first.id).text
    changed = client.webhooks.update(first.id, name="renamed", event_types=[SUCCEEDED])
    assert (changed.name, changed.url, changed.event_types) == ("renamed", receiver.url, [SUCCEEDED])
    gone = client.webhooks.delete(first.id)
    assert (gone.id, gone.deleted, gone.object) == (first.id, True, "webhook_endpoint.deleted")
    with pytest.raises(openai.NotFoundError):
        client.webhooks.retrieve(first.id)


def test_only_changes_move_the_time_of_the_last_change(
    service: Service, client: openai.OpenAI, receiver: Receiver
) -> None:
    found = made(client, receiver)
    with service.sessions.begin() as session:
        session.execute(update(WebhookEndpoint).values(updated_at=1.0))
    assert client.webhooks.update(found.id, name="mine", url=found.url).updated_at == 1
    client.webhooks.test(found.id, event_type=SUCCEEDED)
    assert client.webhooks.retrieve(found.id).updated_at == 1
    assert (client.webhooks.rotate_secret(found.id).updated_at or 0) > 1


def test_a_job_that_succeeds_is_told_of_once_and_both_libraries_believe_it(
    service: Service, client: openai.OpenAI, receiver: Receiver
) -> None:
    secret = made(client, receiver).signing_secret
    job = publish(service, client)["job"]
    assert (send(service), send(service)) == (1, 0)
    [arrived] = receiver.arrived
    event = unwrap(client, arrived, secret)
    assert (event.type, event.data.id, event.object) == (SUCCEEDED, job, "event")
    assert arrived.headers["webhook-id"] == event.id
    assert event.created_at == client.fine_tuning.jobs.retrieve(job).finished_at
    assert arrived.headers["content-type"] == "application/json"
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.unwrap(arrived.body + b" ", arrived.headers, secret=secret)
    with pytest.raises(InvalidSignatureError):
        unwrap(client, arrived, SECRET + "A" * 44)


@pytest.mark.slow
@pytest.mark.parametrize("trouble", [500, 302, "close", "silence"])
def test_what_did_not_arrive_is_sent_again_under_the_same_id(
    service: Service, client: openai.OpenAI, http: httpx.Client, receiver: Receiver, image_file: str, trouble: int | str
) -> None:
    found = made(client, receiver)
    receiver.script.append(trouble)
    receiver.location = receiver.url
    job = cancelled(client, image_file)
    assert send(service) == 1
    [pending] = log(http, found.id, status="pending")
    assert pending["next_attempt_at"] >= pending["created_at"]
    assert _soon(lambda: send(service) == 1)
    first, second = receiver.arrived
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert unwrap(client, second, found.signing_secret).data.id == job
    [delivery] = log(http, found.id)
    assert (delivery["status"], delivery["webhook_id"]) == ("delivered", second.headers["webhook-id"])
    statuses = [attempt["status_code"] for attempt in delivery["attempts"]]
    assert statuses == [trouble if isinstance(trouble, int) else None, 200]
    assert (delivery["attempts"][0]["error"] is None) == isinstance(trouble, int)
    assert delivery["event"] == second.json()


def _soon(condition: Callable[[], bool]) -> bool:
    return any(condition() for _ in range(1000))


def test_a_delivery_can_be_sent_again_by_hand(
    service: Service, client: openai.OpenAI, http: httpx.Client, receiver: Receiver, image_file: str
) -> None:
    found = made(client, receiver)
    cancelled(client, image_file)
    send(service)
    [delivery] = log(http, found.id)
    path = f"{PATH}/{found.id}/deliveries/{delivery['id']}"
    assert http.get(path).json() == delivery
    assert http.post(f"{path}/redeliver").json()["status"] == "pending"
    assert send(service) == 1
    assert len(set(receiver.ids())) == 1
    assert len(receiver.arrived) == 2
    again = http.get(path).json()
    assert (again["status"], len(again["attempts"])) == ("delivered", 2)


def test_the_old_secret_signs_beside_the_new_one_for_a_day_if_that_is_wanted(
    service: Service, client: openai.OpenAI, receiver: Receiver, image_file: str
) -> None:
    found = made(client, receiver)
    new = client.webhooks.rotate_secret(found.id, keep_old_secret_active_for_24_hours=True).signing_secret
    assert new != found.signing_secret
    cancelled(client, image_file)
    send(service)
    for secret in (new, found.signing_secret):
        assert unwrap(client, receiver.arrived[-1], secret).type == "fine_tuning.job.cancelled"
    with service.sessions.begin() as session:
        row = session.scalars(select(WebhookEndpoint)).one()
        row.old_secrets = [{"secret": old["secret"], "until": now(session) - 1} for old in row.old_secrets]
    cancelled(client, image_file)
    send(service)
    assert unwrap(client, receiver.arrived[-1], new)
    with pytest.raises(InvalidSignatureError):
        unwrap(client, receiver.arrived[-1], found.signing_secret)
    last = client.webhooks.rotate_secret(found.id).signing_secret
    cancelled(client, image_file)
    send(service)
    assert len(receiver.arrived[-1].headers["webhook-signature"].split()) == 1
    assert unwrap(client, receiver.arrived[-1], last)


@pytest.mark.parametrize("status", [200, 204, 404, 500])
def test_a_test_call_shows_what_the_endpoint_answers(
    client: openai.OpenAI, http: httpx.Client, receiver: Receiver, status: int
) -> None:
    found = made(client, receiver)
    receiver.script.append(status)
    result = client.webhooks.test(found.id, event_type="fine_tuning.job.failed")
    assert (result.status_code, result.success, result.webhook_endpoint_id) == (status, True, found.id)
    event = unwrap(client, receiver.arrived[-1], found.signing_secret)
    assert (event.type, event.data.id) == ("fine_tuning.job.failed", "ftjob-sample")
    [delivery] = log(http, found.id)
    assert delivery["status"] == ("delivered" if status < 300 else "failed")


def test_a_test_call_that_reaches_nobody_says_why(http: httpx.Client, client: openai.OpenAI) -> None:
    with receiving() as receiver:
        found = made(client, receiver)
        receiver.script.append("close")
        answer = http.post(f"{PATH}/{found.id}/test", json={"event_type": SUCCEEDED})
        assert "without an answer" in refused(answer, 400, "webhook_unreachable")["message"]
    answer = http.post(f"{PATH}/{found.id}/test", json={"event_type": SUCCEEDED})
    assert "nobody took the connection" in refused(answer, 400, "webhook_unreachable")["message"]


def test_an_endpoint_that_is_gone_is_disabled_with_a_notice_until_its_owner_enables_it(
    service: Service, client: openai.OpenAI, http: httpx.Client, receiver: Receiver, image_file: str
) -> None:
    found = made(client, receiver)
    receiver.script.append(410)
    cancelled(client, image_file)
    send(service)
    shown = http.get(f"{PATH}/{found.id}").json()["bat"]
    assert (shown["enabled"], shown["disabled_reason"]) == (False, "gone")
    assert "410" in shown["notice"]
    missed = cancelled(client, image_file)
    assert send(service) == 0
    delivery = next(one for one in log(http, found.id) if one["event"]["data"]["id"] == missed)
    path = f"{PATH}/{found.id}/deliveries/{delivery['id']}/redeliver"
    refused(http.post(path), 409, "webhook_endpoint_disabled")
    assert http.post(f"{PATH}/{found.id}", json={"bat": {"enabled": True}}).json()["bat"]["enabled"]
    assert http.post(path).status_code == 200
    assert send(service) == 1
    assert receiver.arrived[-1].json()["data"]["id"] == missed
    assert not http.post(f"{PATH}/{found.id}", json={"bat": {"enabled": False}}).json()["bat"]["enabled"]


def test_what_a_client_repeats_by_itself_makes_no_second_endpoint(http: httpx.Client, receiver: Receiver) -> None:
    body = {"name": "n", "url": receiver.url, "event_types": [SUCCEEDED]}
    first = http.post(PATH, json=body).json()
    second = http.post(PATH, json=body, headers={"x-stainless-retry-count": "1"}).json()
    assert second == first
    assert http.post(PATH, json=body).json()["id"] != first["id"]


def test_an_account_has_at_most_ten_endpoints(http: httpx.Client, receiver: Receiver) -> None:
    body = {"name": "n", "url": receiver.url, "event_types": [SUCCEEDED]}
    assert [http.post(PATH, json=body).status_code for _ in range(10)] == [200] * 10
    answer = http.post(PATH, json=body)
    refused(answer, 429, "webhook_endpoint_limit")
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"event_types": []}, "event_types"),
        ({"event_types": ["batch.completed"]}, "event_types.0"),
        ({"event_types": None}, "event_types"),
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\u202eb"}, None),
        ({"url": 7}, "url"),
        ({"secret": "whsec_mine"}, "secret"),
        ({"name": " "}, "name"),
    ],
)
def test_a_body_that_is_wrong_is_400_and_names_the_field(
    http: httpx.Client, receiver: Receiver, changes: dict[str, object], param: str | None
) -> None:
    body = {"name": "n", "url": receiver.url, "event_types": [SUCCEEDED], **changes}
    assert refused(http.post(PATH, json=body), 400)["param"] == param


def test_nothing_of_an_account_is_there_for_another(
    service: Service, client: openai.OpenAI, http: httpx.Client, receiver: Receiver
) -> None:
    found = made(client, receiver)
    client.webhooks.test(found.id, event_type=SUCCEEDED)
    [delivery] = log(http, found.id)
    path = f"{PATH}/{found.id}"
    with service.http("mallory") as stranger:
        assert stranger.get(PATH).json()["data"] == []
        refused(stranger.get(PATH, params={"after": found.id}), 400, "invalid_cursor")
        for address in (path, f"{path}/deliveries", f"{path}/deliveries/{delivery['id']}"):
            refused(stranger.get(address), 404, "webhook_endpoint_not_found")
        for address in (path, f"{path}/rotate_secret", f"{path}/test", f"{path}/deliveries/{delivery['id']}/redeliver"):
            refused(stranger.post(address), 404, "webhook_endpoint_not_found")
        refused(stranger.delete(path), 404, "webhook_endpoint_not_found")
        job = stranger.get("/v1/fine_tuning/jobs").json()
        assert job["data"] == []
    other = made(client, receiver)
    refused(http.get(f"{PATH}/{other.id}/deliveries/{delivery['id']}"), 404, "delivery_not_found")


def test_deliveries_come_in_pages(client: openai.OpenAI, http: httpx.Client, receiver: Receiver) -> None:
    found = made(client, receiver)
    for _ in range(3):
        client.webhooks.test(found.id, event_type=SUCCEEDED)
    first = http.get(f"{PATH}/{found.id}/deliveries", params={"limit": 2}).json()
    rest = http.get(f"{PATH}/{found.id}/deliveries", params={"limit": 2, "after": first["last_id"]}).json()
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert [one["webhook_id"] for one in first["data"] + rest["data"]] == receiver.ids()[::-1]
    refused(http.get(f"{PATH}/{found.id}/deliveries", params={"after": "whd_x"}), 400, "invalid_cursor")


def test_what_is_done_is_audited_and_no_log_holds_a_secret(
    service: Service, client: openai.OpenAI, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    found = made(client, receiver)
    receiver.script.append(500)
    client.webhooks.test(found.id, event_type=SUCCEEDED)
    client.webhooks.rotate_secret(found.id)
    client.webhooks.delete(found.id)
    with service.sessions() as session:
        rows = session.scalars(select(Audit.action).where(Audit.target == found.id)).all()
        left = session.scalars(select(WebhookDelivery).where(WebhookDelivery.endpoint_id == found.id)).all()
    assert sorted(rows) == [f"webhook.{what}" for what in ("create", "delete", "rotate", "test")]
    assert left == []
    ours = [record.getMessage() for record in caplog.records if record.name.split(".")[0] not in ("openai", "httpx2")]
    assert len(ours) > 3
    assert not any(found.signing_secret in words or "/hook" in words for words in ours)


def test_the_figures_count_deliveries(
    service: Service, client: openai.OpenAI, receiver: Receiver, image_file: str
) -> None:
    made(client, receiver)
    receiver.script.append(500)
    cancelled(client, image_file)
    send(service)
    told = httpx.get(f"{service.address}/metrics").text
    figures = dict(line.rsplit(" ", 1) for line in told.splitlines() if not line.startswith("#"))
    assert float(figures["albatross_webhooks_pending"]) == 1
    assert float(figures["albatross_webhook_age_seconds"]) > 0
    assert float(figures["albatross_webhook_tries_failed_total"]) >= 1
    assert "albatross_webhooks_delivered_total" in figures
