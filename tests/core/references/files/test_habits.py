"""Sets as users of other trainers, phones and network stores have them."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path

import pytest

from core.errors import InvalidInput
from core.references import packing
from core.settings import Settings
from core.uploads import reading
from tests.core.references.files.conftest import ReadZip, drawn
from tests.core.references.files.test_bundle import HEIC, captions, finding, photos


def codes(found: reading.JudgedReferences) -> set[str]:
    return {each.code for each in found.findings}


def test_an_entry_for_the_folder_itself_as_bsdtar_writes_it_is_no_file_without_a_name(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("./", b"")
        archive.writestr("./a.png", drawn())
    assert list(captions(reading.read(path, "set.zip", Settings(data=tmp_path)))) == ["a.png"]


@pytest.mark.parametrize("head", ["file_name,text\n", ""])
def test_tags_without_quotes_stay_whole_in_a_table(read_zip: ReadZip, head: str) -> None:
    table = f"{head}a.png,1girl, solo, long hair\nb.png,a dog\n"
    found = read_zip({"a.png": drawn(1), "b.png": drawn(2), "captions.csv": table.encode()})
    assert captions(found) == {"a.png": "1girl, solo, long hair", "b.png": "a dog"}


def test_empty_cells_behind_the_last_column_are_nothing(read_zip: ReadZip) -> None:
    found = read_zip({"a.png": drawn(), "metadata.csv": b"file_name,text\na.png,a cat,,,\n"})
    assert captions(found) == {"a.png": "a cat"}
    assert "columns_passed_over" not in codes(found)


def test_more_cells_than_columns_are_refused_where_the_caption_is_not_the_last(read_zip: ReadZip) -> None:
    with pytest.raises(InvalidInput, match=r"Line 2 of metadata\.csv has more cells than columns; put quotes around"):
        read_zip({"a.png": drawn(), "metadata.csv": b"text,file_name\na cat, on a mat,a.png\n"})


def test_a_mapping_may_hold_several_captions_and_name_images_without_their_endings(read_zip: ReadZip) -> None:
    table = {"a.png": ["a cat that sits on a mat", "one cat"], "b": "a dog", "version": "2"}
    found = read_zip({"a.png": drawn(1), "b.png": drawn(2), "captions.json": json.dumps(table).encode()})
    assert captions(found) == {"a.png": "a cat that sits on a mat\none cat", "b.png": "a dog"}
    assert "caption_without_image" not in codes(found)


NO_CAPTIONS = {
    "metadata.csv": "file_name,label\na.png,3\n",
    "metadata.jsonl": '{"file_name": "a.png", "en_text": "a cat"}\n',
    "annotations.json": '{"images": [{"id": 1, "file_name": "a.png"}], "annotations": [{"image_id": 1}]}',
}


@pytest.mark.parametrize("name", NO_CAPTIONS)
def test_a_table_that_names_images_and_holds_no_captions_is_told_and_stops_nothing(
    read_zip: ReadZip, name: str
) -> None:
    found = read_zip({"a.png": drawn(), name: NO_CAPTIONS[name].encode()})
    told = finding(found, "table_not_read")
    assert captions(found) == {"a.png": None}
    assert told.severity == "warn"
    assert "it names images, and beside them has only" in told.message


def test_a_table_that_names_no_image_is_not_said_to(read_zip: ReadZip) -> None:
    found = read_zip({"a.png": drawn(), "metadata.json": b'{"title": "Album", "date": {"timestamp": "1"}}'})
    told = finding(found, "table_not_read")
    assert told.severity == "info"
    assert "names images" not in told.message


def test_a_row_without_a_caption_leaves_its_image_without_one(read_zip: ReadZip) -> None:
    table = b'{"file_name": "a.png", "text": "a cat"}\n{"file_name": "b.png"}\n'
    found = read_zip({"a.png": drawn(1), "b.png": drawn(2), "metadata.jsonl": table})
    assert captions(found) == {"a.png": "a cat", "b.png": None}


@pytest.mark.parametrize("rest", ["supplemental-metadata", "suppl", "s"])
def test_the_description_is_read_that_google_takeout_writes_beside_a_photo(read_zip: ReadZip, rest: str) -> None:
    content = {"title": "IMG_1.jpg", "description": "my cat", "imageViews": "3"}
    found = read_zip({"IMG_1.jpg": drawn(1, "JPEG"), f"IMG_1.jpg.{rest}.json": json.dumps(content).encode()})
    assert captions(found) == {"IMG_1.jpg": "my cat"}


def test_captions_that_are_too_long_together_are_told_and_never_fail_the_job(tmp_path: Path, read_zip: ReadZip) -> None:
    found = read_zip({"a.png": drawn(), "a.txt": b"x " * 600, "a.caption": b"y " * 600, "a.tags": b"z"})
    assert captions(found) == {"a.png": " ".join("x" * 600) + "\nz"}
    assert "a.png (a.caption)" in finding(found, "caption_left_out").message
    assert "a.png (a.tags)" in finding(found, "several_captions").message
    packing.pack(found, tmp_path / "packed")
    assert packing.read_packed(tmp_path / "packed", "set.zip", Settings(data=tmp_path)).items[0].caption is not None


@pytest.mark.slow
def test_a_table_with_a_caption_for_one_image_in_each_of_its_lines_costs_little(read_zip: ReadZip) -> None:
    table = "".join(f'{{"file": "a", "text": "{number}"}}\n' for number in range(30_000))
    begun = time.process_time()
    found = read_zip({"a.png": drawn(), "metadata.jsonl": table.encode()})
    assert time.process_time() - begun < 20
    assert len(captions(found)["a.png"] or "") <= Settings(data=Path()).max_caption_characters


@pytest.mark.parametrize("name", ["IMG_1.THM", "IMG_1.JPG.bak", "IMG_1.tmp", "@Recycle/2.jpg", "_vti_cnf/1.jpg"])
def test_thumbnails_of_cameras_backups_and_what_was_thrown_away_are_no_pictures(read_zip: ReadZip, name: str) -> None:
    found = read_zip({"IMG_1.JPG": drawn(1, "JPEG"), name: drawn(2, "JPEG")})
    assert list(captions(found)) == ["IMG_1.JPG"]
    assert name in finding(found, "passed_over").message


def test_raw_pictures_beside_their_jpegs_refuse_no_set(read_zip: ReadZip) -> None:
    raws = {f"{number}.CR2": b"II*\0" + bytes(40) for number in range(3)}
    jpegs = {f"{number}.JPG": drawn(number, "JPEG") for number in range(3)}
    found = read_zip(raws | jpegs | {"3.heic": HEIC})
    assert len(found.items) == 3
    assert "4 images were left out" in finding(found, "image_left_out").message
    damaged = {f"{number}.JPG": b"\xff\xd8\xff" for number in range(1, 3)}
    with pytest.raises(InvalidInput, match="6 faults"):
        read_zip(raws | {"0.JPG": jpegs["0.JPG"], "3.heic": HEIC} | damaged)


@pytest.mark.parametrize("name", ["0.md", "0.yaml", "0.description"])
def test_a_text_beside_an_image_that_is_not_read_is_said_not_to_be(read_zip: ReadZip, name: str) -> None:
    found = read_zip(photos(2) | {name: b"a cat", "1.npz": b"PK\x03\x04", "other.yaml": b"a: b"})
    assert name in finding(found, "beside_image").message
    assert "other.yaml" in finding(found, "passed_over").message
    assert "other.yaml" not in finding(found, "beside_image").message


def test_what_is_left_out_for_its_name_says_how_to_have_it_learned(read_zip: ReadZip) -> None:
    found = read_zip(photos(2) | {"0 pose.png": drawn(5), "1_thumb.png": drawn(6)})
    assert "give it or its folder another name" in finding(found, "masks_left_out").fix
    assert "give it or its folder another name" in finding(found, "thumbnails_left_out").fix
    found = read_zip(photos(2, "train/") | photos(1, "test_images/"))
    assert finding(found, "set_aside").message.startswith("1 file lies beside what is to be learned and was left out")
    assert "another name" in finding(found, "set_aside").fix


def test_an_archive_in_a_folder_is_said_to_be_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "a.png").write_bytes(drawn())
    (folder / "more.zip").write_bytes(b"PK\x03\x04")
    found = reading.read(folder, "set", Settings(data=tmp_path))
    assert "more.zip" in finding(found, "archive_left_out").message
    assert "unpack it" in finding(found, "archive_left_out").fix


@pytest.mark.slow
def test_folders_within_folders_by_the_hundred_cost_little(read_zip: ReadZip) -> None:
    deep = "/".join("a" * 470)
    files = {f"img/{number}.png": drawn(number) for number in range(3)}
    files |= {f"reg/{number}/{deep}/x.png": b"\x89PNG\r\n\x1a\n" for number in range(390)}
    begun = time.process_time()
    assert len(read_zip(files).items) == 3
    assert time.process_time() - begun < 20


def test_names_that_differ_in_their_ends_are_shown_apart(read_zip: ReadZip) -> None:
    long = f"alice_{'a cat on a mat, ' * 10}8f1c2d3e"
    found = read_zip({f"{long}_{number}.png": drawn(number) for number in range(3)})
    assert len(captions(found)) == 3


def test_a_folder_keeps_names_apart_that_differ_in_their_endings_only(read_zip: ReadZip) -> None:
    found = read_zip({"x/a.png": drawn(1), "y/a.jpg": drawn(2, "JPEG"), "y/b.png": drawn(3)})
    assert list(captions(found)) == ["x/a.png", "y/a.jpg", "b.png"]
    found = read_zip({"x/a.png": drawn(1), "x/a.jpg": drawn(2, "JPEG")})
    assert list(captions(found)) == ["a.png", "a.jpg"]


@pytest.mark.parametrize(
    ("name", "content"), [("b/1.txt", b"a dog"), ("b/metadata.jsonl", b'{"file_name": "1.png", "text": "a dog"}')]
)
def test_a_caption_whose_image_is_gone_is_not_given_to_that_of_another_folder(
    read_zip: ReadZip, name: str, content: bytes
) -> None:
    found = read_zip({"a/1.png": drawn(1), "b/2.png": drawn(2), name: content})
    assert captions(found) == {"1.png": None, "2.png": None}
    assert "caption_without_image" in codes(found)


def test_a_table_beside_images_may_name_those_of_another_folder_by_their_path(read_zip: ReadZip) -> None:
    table = b'{"file_name": "a/1.png", "text": "a dog"}'
    found = read_zip({"a/1.png": drawn(1), "b/2.png": drawn(2), "b/metadata.jsonl": table})
    assert captions(found) == {"1.png": "a dog", "2.png": None}


def test_what_is_no_picture_at_all_is_named_with_what_to_do(read_zip: ReadZip) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n"
    found = read_zip(photos(3) | {"3.jpg": pointer, "4.png": b"<html><head></head></html>"})
    told = finding(found, "image_left_out").message
    assert (
        "3.jpg looks like a pointer of Git LFS, which stands for a file and is not it; fetch the file with git lfs pull"
        in told
    )
    assert "4.png looks like a web page (HTML), which is no picture; send the picture itself" in told


LAYOUTS = {
    "metadata.jsonl": '[{"file_name": "a.png", "text": "a cat"},\n{"file_name": "b.png", "text": "a dog"}]',
    "metadata.json": '{"file_name": "a.png", "text": "a cat"}\n{"file_name": "b.png", "text": "a dog"}\n',
    "metadata.csv": "sep=;\nfile_name;text\na.png;a cat\nb.png;a dog\n",
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_table_is_read_in_the_layout_that_it_has(read_zip: ReadZip, name: str) -> None:
    found = read_zip({"a.png": drawn(1), "b.png": drawn(2), name: LAYOUTS[name].encode()})
    assert captions(found) == {"a.png": "a cat", "b.png": "a dog"}


def test_all_bad_lines_of_a_table_are_told_at_once(read_zip: ReadZip) -> None:
    table = b'{"file_name": "a.png", "text": "a"}\nnot json\n[1]\n{"file_name": "a.png", "text": "\\u0000"}\n'
    with pytest.raises(InvalidInput) as refused:
        read_zip({"a.png": drawn(), "metadata.jsonl": table})
    assert "There are 3 faults" in refused.value.message
    assert "- Line 2 of metadata.jsonl is not" in refused.value.message
    assert "- Line 4 of metadata.jsonl is not clean text" in refused.value.message


def test_bad_lines_of_another_file_refuse_nothing(read_zip: ReadZip) -> None:
    found = read_zip({"a.png": drawn(), "log.jsonl": b'{"file": "a.png", "text": "a"}\nnot json\n'})
    assert "log.jsonl" in finding(found, "table_not_read").message


@pytest.mark.parametrize("content", [b"PK\x03\x04" + bytes(60), b"PK\x07\x08PK\x03\x04abc"])
def test_a_zip_that_is_cut_short_is_said_to_be(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "set.zip").write_bytes(content)
    with pytest.raises(InvalidInput, match="begins as a zip and is cut short"):
        reading.read(tmp_path / "set.zip", "set.zip", Settings(data=tmp_path))


def test_what_a_program_that_draws_writes_behind_the_prompt_is_not_learned(read_zip: ReadZip) -> None:
    written = b"a cat, masterpiece\nNegative prompt: ugly, blurry\nSteps: 20, Sampler: Euler a, Seed: 7\n"
    found = read_zip({"a.png": drawn(1), "a.txt": written, "b.png": drawn(2), "b.txt": b"Steps: up to the door"})
    assert captions(found) == {"a.png": "a cat, masterpiece", "b.png": "Steps: up to the door"}
    assert "a.txt" in finding(found, "settings_passed_over").message


def test_the_nan_of_a_table_is_no_caption(read_zip: ReadZip) -> None:
    table = b"file_name,text\na.png,nan\nb.png,a cat\n"
    assert captions(read_zip({"a.png": drawn(1), "b.png": drawn(2), "metadata.csv": table})) == {
        "a.png": None,
        "b.png": "a cat",
    }
