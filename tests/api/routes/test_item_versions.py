"""Versions of an upload: who may make the next one, how large it may be, and that only one edit does."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from PIL import Image

from api import file_versions
from api.dependencies import Services
from core.accounts import api_keys
from core.database.tables import Account, File
from core.storage.local import LocalStorage
from tests.api.item_edits import add, done, items, kept_whole, named, noise, put, remove, upload, zipped
from tests.api.server import Service, pictures, png, refused

JOBS = "/v1/fine_tuning/jobs"


def test_who_knows_another_version_is_told_and_a_job_keeps_its_file(http: httpx.Client, image_file: str) -> None:
    sha256 = http.get(f"/v1/files/{image_file}").json()["bat"]["sha256"]
    done(add(http, image_file, ("a.png", png(10)), sha256=sha256))
    refused(add(http, image_file, ("b.png", png(11)), sha256=sha256), 409, "file_changed")
    refused(put(http, image_file, "item-1", "b.png", png(11), sha256=sha256), 409, "file_changed")
    refused(remove(http, image_file, "item-1", sha256=sha256), 409, "file_changed")
    for bad in ("x", sha256.upper(), "\u0663" * 64):
        assert refused(add(http, image_file, ("b.png", png(11)), sha256=bad), 400)["param"] == "sha256"
        assert refused(remove(http, image_file, "item-1", sha256=bad), 400)["param"] == "sha256"
    assert http.post(JOBS, json={"model": "tiny-images", "training_file": image_file}).status_code == 200
    refused(add(http, image_file, ("b.png", png(11))), 409, "file_in_use")
    refused(put(http, image_file, "item-1", "b.png", png(11)), 409, "file_in_use")
    assert refused(remove(http, image_file, "item-1"), 409, "file_in_use")
    assert len(items(http, image_file)) == 5


@pytest.mark.parametrize("path", ["items", "content", "estimate"])
def test_who_reads_a_file_while_an_edit_replaces_its_bytes_has_those_of_the_edit(
    http: httpx.Client, image_file: str, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    reads, edits = {name: getattr(LocalStorage, name) for name in ("fetch", "open", "read")}, list[int]()

    def overtaken(name: str) -> Callable[..., Any]:
        def read(storage: LocalStorage, *asked: Any) -> Any:
            if not edits:
                edits.append(0)  # the edit itself reads too
                edits[0] = remove(http, image_file, "item-1").status_code
            return reads[name](storage, *asked)

        return read

    before = http.get(f"/v1/files/{image_file}").json()
    for name in reads:
        monkeypatch.setattr(LocalStorage, name, overtaken(name))
    if path == "estimate":
        answer = http.post(f"{JOBS}/estimate", json={"model": "tiny-images", "training_file": image_file})
    else:
        answer = http.get(f"/v1/files/{image_file}/{path}")
    assert (edits, answer.status_code) == ([200], 200), answer.text
    if path == "items":
        assert len(answer.json()["data"]) == before["bat"]["items"] - 1


@pytest.mark.slow
def test_of_several_edits_at_once_each_is_whole_or_refused(service: Service, http: httpx.Client) -> None:
    file = upload(http, pictures(6))

    def edit(number: int) -> httpx.Response:
        if number % 2:
            return add(http, file["id"], (f"x{number}.png", png(40 + number)))
        return remove(http, file["id"], f"{number}.png")

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(edit, range(6)))
    done_by = {number for number, answer in enumerate(answers) if answer.status_code == 200}
    assert done_by
    assert {answer.json()["error"]["code"] for answer in answers if answer.status_code != 200} <= {"file_changed"}
    left = set(named(http, file["id"]))
    assert left == {f"{n}.png" for n in range(6) if n % 2 or n not in done_by} | {f"x{n}.png" for n in done_by if n % 2}
    kept_whole(service, http, http.get(f"/v1/files/{file['id']}").json())


@pytest.mark.slow
def test_an_edit_whose_job_was_made_meanwhile_leaves_nothing_behind(
    service: Service, http: httpx.Client, image_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = file_versions.fetch

    def overtaken(services: Services, file: File, path: object) -> None:
        monkeypatch.setattr(file_versions, "fetch", fetch)
        assert http.post(JOBS, json={"model": "tiny-images", "training_file": image_file}).status_code == 200
        fetch(services, file, path)  # type: ignore[arg-type]

    before = http.get(f"/v1/files/{image_file}").json()
    monkeypatch.setattr(file_versions, "fetch", overtaken)
    refused(remove(http, image_file, "item-1"), 409, "file_in_use")
    kept_whole(service, http, before)


@pytest.mark.slow
def test_more_than_a_file_may_hold_is_not_added(service: Service, http: httpx.Client) -> None:
    file = upload(http, zipped(**{f"a{n}_png": png(n, 40) for n in range(99)}))
    error = refused(add(http, file["id"], ("x.png", png(200, 41)), ("y.png", png(201, 42))), 400, "too_many_images")
    assert error["message"] == "With these the file would hold 101 images; at most 100 are taken."
    assert done(add(http, file["id"], ("x.png", png(200, 41))))["bat"]["items"] == 100


@pytest.mark.slow
def test_a_file_does_not_grow_beyond_what_an_upload_may_have(service: Service, http: httpx.Client) -> None:
    file = upload(http, noise(1), "a.png")  # of 2 MB that are taken it has more than a half
    refused(add(http, file["id"], ("b.png", noise(2))), 400, "file_too_large")
    assert http.get(f"/v1/files/{file['id']}").json() == file
    kept_whole(service, http, done(put(http, file["id"], "item-1", "b.png", noise(2))))


@pytest.mark.slow
def test_who_stores_too_much_may_take_something_out_and_add_nothing(service: Service) -> None:
    with service.http("full") as http:
        file = upload(http, pictures(4))
        with service.sessions.begin() as session:
            session.get_one(Account, session.get_one(File, file["id"]).account_id).bytes_limit = 100
        refused(add(http, file["id"], ("a.png", png(9))), 429, "insufficient_quota")
        refused(put(http, file["id"], "item-1", "a.png", noise(1, 100)), 429, "insufficient_quota")
        kept_whole(service, http, done(remove(http, file["id"], "item-1")))


def test_another_accounts_file_is_not_there_and_reading_is_not_writing(
    service: Service, http: httpx.Client, image_file: str
) -> None:
    with service.http("bob") as bob:
        refused(add(bob, image_file, ("a.png", png(9))), 404, "file_not_found")
        refused(put(bob, image_file, "item-1", "a.png", png(9)), 404, "file_not_found")
        refused(remove(bob, image_file, "item-1"), 404, "file_not_found")
    with service.sessions.begin() as session:
        reader = api_keys.create(session, "alice", scopes=["read"])
    only = {"Authorization": f"Bearer {reader}"}
    refused(http.delete(f"/v1/files/{image_file}/items/item-1", headers=only), 403, "insufficient_scope")
    refused(http.put(f"/v1/files/{image_file}/items/item-1", json={"text": "x"}, headers=only), 403)
    assert len(items(http, image_file)) == 4


@pytest.mark.slow
def test_an_upload_whose_profile_is_not_known_is_judged_from_its_pixels(service: Service, http: httpx.Client) -> None:
    file = upload(http, pictures(4))
    with service.sessions.begin() as session:
        row = session.get_one(File, file["id"])
        row.profile = {**(row.profile or {}), "version": 0}
    near = io.BytesIO()
    Image.open(io.BytesIO(png(1))).resize((36, 36)).save(near, "PNG")
    done(add(http, file["id"], ("near.png", near.getvalue())))
    job = http.post(JOBS, json={"model": "tiny-images", "training_file": file["id"], "bat": {"trigger": "zwx"}})
    assert "None of 4 captions" in str(job.json()["bat"]["findings"])  # its profile is there again
