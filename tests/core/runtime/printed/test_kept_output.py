"""What trainers print is kept for the operator as long as its job is there, within bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.runtime.printed import kept_output
from core.settings import Settings


@pytest.fixture
def chosen(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, keep_trainer_output=True)


def keep(settings: Settings, account: str, attempt: str, words: bytes = b"words") -> Path:
    opened = kept_output.open_for(settings, account, attempt)
    assert opened is not None
    opened.write(words)
    opened.close()
    return settings.data / kept_output.FOLDER / account / f"{attempt}.log"


def test_what_is_kept_is_listed_with_its_job(chosen: Settings) -> None:
    paths = [keep(chosen, "acct-1", f"ftjob-1-e{attempt}") for attempt in (1, 2)]
    other = keep(chosen, "acct-2", "ftjob-2-e1")
    assert kept_output.kept(chosen.data) == [("ftjob-1", paths[0]), ("ftjob-1", paths[1]), ("ftjob-2", other)]


def test_what_is_written_after_an_erasure_is_gone_with_it(chosen: Settings) -> None:
    opened = kept_output.open_for(chosen, "acct-1", "ftjob-1-e1")
    assert opened is not None
    opened.write(b"before")
    for _, path in kept_output.kept(chosen.data):
        path.unlink()
    opened.write(b"after")
    opened.close()
    assert kept_output.kept(chosen.data) == []


def test_a_file_is_bounded_and_an_empty_one_is_not_kept(chosen: Settings) -> None:
    path = keep(chosen, "acct-1", "ftjob-1-e1", bytes(kept_output.MAX_BYTES + 1))
    assert path.stat().st_size == kept_output.MAX_BYTES + len(kept_output.CUT)
    assert not keep(chosen, "acct-1", "ftjob-2-e1", b"").exists()


@pytest.mark.parametrize(
    ("account", "attempt"), [("..", "ftjob-1-e1"), ("acct-1", "../x"), ("acct-1", "a/b"), ("", "x")]
)
def test_no_name_leads_out_of_its_folder(chosen: Settings, account: str, attempt: str) -> None:
    assert kept_output.open_for(chosen, account, attempt) is None


def test_nothing_is_kept_unless_it_is_wanted(tmp_path: Path) -> None:
    assert kept_output.open_for(Settings(data=tmp_path), "acct-1", "ftjob-1-e1") is None
    assert list(tmp_path.iterdir()) == []
