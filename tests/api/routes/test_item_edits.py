"""Items of an upload that go, come, or take the place of others."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from PIL import Image
from sqlalchemy import select

from api import file_versions
from api.dependencies import Services
from core.accounts import api_keys
from core.database import invariants
from core.database.tables import Account, Audit, File
from core.references import packing
from core.storage.factory import storage
from tests.api.server import Service, chats, pictures, png, refused

JOBS = "/v1/fine_tuning/jobs"


def zipped(**files: bytes) -> bytes:
    """A zip; the last underscore of a name stands for its dot."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(".".join(name.rsplit("_", 1)), content)
    return buffer.getvalue()


def upload(http: httpx.Client, content: bytes, name: str = "cat.zip") -> dict:
    answer = http.post("/v1/files", files={"file": (name, content)}, data={"purpose": "fine-tune"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def items(http: httpx.Client, file_id: str) -> list[dict]:
    answer = http.get(f"/v1/files/{file_id}/items", params={"limit": 100})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def named(http: httpx.Client, file_id: str) -> dict[str, str | None]:
    return {item["filename"]: item["caption"] for item in items(http, file_id)}


def said(http: httpx.Client, file_id: str) -> list[str]:
    return [item["text"] for item in items(http, file_id)]


def add(http: httpx.Client, file_id: str, *files: tuple[str, bytes], **fields: str) -> httpx.Response:
    return http.post(f"/v1/files/{file_id}/items", files=[("file", file) for file in files], data=fields)


def put(http: httpx.Client, file_id: str, item: str, name: str, content: bytes, **fields: str) -> httpx.Response:
    return http.put(f"/v1/files/{file_id}/items/{item}", files={"file": (name, content)}, data=fields)


def remove(http: httpx.Client, file_id: str, item: str, **query: str) -> httpx.Response:
    return http.delete(f"/v1/files/{file_id}/items/{item}", params=query)


def done(answer: httpx.Response) -> dict:
    assert answer.status_code == 200, answer.text
    return answer.json()


def codes(file: dict) -> dict[str, dict]:
    return {row["code"]: row for row in file["bat"]["findings"]}


def kept_whole(service: Service, http: httpx.Client, file: dict) -> None:
    """The row, the bytes in the store and the account's counter say one thing, and a worker can read the file."""
    content = http.get(f"/v1/files/{file['id']}/content").content
    assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["bat"]["sha256"])
    assert http.get(f"/v1/files/{file['id']}").json() == file
    path = service.settings.data / "read-again"
    path.write_bytes(content)
    assert len(packing.read_packed(path, "x", service.settings).items) == file["bat"]["items"]
    with service.sessions() as session:
        row = session.get_one(File, file["id"])
        keys = [key for key in storage(service.settings).keys(f"accounts/{row.account_id}") if row.id in key]
        assert keys == [row.storage_key]
        assert invariants.miscounted(session) == []
    assert not list((service.settings.data / "uploads").glob("*/*/*"))


def test_an_item_is_taken_out_and_what_stays_keeps_its_name_and_caption(service: Service, http: httpx.Client) -> None:
    before = upload(http, pictures(5))
    after = done(remove(http, before["id"], "item-2"))
    assert named(http, before["id"]) == {f"{n}.png": f"sks cat number {n}" for n in (0, 2, 3, 4)}
    assert [item["id"] for item in items(http, before["id"])] == [f"item-{n}" for n in (1, 2, 3, 4)]
    assert (after["id"], after["created_at"], after["bat"]["items"]) == (before["id"], before["created_at"], 4)
    assert after["bytes"] < before["bytes"]
    kept_whole(service, http, after)
    assert "few_items" not in codes(after)
    assert codes(done(remove(http, before["id"], "4.jpg")))["few_items"]["message"].startswith(
        "There are only 3 images"
    )
    assert list(named(http, before["id"])) == ["0.png", "2.png", "3.png"]


def test_the_last_item_is_not_taken_out(http: httpx.Client) -> None:
    file = upload(http, png(), "cat.png")
    error = refused(remove(http, file["id"], "item-1"), 400, "last_item")
    assert error["message"].startswith("This is the only item of the file; delete the file itself")
    assert http.get(f"/v1/files/{file['id']}").json() == file


def test_pictures_and_their_captions_are_added_several_at_once(service: Service, http: httpx.Client) -> None:
    file = upload(http, pictures(3))
    more = (
        ("a.png", png(10)),
        ("a.txt", b"a red cat"),
        ("b.png", png(11)),
        ("c.zip", zipped(c_png=png(12), c_txt=b"z")),
    )
    after = done(add(http, file["id"], *more))
    assert list(named(http, file["id"]).items())[3:] == [("c.png", "z"), ("a.png", "a red cat"), ("b.png", None)]
    assert after["bat"]["items"] == 6
    assert codes(after)["empty_caption"]["items"] == ["b.png"]
    kept_whole(service, http, after)
    with service.sessions() as session:
        acted = session.scalars(select(Audit.action).where(Audit.target == file["id"]).order_by(Audit.id)).all()
    assert sorted(acted) == ["file.add", "file.create"]


@pytest.mark.slow
def test_a_second_file_of_a_name_gets_a_name_of_its_own(service: Service, http: httpx.Client) -> None:
    file = upload(http, pictures(2))
    done(add(http, file["id"], ("0.png", png(10))))
    after = done(add(http, file["id"], ("0.jpg", png(11)), ("sub/0.png", png(12))))
    assert list(named(http, file["id"])) == ["0.png", "1.png", "0-2.png", "0-3.png", "sub/0.png"]
    done(remove(http, file["id"], "0-3.png"))
    assert list(named(http, file["id"])) == ["0.png", "1.png", "0-2.png", "sub/0.png"]
    assert after["bat"]["items"] == 5


def test_a_copy_of_what_is_there_counts_once_and_its_caption_is_kept(service: Service, http: httpx.Client) -> None:
    file = upload(http, pictures(4))
    after = done(add(http, file["id"], ("again.png", png(1))))
    assert (after["bat"]["items"], after["bat"]["sha256"]) == (4, file["bat"]["sha256"])
    assert codes(after)["duplicate_item"]["message"].endswith("each picture counts once: again.png (as 1.png).")
    twice = done(add(http, file["id"], ("again.png", png(1))))
    assert [row["code"] for row in twice["bat"]["findings"]].count("duplicate_item") == 1
    joined = done(add(http, file["id"], ("again.png", png(1)), ("again.txt", b"the tom")))
    assert named(http, file["id"])["1.png"] == "sks cat number 1\nthe tom"
    assert {"captions_joined", "several_lines"} <= codes(joined).keys()
    kept_whole(service, http, joined)


def test_another_picture_takes_the_place_of_one_and_the_caption_stays(service: Service, http: httpx.Client) -> None:
    file = upload(http, pictures(4))
    after = done(put(http, file["id"], "item-2", "sharp.jpg", png(20, 64)))
    shown = items(http, file["id"])[1]
    assert (shown["filename"], shown["caption"], shown["width"]) == ("sharp.png", "sks cat number 1", 64)
    kept_whole(service, http, after)
    done(put(http, file["id"], "sharp.jpg", "sharp.png", png(21), caption="  another\ncat "))
    assert list(named(http, file["id"]).items())[1] == ("sharp.png", "another\ncat")
    done(put(http, file["id"], "item-2", "bare.png", png(21), caption=""))
    assert list(named(http, file["id"]).items())[1] == ("bare.png", None)


@pytest.mark.slow
def test_what_stands_in_one_place_does_not_stand_in_another(http: httpx.Client) -> None:
    file = upload(http, pictures(4))
    refused(put(http, file["id"], "item-2", "x.png", png(0)), 400, "duplicate_item")
    refused(put(http, file["id"], "item-2", "x.zip", pictures(2)), 400, "several_items")
    assert http.get(f"/v1/files/{file['id']}").json() == file
    lines = upload(http, chats(3), "a.jsonl")
    same = json.loads(chats(1))
    refused(http.put(f"/v1/files/{lines['id']}/items/item-2", json=same), 400, "duplicate_item")


def test_texts_are_taken_out_added_and_rewritten(service: Service, http: httpx.Client) -> None:
    file = upload(http, chats(3), "talk.jsonl")["id"]
    done(add(http, file, ("more.jsonl", b'{"text": "One."}\n{"text": "Two."}\n'), ("rest.txt", b"Three.\n\nFour.")))
    assert said(http, file)[3:] == ["One.", "Two.", "Three.", "Four."]
    done(remove(http, file, "item-1"))
    talk = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me."}]
    done(http.put(f"/v1/files/{file}/items/item-1", json={"messages": talk}))
    done(http.put(f"/v1/files/{file}/items/item-3", json={"text": "1."}))
    done(http.put(f"/v1/files/{file}/items/item-4", json={"prompt": "2?", "completion": "2!"}))
    after = done(put(http, file, "item-5", "three.txt", b"Drei."))
    assert said(http, file) == ["Who?\nMe.", "Where is sea 2?\nArr, west.", "1.", "2?\n2!", "Drei.", "Four."]
    assert after["bat"]["items"] == 6
    kept_whole(service, http, after)


@pytest.mark.slow
def test_a_text_that_is_none_is_refused_where_it_stands(http: httpx.Client, text_file: str) -> None:
    address = f"/v1/files/{text_file}/items/item-1"
    error = refused(http.put(address, json={"messages": [{"role": "pirate", "content": "Arr"}]}), 400, "invalid_line")
    assert error["param"] == "messages"
    for body in ({}, {"text": "a", "messages": [{}]}, {"prompt": "x"}, {"text": 7}, {"messages": []}, {"txt": "a"}):
        refused(http.put(address, json=body), 400, "invalid_parameter")
    refused(http.put(address, json={"text": "x" * 90_001}), 400, "text_too_long")
    refused(put(http, text_file, "item-1", "a.txt", b"A text.", caption="x"), 400, "no_captions")
    assert http.get(f"/v1/files/{text_file}").json()["bat"]["items"] == 4


@pytest.mark.slow
def test_pictures_and_texts_do_not_mix(http: httpx.Client, image_file: str, text_file: str) -> None:
    refused(add(http, image_file, ("a.jsonl", chats(2))), 400, "mixed_kinds")
    refused(add(http, text_file, ("a.png", png())), 400, "mixed_kinds")
    refused(put(http, text_file, "item-1", "a.png", png()), 400, "mixed_kinds")
    refused(add(http, text_file, ("a.zip", pictures(1)), ("a.jsonl", chats(2))), 400, "mixed_kinds")
    assert refused(http.put(f"/v1/files/{image_file}/items/item-1", json={"text": "x"}), 400, "no_texts")


@pytest.mark.slow
def test_what_was_done_to_a_picture_is_told_as_long_as_it_is_there(http: httpx.Client) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = []
    for number in range(3):
        buffer = io.BytesIO()
        image = Image.open(io.BytesIO(png(30 + number, 96))).resize((96, 80))
        image.save(buffer, "JPEG", exif=exif)
        turned.append(buffer.getvalue())
    flat = io.BytesIO()
    Image.new("RGB", (90, 90), "red").save(flat, "PNG")
    sent = zipped(a_jpg=turned[0], b_jpg=turned[1], c_png=png(4), flat_png=flat.getvalue(), lost_txt=b"a dog")
    file = upload(http, sent)
    told = codes(done(add(http, file["id"], ("d.jpg", turned[2]))))
    assert told["turned_upright"]["items"] == ["a.jpg", "b.jpg", "d.jpg"]
    assert {"single_colour", "caption_without_image"} <= told.keys()
    told = codes(done(remove(http, file["id"], "a.jpg")))
    assert told["turned_upright"]["message"] == (
        "2 pictures were turned as the camera's orientation mark says: b.jpg, d.jpg."
    )
    told = codes(done(put(http, file["id"], "flat.png", "e.png", png(5, 96))))
    assert not {"single_colour", "too_small"} - {"too_small"} & told.keys()
    assert "caption_without_image" in told  # of what was sent, which no edit changes
    done(remove(http, file["id"], "b.jpg"))
    assert "turned_upright" not in codes(done(remove(http, file["id"], "d.jpg")))
    shown = {item["filename"]: [row["code"] for row in item["findings"]] for item in items(http, file["id"])}
    assert shown == {"c.png": ["too_small", "empty_caption"], "e.png": ["empty_caption"]}


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
@pytest.mark.parametrize(
    "item", ["item-0", "item-9", "item-99999999999", "nobody.png", "..%2F..%2Fetc%2Fpasswd", "%00", "%F0%9F%90%B1" * 60]
)
def test_an_item_that_is_not_there_is_404(http: httpx.Client, image_file: str, item: str) -> None:
    error = refused(remove(http, image_file, item), 404, "item_not_found")
    assert (error["param"], "passwd" in error["message"]) == ("item_id", False)
    refused(put(http, image_file, item, "x.png", png(9)), 404, "item_not_found")


def test_files_of_several_folders_are_sent_with_their_paths(http: httpx.Client, image_file: str) -> None:
    sent = [(f"set/{where}/1{ending}", words) for where in "ab" for ending, words in ((".png", b""), (".txt", b"in "))]
    files = [(name, words + name[4:5].encode() if words else png(ord(name[4]))) for name, words in sent]
    done(add(http, image_file, *files))
    assert list(named(http, image_file).items())[4:] == [("a/1.png", "in a"), ("b/1.png", "in b")]
    error = refused(add(http, image_file, ("x.png", png(20)), ("X.png", png(21))), 400, "duplicate_name")
    assert error["param"] == "file:X.png"


@pytest.mark.slow
def test_a_name_that_several_images_have_is_refused_and_a_folder_tells_them_apart(http: httpx.Client) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, name in enumerate(("a/1.png", "b/1.png", "c.png")):
            archive.writestr(name, png(number))
    file = upload(http, buffer.getvalue())["id"]
    refused(remove(http, file, "1.png"), 400, "ambiguous_filename")
    done(remove(http, file, "b/1.png"))
    assert list(named(http, file)) == ["a/1.png", "c.png"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["../../x.png", "a\u202eb.png", "x" * 300 + ".png", ".png", "..", "a\\b.png", " "])
def test_a_file_of_any_name_is_added_under_a_plain_one(service: Service, http: httpx.Client, name: str) -> None:
    file = upload(http, pictures(2))
    done(add(http, file["id"], (name, png(9))))
    after = done(add(http, file["id"], (name, png(10)), ("other.txt", b"a cat")))
    assert after["bat"]["items"] == 4
    assert all(".." not in shown and "\u202e" not in shown and len(shown) < 120 for shown in named(http, file["id"]))
    kept_whole(service, http, after)


def test_a_bad_file_among_several_is_named(http: httpx.Client, image_file: str) -> None:
    broken = ("broken.png", png(9)[:60])
    error = refused(add(http, image_file, broken), 400, "corrupt")
    assert error["param"] == "file"
    error = refused(add(http, image_file, ("good.png", png(10)), broken, **{"bat[strict]": "true"}), 400, "corrupt")
    assert error["param"] == "file:broken.png"
    error = refused(add(http, image_file, ("good.png", png(10)), ("bad.zip", zipfile_of_nothing())), 400)
    assert error["param"] == "file:bad.zip/x.png"
    assert len(items(http, image_file)) == 4
    after = done(add(http, image_file, ("good.png", png(10)), broken))
    assert codes(after)["image_left_out"]["item"] == "broken.png"


def zipfile_of_nothing() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x.png", png()[:60])
    return buffer.getvalue()


@pytest.mark.slow
def test_a_form_that_makes_no_sense_changes_nothing(service: Service, http: httpx.Client, image_file: str) -> None:
    before = http.get(f"/v1/files/{image_file}").json()
    address = f"/v1/files/{image_file}/items"
    refused(http.post(address, files={"file": ("a.png", b"")}), 400, "empty")
    refused(http.post(address, files={"picture": ("a.png", png())}), 400, "unknown_parameter")
    refused(add(http, image_file, ("a.png", png(9)), purpose="fine-tune"), 400, "unknown_parameter")
    refused(add(http, image_file, ("a.png", png(9)), **{"bat[strict]": "perhaps"}), 400, "invalid_parameter")
    refused(add(http, image_file, *[(f"{n}.png", png(n)) for n in range(101)]), 400, "several_files")
    refused(put(http, image_file, "item-1", "a.png", png(9), caption="x" * 2001), 400, "caption_too_long")
    refused(put(http, image_file, "item-1", "a.png", png(9), caption="a\x07b"), 400, "encoding")
    refused(http.put(f"{address}/item-1", files=[("file", ("a.png", png(9))), ("file", ("b.png", png(10)))]), 400)
    refused(http.put(f"{address}/item-1", content=b"x", headers={"Content-Type": "image/png"}), 415)
    kept_whole(service, http, before)


@pytest.mark.slow
def test_more_than_a_file_may_hold_is_not_added(service: Service, http: httpx.Client) -> None:
    file = upload(http, zipped(**{f"a{n}_png": png(n, 40) for n in range(99)}))
    error = refused(add(http, file["id"], ("x.png", png(200, 41)), ("y.png", png(201, 42))), 400, "too_many_images")
    assert error["message"] == "With these the file would hold 101 images; 100 are taken."
    assert done(add(http, file["id"], ("x.png", png(200, 41))))["bat"]["items"] == 100


def noise(seed: int, side: int = 600) -> bytes:
    buffer = io.BytesIO()
    Image.frombytes("RGB", (side, side), hashlib.shake_256(bytes([seed])).digest(3 * side * side)).save(buffer, "PNG")
    return buffer.getvalue()


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
