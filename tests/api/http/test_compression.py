"""Compression: JSON is sent packed to those who take it; streams, downloads and ranges go as they are."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from core.storage.factory import storage
from tests.api.server import Service

pytestmark = pytest.mark.parametrize("service", ["sqlite"], indirect=True, scope="module")
PACKED = {"Accept-Encoding": "gzip"}
JOBS = "/v1/fine_tuning/jobs"


def test_json_is_packed_for_those_who_take_it_and_says_that_it_differs(http: httpx.Client) -> None:
    packed = http.get("/openapi.json", headers=PACKED)
    plain = http.get("/openapi.json", headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.json() == plain.json()
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 2
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"


def test_a_short_answer_is_not_packed(http: httpx.Client) -> None:
    assert "content-encoding" not in http.get("/healthz", headers=PACKED).headers


def test_an_event_of_a_running_job_comes_at_once(http: httpx.Client, create: Callable[..., httpx.Response]) -> None:
    address = f"{JOBS}/{create().json()['id']}/events"
    with http.stream("GET", address, headers={**PACKED, "Accept": "text/event-stream"}) as answer:
        assert "content-encoding" not in answer.headers
        assert next(answer.iter_lines()).startswith("id: ")  # the job is queued, and the stream stays open
    http.post(f"{address.removesuffix('/events')}/cancel").raise_for_status()


def test_a_download_is_sent_as_it_lies_with_its_length(http: httpx.Client, text_file: str) -> None:
    size = http.get(f"/v1/files/{text_file}").json()["bytes"]
    answer = http.get(f"/v1/files/{text_file}/content", headers=PACKED)
    assert "content-encoding" not in answer.headers
    assert int(answer.headers["content-length"]) == len(answer.content) == size


def test_a_range_of_a_signed_file_is_those_bytes(service: Service) -> None:
    store = storage(service.settings)
    store.put("accounts/a/long", b"abcde" * 1000)
    link = store.url("accounts/a/long", seconds=60, filename="long.txt")
    answer = httpx.get(f"{service.address}{link}", headers={**PACKED, "Range": "bytes=1-2000"})
    assert (answer.status_code, answer.content) == (206, b"bcdea" * 400)
    assert "content-encoding" not in answer.headers
