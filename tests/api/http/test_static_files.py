"""Files of the page as they lie in memory: two forms, a name for each, and how long a browser keeps them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from api.app import PAGE
from api.http.static_files import MEDIA_TYPES, StaticFiles, takes_gzip


def test_the_page_has_no_file_that_is_never_sent_but_words_about_its_files() -> None:
    files = [path for path in PAGE.rglob("*") if path.is_file()]
    assert {path.name for path in files if path.suffix not in MEDIA_TYPES} <= {"README.md", "LICENSE"}


def test_the_two_forms_of_a_file_have_names_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("let a = 1;\n" * 100)
    file = StaticFiles(tmp_path).get("a.js")
    assert file is not None
    assert gzip.decompress(file.packed or b"") == file.plain
    assert len(file.packed or b"") < len(file.plain)


def test_a_file_with_its_version_in_its_name_is_kept_for_good_and_no_other(tmp_path: Path) -> None:
    for name in ("preact-10.29.2.js", "preact.js", "page-2.js"):
        (tmp_path / name).write_text("")
    lasting = {
        name: "immutable" in getattr(StaticFiles(tmp_path).get(name), "caching", "")
        for name in ("preact-10.29.2.js", "preact.js", "page-2.js")
    }
    assert lasting == {"preact-10.29.2.js": True, "preact.js": False, "page-2.js": False}


@pytest.mark.parametrize(
    ("accepted", "taken"),
    [("gzip, br", True), ("br;q=1, GZIP;q=0.5", True), ("gzip;q=0", False), ("gzip; q=0.0", False), ("x-gzip", False)],
)
def test_gzip_is_sent_to_those_who_take_it(accepted: str, taken: bool) -> None:
    assert takes_gzip(accepted) is taken
