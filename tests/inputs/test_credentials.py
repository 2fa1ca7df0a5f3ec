"""C32 to C39: keys that are none, and accounts that reach for each other's things."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from core.accounts import api_keys
from core.database.engine import now
from core.database.tables import ApiKey
from tests.api.outcome import publish
from tests.inputs.catalogue import FILES, JOBS, Case, Scene, Send, request, table
from tests.inputs.wire import Answer

PUBLIC = "alb_aaaaaaaa_"


def keyed(number: str, what: str, key: str) -> Case:
    send = request("GET", FILES, account=None, Authorization=f"Bearer {key}")
    return Case(number, what, send, 401, "invalid_api_key", secret=key)


def made(scene: Scene, *, expires_in: float | None = None, revoked: bool = False) -> str:
    with scene.service.sessions.begin() as session:
        at = now(session)
        key = api_keys.create(session, "spare", expires_at=None if expires_in is None else at + expires_in)
        session.flush()
        if revoked:
            session.get_one(ApiKey, key.split("_")[1]).revoked_at = at
    return key


def with_made(**how: object) -> Send:
    return lambda scene: with_key(scene, made(scene, **how))  # type: ignore[arg-type]


def with_key(scene: Scene, key: str) -> Answer:
    return scene.send("GET", FILES, headers={"Authorization": f"Bearer {key}"})


def key_in_query(scene: Scene) -> Answer:
    return scene.send("GET", f"{FILES}?api_key={scene.service.key()}&key={scene.service.key()}", account=None)


KEY_CASES = [
    Case("C32", "no key", request("GET", FILES, account=None), 401, "missing_api_key"),
    Case("C32", "no key and a broken body", request("POST", JOBS, b"{", account=None), 401, "missing_api_key"),
    Case("C32", "a key in the query", key_in_query, 401, "missing_api_key"),
    Case(
        "C32",
        "a key by another scheme",
        request("GET", FILES, account=None, Authorization="Basic YTpi"),
        401,
        "missing_api_key",
    ),
    keyed("C33", "another prefix of the right length", "sk-" + "x" * 59),
    keyed("C33", "a key that is cut short", PUBLIC + "x" * 20),
    keyed("C33", "a key of 10 kB", PUBLIC + "x" * 10_000),
    keyed("C33", "a key with letters of other alphabets", PUBLIC + "\u0660" * 49),
    keyed("C33", "a key with bytes that are not UTF-8", PUBLIC + "\udcff" * 49),
    keyed("C33", "a public part that nobody has", PUBLIC + "x" * 49),
    Case(
        "C33",
        "a key of 1 MB",
        request("GET", FILES, account=None, Authorization="Bearer " + "x" * 1_000_000),
        0,
        why="the server itself refuses headers over 16 kB that come in more than one piece",
    ),
    Case(
        "C33",
        "the right public part and a wrong secret",
        lambda scene: with_key(scene, f"{scene.service.key()[:-10]}{'x' * 10}"),
        401,
        "invalid_api_key",
    ),
    Case("C34", "an expired key", with_made(expires_in=-1), 401, "expired_api_key"),
    Case("C34", "a revoked key", with_made(revoked=True), 401, "invalid_api_key"),
]


@table(KEY_CASES)
def test_keys_that_let_nobody_in(scene: Scene, case: Case) -> None:
    case.check(scene)


@pytest.fixture(scope="module")
def alices(scene: Scene) -> dict[str, str]:
    with scene.service.openai() as client:
        return publish(scene.service, client)


Ask = Callable[[dict[str, str]], tuple[str, str, str]]
STRANGERS: dict[str, Ask] = {
    "shows a file": lambda ids: ("GET", f"{FILES}/{ids['file']}", "file_not_found"),
    "reads a file": lambda ids: ("GET", f"{FILES}/{ids['file']}/content", "file_not_found"),
    "deletes a file": lambda ids: ("DELETE", f"{FILES}/{ids['file']}", "file_not_found"),
    "shows a job": lambda ids: ("GET", f"{JOBS}/{ids['job']}", "job_not_found"),
    "cancels a job": lambda ids: ("POST", f"{JOBS}/{ids['job']}/cancel", "job_not_found"),
    "reads a job's events": lambda ids: ("GET", f"{JOBS}/{ids['job']}/events", "job_not_found"),
    "reads a job's checkpoints": lambda ids: ("GET", f"{JOBS}/{ids['job']}/checkpoints", "job_not_found"),
    "reads a job's curves": lambda ids: ("GET", f"{JOBS}/{ids['job']}/metrics", "job_not_found"),
    "reads a job's scores": lambda ids: ("GET", f"{JOBS}/{ids['job']}/influence", "job_not_found"),
    "reads a job's samples": lambda ids: ("GET", f"{JOBS}/{ids['job']}/samples", "job_not_found"),
    "looks at a sample": lambda ids: ("GET", f"{JOBS}/{ids['job']}/samples/0-0/image", "job_not_found"),
    "shows an adapter": lambda ids: ("GET", f"/v1/models/{ids['model']}", "model_not_found"),
    "downloads an adapter": lambda ids: ("GET", f"/v1/models/{ids['model']}/download", "model_not_found"),
    "deletes an adapter": lambda ids: ("DELETE", f"/v1/models/{ids['model']}", "model_not_found"),
}


@pytest.mark.parametrize("what", STRANGERS)
def test_c36_another_accounts_things_are_not_there(scene: Scene, alices: dict[str, str], what: str) -> None:
    method, path, code = STRANGERS[what](alices)
    Case("C36", what, request(method, path, account="bob"), 404, code, secret=alices["job"]).check(scene)
    assert scene.send("GET", f"{JOBS}/{alices['job']}").status == 200


def trained_on(field: str) -> Send:
    def send(scene: Scene) -> Answer:
        own, foreign = scene.file("images", "bob"), scene.file("images", "alice")
        bat = {"bat": {"training_files": [foreign]}} if field == "bat" else {field: foreign}
        return scene.post_job(json.dumps({"model": "tiny-images", "training_file": own, **bat}).encode(), "bob")

    return send


def cursor_of_alice(path: str) -> Send:
    def send(scene: Scene) -> Answer:
        page = scene.send("GET", f"{path}?limit=1").json()
        return scene.send("GET", f"{path}?after={page['last_id']}", account="bob")

    return send


def same_key_of_two(scene: Scene) -> Answer:
    headers = {"Idempotency-Key": "shared"}
    first = scene.job(headers)
    answer = scene.job(headers, account="bob")
    assert first.status == 200
    assert first.json()["id"] != answer.json()["id"]
    return answer


FOREIGN_CASES = [
    Case("C37", "a job on another account's file", trained_on("training_file"), 400, "file_not_found"),
    Case("C37", "a job beside another account's file", trained_on("bat"), 400, "file_not_found"),
    Case("C37", "a job validated on another account's file", trained_on("validation_file"), 400, "file_not_found"),
    Case("C38", "another account's idempotency key", same_key_of_two, 200),
    Case("C39", "another account's cursor in the files", cursor_of_alice(FILES), 400, "invalid_cursor"),
    Case("C39", "another account's cursor in the jobs", cursor_of_alice(JOBS), 400, "invalid_cursor"),
]


@table(FOREIGN_CASES)
def test_accounts_that_reach_for_each_other(scene: Scene, alices: dict[str, str], case: Case) -> None:
    case.check(scene)


def test_c37_another_accounts_adapter_is_no_backbone(scene: Scene, alices: dict[str, str]) -> None:
    def send(scene: Scene) -> Answer:
        return scene.job(account="bob", model=alices["model"])

    Case("C37", "another account's adapter", send, 400, "model_not_found", secret=alices["model"]).check(scene)
