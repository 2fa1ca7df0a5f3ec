"""When two names mean the same file, and how names are shown."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.references.files import names
from core.references.files.names import Index

LETTERS = st.characters(categories=("Lu", "Ll", "Lo", "Nd"), max_codepoint=0x9FFF)
PART = st.text(LETTERS, min_size=1, max_size=8)
FORMS = st.sampled_from(("NFC", "NFD", "NFKC", "NFKD"))
SEPARATORS = st.sampled_from(("/", "\\", "//", "/./"))


@pytest.mark.slow
@given(st.lists(PART, min_size=1, max_size=4), FORMS, SEPARATORS)
def test_a_file_is_found_by_its_name_in_any_form_with_any_separator(
    parts: list[str], form: str, separator: str
) -> None:
    path = names.canonical("/".join(parts) + ".png")
    told = separator.join(unicodedata.normalize(form, part) for part in parts)
    for name in (f"{told}.png", f"./{told}.png", f".\\{told}.jpg", f"{told}.png".casefold()):
        assert Index([path]).find(name) == [path]
    assert Index([path]).find(told, as_it_is=True) == [path]


@pytest.mark.parametrize(
    ("path", "key"),
    [("a\\B.PNG", "a/b.png"), ("./a//b.png", "a/b.png"), ("cafe\u0301.png", "café.png"), ("STRASSE.png", "straße.PNG")],
)
def test_names_that_mean_the_same_file_have_one_key(path: str, key: str) -> None:
    assert names.key(path) == names.key(key)


def test_names_that_only_look_alike_are_two_files() -> None:
    assert names.key("1.png") != names.key("①.png")
    assert Index(["1.png", "①.png"]).find("1.png") == ["1.png"]


INDEX = Index(["img/1.png", "img/2.png", "reg/1.png", "3.jpg", "aaa.b1.png", "aaa.b2.png", "4.png", "4.jpg"])


@pytest.mark.parametrize(
    ("name", "folder", "found"),
    [
        ("1.png", "img", ["img/1.png"]),
        ("1.png", "reg", ["reg/1.png"]),
        ("2.png", "", ["img/2.png"]),
        ("1.png", "", ["img/1.png", "reg/1.png"]),
        ("3.png", "", ["3.jpg"]),
        ("C:\\train\\set\\img\\2.png", "", ["img/2.png"]),
        ("/home/me/3.jpg", "captions", ["3.jpg"]),
        ("4.jpg", "", ["4.jpg"]),
        ("4", "", ["4.png", "4.jpg"]),
        ("5.png", "", []),
    ],
)
def test_a_table_finds_the_closest_match(name: str, folder: str, found: list[str]) -> None:
    assert INDEX.find(name, folder) == found


def test_what_follows_the_last_dot_of_a_name_without_its_ending_is_no_ending() -> None:
    assert INDEX.find("aaa.b1", as_it_is=True) == ["aaa.b1.png"]
    assert INDEX.find("aaa", as_it_is=True) == []


def test_labels_have_as_many_folders_as_keep_them_apart() -> None:
    paths = ["set/img/1.png", "set/reg/1.png", "set/img/2.png", "other/img/3.png"]
    assert list(names.labels(paths).values()) == ["img/1.png", "reg/1.png", "2.png", "3.png"]
    assert list(names.labels(["1.png", "a/1.png", "b/a/1.png"]).values()) == ["1.png", "a/1.png", "b/a/1.png"]


@pytest.mark.parametrize("path", ["../../etc/passwd", "a\x1b[2J/\u202eb.png", "x" * 500 + "/" + "y" * 500, "...", ""])
def test_a_label_can_be_shown_and_leads_nowhere(path: str) -> None:
    label = names.label(path)
    assert label.isprintable()
    assert 0 < len(label) <= names.MAX_LABEL_CHARACTERS
    assert ".." not in label.split("/")
