"""Sets of files as they lie on people's disks."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from core.errors import InvalidInput, TooLarge
from core.findings.finding import Finding
from core.references.items import ImageItem, TextItem
from core.settings import Settings
from core.uploads import reading
from core.uploads.reading import JudgedReferences
from tests.core.references.files.conftest import ReadZip, drawn

HEIC = b"\0\0\0\x18ftypheic" + bytes(40)
LINE = '{{"prompt": "What is {0}?", "completion": "It is {0}."}}\n'


def captions(found: JudgedReferences) -> dict[str, str | None]:
    return {item.name: item.caption for item in found.items if isinstance(item, ImageItem)}


def finding(found: JudgedReferences, code: str) -> Finding:
    return next(each for each in found.findings if each.code == code)


def photos(count: int, folder: str = "") -> dict[str, bytes]:
    return {f"{folder}{number}.png": drawn(number) for number in range(count)}


@pytest.mark.parametrize("ending", [".txt", ".TXT", ".caption", ".cap", ".png.txt", ".png.caption"])
def test_a_caption_lies_beside_its_image_under_any_usual_ending(read_zip: ReadZip, ending: str) -> None:
    assert captions(read_zip({"a.png": drawn(), f"a{ending}": b"a cat"})) == {"a.png": "a cat"}


@pytest.mark.parametrize(
    "content",
    [
        {"caption": "a cat"},
        {"text": "a cat", "width": 80},
        {"prompt": "a cat", "seed": 7},
        {"tags": ["a cat"], "rating": "g"},
        {"captions": ["a cat"]},
    ],
)
@pytest.mark.parametrize("name", ["a.json", "a.png.json"])
def test_a_caption_is_read_out_of_a_json_file_beside_its_image(
    read_zip: ReadZip, name: str, content: Mapping[str, object]
) -> None:
    found = read_zip({"a.png": drawn(), name: json.dumps(content).encode()})
    assert captions(found) == {"a.png": "a cat"}
    columns = [each.message for each in found.findings if each.code == "columns_passed_over"]
    assert len(columns) == len(content) - 1
    assert all(key in columns[0] for key in list(content)[1:])


TABLES = {
    "metadata.jsonl": '{"file_name": "set/a.png", "text": "a cat"}\n{"file_name": "b.png", "text": "a dog"}\n',
    "Metadata.JSONL": '{"file_name": "a.png", "text": "a cat"}\n\n{"file_name": "b.png", "caption": "a dog"}\n',
    "captions.json": '{"a.png": "a cat", "b": {"caption": "a dog"}}',
    "meta_cap.json": '{"/home/me/train/a.png": {"caption": "a cat"}, "/home/me/train/b.png": {"tags": "a dog"}}',
    "metadata.json": '[{"file_name": "a.png", "text": "a cat"}, {"file_name": "b.png", "text": "a dog"}]',
    "data.json": '{"images": [{"path": "a.png", "prompt": "a cat"}, {"path": "b.png", "prompt": "a dog"}]}',
    "metadata.csv": "file_name,text\na.png,a cat\nb.png,a dog\n",
    "list.csv": '\ufeffFile_Name;Caption\r\na.png;"a cat"\r\nb.png;a dog\r\n',
    "captions.tsv": "image\ttext\nA.PNG\ta cat\nB.PNG\ta dog\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_captions_are_read_out_of_a_table(read_zip: ReadZip, name: str) -> None:
    found = read_zip({"set/a.png": drawn(1), "set/b.png": drawn(2), f"set/{name}": TABLES[name].encode()})
    assert captions(found) == {"a.png": "a cat", "b.png": "a dog"}


def test_a_table_that_can_not_be_read_is_refused_where_its_name_says_that_it_holds_captions(read_zip: ReadZip) -> None:
    with pytest.raises(InvalidInput, match=r"Line 2 of metadata\.jsonl"):
        read_zip({"a.png": drawn(), "metadata.jsonl": b'{"file_name": "a.png", "text": "a cat"}\n{"file_name": 7}\n'})
    found = read_zip({"a.png": drawn(), "model_index.json": b'{"_class_name": "x"}', "log.jsonl": b"no JSON"})
    assert "model_index.json" in finding(found, "table_not_read").message
    assert "log.jsonl" in finding(found, "table_not_read").message


def test_images_of_one_name_in_two_folders_are_two_with_captions_of_their_own(read_zip: ReadZip) -> None:
    files = {f"{folder}/{name}": content for folder in "ab" for name, content in (("1.png", drawn(ord(folder))),)}
    found = read_zip(files | {"a/1.txt": b"of a", "b/1.txt": b"of b"})
    assert captions(found) == {"a/1.png": "of a", "b/1.png": "of b"}


def test_captions_may_lie_in_a_folder_of_their_own_where_it_is_clear_which_image_is_meant(read_zip: ReadZip) -> None:
    found = read_zip({"images/1.png": drawn(1), "captions/1.txt": b"a cat"})
    assert captions(found) == {"1.png": "a cat"}
    found = read_zip({"a/1.png": drawn(1), "b/1.png": drawn(2), "captions/1.txt": b"a cat"})
    assert set(captions(found).values()) == {None}
    assert "captions/1.txt" in finding(found, "caption_unclear").message
    assert "caption_without_image" not in {each.code for each in found.findings}


def test_litter_is_not_counted_and_named_once(read_zip: ReadZip) -> None:
    litter = {f"__MACOSX/._{number}.png": b"\0\5\x16\7" for number in range(600)}
    found = read_zip(
        photos(3) | litter | {".DS_Store": b"x", "README.md": b"# Cats", "a.npz": b"PK\5\6", "notes": b"x"}
    )
    assert len(found.items) == 3
    told = finding(found, "passed_over")
    assert told.message.startswith("604 files were passed over")
    assert told.severity == "info"
    assert [each.code for each in found.findings].count("passed_over") == 1


def test_a_note_is_a_caption_where_an_image_has_its_name(read_zip: ReadZip) -> None:
    assert captions(read_zip({"license.png": drawn(), "license.txt": b"a licence plate"})) == {
        "license.png": "a licence plate"
    }
    found = read_zip({"a.png": drawn(), "license.txt": b"MIT"})
    assert "license.txt" in finding(found, "passed_over").message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.heic", HEIC),
        ("x.HEIC", b""),
        ("x.gif", b"GIF89a"),
        ("x.bmp", b"BM"),
        ("x.png", b"<html>"),
        ("x.jpg", drawn()[:99]),
    ],
)
def test_one_bad_image_is_left_out_and_named_with_what_to_do(read_zip: ReadZip, name: str, content: bytes) -> None:
    found = read_zip(photos(6) | {name: content, "x.txt": b"a cat"})
    assert len(found.items) == 6
    told = finding(found, "image_left_out")
    assert name in told.message
    assert "PNG or JPEG" in told.fix
    assert "caption_without_image" not in {each.code for each in found.findings}


def test_the_owner_may_ask_for_strictness(read_zip: ReadZip) -> None:
    with pytest.raises(InvalidInput, match=r"x\.heic"):
        read_zip(photos(6) | {"x.heic": HEIC}, strict=True)
    assert read_zip(photos(6) | {".DS_Store": b"x"}, strict=True).items


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"cats/broken.png": drawn()[:200]}, "cats/broken.png"),
        ({"evil\u202e\n.png": b"\x89PNG\r\n\x1a\n" + b"x" * 40}, "evil.png"),
        ({"3.txt": b"x" * 3_000}, "3.txt"),
        ({"captions.csv": b'file_name,text\n1.png,"' + b"x" * 3_000 + b'"\n'}, "captions.csv"),
        ({"deep/1.PNG": drawn(7), "deep/1.png": drawn(8)}, "deep/1.png"),
        ({"../out.png": drawn(7)}, "unnamed/out.png"),
        ({"set.zip": b"PK"}, "set.zip"),
    ],
)
def test_a_refusal_names_the_file_of_the_set_that_it_is_about(
    read_zip: ReadZip, bad: Mapping[str, bytes], named: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_zip(photos(6) | bad, strict=True)
    assert caught.value.param == f"file:{named}"


def test_a_refusal_of_texts_names_their_file_and_of_the_whole_set_none(read_zip: ReadZip) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_zip({"a.jsonl": LINE.format("x").encode(), "b.jsonl": b'{"promt": 1}\n'})
    assert caught.value.param == "file:b.jsonl"
    with pytest.raises(InvalidInput) as caught:
        read_zip({"README.md": b"x"})
    assert caught.value.param == "file"


def test_a_set_of_which_most_is_bad_is_refused_with_all_its_faults(read_zip: ReadZip) -> None:
    bad = {f"x{number}.heic": HEIC for number in range(60)}
    with pytest.raises(InvalidInput) as refused:
        read_zip(photos(1) | bad | {"0.txt": "Käse".encode("latin-1")})
    lines = refused.value.message.split("\n")
    assert lines[0] == "There are 61 faults:"
    assert len(lines) == 1 + 50 + 1
    assert lines[-1] == "- And 11 more."


def test_all_bad_captions_are_told_at_once(read_zip: ReadZip) -> None:
    files = {f"{number}.txt": "Käse".encode("latin-1") for number in range(3)}
    with pytest.raises(InvalidInput) as refused:
        read_zip(photos(3) | files)
    assert all(f"{number}.txt" in refused.value.message for number in range(3))


def test_masks_and_thumbnails_are_never_trained_on(read_zip: ReadZip) -> None:
    about = {"masks/0.png": drawn(90), "1-masklabel.png": drawn(91), "thumbs/2.png": drawn(92)}
    found = read_zip(photos(4) | about)
    assert set(captions(found)) == set(photos(4))
    kept = finding(found, "masks_kept").message
    assert "masks/0.png (of 0.png)" in kept
    assert "1-masklabel.png (of 1.png)" in kept
    assert "thumbs/2.png" in finding(found, "thumbnails_left_out").message


def test_what_is_for_regularisation_or_validation_is_not_trained_on(read_zip: ReadZip) -> None:
    found = read_zip(photos(2, "img/10_sks cat/") | photos(2, "reg/1_cat/"))
    assert len(found.items) == 2
    assert "reg/1_cat/0.png (regularisation)" in finding(found, "set_aside").message
    found = read_zip(photos(2, "train/") | {"test/9.png": drawn(9)})
    assert "validation_file" in finding(found, "set_aside").fix


def test_two_images_that_differ_in_their_endings_are_both_taken_and_named(read_zip: ReadZip) -> None:
    found = read_zip({"a.png": drawn(1), "a.jpg": drawn(2, "JPEG"), "a.txt": b"a cat"})
    assert captions(found) == {"a.png": "a cat", "a.jpg": "a cat"}
    assert "a.png and a.jpg" in finding(found, "same_name").message


def test_several_captions_of_one_image_are_lines_of_it(read_zip: ReadZip) -> None:
    found = read_zip(
        {"a.png": drawn(), "a.txt": b"a cat", "a.caption": b"1girl, cat", "metadata.csv": b"file,text\na.png,a cat"}
    )
    assert captions(found)["a.png"] == "a cat\n1girl, cat"
    assert finding(found, "several_captions").message.startswith("1 more caption")


def test_more_images_than_are_taken_are_refused_before_any_is_decoded(read_zip: ReadZip) -> None:
    with pytest.raises(TooLarge, match="101 images; at most 100 are taken"):
        read_zip({f"{number}.png": b"no picture" for number in range(101)})


def test_a_set_without_images_is_read_as_texts(read_zip: ReadZip) -> None:
    files = {"b.txt": b"one\n\ntwo", "a.jsonl": LINE.format("tea").encode(), "README.md": b"# Tales", "c.csv": b""}
    found = read_zip({name: content for name, content in files.items() if content})
    assert found.kind == "texts"
    assert [item.words() for item in found.items if isinstance(item, TextItem)] == [
        "one",
        "two",
        "What is tea?\nIt is tea.",
    ]
    assert "2 files were read as texts" in finding(found, "texts_of_set").message
    assert "README.md" in finding(found, "passed_over").message


def test_what_programs_write_beside_texts_is_passed_over(read_zip: ReadZip) -> None:
    beside = dict.fromkeys(("a/state.json", "config.json", "dataset_infos.json"), b"{}")
    found = read_zip({"train.jsonl": LINE.format("tea").encode(), **beside})
    assert len(found.items) == 1
    assert finding(found, "passed_over").message.endswith(": a/state.json, config.json, dataset_infos.json.")


def test_a_finding_about_a_text_of_a_set_names_its_file_once(read_zip: ReadZip) -> None:
    found = read_zip({"a.jsonl": b'{"text": "[INST] a [/INST] b"}', "b.txt": b"[INST] c [/INST] d"})
    assert finding(found, "looks_like").message.startswith("Line 1 of a.jsonl and 1 more look like chats in the marks")
    found = read_zip({"a.txt": b"[INST] c [/INST] d"})
    assert finding(found, "looks_like").message.startswith("a.txt looks like chats in the marks")


def test_texts_for_validation_are_not_trained_on(read_zip: ReadZip) -> None:
    found = read_zip({"train.jsonl": LINE.format("tea").encode(), "valid.jsonl": LINE.format("rum").encode()})
    assert len(found.items) == 1
    assert "valid.jsonl" in finding(found, "set_aside").message


def test_faults_of_all_texts_name_their_files(read_zip: ReadZip) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_zip({"a.jsonl": b"{oops\n", "b.jsonl": b'{"text": 7}\n'})
    assert "a.jsonl" in refused.value.message
    assert "b.jsonl" in refused.value.message


def test_a_table_of_captions_without_its_images_says_so(read_zip: ReadZip) -> None:
    with pytest.raises(InvalidInput, match=r"belongs to no image.*metadata\.jsonl"):
        read_zip({"metadata.jsonl": TABLES["metadata.jsonl"].encode()})


def put(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_a_folder_is_read_as_its_zip_would_be(read_zip: ReadZip, tmp_path: Path) -> None:
    files = photos(2) | photos(2, "sub/deep/") | {"sub/deep/1.txt": b"a cat", ".DS_Store": b"x", "x.heic": HEIC}
    folder = put(tmp_path / "set", files)
    os.utime(folder / "0.png", (0, 0))  # older than a zip can say
    read = reading.read(folder, "set", Settings(data=tmp_path))
    zipped = read_zip(files)
    assert sorted(captions(read).items(), key=str) == sorted(captions(zipped).items(), key=str)
    assert {each.code: each.message for each in read.findings} == {each.code: each.message for each in zipped.findings}


def test_links_in_a_folder_are_followed_to_files_and_named_where_they_lead_nowhere(tmp_path: Path) -> None:
    folder = put(tmp_path / "set", photos(2))
    (folder / "link.png").symlink_to(put(tmp_path / "other", {"far.png": drawn(7)}) / "far.png")
    (folder / "lost.png").symlink_to("/nonexistent")
    (folder / "around").symlink_to(folder)
    read = reading.read(folder, "set", Settings(data=tmp_path))
    assert set(captions(read)) == {"0.png", "1.png", "link.png"}
    told = finding(read, "not_read").message
    assert "lost.png (is a link to nothing)" in told
    assert "around (is no file)" in told


def test_a_folder_over_the_limits_ends_in_a_sentence(tmp_path: Path) -> None:
    folder = put(tmp_path / "set", {f"{number}.png": drawn(number) for number in range(3)})
    with pytest.raises(TooLarge, match="bytes"):
        reading.read(folder, "set", Settings(data=tmp_path, max_file_bytes=len(drawn(0)) + 10))
    with pytest.raises(TooLarge, match="save it smaller"):
        reading.read(folder, "set", Settings(data=tmp_path, max_image_bytes=10))
