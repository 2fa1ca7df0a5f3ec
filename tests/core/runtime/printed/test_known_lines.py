"""What an operator needs to find a fault is in the closed table, and nothing outside of it is repeated."""

from __future__ import annotations

import errno
import json.decoder
import os
from pathlib import Path

import pytest

import core.disk
from core.runtime.printed.known_code import KnownCode, is_code_word
from core.runtime.printed.known_lines import ELSEWHERE, KnownLines

CODE, LIBRARY = core.disk.__file__, json.decoder.__file__
MEMORY = (
    "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 139.80 GiB of which 5.25 MiB is "
    "free. Including non-PyTorch memory, this process has 139.70 GiB memory in use. Of the allocated memory 138.10 GiB "
    "is allocated by PyTorch, and 900.25 MiB is reserved by PyTorch but unallocated. If reserved but unallocated"
)


def repeated(line: str) -> str | None:
    found = KnownLines(KnownCode()).repeated(line)
    return found.text if found else None


@pytest.mark.parametrize(
    "line",
    [
        "Fatal Python error: Segmentation fault",
        f'  File "{LIBRARY}", line 340, in decode',
        f'  File "{CODE}", line 1, in <module>',
        '  File "<frozen runpy>", line 88, in _run_code',
        "MemoryError",
        "builtins.KeyError",
        "json.decoder.JSONDecodeError",
        "core.errors.JobFailure: diverged",
        "torch.OutOfMemoryError",
        "sqlalchemy.exc.OperationalError",
        "RuntimeError: CUDA error: an illegal memory access was encountered",
        "builtins.OSError: No space left on device",
        "RuntimeError: mat1 and mat2 shapes cannot be multiplied (4x320 and 768x320)",
        "which led to",
        "Traceback (most recent call last):",
        "reader: a decoder ended with -9",
        "terminate called after throwing an instance of 'c10::Error'",
        "  [Previous line repeated 980 more times]".strip(),
    ],
)
def test_a_line_of_the_table_is_repeated_as_it_is(line: str) -> None:
    assert repeated(line) == line


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (f'  File "{CODE}", line 1 in <module>', f'  File "{CODE}", line 1, in <module>'),
        ("Current thread 0x00007f12 (most recent call first):", "Current thread (most recent call first):"),
        ("OSError: [Errno 28] No space left on device: '/x/y'", f"OSError: {os.strerror(errno.ENOSPC)}"),
        ("bwrap: Can't find source path /x/y: No such file or directory", "No such file or directory"),
        ("KeyError: 'words'", "KeyError"),
        ("RuntimeError: words", "RuntimeError"),
        (f"{LIBRARY}:12: FutureWarning: words", f"FutureWarning at {LIBRARY}:12"),
        ("words", None),
        ("words.Error", None),
        ("core.errors.Words", None),
        ('  File "/somewhere/words.py", line 1, in words', ELSEWHERE),
    ],
)
def test_of_another_line_what_is_known_is_repeated(line: str, told: str | None) -> None:
    assert repeated(line) == told


def test_of_memory_that_was_lacking_all_figures_are_told() -> None:
    told = repeated(f"torch.OutOfMemoryError: {MEMORY}")
    assert told is not None
    for figure in ("20.00 MiB", "139.80 GiB", "5.25 MiB", "139.70 GiB", "138.10 GiB", "900.25 MiB"):
        assert figure in told
    assert "Including" not in told


def test_a_line_of_code_is_repeated_below_its_place_only() -> None:
    known = KnownLines(KnownCode())
    number = Path(CODE).read_text().split("\n").index("def sync(path: Path) -> None:") + 1
    lines = [f'  File "{CODE}", line {number}, in sync', "    def sync(path: Path) -> None:", "    ^^^^^^^^^^^"]
    assert [found.text if (found := known.repeated(line)) else None for line in lines] == [*lines[:2], None]
    assert repeated(lines[1]) is None


def test_nothing_in_the_data_folder_is_code(tmp_path: Path) -> None:
    planted = core.disk.ROOT / "core" / "errors.py"
    assert KnownCode().place(str(planted), 1, "<module>")
    assert not KnownCode(core.disk.ROOT / "core").place(str(planted), 1, "<module>")
    link = tmp_path / "link.py"
    link.symlink_to(planted)
    assert not KnownCode().place(str(link), 1, "<module>")


def test_a_word_of_code_is_one_that_stands_in_it() -> None:
    assert is_code_word("diverged")
    assert not is_code_word("canary0f3a")
