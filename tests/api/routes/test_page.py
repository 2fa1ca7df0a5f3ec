"""The web page: one document at all of its addresses, fenced in, told by its content, and nothing beside its files."""

from __future__ import annotations

import socket

import httpx
import pytest

from api.app import PAGE
from api.http.static_files import MEDIA_TYPES
from tests.api.server import Service, refused

# What is checked here never reaches a database, so one is enough.
pytestmark = pytest.mark.parametrize("service", ["sqlite"], indirect=True, scope="module")
ADDRESSES = ["/", "/new", "/adapters/ftjob-1", "/adapters/ftjob-1/training", "/settings", "/settings/keys"]
FILES = sorted(path.relative_to(PAGE).as_posix() for path in PAGE.rglob("*") if path.suffix in MEDIA_TYPES)
OUTSIDE = ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "vendor/../../app.py", "/etc/passwd", "%00", "", "nothing.js"]
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_address_of_the_page_is_the_same_document(service: Service, address: str) -> None:
    answer = httpx.get(f"{service.address}{address}")
    assert answer.content == (PAGE / "index.html").read_bytes()
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_every_file_of_the_page_is_sent_as_what_it_is_and_fenced_in(service: Service) -> None:
    with httpx.Client(base_url=service.address) as client:
        for name in FILES:
            answer = client.get(f"/page/{name}")
            assert answer.content == (PAGE / name).read_bytes()
            assert answer.headers["content-type"] == MEDIA_TYPES["." + name.rpartition(".")[2]]
            assert answer.headers["content-security-policy"] == POLICY
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["cross-origin-opener-policy"] == "same-origin"
            assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("packing", ["gzip", "identity"])
def test_a_browser_that_holds_a_file_is_told_so_and_no_more(service: Service, packing: str) -> None:
    with httpx.Client(base_url=service.address, headers={"Accept-Encoding": packing}) as client:
        first = client.get("/")
        again = client.get("/", headers={"If-None-Match": f'"other", {first.headers["etag"]}'})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        assert first.headers["cache-control"] == again.headers["cache-control"] == "no-cache"
        assert client.get("/", headers={"If-None-Match": '"other"'}).status_code == 200


def test_the_apis_document_is_read_on_a_page_of_our_own(service: Service) -> None:
    answer = httpx.get(f"{service.address}/docs")
    assert answer.content == (PAGE / "docs/index.html").read_bytes()
    assert answer.headers["content-security-policy"] == POLICY
    for other in ("/redoc", "/docs/oauth2-redirect"):
        refused(httpx.get(f"{service.address}{other}"), 404)


def test_head_is_what_get_is_without_the_body(service: Service) -> None:
    got, head = (httpx.request(method, f"{service.address}/new") for method in ("GET", "HEAD"))
    own = ("date", "x-request-id")
    told = [{name: value for name, value in answer.headers.items() if name not in own} for answer in (got, head)]
    assert (head.status_code, head.content) == (200, b"")
    assert told[0] == told[1]


@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_outside_of_the_page_is_reached(service: Service, path: str) -> None:
    host, port = service.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:  # no client that tidies the path
        connection.sendall(f"GET /page/{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 404 ")


def test_the_page_is_read_only_and_says_which_methods_it_takes(service: Service) -> None:
    for address in ("/", "/page/index.html"):
        answer = httpx.post(f"{service.address}{address}")
        refused(answer, 405)
        assert answer.headers["allow"] == "GET, HEAD"


def test_the_page_is_no_part_of_the_apis_document(service: Service) -> None:
    paths = httpx.get(f"{service.address}/openapi.json").json()["paths"]
    assert [path for path in paths if path.startswith(("/page", "/adapters", "/settings", "/new")) or path == "/"] == []
