"""The items of an upload, and captions that are written before training."""

from __future__ import annotations

import io
import json
import unicodedata
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest
from PIL import Image
from sqlalchemy import select

from api import file_versions
from api.dependencies import Services
from core.accounts import api_keys
from core.database.tables import Audit, File, Job
from core.jobs.leases import Claim, claim, stopped
from core.storage.factory import storage
from core.storage.keys import file_key
from tests.api.outcome import publish
from tests.api.server import Service, chats, pictures, png, refused

JOBS = "/v1/fine_tuning/jobs"


def upload(http: httpx.Client, content: bytes, name: str = "cat.zip") -> dict:
    answer = http.post("/v1/files", files={"file": (name, content)}, data={"purpose": "fine-tune"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def items(http: httpx.Client, file_id: str, **query: object) -> dict:
    answer = http.get(f"/v1/files/{file_id}/items", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def captions(http: httpx.Client, file_id: str) -> list[str | None]:
    return [item["caption"] for item in items(http, file_id)["data"]]


def caption(http: httpx.Client, file_id: str, *changes: object, **more: object) -> httpx.Response:
    return http.post(f"/v1/files/{file_id}/items", json={"items": list(changes), **more})


def bare(count: int = 4) -> bytes:
    """A zip of pictures without captions."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(count):
            archive.writestr(f"cat-{number}.png", png(number))
    return buffer.getvalue()


def stored(service: Service, file_id: str) -> list[str]:
    account = next(row.account_id for row in rows(service, File) if row.id == file_id)
    return [key for key in storage(service.settings).keys(f"accounts/{account}") if file_id in key]


def rows(service: Service, table: type) -> list:
    with service.sessions() as session:
        return list(session.scalars(select(table)))


def test_images_are_listed_with_captions_sizes_and_thumbnails(http: httpx.Client, image_file: str) -> None:
    first = items(http, image_file, limit=3)
    assert [item["filename"] for item in first["data"]] == ["0.png", "1.png", "2.png"]
    assert (first["has_more"], first["last_id"]) == (True, "item-3")
    rest = items(http, image_file, limit=3, after="item-3")
    assert ([item["id"] for item in rest["data"]], rest["has_more"]) == (["item-4"], False)
    assert items(http, image_file, after="item-4")["data"] == []
    item = rest["data"][0]
    assert (item["object"], item["kind"], item["index"]) == ("file.item", "image", 3)
    assert (item["caption"], item["width"], item["height"], item["text"]) == ("sks cat number 3", 32, 32, None)
    assert item["thumbnail"].startswith("data:image/jpeg;base64,")
    assert items(http, image_file, thumbnails="false")["data"][0]["thumbnail"] is None


def test_a_finding_stands_with_its_item(http: httpx.Client) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(4):
            archive.writestr(f"{number}.png", png(number, 96))
        flat = io.BytesIO()
        Image.new("RGB", (90, 90), "red").save(flat, "JPEG")
        archive.writestr("red.jpg", flat.getvalue())
    shown = items(http, upload(http, buffer.getvalue())["id"])["data"]
    assert [row["code"] for row in shown[4]["findings"]] == ["single_colour", "empty_caption"]
    assert [row["code"] for row in shown[0]["findings"]] == ["empty_caption"]
    assert "single_colour" not in str(shown[:4])


def test_texts_are_listed_and_long_ones_cut(http: httpx.Client) -> None:
    file = upload(http, json.dumps({"text": "long " * 1000}).encode() + b"\n" + chats(3), "talk.jsonl")
    shown = items(http, file["id"], limit=2)
    assert (len(shown["data"]), shown["has_more"]) == (2, True)
    first, second = shown["data"]
    assert (len(first["text"]), first["cut"], first["characters"]) == (2000, True, 5000)
    assert (second["text"], second["cut"], second["filename"]) == ("Where is sea 0?\nArr, west.", False, None)
    assert first["messages"] is None
    assert second["messages"] == [
        {"role": "user", "content": "Where is sea 0?", "cut": False, "learned": False},
        {"role": "assistant", "content": "Arr, west.", "cut": False, "learned": True},
    ]


def test_captions_are_written_and_the_file_says_so(service: Service, http: httpx.Client) -> None:
    before = upload(http, bare())
    assert [row["code"] for row in before["bat"]["findings"] if row["code"] == "empty_caption"]
    after = caption(
        http, before["id"], {"id": "item-2", "caption": "  a red\ncat "}, {"filename": "cat-3.jpg", "caption": "Käse"}
    ).json()
    assert captions(http, before["id"]) == [None, "a red\ncat", None, "Käse"]
    assert (after["id"], after["created_at"]) == (before["id"], before["created_at"])
    assert after["bytes"] > before["bytes"]
    assert after["bat"]["sha256"] != before["bat"]["sha256"]
    (finding,) = (row for row in after["bat"]["findings"] if row["code"] == "empty_caption")
    assert finding["message"] == "2 images have no caption, cat-0.png first."
    assert finding["items"] == ["cat-0.png", "cat-2.png"]
    assert http.get(f"/v1/files/{before['id']}").json() == after
    content = http.get(f"/v1/files/{before['id']}/content").content
    assert len(content) == after["bytes"]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.read("002-cat-1.txt") == b"a red\ncat"
        assert len([name for name in archive.namelist() if name.endswith(".png")]) == 4
    assert len(stored(service, before["id"])) == 1  # the old version is gone
    rest = [{"id": f"item-{number}", "caption": f"cat {number}"} for number in (1, 3)]
    assert "empty_caption" not in str(caption(http, before["id"], *rest).json())
    caption(http, before["id"], {"id": "item-2", "caption": None})
    assert captions(http, before["id"]) == ["cat 1", None, "cat 3", "Käse"]
    actions = [row.action for row in rows(service, Audit) if row.target == before["id"]]
    assert sorted(actions) == ["file.caption"] * 3 + ["file.create"]


def test_what_captions_hold_is_told_until_they_no_longer_do(http: httpx.Client) -> None:
    file = upload(http, pictures())["id"]
    changes = {1: "a cat\r\n a kitten ", 2: "a drawing of [trigger]", 3: "a {red|blue} cat"}
    given = [{"id": f"item-{number}", "caption": words} for number, words in changes.items()]
    special = {"several_lines", "trigger_placeholder", "caption_choices"}
    told = caption(http, file, *given).json()["bat"]["findings"]
    assert {row["code"]: row["item"] for row in told if row["code"] in special} == {
        "several_lines": "0.png",
        "trigger_placeholder": "1.png",
        "caption_choices": "2.png",
    }
    shown = items(http, file)["data"]
    assert shown[0]["caption"] == "a cat\na kitten"
    assert special & {row["code"] for row in shown[0]["findings"]} == {"several_lines"}
    plain = [{"id": f"item-{number}", "caption": f"cat {number}"} for number in changes]
    assert not special & {row["code"] for row in caption(http, file, *plain).json()["bat"]["findings"]}


def test_a_job_keeps_what_it_was_created_with(service: Service, http: httpx.Client) -> None:
    file = upload(http, pictures())["id"]
    job = http.post(JOBS, json={"model": "tiny-images", "training_file": file}).json()["id"]
    change = {"id": "item-1", "caption": "another"}
    answer = caption(http, file, change)
    refused(answer, 409, "file_in_use")
    assert answer.headers["x-should-retry"] == "false"
    assert captions(http, file)[0] == "sks cat number 0"
    other = upload(http, pictures())["id"]
    held = http.post(JOBS, json={"model": "tiny-images", "training_file": other, "validation_file": file}).json()["id"]
    http.post(f"{JOBS}/{job}/cancel")
    refused(caption(http, file, change), 409, "file_in_use")
    http.post(f"{JOBS}/{held}/pause")
    refused(caption(http, file, change), 409, "file_in_use")
    http.post(f"{JOBS}/{held}/cancel")
    assert caption(http, file, change).status_code == 200


def test_a_running_job_keeps_its_captions_too(service: Service, http: httpx.Client) -> None:
    file = upload(http, pictures())["id"]
    job_id = http.post(JOBS, json={"model": "tiny-images", "training_file": file}).json()["id"]
    with service.sessions.begin() as session:
        session.get_one(Job, job_id).priority = 99
        session.flush()
        claimed = claim(session, queue=service.settings.queue, worker_id="w", lease_seconds=60, account_job_limit=1000)
        assert claimed is not None
        assert claimed.id == job_id
    refused(caption(http, file, {"id": "item-1", "caption": "another"}), 409, "file_in_use")
    http.post(f"{JOBS}/{job_id}/cancel")
    with service.sessions.begin() as session:
        assert stopped(session, Claim(job_id, 1))
    assert caption(http, file, {"id": "item-1", "caption": "another"}).status_code == 200


def test_of_two_that_write_at_once_none_overwrites_the_other(service: Service, http: httpx.Client) -> None:
    file = upload(http, bare())["id"]

    def write(number: int) -> httpx.Response:
        return caption(http, file, {"id": f"item-{number}", "caption": f"cat {number}"})

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(write, range(1, 5)))
    written = {number for number, answer in enumerate(answers, 1) if answer.status_code == 200}
    assert written
    assert {answer.json()["error"]["code"] for answer in answers if answer.status_code != 200} <= {"file_changed"}
    found = captions(http, file)
    assert {number for number in range(1, 5) if found[number - 1] == f"cat {number}"} == written
    assert len(stored(service, file)) == 1


def test_an_edit_that_another_has_overtaken_is_told_that_the_file_has_changed(
    service: Service, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = upload(http, bare())["id"]
    fetch = file_versions.fetch

    def overtaken(services: Services, before: File, path: Path) -> None:
        monkeypatch.setattr(file_versions, "fetch", fetch)
        assert caption(http, file, {"id": "item-2", "caption": "the first"}).status_code == 200
        fetch(services, before, path)

    monkeypatch.setattr(file_versions, "fetch", overtaken)
    refused(caption(http, file, {"id": "item-1", "caption": "too late"}), 409, "file_changed")
    assert captions(http, file)[:2] == [None, "the first"]
    assert len(stored(service, file)) == 1


def test_who_knows_another_version_is_told(http: httpx.Client) -> None:
    file = upload(http, bare())
    known = file["bat"]["sha256"]
    assert caption(http, file["id"], {"id": "item-1", "caption": "x"}, sha256=known).status_code == 200
    refused(caption(http, file["id"], {"id": "item-1", "caption": "y"}, sha256=known), 409, "file_changed")


def named(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, name in enumerate(names):
            archive.writestr(name, png(number))
    return buffer.getvalue()


def test_long_names_that_differ_at_their_end_are_told_apart(http: httpx.Client) -> None:
    names = [f"{'a-photograph-of-my-cat-' * 4}{number}.png" for number in range(4)]
    file = upload(http, named(*names))["id"]
    assert caption(http, file, {"filename": names[2], "caption": "the third"}).status_code == 200
    assert captions(http, file) == [None, None, "the third", None]
    kept = items(http, file)["data"][3]["filename"]
    assert caption(http, file, {"filename": kept, "caption": "the last"}).status_code == 200
    assert captions(http, file)[3] == "the last"


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("café.png", 0),
        (unicodedata.normalize("NFD", "café.png"), 0),
        ("CAFÉ.JPG", 0),
        ("café", 0),
        ("a/1.png", 1),
        ("A\\1.jpeg", 1),
        ("./b/1.png", 2),
        ("/home/me/set/b/1.png", 2),
    ],
)
def test_an_image_is_found_by_any_name_that_means_it(http: httpx.Client, name: str, place: int) -> None:
    file = upload(http, named(unicodedata.normalize("NFD", "café.png"), "a/1.png", "b/1.png"))["id"]
    assert caption(http, file, {"filename": name, "caption": "this one"}).status_code == 200
    assert captions(http, file) == ["this one" if at == place else None for at in range(3)]
    assert [item["filename"] for item in items(http, file)["data"]] == ["café.png", "a/1.png", "b/1.png"]


def test_a_name_that_two_folders_hold_is_ambiguous_without_its_folder(http: httpx.Client) -> None:
    file = upload(http, named("a/1.png", "b/1.png"))["id"]
    refused(caption(http, file, {"filename": "1.png", "caption": "x"}), 400, "ambiguous_filename")


def test_a_name_that_several_images_have_once_it_is_shortened_is_refused(http: httpx.Client) -> None:
    names = [f"{'cat' * 10}-{number}-{'dog' * 15}.png" for number in range(4)]
    file = upload(http, named(*names))["id"]
    error = refused(caption(http, file, {"filename": names[1], "caption": "x"}), 400, "ambiguous_filename")
    assert error["param"] == "items.0"
    assert "use id" in error["message"]
    assert captions(http, file) == [None] * 4
    assert caption(http, file, {"id": "item-2", "caption": "x"}).status_code == 200
    assert captions(http, file) == [None, "x", None, None]


BAD: dict[str, tuple[object, str]] = {
    "nothing": ({"items": []}, "invalid_parameter"),
    "no items": ({}, "invalid_parameter"),
    "an item without a name": ({"items": [{"caption": "x"}]}, "invalid_parameter"),
    "an item with two names": ({"items": [{"id": "item-1", "filename": "a", "caption": "x"}]}, "invalid_parameter"),
    "no caption": ({"items": [{"id": "item-1"}]}, "invalid_parameter"),
    "a number for a caption": ({"items": [{"id": "item-1", "caption": 7}]}, "invalid_parameter"),
    "an unknown key": ({"items": [{"id": "item-1", "caption": "x", "path": "/etc"}]}, "invalid_parameter"),
    "an item that is not there": ({"items": [{"id": "item-5", "caption": "x"}]}, "item_not_found"),
    "item 0": ({"items": [{"id": "item-0", "caption": "x"}]}, "item_not_found"),
    "a name that climbs": ({"items": [{"filename": "../../etc/passwd", "caption": "x"}]}, "item_not_found"),
    "an item twice": (
        {"items": [{"id": "item-1", "caption": "x"}, {"filename": "cat-0.png", "caption": "y"}]},
        "repeated_item",
    ),
    "2,001 characters": ({"items": [{"id": "item-1", "caption": "x" * 2001}]}, "caption_too_long"),
    "50,000 characters": ({"items": [{"id": "item-1", "caption": "x" * 50_000}]}, "invalid_parameter"),
    "a text that reads backwards": ({"items": [{"id": "item-1", "caption": "a\u202eb"}]}, "invalid_json"),
    "a thousand marks on one letter": ({"items": [{"id": "item-1", "caption": "a" + "\u0301" * 999}]}, "encoding"),
    "a hash that is none": ({"items": [{"id": "item-1", "caption": "x"}], "sha256": "x"}, "invalid_parameter"),
    "a list": ([], "invalid_parameter"),
}


def test_changes_that_make_no_sense_change_nothing(service: Service, http: httpx.Client) -> None:
    file = upload(http, bare())
    for what, (body, code) in BAD.items():
        answer = http.post(f"/v1/files/{file['id']}/items", json=body)
        assert refused(answer, 400, code)["message"], what
        assert "passwd" not in answer.text
    assert http.get(f"/v1/files/{file['id']}").json() == file
    assert len(stored(service, file["id"])) == 1
    assert not list((service.settings.data / "uploads").glob("*/*/*"))


@pytest.mark.parametrize("after", ["item-0", "item-9", "item-x", "5", "item-99999999999"])
def test_a_place_that_is_not_in_the_list_is_400(http: httpx.Client, image_file: str, after: str) -> None:
    refused(http.get(f"/v1/files/{image_file}/items", params={"after": after}), 400, "invalid_cursor")


def test_texts_have_no_captions(http: httpx.Client, text_file: str) -> None:
    refused(caption(http, text_file, {"id": "item-1", "caption": "x"}), 400, "no_captions")


def test_another_accounts_items_are_not_there(service: Service, http: httpx.Client, image_file: str) -> None:
    with service.http("bob") as bob:
        refused(bob.get(f"/v1/files/{image_file}/items"), 404, "file_not_found")
        refused(caption(bob, image_file, {"id": "item-1", "caption": "mine"}), 404, "file_not_found")
    with service.sessions.begin() as session:
        reader = api_keys.create(session, "alice", scopes=["read"])
    only = {"Authorization": f"Bearer {reader}"}
    assert http.get(f"/v1/files/{image_file}/items", headers=only).status_code == 200
    change = {"items": [{"id": "item-1", "caption": "x"}]}
    refused(http.post(f"/v1/files/{image_file}/items", json=change, headers=only), 403, "insufficient_scope")
    assert captions(http, image_file)[0] == "sks cat number 0"


def test_a_result_has_no_items(service: Service, client: openai.OpenAI, http: httpx.Client) -> None:
    job = client.fine_tuning.jobs.retrieve(publish(service, client)["job"])
    refused(http.get(f"/v1/files/{job.result_files[0]}/items"), 404, "file_not_found")


def test_erasing_a_file_erases_every_version_of_it(service: Service, http: httpx.Client) -> None:
    file = upload(http, bare())["id"]
    caption(http, file, {"id": "item-1", "caption": "x"})
    row = next(row for row in rows(service, File) if row.id == file)
    store = storage(service.settings)
    store.put(file_key(row.account_id, file), b"what an edit that was cut off has left")
    store.put(f"{row.storage_key}0", b"and another")
    assert len(stored(service, file)) == 3
    assert http.delete(f"/v1/files/{file}").json()["bat"]["status"] == "completed"
    assert [key for key in store.keys(f"accounts/{row.account_id}") if file in key] == []
    refused(http.get(f"/v1/files/{file}/items"), 404)


def test_a_jobs_own_findings_are_events_and_stand_in_the_job(client: openai.OpenAI, http: httpx.Client) -> None:
    training, held = upload(http, pictures())["id"], upload(http, pictures(2))["id"]
    body = {
        "model": "tiny-images",
        "training_file": training,
        "validation_file": held,
        "bat": {"trigger": "zwx", "resolution": 64},
    }
    job = http.post(JOBS, json=body)
    assert job.status_code == 200, job.text
    found = {row["code"]: row for row in job.json()["bat"]["findings"]}
    assert set(found) == {"captions_without_trigger", "too_small", "validation_in_training"}
    events = client.fine_tuning.jobs.list_events(job.json()["id"]).data
    told = {event.data["finding"]["code"]: event for event in events if event.data and "finding" in event.data}
    assert set(told) == set(found)
    assert {event.level for event in told.values()} == {"warn"}
    assert told["too_small"].message == f"{found['too_small']['message']} {found['too_small']['fix']}"
    caption(http, training, {"id": "item-1", "caption": "x"})
    http.post(f"{JOBS}/{job.json()['id']}/cancel")
    for number in range(4):
        assert caption(http, training, {"id": f"item-{number + 1}", "caption": f"zwx cat {number}"}).status_code == 200
    again = http.post(JOBS, json={**body, "validation_file": None, "suffix": "b"}).json()
    assert [row["code"] for row in again["bat"]["findings"]] == ["too_small"]  # the profile follows the captions
