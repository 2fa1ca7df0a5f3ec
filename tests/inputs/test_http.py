"""C01 to C31: requests that are broken as HTTP, as JSON or as a form."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.settings import Settings
from tests.api.server import png, serving
from tests.conftest import until
from tests.inputs.catalogue import FILES, JOBS, SECRET, Case, Scene, plain, post_job, request, table, upload_form
from tests.inputs.wire import FORM, Answer, chunked, connect, ending, form, head, heard, part

JSON = "application/json"
MIB = 1_000_000


def body(value: str, name: str = "seed") -> bytes:
    return f'{{"model": "tiny-images", "training_file": "file-x", "{name}": {value}}}'.encode()


def bad_json(number: str, what: str, content: bytes) -> Case:
    return Case(number, what, post_job(content), 400, "invalid_json")


def bad_value(number: str, what: str, content: bytes) -> Case:
    return Case(number, what, post_job(content), 400, "invalid_parameter")


JSON_CASES = [
    bad_json("C01", "a cut body", b"{"),
    bad_json("C01", "no body", b""),
    bad_json("C02", "bytes that are not UTF-8", b'{"model": "\xff\xfe"}'),
    bad_json("C02", "UTF-16", body("1").decode().encode("utf-16")),
    bad_json("C03", "100,000 levels", b"[" * 100_000 + b"]" * 100_000),
    bad_json("C03", "objects in objects", b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    bad_json("C04", "an integer of 5,000 digits", body("9" * 5000)),
    bad_json("C05", "NaN", body("NaN")),
    bad_json("C05", "Infinity", body("Infinity")),
    bad_json("C05", "-Infinity", body("-Infinity")),
    bad_json("C06", "1e400", body("1e400")),
    bad_json("C07", "a lone surrogate", body('"\\ud800"', "suffix")),
    bad_json("C07", "a lone surrogate for a key", body("1", "\\udfff")),
    bad_json("C08", "a null character", body('"a\\u0000b"', "suffix")),
    bad_json("C08", "a null character in metadata", body('{"a\\u0000b": "c"}', "metadata")),
    bad_json("C09", "the same key twice", b'{"model": "a", "model": "b", "training_file": "c"}'),
    bad_value("C10", "true for a number", body("true")),
    bad_value("C10", "a text for a number", body('"7"')),
    bad_value("C10", "a number for a text", body("7", "suffix")),
    bad_value("C11", "an unknown field", body(f'"{SECRET}"', "trust")),
    bad_value("C11", "an unknown field deep inside", body(f'{{"trust": "{SECRET}"}}', "bat")),
    bad_value(
        "C11",
        "250,000 combining marks in an order that is slow to mend",
        body('{"sample_prompts": ["a' + "\u0301\u0316" * 125_000 + '"]}', "bat"),
    ),
    Case("C12", "JSON as text/plain", post_job(b"{}", Content_Type="text/plain"), 415, "unsupported_media"),
    Case("C12", "JSON as nothing", request("POST", JOBS, b"{}"), 415, "unsupported_media"),
    Case("C13", "3 MB of JSON", post_job(b" " * 3 * MIB), 413, "too_large"),
    Case(
        "C14",
        "3 MB of JSON of unknown length",
        request("POST", JOBS, tuple(chunked([b" " * 65_536] * 48)), Content_Type=JSON, Transfer_Encoding="chunked"),
        413,
        "too_large",
    ),
    Case(
        "C16", "a gzip bomb", post_job(b"\x1f\x8b" + b"\0" * 1000, Content_Encoding="gzip"), 415, "unsupported_encoding"
    ),
]


@table(JSON_CASES)
def test_json_that_cannot_be_trusted(scene: Scene, case: Case) -> None:
    case.check(scene)


def lengths(number: str, what: str, *headers: tuple[str, str]) -> Case:
    send = plain("POST", [("Content-Type", JSON), *headers], b"{}")
    return Case(number, what, send, 400, envelope=False, why="the server itself hangs up on what is no HTTP")


TWO_ENDS = b"0\r\n\r\n"
FRAMING_CASES = [
    lengths("C15", "a length of -1", ("Content-Length", "-1")),
    lengths("C15", "two lengths", ("Content-Length", "2"), ("Content-Length", "3")),
    Case(
        "C15",
        "a length and chunks",
        plain("POST", [("Content-Type", JSON), ("Content-Length", "2"), ("Transfer-Encoding", "chunked")], TWO_ENDS),
        400,
        "invalid_json",
        why="RFC 9112 lets chunks win; the connection serves nobody else after it",
    ),
    Case(
        "C24",
        "a header of 1 MB",
        request("GET", FILES, X_Long="x" * MIB),
        0,
        why="the server itself refuses headers over 16 kB that come in more than one piece",
    ),
    Case(
        "C24",
        "500 headers",
        plain("GET", [(f"X-{number}", "1") for number in range(500)], path=FILES),
        200,
        why="they fit into the 16 kB that headers may have",
    ),
    Case(
        "C24",
        "100,000 headers",
        plain("GET", [(f"X-{number}", "1") for number in range(100_000)], path=FILES),
        0,
        why="they do not fit",
    ),
    Case(
        "C27",
        "another Host",
        plain("GET", [("Host", "evil.example")], path=FILES),
        400,
        envelope=False,
        why="two Host headers are no HTTP",
    ),
    Case(
        "C27",
        "a path for a Host",
        lambda scene: with_host(scene, "a/../admin"),
        200,
        why="the name that a client calls the service by is used for nothing",
    ),
    Case("C29", "PUT", request("PUT", FILES), 405, "method_not_allowed"),
    Case("C29", "TRACE", request("TRACE", JOBS), 405, "method_not_allowed"),
    Case("C30", "a null character for an id", request("GET", f"{JOBS}/%00"), 404, "job_not_found"),
    Case("C30", "a path for an id", request("GET", f"{JOBS}/..%2f..%2fetc"), 404, "not_found"),
    Case("C30", "a word for an id", request("GET", f"{JOBS}/1"), 404, "job_not_found"),
    Case("C30", "a surrogate for an id", request("GET", f"{FILES}/%ed%a0%80"), 404, "file_not_found"),
    Case("C30", "bytes that are not UTF-8 for an id", request("GET", f"{FILES}/%ff"), 404, "file_not_found"),
    Case(
        "C30",
        "a null character for a stored file",
        request("GET", "/v1/storage/a%00?expires=1&signature=x"),
        403,
        "invalid_signature",
    ),
    Case(
        "C30",
        "a path for a stored file",
        request("GET", "/v1/storage/../../etc/passwd?expires=1&signature=x"),
        403,
        "invalid_signature",
    ),
    Case(
        "C30",
        "a surrogate for a signature",
        request("GET", "/v1/storage/a?expires=1&signature=%ed%a0%80"),
        403,
        "invalid_signature",
    ),
    Case(
        "C30",
        "an expiry of 400 digits",
        request("GET", f"/v1/storage/a?expires={'9' * 400}&signature=x"),
        403,
        "invalid_signature",
    ),
    *(
        Case("C31", query[:30], request("GET", f"{path}?{query}"), 400, code)
        for path in (FILES, JOBS)
        for query, code in (
            ("limit=-1", "invalid_parameter"),
            ("limit=1000000000", "invalid_parameter"),
            ("limit=1e3", "invalid_parameter"),
            (f"limit={'9' * 5000}", "invalid_parameter"),
            ("after=garbage", "invalid_cursor"),
            ("after=%00", "invalid_parameter"),
            ("after=%F0%9F%98%80", "invalid_parameter"),
        )
    ),
    Case("C31", "order=;drop", request("GET", f"{FILES}?order=;drop"), 400, "invalid_parameter"),
    Case(
        "C31",
        "sort=;drop",
        request("GET", f"{FILES}?sort=;drop"),
        200,
        why="parameters of a GET that are not known are ignored",
    ),
    Case("C31", "purpose=%00", request("GET", f"{FILES}?purpose=%00"), 400, "invalid_parameter"),
    Case(
        "C31",
        "events after a null character",
        lambda scene: scene.send("GET", f"{JOBS}/{scene.job().json()['id']}/events?after=%00"),
        400,
        "invalid_parameter",
    ),
    Case("C31", "a filter with a null character", request("GET", f"{JOBS}?metadata[a]=%00"), 400, "invalid_filter"),
]


def with_host(scene: Scene, host: str) -> Answer:
    lines = f"GET {FILES} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
    with connect(scene.service.address) as raw:
        raw.sendall(f"{lines}Authorization: Bearer {scene.service.key()}\r\n\r\n".encode())
        return heard(raw, "GET")


@table(FRAMING_CASES)
def test_requests_that_are_hardly_http(scene: Scene, case: Case) -> None:
    answer = case.check(scene)
    if case.status == 405:
        assert {"GET", "POST"} <= set(answer.headers["Allow"].split(", "))
    if case.number == "C15":
        assert answer.headers["Connection"] == "close"


def bad_form(number: str, what: str, content: bytes, code: str = "invalid_form") -> Case:
    return Case(number, what, upload_form(content), 400, code)


PIECE = part("file", SECRET.encode(), "a")
FORM_CASES = [
    Case("C17", "no boundary", upload_form(PIECE, "multipart/form-data"), 400, "invalid_form"),
    Case(
        "C17",
        "a boundary of 300",
        upload_form(PIECE, f"multipart/form-data; boundary={'b' * 300}"),
        400,
        "invalid_form",
    ),
    bad_form("C18", "a form that ends before its last boundary", form(png())[:-20]),
    bad_form("C18", "a form that is cut in a header", b"--the-boundary\r\nContent-Dispo"),
    Case(
        "C19",
        "10 MB of line ends before the first boundary",
        upload_form(b"\r\n" * 5 * MIB + form(png())),
        200,
        why="what stands around the parts is passed over; it counts, and is never kept",
    ),
    Case(
        "C19",
        "10 MB of line ends after the last boundary",
        upload_form(form(png()) + b"\r\n" * 5 * MIB),
        200,
        why="the same",
    ),
    bad_form("C20", "a part with 10,000 headers", part("file", b"", "a", b"X-Evil: 1\r\n" * 10_000) + ending()),
    bad_form("C20", "a header of 1 MB", part("file", b"", "a", b"X-Evil: " + b"h" * MIB + b"\r\n") + ending()),
    bad_form("C21", "1,001 files", PIECE * 1001 + ending(), "several_files"),
    bad_form("C21", "1,001 fields", part("purpose", b"fine-tune") * 1001 + ending(), "repeated_parameter"),
    bad_form("C21", "an unknown field", part(SECRET, b"1") + ending(), "unknown_parameter"),
    bad_form("C22", "a field of 5 MB", part("purpose", b"p" * 5 * MIB) + ending()),
    Case(
        "C23",
        "an ordinary form of 100 kB of ;",
        request("POST", FILES, b";" * 100_000, Content_Type="application/x-www-form-urlencoded"),
        415,
        "unsupported_media",
    ),
    Case(
        "C23",
        "the same for a job",
        post_job(b";" * 100_000, Content_Type="application/x-www-form-urlencoded"),
        415,
        "unsupported_media",
    ),
    Case(
        "C23",
        "a form type of 100 kB of ;",
        upload_form(PIECE, "multipart/form-data" + ";" * 15_000),
        400,
        "invalid_form",
    ),
]


@table(FORM_CASES)
def test_forms_that_are_broken(scene: Scene, case: Case) -> None:
    case.check(scene)


RANGES = ",".join(["0-"] * 1000)
RANGE_CASES = [
    Case(
        "C28",
        "1,000 ranges of a file",
        lambda scene: ranged(scene, f"{FILES}/{scene.file()}/content"),
        200,
        why="ranges are not served: the whole file is",
    ),
    Case(
        "C28",
        "1,000 ranges of a signed link",
        lambda scene: ranged(scene, signed(scene)),
        200,
        why="a request for too many ranges is taken for one of the whole file",
    ),
]


def ranged(scene: Scene, path: str) -> Answer:
    return scene.send("GET", path, headers={"Range": f"bytes={RANGES}"})


def signed(scene: Scene) -> str:
    from core.storage.factory import storage

    key = f"accounts/x/{SECRET[:4]}"
    store = storage(scene.service.settings)
    store.put(key, b"content")
    address = store.url(key)
    assert address is not None
    return address


@table(RANGE_CASES)
def test_ranges(scene: Scene, case: Case) -> None:
    case.check(scene)


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[tuple[Scene, socket.socket]]:
    """A client that falls silent in the middle of an upload."""
    with serving(Settings(data=tmp_path, body_silence_seconds=5)) as service, connect(service.address) as raw:
        content = form(png())
        named = {"Content-Type": FORM, "Content-Length": len(content), "Authorization": f"Bearer {service.key()}"}
        raw.sendall(head("POST", FILES, named) + content[: len(content) // 2])
        yield Scene(service), raw


def test_c26_a_silent_client_is_answered_408_and_leaves_nothing_behind(silent: tuple[Scene, socket.socket]) -> None:
    scene, raw = silent
    until(lambda: scene.left_behind() != [])
    Case("C26", "half a body, then silence", lambda _: heard(raw, "POST"), 408, "request_timeout").check(scene)
