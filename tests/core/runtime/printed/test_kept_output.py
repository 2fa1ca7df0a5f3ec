"""What trainers print is kept for the operator as long as its job is there, within bounds."""

from __future__ import annotations

import os
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


def test_a_jobs_files_are_erased_and_no_others(chosen: Settings) -> None:
    gone = [keep(chosen, "acct-1", f"ftjob-1-e{attempt}") for attempt in (1, 2)]
    others = [keep(chosen, "acct-1", "ftjob-11-e1"), keep(chosen, "acct-2", "ftjob-1-e1")]
    assert kept_output.erase(chosen, "acct-1", "ftjob-1") == 2
    assert [path.exists() for path in (*gone, *others)] == [False, False, True, True]
    assert sorted(kept_output.kept(chosen)) == sorted(
        [("acct-1", "ftjob-11", others[0]), ("acct-2", "ftjob-1", others[1])]
    )


def test_an_accounts_files_are_erased_with_their_folder(chosen: Settings) -> None:
    keep(chosen, "acct-1", "ftjob-1-e1")
    other = keep(chosen, "acct-2", "ftjob-1-e1")
    assert kept_output.erase(chosen, "acct-1") == 1
    assert not (other.parent.parent / "acct-1").exists()
    assert other.exists()


def test_what_is_written_after_an_erasure_is_gone_with_it(chosen: Settings) -> None:
    opened = kept_output.open_for(chosen, "acct-1", "ftjob-1-e1")
    assert opened is not None
    opened.write(b"before")
    kept_output.erase(chosen, "acct-1")
    opened.write(b"after")
    opened.close()
    assert not (chosen.data / kept_output.FOLDER / "acct-1").exists()


def test_a_file_is_bounded_and_an_empty_one_is_not_kept(chosen: Settings) -> None:
    path = keep(chosen, "acct-1", "ftjob-1-e1", bytes(kept_output.MAX_BYTES + 1))
    assert path.stat().st_size == kept_output.MAX_BYTES + len(kept_output.CUT)
    assert not keep(chosen, "acct-1", "ftjob-2-e1", b"").exists()


@pytest.mark.parametrize(
    ("account", "attempt"), [("..", "ftjob-1-e1"), ("acct-1", "../x"), ("acct-1", "a/b"), ("", "x")]
)
def test_no_name_leads_out_of_its_folder(chosen: Settings, account: str, attempt: str) -> None:
    assert kept_output.open_for(chosen, account, attempt) is None


def test_a_file_is_old_some_time_after_its_last_line(chosen: Settings) -> None:
    path = keep(chosen, "acct-1", "ftjob-1-e1")
    assert not kept_output.is_old(chosen, path)
    os.utime(path, (0, 0))
    assert kept_output.is_old(chosen, path)


def test_nothing_is_kept_unless_it_is_wanted(tmp_path: Path) -> None:
    assert kept_output.open_for(Settings(data=tmp_path), "acct-1", "ftjob-1-e1") is None
    assert list(tmp_path.iterdir()) == []
