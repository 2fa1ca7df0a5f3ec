"""Names of items: what is added gets one that is free, and an item is found by its own."""

from __future__ import annotations

import io
import zipfile

import httpx
import pytest

from tests.api.item_edits import add, done, kept_whole, named, put, remove, upload
from tests.api.server import Service, pictures, png, refused


@pytest.mark.slow
def test_a_second_file_of_a_name_gets_a_name_of_its_own(service: Service, http: httpx.Client) -> None:
    file = upload(http, pictures(2))
    done(add(http, file["id"], ("0.png", png(10))))
    after = done(add(http, file["id"], ("0.jpg", png(11)), ("sub/0.png", png(12))))
    assert list(named(http, file["id"])) == ["0.png", "1.png", "0-2.png", "0-3.png", "sub/0.png"]
    done(remove(http, file["id"], "0-3.png"))
    assert list(named(http, file["id"])) == ["0.png", "1.png", "0-2.png", "sub/0.png"]
    assert after["bat"]["items"] == 5


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
