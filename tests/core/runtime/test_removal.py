from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.runtime import removal

DEEP = 1500  # more than a recursive function gets through


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def test_folders_that_lie_deep_in_each_other_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    with inside(folder):
        for _ in range(DEEP):
            os.mkdir("d")
            Path("f").write_text("words")
            os.chdir("d")
    assert removal.remove(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_nobody_may_list_is_removed(tmp_path: Path) -> None:
    closed = tmp_path / "job/closed/inner"
    closed.mkdir(parents=True)
    (closed / "f").write_text("words")
    for path in (closed, closed.parent, closed.parent.parent):
        path.chmod(0)
    assert removal.remove(tmp_path / "job")


@pytest.mark.parametrize("where", ["job", "job/inner/link"])
def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path, where: str) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "f").write_text("words")
    (tmp_path / where).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / where).symlink_to(kept)
    assert removal.remove(tmp_path / "job")
    assert (kept / "f").read_text() == "words"
    assert not os.path.lexists(tmp_path / "job")


def test_names_that_are_there_already_do_not_stop_a_removal(tmp_path: Path) -> None:
    for name in (".gone-0/a/b", "x/.gone-0/c", "x/.gone-1"):
        (tmp_path / "job" / name).mkdir(parents=True)
    assert removal.remove(tmp_path / "job")
