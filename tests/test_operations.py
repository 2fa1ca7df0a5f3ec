"""What docs/operations.md quotes is what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core.database.invariants import broken_invariants
from core.settings import Settings

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs/operations.md").read_text()
CODE = "\n".join(path.read_text() for room in ("api", "core", "worker") for path in (ROOT / room).rglob("*.py"))
FAILURES = [line for line in TEXT.partition("## What a failure")[2].partition("## Logs")[0].splitlines() if "|" in line]


def test_every_setting_that_is_named_exists() -> None:
    named = set(re.findall(r"ALBATROSS_([A-Z_0-9]+)", TEXT))
    assert named - {name.upper() for name in Settings.model_fields} == set()
    assert len(named) > 10


def test_every_command_that_is_named_exists() -> None:
    named = set(re.findall(r"`albatross (\w[\w-]*)", TEXT))
    assert named >= {"serve", "backup", "restore", "worker", "dispatcher", "keys"}
    assert {name for name in named if f'"{name}"' not in CODE} == set()


def quoted() -> list[str]:
    logs = [words for line in FAILURES[2:] for words in re.findall(r"`([a-z' -]{12,})`", line.split("|")[2])]
    return logs + [words for line in FAILURES[2:] for words in re.findall(r'"([A-Z][^"{}0-9]{12,}\.)"', line)]


@pytest.mark.parametrize("words", quoted())
def test_what_a_failure_is_said_to_look_like_is_in_the_code(words: str) -> None:
    assert words in CODE


def test_the_failures_are_told_of_in_full() -> None:
    assert len(FAILURES) > 14
    assert len(quoted()) > 14
    assert broken_invariants.__doc__
    assert "a succeeded job has no adapter" in CODE


def test_every_file_that_is_named_exists() -> None:
    for path in re.findall(r"`((?:core|docs|api)/[\w/.]+|docker-compose\.yml)`", TEXT):
        assert (ROOT / path).exists(), path


def test_every_code_of_a_gpu_is_told_of() -> None:
    rooms = ("worker/trainer", "worker/supervision/gpu")
    code = "\n".join(path.read_text() for room in rooms for path in (ROOT / room).glob("*.py"))
    assert set(re.findall(r'"(gpu_[a-z_]+)"', code)) == set(re.findall(r"`(gpu_[a-z_]+)`", TEXT))
