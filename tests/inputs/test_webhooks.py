"""C94 to C99: webhooks to where they must not go, and receivers that wish the service ill."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import httpx
import openai
import pytest

from core.database.engine import now
from core.database.tables import WebhookEndpoint
from core.settings import Settings
from core.webhooks.destinations import Rules
from core.webhooks.endpoint_secrets import random_secret
from core.webhooks.sender import Sender
from core.webhooks.signatures import headers
from tests.api.server import Service, refused, serving
from tests.inputs.catalogue import Case, Scene, table
from tests.inputs.wire import Answer
from tests.receiver import Receiver, receiving

ENDPOINTS = "/v1/webhook_endpoints"
TYPE = "fine_tuning.job.succeeded"
SECRET = "do-not-repeat-me"
SECONDS = 2.0
PRIVATE = (
    "127.0.0.1",
    "[::1]",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "[fe80::1]",
    "[fc00::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:a9fe:a9fe]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:7f00:1::]",
    "[::]",
    "224.0.0.1",
    "255.255.255.255",
    "2130706433",
    "0x7f.1",
    "0x7f000001",
    "017700000001",
    "0177.0.0.1",
    "127.1",
    "127.0.0.1.",
    "localhost",
    "LOCALHOST",
)


def create(url: str) -> Callable[[Scene], Answer]:
    body = json.dumps({"name": "n", "url": url, "event_types": [TYPE]}).encode()
    return lambda scene: scene.send("POST", ENDPOINTS, body, {"Content-Type": "application/json"})


def bad_url(number: str, url: str) -> Case:
    return Case(number, url[:40], create(url), 400, "invalid_url")


URL_CASES = [
    *(
        bad_url("C94", f"{scheme}://hooks.example.com/{SECRET}")
        for scheme in ("http", "ftp", "file", "gopher", "HTTPS")
    ),
    bad_url("C94", f"https://user:{SECRET}@hooks.example.com/"),
    bad_url("C94", f"https://{SECRET}@8.8.8.8/"),
    bad_url("C94", "https://8.8.8.8#@hooks.example.com/"),
    bad_url("C94", "https://8.8.8.8\\@hooks.example.com/"),
    *(bad_url("C94", f"https://8.8.8.8:{port}/{SECRET}") for port in (0, 22, 80, 6379, 65_535, 99_999)),
    Case("C94", "a URL of 3,000 characters", create("https://8.8.8.8/" + "x" * 2984), 400, "invalid_parameter"),
    Case("C94", "a null character", create("https://8.8.8.8/\0"), 400, "invalid_json"),
    bad_url("C94", "https://8.8.8.8/\r\nHost: 127.0.0.1"),
    *(bad_url("C95", f"https://{host}/{SECRET}") for host in PRIVATE),
]


@table(URL_CASES)
def test_urls_that_are_refused_when_they_are_named(scene: Scene, case: Case) -> None:
    case.check(scene)


@pytest.mark.parametrize("host", PRIVATE)
def test_c95_the_same_hosts_are_refused_when_something_is_sent(scene: Scene, host: str) -> None:
    """As if they had come into the database in some other way."""
    service, found = scene.service, f"whe_{PRIVATE.index(host):024d}"
    with service.http("alice") as http:
        account = http.get("/v1/account").json()["id"]
        with service.sessions.begin() as session:
            at = now(session)
            session.add(
                WebhookEndpoint(
                    id=found,
                    account_id=account,
                    name="n",
                    url=f"https://{host}/",
                    event_types=[TYPE],
                    created_at=at,
                    updated_at=at,
                    secret=random_secret(),
                )
            )
        answer = http.post(f"{ENDPOINTS}/{found}/test", json={"event_type": TYPE})
        said = refused(answer, 400, "webhook_unreachable")["message"]
        assert "do not go to" in said
        assert http.delete(f"{ENDPOINTS}/{found}").status_code == 200


def test_c96_a_name_that_leads_inside_by_then_is_not_followed() -> None:
    answers: Iterator[list[str]] = iter((["8.8.8.8", "10.0.0.1"], ["127.0.0.1"], ["::ffff:127.0.0.1"], ["64:ff9b::1"]))
    poster = Sender(Rules(), SECONDS, resolve=lambda _: next(answers))
    assert [poster.post("https://hooks.test/", {}, b"{}").error for _ in range(4)] == ["refused_address"] * 4


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that may send to this machine, where the receivers of the tests are."""
    folder = tmp_path_factory.mktemp("local")
    with serving(Settings(data=folder, webhook_private_networks="127.0.0.0/8", webhook_seconds=SECONDS)) as service:
        yield service


def try_out(service: Service, receiver: Receiver) -> httpx.Response:
    with service.http() as http:
        body = {"name": "n", "url": receiver.url, "event_types": [TYPE]}
        found = http.post(ENDPOINTS, json=body).json()["id"]
        answer = http.post(f"{ENDPOINTS}/{found}/test", json={"event_type": TYPE})
        assert http.delete(f"{ENDPOINTS}/{found}").status_code == 200
        return answer


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_c97_a_redirect_is_an_answer_and_not_followed(local: Service, status: int) -> None:
    with receiving() as receiver:
        receiver.script.append(status)
        receiver.location = f"http://127.0.0.1:{receiver.port}/latest/meta-data"
        assert try_out(local, receiver).json()["status_code"] == status
        assert [one.path for one in receiver.arrived] == ["/hook?to=me"]


@pytest.mark.parametrize(
    ("told", "status"),
    [("flood", 200), ("flood the head", None), ("drip", None), ("drip the body", 200), ("silence", None)],
)
def test_c98_an_answer_without_end_is_read_for_a_moment_only(local: Service, told: str, status: int | None) -> None:
    with receiving() as receiver:
        receiver.script.append(told)
        began = time.monotonic()
        answer = try_out(local, receiver)
        assert time.monotonic() - began < SECONDS + 15  # a receiver goes on for a minute
        assert answer.status_code == (400 if status is None else 200)
        if status is not None:
            assert answer.json()["status_code"] == status


def test_c99_a_replayed_request_is_known_by_its_time_and_by_its_id() -> None:
    secret, body = random_secret(), b"{}"
    client = openai.OpenAI(api_key="x", webhook_secret=secret)
    fresh = headers("evt_1", time.time(), body, [secret])
    client.webhooks.verify_signature(body, fresh)
    for changed in (fresh | {"webhook-timestamp": str(int(time.time()) + 1)}, fresh | {"webhook-id": "evt_2"}):
        with pytest.raises(openai.InvalidWebhookSignatureError):
            client.webhooks.verify_signature(body, changed)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.verify_signature(body, headers("evt_1", time.time() - 301, body, [secret]))
    client.close()
