"""Start links: taken once, on this machine, by a page of this very address; and no other site gets anywhere."""

from __future__ import annotations

import threading
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import select, update

from api.app import START_TRIES
from core.accounts import start_links
from core.database.engine import now
from core.database.tables import Account, ApiKey, Audit
from core.settings import Settings
from tests.api.server import Service, refused, serving


@pytest.fixture
def token(service: Service) -> str:
    return start_links.make(service.settings.data)


def start(service: Service, token: str, **headers: str) -> httpx.Response:
    return httpx.post(f"{service.address}/start", json={"token": token}, headers=headers)


def account_of(service: Service, key: str) -> str:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.get(f"{service.address}/v1/account", headers=headers).raise_for_status().json()["name"]


def test_a_start_link_is_taken_once_for_a_key_of_the_local_account(service: Service, token: str) -> None:
    answer = start(service, token, Origin=service.address)
    given = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert account_of(service, given["key"]) == "local"
    with service.sessions() as session:
        row = session.get_one(ApiKey, given["key"].split("_")[1])
        left = given["expires_at"] - now(session)
        made = session.scalars(select(Audit.action).where(Audit.target == row.id)).all()
    assert (row.scopes, made) == (["read", "write"], ["key.create"])
    assert 0 < left <= start_links.KEY_SECONDS
    error = refused(start(service, token), 403, "start_link_used")
    assert "`albatross link`" in error["message"]


def test_the_links_of_one_machine_open_one_account_whoever_else_has_one(service: Service) -> None:
    service.key("alice")
    keys = [start(service, start_links.make(service.settings.data)).json()["key"] for _ in range(2)]
    assert {account_of(service, key) for key in keys} == {"local"}


def test_a_link_for_an_account_opens_that_one(service: Service) -> None:
    service.key("alice")
    key = start(service, start_links.make(service.settings.data, "alice")).json()["key"]
    assert account_of(service, key) == "alice"


def test_only_a_hash_of_a_token_is_kept(service: Service, token: str) -> None:
    lie = [path for path in service.settings.data.rglob("*") if path.is_file()]
    assert not any(token in str(path) or token.encode() in path.read_bytes() for path in lie)


def test_of_many_who_take_a_link_at_once_one_gets_a_key(service: Service, token: str) -> None:
    answers: list[httpx.Response] = []
    threads = [threading.Thread(target=lambda: answers.append(start(service, token))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200, 403, 403, 403, 403, 403]


def test_a_link_that_nobody_opened_in_time_is_worth_nothing_and_is_cleared_away(service: Service) -> None:
    late = start_links.make(service.settings.data, seconds=-1.0)
    refused(start(service, late), 403, "start_link_used")
    folder = service.settings.data / "start-links"
    before = set(folder.iterdir())
    start_links.make(service.settings.data)
    assert len(before - set(folder.iterdir())) == 1


@pytest.mark.parametrize("token", ["wrong", "../signing.key", "\u00fc", "x" * 200])
def test_a_token_that_is_none_opens_nothing(service: Service, token: str) -> None:
    refused(start(service, token), 403, "start_link_used")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Host": "elsewhere.example"},
        {"Host": "127.0.0.1.elsewhere.example"},
        {"Host": "elsewhere.example:8000", "Origin": "http://elsewhere.example:8000"},  # DNS rebinding
        {"Host": "[::1"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"Forwarded": "for=192.0.2.1"},
    ],
)
def test_who_comes_from_elsewhere_takes_no_link_and_uses_none_up(
    service: Service, token: str, headers: dict[str, str]
) -> None:
    refused(start(service, token, **headers), 403, "start_link_refused")
    assert start(service, token).status_code == 200


def test_a_machine_of_the_network_is_not_this_one() -> None:
    assert not any(map(start_links.loopback, ("192.0.2.1", "10.0.0.1", "::2", "0.0.0.0", "", "localhost.example")))
    assert all(map(start_links.loopback, ("127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1", "LocalHost")))


def test_localhost_is_this_machine_too(service: Service, token: str) -> None:
    host = f"localhost:{urlsplit(service.address).port}"
    assert start(service, token, Host=host, Origin=f"http://{host}").status_code == 200


def test_the_body_of_a_start_is_checked_like_any_other(service: Service) -> None:
    address = f"{service.address}/start"
    refused(httpx.post(address, json={}), 400, "invalid_parameter")
    refused(httpx.post(address, json={"token": 3}), 400, "invalid_parameter")
    refused(httpx.post(address, content=b"{", headers={"Content-Type": "application/json"}), 400)


@pytest.mark.parametrize("path", ["/v1/files", "/v1/fine_tuning/jobs", "/v1/capabilities", "/start", "/"])
def test_a_page_of_another_site_is_let_in_nowhere(service: Service, path: str) -> None:
    origin = {"Origin": "https://elsewhere.example"}
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    preflight = httpx.options(f"{service.address}{path}", headers=origin | asked)
    refused(preflight, 405)
    got = httpx.get(f"{service.address}{path}", headers=origin | {"Authorization": f"Bearer {service.key()}"})
    for answer in (preflight, got):
        assert [name for name in answer.headers if name.startswith("access-control-")] == []


def test_an_expired_key_is_told_from_one_that_is_mistyped(service: Service, token: str) -> None:
    key = start(service, token).json()["key"]
    with service.sessions.begin() as session:
        session.execute(update(ApiKey).where(ApiKey.id == key.split("_")[1]).values(expires_at=now(session) - 1))
    asked = [
        httpx.get(f"{service.address}/v1/files", headers={"Authorization": f"Bearer {k}"}) for k in (key, key[:-1])
    ]
    assert "albatross link" in refused(asked[0], 401, "expired_api_key")["message"]
    refused(asked[1], 401, "invalid_api_key")


def test_an_erased_local_account_stays_erased_and_the_next_takes_its_place(tmp_path: Path) -> None:
    with serving(Settings(data=tmp_path)) as service:
        keys = []
        for _ in range(2):
            keys.append(start(service, start_links.make(tmp_path)).json()["key"])
            with service.sessions.begin() as session:
                session.execute(update(Account).where(Account.name == "local").values(erased_at=now(session)))
        refused(httpx.get(f"{service.address}/v1/files", headers={"Authorization": f"Bearer {keys[0]}"}), 401)
        assert account_of(service, keys[1]) == "local-2"


def test_nobody_tries_tokens_for_long(tmp_path: Path) -> None:
    with serving(Settings(data=tmp_path)) as service, httpx.Client(base_url=service.address) as client:
        answers = [client.post("/start", json={"token": f"guess {n}"}) for n in range(2 * START_TRIES)]
    assert {answer.status_code for answer in answers[:START_TRIES]} == {403}
    error = refused(next(answer for answer in answers if answer.status_code != 403), 429, "rate_limit_exceeded")
    assert error["message"].startswith("This machine has sent 60 requests")
