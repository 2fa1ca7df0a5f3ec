"""The file of answers: whole after any end, taken by an upload as it stands, and never anybody else's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import references
from core.errors import AlbatrossError, Conflict, InvalidInput
from core.recording.answers import Answer, AnswerFile, is_held_out, refuses, rows_of
from core.recording.prompts import Prompt
from core.settings import Settings

MODEL = "ft:old"


def prompt(text: str = "Where is west?", **settings: Any) -> Prompt:
    return Prompt(({"role": "user", "content": text},), "line 1", settings)


def answer(
    said: str | None = "Arr, ahead.", asked: Prompt | None = None, finish: str = "stop", sample: int = 0, **more: Any
) -> Answer:
    return Answer(
        prompt=asked or prompt(), sample=sample, message={"role": "assistant", "content": said, **more},
        finish_reason=finish, model=MODEL, answered_by="ft:old-1", tokens_in=4, tokens_out=7,
        at="2026-12-01T00:00:00Z", seconds=0.5, settings={"temperature": 0.2},
    )  # fmt: skip


def write(file: Path, *answers: Answer, held_out: bool = False) -> list[str | None]:
    with AnswerFile(file, MODEL) as opened:
        return [opened.add(each, held_out=held_out) for each in answers]


def uploaded(file: Path) -> references.References:
    return references.read(file, file.name, Settings())


def test_a_line_keeps_question_answer_and_how_it_came_about(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", answer())
    (row,) = rows_of(tmp_path / "a.jsonl")
    assert [message["content"] for message in row["messages"]] == ["Where is west?", "Arr, ahead."]
    recorded = row["recorded"]
    assert recorded["model"] == MODEL
    assert recorded["usage"] == {"prompt_tokens": 4, "completion_tokens": 7}
    assert (recorded["finish_reason"], recorded["at"], recorded["temperature"]) == ("stop", "2026-12-01T00:00:00Z", 0.2)
    assert recorded["left_out"] is None


@pytest.mark.parametrize(
    ("given", "mark"),
    [
        (answer(finish="length"), "cut"),
        (answer(finish="content_filter"), "filtered"),
        (answer(None, refusal="I won't."), "refusal"),
        (answer("I'm sorry, but I can't assist with that request."), "refusal"),
        (answer("  "), "empty"),
        (answer(None, tool_calls=[{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]),
         "not_learned"),
        (answer(asked=prompt(tools=[{"type": "function", "function": {"name": "f"}}])), "not_learned"),
        (answer("a NUL \0 in it"), "not_learned"),
        (answer("half a \ud800 letter"), "not_learned"),
        (answer("x" * 100_000), "not_learned"),
        (answer("x" * 300_000), "not_learned"),
        (answer("one line that \u202e turns"), "not_learned"),
    ],
)  # fmt: skip
def test_what_can_not_or_should_not_be_learned_is_marked_and_an_upload_leaves_it_out(
    tmp_path: Path, given: Answer, mark: str
) -> None:
    file = tmp_path / "a.jsonl"
    good = [answer(f"Arr, {n} knots.", prompt(f"How fast is ship {n}?")) for n in range(3)]
    assert write(file, *good[:2], given, good[2]) == [None, None, mark, None]
    read = uploaded(file)
    assert len(read.items) == 3
    assert f"1 recorded answer is left out of training: 1 as {mark}." in [f.message for f in read.findings]


def test_held_out_answers_are_left_out_of_training_and_only_good_ones_are_held_out(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    write(file, answer(asked=prompt("a?")), answer(asked=prompt("b?"), finish="length"), held_out=True)
    write(file, answer(asked=prompt("c?")))
    assert [row["recorded"]["left_out"] for row in rows_of(file)] == ["held_out", "cut", None]
    assert len(uploaded(file).items) == 1


def test_a_mark_that_is_taken_away_lets_the_answer_be_trained_on(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    write(file, answer(), answer("I can't help with that.", prompt("b?")))
    file.write_text(file.read_text().replace('"left_out": "refusal"', '"left_out": null'))
    assert len(uploaded(file).items) == 2


def test_a_file_with_nothing_to_train_on_says_why(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", answer(finish="length"))
    with pytest.raises(InvalidInput, match="holds no references: 1 recorded answer is left out of training: 1 as cut"):
        uploaded(tmp_path / "a.jsonl")


def test_what_is_recorded_is_known_again_and_counted(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    write(file, answer(), answer(sample=1))
    with AnswerFile(file, MODEL) as opened:
        assert opened.done == {(prompt().key, 0): None, (prompt().key, 1): None}
        assert (opened.tokens_in, opened.tokens_out) == (8, 14)


@given(cut=st.integers(0, 400))
def test_a_file_cut_off_anywhere_keeps_every_whole_answer(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:  # fmt: skip
    file = tmp_path_factory.mktemp("cut") / "a.jsonl"
    write(file, answer(), answer(asked=prompt("b?")))
    content = file.read_bytes()
    at = max(1, len(content) - cut)
    file.write_bytes(content[:at])
    whole = content[:at].count(b"}}\n") + content[:at].endswith(b"}}")
    with AnswerFile(file, MODEL) as opened:
        assert len(opened.done) == whole
        opened.add(answer(asked=prompt("c?")), held_out=False)
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
        opened.add(answer(), held_out=False)
        with pytest.raises(Conflict, match="Another run is recording"):
            AnswerFile(tmp_path / "a.jsonl", MODEL)


def test_a_run_that_records_nothing_leaves_no_file(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl")
    assert not (tmp_path / "a.jsonl").exists()


FULL = """
import resource, signal, sys
from pathlib import Path
from core.errors import AlbatrossError
from tests.core.recording.test_answers import answer, prompt, MODEL, AnswerFile
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))
with AnswerFile(Path(sys.argv[1]), MODEL) as file:
    try:
        for n in range(9):
            file.add(answer(asked=prompt(f"{n}?")), held_out=False)
    except AlbatrossError as error:
        print(error.code, error.message)
"""


def test_a_full_disk_is_a_sentence_and_what_is_there_stays_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", FULL, file], cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.startswith("disk_full The disk is full. 1 answers are safe; make room and run the same command")
    assert len(list(rows_of(file))) == 1
    assert file.read_bytes().endswith(b"}}\n")


def test_of_an_answer_that_was_asked_for_again_the_last_counts(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    write(file, answer("Arr, the", finish="length"), answer("Arr, the sea."))
    (row,) = rows_of(file)
    assert row["messages"][-1]["content"] == "Arr, the sea."


def test_lines_that_were_never_recorded_are_read_to_compare_with(tmp_path: Path) -> None:
    line: Mapping[str, object] = {"messages": [{"role": "user", "content": "a"}]}
    (tmp_path / "a.jsonl").write_text(f"{json.dumps(line)}\n\n{json.dumps(line)}\n")
    assert len(list(rows_of(tmp_path / "a.jsonl"))) == 2
    (tmp_path / "b.jsonl").write_text("{}\nprose\n")
    with pytest.raises(InvalidInput, match=r"Line 2 of b\.jsonl"):
        list(rows_of(tmp_path / "b.jsonl"))


@pytest.mark.parametrize(
    ("said", "refusal"),
    [
        ("I'm sorry, but I can't assist with that.", True),
        ("Sorry, I cannot help with that request.", True),
        ("I\u2019m unable to comply with that.", True),
        ("I can't help but smile at this question.", False),
        ("I'm sorry to hear that. Your parcel is on its way.", False),
        ("I can't help with refunds myself, " + "but here is how you ask for one: " * 6, False),
        ("Arr.", False),
    ],
)
def test_a_refusal_is_told_by_its_usual_words_alone(said: str, refusal: bool) -> None:
    assert refuses(said) is refusal


def test_the_share_that_is_held_out_is_as_asked_and_the_same_in_every_run() -> None:
    keys = [prompt(f"question {n}").key for n in range(2_000)]
    assert not any(is_held_out(key, 0) for key in keys)
    held = {key for key in keys if is_held_out(key, 0.2)}
    assert 0.17 < len(held) / len(keys) < 0.23
    assert held < {key for key in keys if is_held_out(key, 0.5)}


def test_a_file_that_can_not_be_written_is_a_sentence(tmp_path: Path) -> None:
    with AnswerFile(tmp_path / "a.jsonl", MODEL) as opened:
        opened.add(answer(), held_out=False)
        writable, opened._file = opened._file, os.open(tmp_path / "a.jsonl", os.O_RDONLY)
        with pytest.raises(AlbatrossError, match=r"a\.jsonl can't be written .*1 answers are safe"):
            opened.add(answer(sample=1), held_out=False)
        os.close(writable)
