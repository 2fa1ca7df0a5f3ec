"""Items of an upload that go, come, or take the place of others."""

from __future__ import annotations

import io
import json
import zipfile

import httpx
import pytest
from PIL import Image
from sqlalchemy import select

from core.database.tables import Audit
from tests.api.item_edits import add, codes, done, items, kept_whole, named, put, remove, said, upload, zipped
from tests.api.server import Service, chats, pictures, png, refused


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
