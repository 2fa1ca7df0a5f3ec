"""A backbone's own samples as a file, and which are held out: whole prompts and questions, never a part of one's."""

from __future__ import annotations

from pathlib import Path

from worker.stages.pool import Candidate, Pool
from worker.stages.protection.samples import COUNT, FEWEST, SampleFile, Samples, quarter

PNG = b"png"


def pool(*items: dict[str, object], png: bytes | None = None) -> Pool:
    return Pool(tuple(Candidate(str(n), "", "", item, png) for n, item in enumerate(items)), (), "")


def chat(question: str, answer: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def test_one_of_four_prompts_is_held_out_with_all_that_it_has_brought() -> None:
    made = pool(*({"caption": f"thing {n % 20}"} for n in range(COUNT)), png=PNG)
    held = quarter(made)
    assert {place % 20 for place in held} == {3, 7, 11, 15, 19}
    assert {place for place in range(COUNT) if place % 20 in (3, 7, 11, 15, 19)} == set(held)
    assert len(held) == COUNT // 4


def test_answers_to_one_question_and_a_text_that_was_written_twice_are_on_one_side() -> None:
    made = pool(
        {"text": "A."}, chat("How?", "So."), {"text": "B."}, {"text": "C."}, {"text": "C."}, chat("How?", "No.")
    )
    assert quarter(made) == [3, 4]


def test_pictures_of_one_prompt_are_parted_too() -> None:
    assert quarter(pool(*({"caption": ""} for _ in range(8)), png=PNG)) == [3, 7]


def test_of_three_samples_none_is_held_out() -> None:
    assert quarter(pool({"text": "A."}, {"text": "B."}, {"text": "C."})) == []


def test_of_texts_that_say_hardly_anything_else_none_is_held_out() -> None:
    assert quarter(pool(*({"text": f"{'ABC'[n % 3]}."} for n in range(16)))) == []


def test_the_same_samples_are_the_same_however_long_they_took(tmp_path: Path) -> None:
    rows = tuple({"id": str(n), "text": f"Text {n}."} for n in range(FEWEST))
    files = [SampleFile(tmp_path / f"{seconds}.zip") for seconds in (3, 40)]
    for file, seconds in zip(files, (3.0, 40.0), strict=True):
        file.finish(Samples(rows, rounds=4, seconds=seconds))
    first, second = (file.read() for file in files)
    assert first is not None
    assert first == second
