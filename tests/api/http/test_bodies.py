"""Bodies that are wrong in every way that a parser may meet."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.api.server import Service, refused

# What a parser refuses never reaches a database, so one is enough.
pytestmark = pytest.mark.parametrize("service", ["sqlite"], indirect=True, scope="module")
JOBS = "/v1/fine_tuning/jobs"
BAD_LENGTHS = ["Content-Length: -1\r\n", "Content-Length: 2\r\nContent-Length: 3\r\n", "Content-Length: x\r\n"]
SECRET = "do-not-repeat-me"


def body(value: str, name: str = "seed") -> bytes:
    return f'{{"model": "tiny-images", "training_file": "file-x", "{name}": {value}}}'.encode()


BAD_JSON = {
    "cut": b"{",
    "empty": b"",
    "not UTF-8": b'{"model": "\xff\xfe"}',
    "NaN": body("NaN"),
    "infinite": body("-Infinity"),
    "1e400": body("1e400"),
    "5,000 digits": body("9" * 5000),
    "lone surrogate": body('"\\ud800"', "suffix"),
    "NUL": body('"a\\u0000b"', "suffix"),
    "terminal escape": body('"\\u001b[2J"', "suffix"),
    "direction override": body('"\\u202egnp"', "suffix"),
    "the same key twice": b'{"model": "a", "model": "b", "training_file": "c"}',
    "100,000 levels": b"[" * 100_000 + b"]" * 100_000,
    "40 levels": body("[" * 40 + "]" * 40),
}


@pytest.mark.parametrize("content", BAD_JSON.values(), ids=BAD_JSON)
def test_json_that_cannot_be_trusted_is_400(http: httpx.Client, content: bytes) -> None:
    answer = http.post(JOBS, content=content, headers={"Content-Type": "application/json"})
    refused(answer, 400, "invalid_json")


BAD_VALUES = {
    "true for a number": body("true"),
    "a text for a number": body('"7"'),
    "a fraction for a number": body("7.5"),
    "a negative seed": body("-1"),
    "a seed of 2**64": body(str(2**64)),
    "an unknown field": body(f'"{SECRET}"', "trust_remote_code"),
    "an unknown field in bat": body(f'{{"custom_pipeline": "{SECRET}"}}', "bat"),
    "1e308 for a share": body('{"gamma": 1e308}', "bat"),
    "a rank of 0": body('{"rank": 0}', "bat"),
    "a rank of 7.5": body('{"rank": 7.5}', "bat"),
    "a rank of true": body('{"rank": true}', "bat"),
    "a learning rate of 10": body('{"learning_rate": 10}', "bat"),
    "10**9 steps": body('{"max_steps": 1000000000}', "bat"),
    "no steps": body('{"max_steps": 0}', "bat"),
    "a stopping rule that there is not": body(f'{{"stop": "{SECRET}"}}', "bat"),
    "nine prompts": body('{"sample_prompts": ["a","b","c","d","e","f","g","h","i"]}', "bat"),
    "a suffix with a colon": body(f'"{SECRET}:x"', "suffix"),
    "a suffix of 65": body(f'"{"x" * 65}"', "suffix"),
    "17 pairs": body("{" + ",".join(f'"{n}": "v"' for n in range(17)) + "}", "metadata"),
    "a value that is no text": body('{"k": 1}', "metadata"),
    "a value of 513": body(f'{{"k": "{"v" * 513}"}}', "metadata"),
    "another method": body('{"type": "dpo"}', "method"),
    "zero epochs": body('{"n_epochs": 0}', "hyperparameters"),
    "an integration": body('[{"type": "wandb"}]', "integrations"),
    "a list": b"[]",
    "null": b"null",
    "no model": b'{"training_file": "file-x"}',
    "a model that is null": b'{"model": null, "training_file": "file-x"}',
}


@pytest.mark.parametrize("content", BAD_VALUES.values(), ids=BAD_VALUES)
def test_a_value_that_is_not_taken_is_400_and_is_not_repeated(http: httpx.Client, content: bytes) -> None:
    answer = http.post(JOBS, content=content, headers={"Content-Type": "application/json"})
    refused(answer, 400, "invalid_parameter")
    assert SECRET not in answer.text


def test_the_field_that_is_wrong_is_named(http: httpx.Client) -> None:
    def param(**fields: object) -> str:
        return refused(http.post(JOBS, json={"model": "tiny-images", "training_file": "f", **fields}), 400)["param"]

    assert param(bat={"gamma": 2}) == "bat.gamma"
    assert param(bat={"unknown": 2}) == "bat.unknown"
    assert param(method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": "many"}}}) == (
        "method.supervised.hyperparameters.n_epochs"
    )


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_json_under_another_name_is_415(http: httpx.Client, kind: str) -> None:
    refused(http.post(JOBS, content=b"{}", headers={"Content-Type": kind}), 415)


def test_a_compressed_body_is_never_inflated(http: httpx.Client) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    refused(http.post(JOBS, content=b"\x1f\x8b", headers=headers), 415, "unsupported_encoding")


def test_a_large_body_is_413(http: httpx.Client) -> None:
    headers = {"Content-Type": "application/json"}
    refused(http.post(JOBS, content=b" " * 3_000_000, headers=headers), 413)


def test_a_large_body_without_a_length_is_413(http: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(48):
            yield b" " * 65_536

    refused(http.post(JOBS, content=pieces(), headers={"Content-Type": "application/json"}), 413)


@pytest.mark.parametrize("lengths", BAD_LENGTHS)
def test_a_length_that_is_none_is_400(service: Service, lengths: str) -> None:
    host, port = service.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as raw:
        raw.sendall(f"POST {JOBS} HTTP/1.1\r\nHost: x\r\n{lengths}\r\n{{}}".encode())
        assert raw.recv(1000).startswith(b"HTTP/1.1 400")


def test_a_client_that_leaves_in_the_middle_leaves_the_service_well(service: Service, http: httpx.Client) -> None:
    host, port = service.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as raw:
        head = f"POST {JOBS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.key()}\r\n"
        raw.sendall((head + "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{").encode())
        time.sleep(0.2)
    assert http.get("/v1/files").status_code == 200
