"""One POST to a stranger's server, which may do anything: real sockets, real TLS, a resolver that may lie."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.settings import Settings
from core.webhooks.destinations import Rules
from core.webhooks.sender import Answer, Sender
from tests.conftest import free_port
from tests.receiver import Receiver, receiving

SECONDS = 1.0
LOCAL = Rules(Settings(webhook_private_networks="127.0.0.0/8").webhook_networks)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def post(url: str, rules: Rules = LOCAL, **options: object) -> Answer:
    return Sender(rules, SECONDS, **options).post(url, {"webhook-id": "evt_1"}, b"{}")  # type: ignore[arg-type]


def test_a_request_arrives_as_it_was_meant(receiver: Receiver) -> None:
    answer = post(receiver.url)
    assert (answer.status_code, answer.error, answer.taken) == (200, None, True)
    [arrived] = receiver.arrived
    assert (arrived.path, arrived.body) == ("/hook?to=me", b"{}")
    assert arrived.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert arrived.headers["webhook-id"] == "evt_1"


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_no_redirect_is_followed(receiver: Receiver, status: int) -> None:
    receiver.script.append(status)
    receiver.location = receiver.url + "/inside"
    answer = post(receiver.url)
    assert (answer.status_code, answer.taken) == (status, False)
    assert len(receiver.arrived) == 1


@pytest.mark.parametrize(
    ("told", "status", "error"),
    [
        (500, 500, None),
        (404, 404, None),
        (204, 204, None),
        ("close", None, "no_answer"),
        ("silence", None, "timeout"),
        ("drip", None, "timeout"),
        ("drip the body", 200, None),
        ("flood", 200, None),
        ("flood the head", None, "no_answer"),
    ],
)
def test_whatever_a_receiver_does_it_costs_little_time_and_memory(
    receiver: Receiver, told: int | str, status: int | None, error: str | None
) -> None:
    receiver.script.append(told)
    answer = post(receiver.url)
    assert (answer.status_code, answer.error) == (status, error)
    assert answer.seconds < 5 * SECONDS


def test_nobody_there_is_said_to_be_so() -> None:
    assert post(f"http://127.0.0.1:{free_port()}/").error == "connect_failed"


def test_a_connection_that_is_never_taken_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(("127.0.0.1", port))
            assert post(f"http://127.0.0.1:{port}/").error == "timeout"


@pytest.mark.parametrize(
    "host", ["hooks.test", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "0.0.0.0", "[64:ff9b::7f00:1]"]
)
def test_what_was_allowed_when_it_was_made_is_looked_at_again_when_it_is_sent(receiver: Receiver, host: str) -> None:
    """As if the name led elsewhere by now: nothing is connected to."""
    for scheme in ("http", "https"):
        url = f"{scheme}://{host}:{receiver.port}/"
        rules = replace(LOCAL, networks=Settings(webhook_private_networks="10.0.0.0/8").webhook_networks)
        told = {"hooks.test": ["127.0.0.1"]}
        answer = post(url, rules, **({"resolve": told.__getitem__} if host in told else {}))
        assert answer.error == "refused_address"
    assert receiver.arrived == []


def test_a_name_is_asked_for_once_and_that_answer_is_connected_to(receiver: Receiver) -> None:
    """Rebinding: the second answer would lead elsewhere, so there is no second question."""
    asked: list[str] = []

    def resolve(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    answer = post(f"http://hooks.test:{receiver.port}/", resolve=resolve)
    assert answer.status_code == 200
    assert asked == ["hooks.test"]
    assert receiver.arrived[0].headers["host"] == f"hooks.test:{receiver.port}"


def test_one_private_address_among_public_ones_is_enough_to_refuse(receiver: Receiver) -> None:
    answer = post(f"http://hooks.test:{receiver.port}/", resolve=lambda _: ["127.0.0.1", "192.168.0.1"])
    assert answer.error == "refused_address"
    assert receiver.arrived == []


def test_the_next_address_is_tried_where_the_first_takes_no_connection(receiver: Receiver) -> None:
    answer = post(f"http://hooks.test:{receiver.port}/", resolve=lambda _: ["127.0.0.2", "127.0.0.1"])
    assert answer.status_code == 200


def test_a_name_without_an_address_is_said_to_have_none() -> None:
    def resolve(host: str) -> list[str]:
        raise socket.gaierror

    assert post("http://hooks.test/", resolve=resolve).error == "unresolvable"
    assert post("http://hooks.test/", resolve=lambda _: []).error == "unresolvable"


def certificate(folder: Path, name: str) -> Path:
    path = folder / "certificate.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "1",
            "-subj",
            f"/CN={name}",
            "-addext",
            f"subjectAltName=DNS:{name}",
            "-keyout",
            path,
            "-out",
            folder / "public.pem",
        ],
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + (folder / "public.pem").read_text())
    return path


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_tls_is_verified_against_the_name_though_the_address_is_connected_to(tmp_path: Path) -> None:
    path = certificate(tmp_path, "hooks.test")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(path)
    trusting = ssl.create_default_context(cafile=str(tmp_path / "public.pem"))
    with receiving(serving) as receiver:
        told = {"tls": trusting, "resolve": lambda _: ["127.0.0.1"]}
        assert post(f"https://hooks.test:{receiver.port}/", **told).status_code == 200
        assert post(f"https://other.test:{receiver.port}/", **told).error == "tls_failed"
        assert post(f"https://hooks.test:{receiver.port}/", resolve=lambda _: ["127.0.0.1"]).error == "tls_failed"
        assert len(receiver.arrived) == 1
