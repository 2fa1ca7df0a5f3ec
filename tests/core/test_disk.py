"""Files that are there whole or not at all: what a reader sees, and what an error, a race and a kill leave behind."""

from __future__ import annotations

import ast
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from core.disk import (
    DRAFT,
    ROOT,
    copy_whole,
    hash_file,
    hash_once,
    place,
    replacing,
    sync_tree,
    write_first,
    write_json,
    write_whole,
)

# writes half of a file's content, says so, and waits to be killed
HALF = """
import sys, time
from pathlib import Path
from core.disk import write_whole

def parts():
    yield b"half"
    print("half", flush=True)
    time.sleep(60)

write_whole(Path(sys.argv[1]), parts())
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_as_a_whole_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "made/file"
    write_whole(path, b"old")
    with path.open("rb") as before:
        write_whole(path, (part for part in (b"n", b"ew")))
        assert (before.read(), path.read_bytes()) == (b"old", b"new")
    assert (names(path.parent), mode(path)) == (["file"], 0o600)


def test_json_is_its_owners_alone_and_ends_its_last_line(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": "ä"})
    assert (tmp_path / "a.json").read_text() == '{\n  "a": "ä",\n  "b": 1\n}\n'
    assert mode(tmp_path / "a.json") == 0o600


def test_what_raises_while_a_file_is_made_leaves_the_old_one_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")
    with suppress(KeyboardInterrupt), replacing(path) as draft:
        draft.write_bytes(b"ne")
        raise KeyboardInterrupt
    with pytest.raises(FileNotFoundError):
        copy_whole(tmp_path / "none", path)
    assert (path.read_bytes(), names(tmp_path)) == (b"old", ["file"])


def test_what_is_killed_while_a_file_is_made_leaves_the_old_one_and_a_draft(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")
    command = [sys.executable, "-c", HALF, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGKILL)
    draft, left = names(tmp_path)
    assert (draft.startswith(DRAFT), left, path.read_bytes()) == (True, "file", b"old")


def test_of_many_who_write_at_once_the_first_wins(tmp_path: Path) -> None:
    def write(number: int) -> bytes:
        write_first(tmp_path / "key", b"%d" % number)
        return (tmp_path / "key").read_bytes()

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(write, range(32)))
    assert len(found) == 1
    assert (names(tmp_path), mode(tmp_path / "key")) == (["key"], 0o600)


def test_a_folder_is_put_in_its_place_with_all_that_it_holds(tmp_path: Path) -> None:
    draft = tmp_path / "draft"
    (draft / "deep").mkdir(parents=True)
    (draft / "deep/file").write_bytes(b"content")
    sync_tree(draft)
    place(draft, tmp_path / "target")
    assert (tmp_path / "target/deep/file").read_bytes() == b"content"
    with pytest.raises(OSError, match="not empty"):
        place(tmp_path / "target/deep", tmp_path)


def test_a_hash_is_kept_until_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert hash_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hash_once(path, 1, 3) == hash_file(path)
    path.write_bytes(b"abd")
    assert (hash_once(path, 1, 3) == hash_file(path), hash_once(path, 2, 3) == hash_file(path)) == (False, True)


@pytest.mark.slow
def test_no_other_module_flushes_or_renames_by_itself() -> None:
    calls = {f"os.{name}" for name in ("fsync", "fdatasync", "replace", "rename", "renames")} | {"tempfile.mkstemp"}
    paths = [path for house in ("api", "core", "worker") for path in (ROOT / house).rglob("*.py")]
    found = {path.relative_to(ROOT).as_posix() for path in paths if calls & called(path)}
    # the file of answers grows in place, line by line, by the descriptor that holds its lock
    # removing moves what is to go out of folders that are too deep
    assert found == {"core/disk.py", "core/recording/answer_file.py", "core/runtime/removal.py"}


def called(path: Path) -> set[str]:
    """Dotted names of the functions of modules that a file calls."""
    nodes = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return {ast.unparse(function) for function in nodes if isinstance(function, ast.Attribute)}
