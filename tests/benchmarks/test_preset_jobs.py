"""The bench reads jobs of any version, keeps its rows and draws its grids."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.presets import results
from benchmarks.presets.arms import close
from benchmarks.presets.grids import Strip, write_grid, write_strip
from benchmarks.presets.jobs import Job, Order, like_caption
from benchmarks.presets.rivals import grid, items, marked
from benchmarks.presets.sets import SETS


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_written_the_same_each_time(name: str, tmp_path: Path) -> None:
    first, second = (SETS[name].write(tmp_path / part) for part in ("one", "two"))
    if first.is_file():
        assert first.read_bytes() == second.read_bytes()
        assert len(first.read_text().splitlines()) == 12
        return
    files = sorted(path.name for path in first.iterdir())
    assert files == sorted(path.name for path in second.iterdir())
    assert [(first / file).read_bytes() for file in files] == [(second / file).read_bytes() for file in files]
    assert len(files) == 2 * len(SETS[name].words)


@pytest.mark.parametrize(
    ("caption", "trigger", "prompt"),
    [
        ("emoji of sks ghost smiling", "sks", "emoji of sks owl"),
        ("emoji of ghost smiling, sks", "sks", "emoji of owl, sks"),
        ("emoji of ghost sks smiling", "sks", "emoji of owl sks"),
        ("emoji of ghost, sks, smiling", "sks", "emoji of owl, sks"),
        ("emoji of ghost smiling", None, "emoji of owl"),
    ],
)
def test_a_job_is_prompted_with_its_trigger_where_its_captions_have_it(
    caption: str, trigger: str | None, prompt: str
) -> None:
    assert like_caption(caption, "ghost smiling", trigger)("owl") == prompt


def test_a_caption_without_its_owners_words_is_refused() -> None:
    with pytest.raises(ValueError, match="does not hold"):
        like_caption("emoji of a thing", "ghost smiling", "sks")


def test_a_job_is_ordered_as_a_user_would_and_read_from_its_folder(tmp_path: Path) -> None:
    order = Order(tmp_path, SETS["ghost"], tmp_path / "out", 3, {"preset": "subject"}, tmp_path / "data")
    line = order.command(tmp_path / "references")
    assert line[line.index("--backbone") + 1] == "emoji-ldm"
    assert json.loads(line[line.index("--bat") + 1]) == {"preset": "subject"}
    kept = tmp_path / "out" / "work" / "train" / "snapshots"
    kept.mkdir(parents=True)
    for step in (120, 8):
        (kept / f"step-{step:05d}.safetensors").touch()
    (tmp_path / "out" / "report.json").write_text('{"published_step": 120}')
    job = Job(tmp_path / "out", SETS["ghost"])
    assert (job.steps, job.published) == ([8, 120], 120)


def row(arm: str, published: int, worths: dict[int, float]) -> results.Row:
    steps = [
        {"step": step, "accepted": 6, "asked": 8, "kept": 8, "unrelated": 8, "worth": worth}
        for step, worth in worths.items()
    ]
    best = max(worths, key=lambda step: worths[step])
    name = {"set": "ghost", "preset": "subject", "arm": arm, "seed": 0}
    return {
        **name,
        "published": published,
        "best": best,
        "close": close(worths[published], worths[best]),
        "steps": steps,
    }


def test_the_table_tells_what_was_published_and_whether_a_better_step_was_kept() -> None:
    text = results.table([row("before", 40, {40: 0.5, 90: 0.8}), row("after", 90, {40: 0.5, 90: 0.8})])
    lines = text.splitlines()
    assert lines[1].split() == ["ghost", "subject", "before", "40", "6/8", "8/8", "0.50", "90", "0.80", "no"]
    assert lines[2].split()[-1] == "yes"
    assert any(line.startswith("before: 0 of 1 published steps are within 5 % of the best kept step") for line in lines)
    assert any(line.startswith("after: 1 of 1 published steps are within 5 % of the best kept step") for line in lines)


def test_a_step_that_is_not_told_apart_from_the_best_is_about_as_good() -> None:
    one = {**row("after", 40, {40: 0.7, 90: 0.8}), "told_apart": False}
    for step in one["steps"]:
        step["error"] = 0.12
    lines = results.table([one]).splitlines()
    assert lines[1].split()[-8:] == ["0.70", "+-", "0.12", "90", "0.80", "+-", "0.12", "about"]
    assert "0 of 1 published steps are within 5 % of the best kept step; 1 more are no further below it" in lines[-1]


def test_a_step_counts_as_close_within_a_twentieth_of_the_best_and_never_where_nothing_was_learned() -> None:
    assert close(0.95, 1.0)
    assert not close(0.94, 1.0)
    assert not close(0.0, 0.0)


def test_rows_are_kept_apart_and_a_newer_one_takes_the_place_of_an_older(tmp_path: Path) -> None:
    file = results.file_of(tmp_path, "ghost", "after", 0)
    results.write(file, row("after", 40, {40: 0.5}))
    rows = results.gather([file, results.file_of(tmp_path, "owl", "after", 0)])
    assert [one["published"] for one in rows] == [40]
    merged = results.merge([*rows, row("before", 8, {8: 0.1})], [row("after", 90, {90: 0.8})])
    assert {one["arm"]: one["published"] for one in merged} == {"after": 90, "before": 8}


def test_a_grid_holds_a_row_for_each_step_and_marks_the_published_one(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (32, 32), "green")] * 16
    strips = [Strip(f"step {step}", tmp_path / f"{step}", step == 2) for step in (1, 2)]
    for strip in strips:
        write_strip(strip.file, pictures, 8)
    file = write_grid(tmp_path / "grid", strips)
    assert file is not None
    drawn = Image.open(file)
    assert drawn.height == 100
    assert drawn.getpixel((400, 50)) == (214, 30, 40)
    assert drawn.getpixel((400, 0)) != (214, 30, 40)


def test_a_grid_of_answers_is_a_page_to_read(tmp_path: Path) -> None:
    strips = [Strip("step 8", tmp_path / "8", True)]
    write_strip(strips[0].file, ["Arr!", "two\nlines"], 1)
    file = write_grid(tmp_path / "grid", strips)
    assert file is not None
    assert file.read_text() == "== step 8 (published)\n- Arr!\n- two | lines\n"


def test_a_set_that_nothing_was_measured_of_has_no_grid(tmp_path: Path) -> None:
    assert write_grid(tmp_path / "grid", [Strip("step 8", tmp_path / "8")]) is None


def test_rivals_put_the_mark_at_the_end_and_try_ranks_and_rates() -> None:
    assert marked("owl") == "emoji of owl, sks"
    assert items(SETS["ghost"])[0]["caption"] == "emoji of ghost smiling, sks"
    assert {(one.rank, one.learning_rate) for one in grid(SETS["ghost"])} >= {(8, 1e-3), (16, 2e-3)}
    assert all(one.steps == tuple(sorted(one.steps)) for one in grid(SETS["pirate"]))
