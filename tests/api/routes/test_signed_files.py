"""Signed links to local files: for their file, for their time, for nobody else's."""

from __future__ import annotations

import httpx
import pytest

from core.storage.factory import storage
from core.storage.local import LocalStorage
from tests.api.server import Service, refused


@pytest.fixture
def link(service: Service) -> str:
    store = storage(service.settings)
    store.put("accounts/a/hello", b"hello world")
    url = store.url("accounts/a/hello", seconds=60, filename="hello.txt")
    assert url is not None
    return service.address + url


def test_a_signed_link_needs_no_key_and_takes_ranges(link: str) -> None:
    answer = httpx.get(link)
    assert answer.content == b"hello world"
    assert "hello.txt" in answer.headers["content-disposition"]
    assert httpx.get(link, headers={"Range": "bytes=6-"}).content == b"world"


def test_a_thousand_ranges_are_no_burden(link: str) -> None:
    assert httpx.get(link, headers={"Range": "bytes=" + ",".join(["0-"] * 1000)}).status_code in (200, 206, 416)


@pytest.mark.parametrize(
    "change",
    [
        ("hello?", "hallo?"),
        ("expires=1", "expires=2"),
        ("signature=", "signature=0"),
        ("accounts/a/hello", "accounts/a/../../../serve.lock"),
    ],
)
def test_a_changed_link_is_refused(link: str, change: tuple[str, str]) -> None:
    assert change[0] in link
    answer = httpx.get(link.replace(*change))
    refused(answer, answer.status_code)
    assert answer.status_code in (403, 404)


def test_a_link_ends_with_its_time(service: Service) -> None:
    store = storage(service.settings)
    assert isinstance(store, LocalStorage)
    store.put("accounts/a/old", b"x")
    refused(httpx.get(service.address + str(store.url("accounts/a/old", seconds=-1))), 403)


def test_a_signature_that_is_no_ascii_is_refused(link: str) -> None:
    refused(httpx.get(link.split("signature=")[0] + "signature=%C3%A9"), 403)
