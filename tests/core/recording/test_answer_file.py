"""The file of answers while it is recorded: whole after any end, and never anybody else's."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.disk import ROOT
from core.errors import AlbatrossError, Conflict, InvalidInput
from core.recording.answer_file import AnswerFile, read_recorded
from core.recording.answers import rows_of
from tests.core.recording.test_answers import MODEL, answer, prompt, write


def test_what_is_recorded_is_known_again_and_counted(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    write(file, answer(), answer(sample=1))
    with AnswerFile(file, MODEL) as opened:
        assert opened.recorded.done == {(prompt().key, 0): None, (prompt().key, 1): None}
        assert opened.recorded.tokens_out == 14


def test_a_recording_is_its_users_alone_whatever_mask_is_inherited(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with AnswerFile(tmp_path / "a.jsonl", MODEL):
            assert (tmp_path / "a.jsonl").stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


@given(cut=st.integers(0, 400))
def test_a_file_cut_off_anywhere_keeps_every_whole_answer(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    file = tmp_path_factory.mktemp("cut") / "a.jsonl"
    write(file, answer(), answer(asked=prompt("b?")))
    content = file.read_bytes()
    at = max(1, len(content) - cut)
    file.write_bytes(content[:at])
    whole = content[:at].count(b"}}\n") + content[:at].endswith(b"}}")
    if not whole:  # then nobody knows whose it is
        with pytest.raises(InvalidInput, match="is no recorded answer"):
            AnswerFile(file, MODEL)
        return
    with AnswerFile(file, MODEL) as opened:
        assert len(opened.recorded.done) == whole
        opened.add(answer(asked=prompt("c?")), 0.0)
    assert len(list(rows_of(file))) == whole + 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("Where is west?", "line 1 is no recorded answer"),
        ('{"messages": []}', "line 1 is no recorded answer"),
        ('{"prompt": "a"}\n{"prompt": "b"}\n', "line 1 is no recorded answer"),
    ],
)
def test_a_file_of_somebody_elses_is_refused_and_left_as_it_is(tmp_path: Path, content: str, why: str) -> None:
    file = tmp_path / "mine.txt"
    file.write_text(content)
    with pytest.raises(InvalidInput, match=why):
        AnswerFile(file, MODEL)
    assert file.read_text() == content


def test_answers_of_two_models_do_not_mix(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", answer())
    with pytest.raises(InvalidInput, match="line 1 is an answer of ft:old; take another --out"):
        AnswerFile(tmp_path / "a.jsonl", "ft:new")


def test_two_runs_do_not_write_to_one_file(tmp_path: Path) -> None:
    with AnswerFile(tmp_path / "a.jsonl", MODEL) as opened:
        opened.add(answer(), 0.0)
        with pytest.raises(Conflict, match="Another run is recording"):
            AnswerFile(tmp_path / "a.jsonl", MODEL)


def test_a_run_that_records_nothing_leaves_no_file(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl")
    assert not (tmp_path / "a.jsonl").exists()


FULL = """
import resource, signal, sys
from pathlib import Path
from core.errors import AlbatrossError
from core.recording.answer_file import AnswerFile
from tests.core.recording.test_answers import MODEL, answer, prompt
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))
with AnswerFile(Path(sys.argv[1]), MODEL) as file:
    try:
        for n in range(9):
            file.add(answer(asked=prompt(f"{n}?")), 0.0)
    except AlbatrossError as error:
        print(error.code, error.message)
"""


@pytest.mark.slow
def test_a_full_disk_is_a_sentence_and_what_is_there_stays_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    root = ROOT
    done = subprocess.run(
        [sys.executable, "-c", FULL, file],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith("disk_full The disk is full. 1 answers are safe; make room and run the same command")
    assert len(list(rows_of(file))) == 1
    assert file.read_bytes().endswith(b"}}\n")


def test_a_file_that_can_not_be_written_is_a_sentence(tmp_path: Path) -> None:
    with AnswerFile(tmp_path / "a.jsonl", MODEL) as opened:
        opened.add(answer(), 0.0)
        writable, opened._file = opened._file, os.open(tmp_path / "a.jsonl", os.O_RDONLY)
        with pytest.raises(AlbatrossError, match=r"a\.jsonl can't be written .*1 answers are safe"):
            opened.add(answer(sample=1), 0.0)
        os.close(writable)


def test_looking_at_what_is_recorded_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    assert not read_recorded(file, MODEL).done
    assert not file.exists()
    write(file, answer())
    file.write_bytes(file.read_bytes() + b'{"messages": [{"ro')
    before = file.read_bytes()
    assert len(read_recorded(file, MODEL).done) == 1
    assert file.read_bytes() == before


def test_an_empty_file_of_somebody_elses_stays(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    write(tmp_path / "a.jsonl")
    assert (tmp_path / "a.jsonl").exists()


def test_what_is_no_ordinary_file_is_refused_and_never_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), Path("/dev/null"), tmp_path):
        with pytest.raises(InvalidInput, match="it is no ordinary file"):
            AnswerFile(path, MODEL)
        with pytest.raises(InvalidInput, match="it is no ordinary file"):
            read_recorded(path, MODEL)


def test_a_file_that_another_run_takes_away_before_the_lock_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, lock, taken = tmp_path / "a.jsonl", fcntl.flock, []

    def late(descriptor: int, operation: int) -> None:
        if not taken:  # the other run, which recorded nothing, ends between our open and our lock
            taken.append(file.unlink())
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    write(file, answer())
    assert len(taken) == 1
    assert len(list(rows_of(file))) == 1


def test_a_prompt_stays_held_out_or_trained_on_whatever_later_runs_ask_for(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    with AnswerFile(file, MODEL) as opened:
        opened.add(answer(), 1.0)
        opened.add(answer(asked=prompt("b?")), 0.0)
    with AnswerFile(file, MODEL) as opened:
        opened.add(answer(sample=1), 0.0)
        opened.add(answer(asked=prompt("b?"), sample=1), 1.0)
        assert list(opened.recorded.done.values()) == ["held_out", None, "held_out", None]


@pytest.mark.parametrize("usage", [5, None, "x", {}, {"completion_tokens": "many"}, {"completion_tokens": None}])
def test_odd_figures_in_a_line_are_no_reason_to_stop(tmp_path: Path, usage: object) -> None:
    file = tmp_path / "a.jsonl"
    write(file, answer())
    row = json.loads(file.read_text())
    row["recorded"]["usage"] = usage
    file.write_text(json.dumps(row) + "\n")
    assert read_recorded(file, MODEL).tokens_out == 0
