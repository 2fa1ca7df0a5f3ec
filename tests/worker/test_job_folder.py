from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

import pytest

from worker.job_folder import JobFolder


def folder_with(tmp_path: Path, *stages: str) -> JobFolder:
    folder = JobFolder(tmp_path)
    for stage in stages:
        with folder.writing(stage) as draft:
            (draft / "deep").mkdir()
            (draft / "deep/a.txt").write_text("some words")
    return folder


def test_a_stage_is_done_when_its_folder_is_whole(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "prepare")
    assert folder.done("prepare")
    assert [fact.name for fact in folder.facts("prepare")] == ["deep/a.txt"]
    assert not folder.done("surrogate")


@pytest.mark.parametrize("damage", ["cut", "gone", "no list", "broken list"])
def test_a_damaged_stage_is_not_done(tmp_path: Path, damage: str) -> None:
    folder = folder_with(tmp_path, "prepare")
    stage = folder.stage("prepare")
    match damage:
        case "cut":
            (stage / "deep/a.txt").write_text("some")
        case "gone":
            (stage / "deep/a.txt").unlink()
        case "no list":
            (stage / "done.json").unlink()
        case "broken list":
            (stage / "done.json").write_text('{"files": [{}]}')
    assert not folder.done("prepare")


def test_a_stage_that_was_interrupted_leaves_nothing_that_counts(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    with suppress(KeyboardInterrupt), folder.writing("prepare") as draft:
        (draft / "a.txt").write_text("half")
        raise KeyboardInterrupt
    assert not folder.done("prepare")
    folder_with(tmp_path, "prepare")
    assert not (folder.stage("prepare") / "a.txt").exists()


def test_stages_after_a_gap_are_not_finished(tmp_path: Path) -> None:
    assert folder_with(tmp_path, "prepare", "surrogate", "train").finished() == ["prepare", "surrogate"]


@pytest.mark.parametrize("name", ["../../secret", "/etc/hostname", "link", "folder/secret"])
def test_a_file_that_leads_out_of_its_stage_is_never_followed(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("secret")
    folder = folder_with(tmp_path / "job", "prepare")
    (folder.stage("prepare") / "link").symlink_to(tmp_path / "secret")
    (folder.stage("prepare") / "folder").symlink_to(tmp_path)
    file = folder.stage("prepare") / name
    fact = {"name": name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "bytes": file.stat().st_size}
    (folder.stage("prepare") / "done.json").write_text(json.dumps({"files": [fact]}))
    with pytest.raises(ValueError, match="leads out"):
        folder.facts("prepare")
    assert not folder.done("prepare")


@pytest.mark.parametrize("level", ["done.json", "prepare", "job"])
def test_a_folder_in_place_of_which_stands_a_link_is_never_followed(tmp_path: Path, level: str) -> None:
    folder = folder_with(tmp_path / "job", "prepare")
    replaced = {"done.json": folder.stage("prepare") / "done.json", "prepare": folder.stage("prepare")}
    path = replaced.get(level, folder.path)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="leads out"):
        folder.facts("prepare")


def test_a_named_pipe_holds_nobody_up(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "job", "prepare")
    os.mkfifo(folder.stage("prepare") / "pipe")
    fact = {"name": "pipe", "sha256": "", "bytes": 0}
    (folder.stage("prepare") / "done.json").write_text(json.dumps({"files": [fact]}))
    assert not folder.done("prepare")
    (folder.stage("prepare") / "done.json").unlink()
    os.mkfifo(folder.stage("prepare") / "done.json")
    assert not folder.done("prepare")


def test_a_file_that_was_opened_stays_that_file_whatever_takes_its_place(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    folder = folder_with(tmp_path / "job", "prepare")
    with folder.opened("prepare/deep/a.txt") as path:
        (folder.stage("prepare") / "deep/a.txt").unlink()
        (folder.stage("prepare") / "deep/a.txt").symlink_to(tmp_path / "secret")
        assert path.read_text() == "some words"
    with pytest.raises(ValueError, match="leads out"), folder.opened("prepare/deep/a.txt"):
        pass


def test_what_lies_in_its_place_is_removed_with_a_folder_and_not_followed(tmp_path: Path) -> None:
    folder_with(tmp_path / "other", "prepare")
    (tmp_path / "job").symlink_to(tmp_path / "other")
    JobFolder(tmp_path / "job").remove()
    assert not os.path.lexists(tmp_path / "job")
    assert (tmp_path / "other/prepare/deep/a.txt").exists()
