"""Samples while a job trains: what they cost, that they change nothing, and that the end takes them over."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file

from core.parameters.schedule import STAGES
from tests.worker.stages.conftest import MakeJob
from worker.job_folder import DONE, JobFolder
from worker.protocol import Line, Metrics, Sampled, StageDone
from worker.stages import run
from worker.stages.context import Context
from worker.stages.export.live import SAMPLES, LiveSamples
from worker.stages.export.samples import COVER, THUMBNAIL, cover_of, row_of

ALWAYS = 1e9  # of the training time
DATED = {DONE, "card.json", "manifest.json"}
SAME = {".safetensors", ".png", ".csv", ".json"}


def watched(make: MakeJob, name: str, share: float) -> JobFolder:
    folder = make(name)
    folder.write_spec(folder.spec() | {"live_share": share})
    return folder


def shown(folder: JobFolder) -> list[dict[str, object]]:
    return json.loads((folder.live / SAMPLES).read_text())


def read(folder: JobFolder, name: str) -> list[dict[str, object]]:
    return json.loads((folder.path / name).read_text())


def results(folder: JobFolder) -> dict[str, object]:
    """What training and export have left, by path; two files of tensors differ in the order of their notes."""
    files = [path for stage in ("train", "export") for path in sorted(folder.stage(stage).rglob("*"))]
    return {
        str(path.relative_to(folder.path)): content(path)
        for path in files
        if path.suffix in SAME and path.name not in DATED
    }


def content(path: Path) -> object:
    if path.suffix != ".safetensors":
        return path.read_bytes()
    return {name: tensor.numpy().tobytes() for name, tensor in load_file(path).items()}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["images", "texts"])
def test_samples_while_it_trains_change_no_bit_of_what_comes_out_and_are_taken_over(
    make_image_job: MakeJob, make_text_job: MakeJob, kind: str
) -> None:
    make = make_image_job if kind == "images" else make_text_job
    plain, live = watched(make, "plain", 0.0), watched(make, "live", ALWAYS)
    assert not any(isinstance(line, Sampled) for line in run(plain))
    lines = list(run(live))
    first, second = results(plain), results(live)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    final = {row["id"]: row for row in read(live, "export/samples.json")}
    rows = shown(live)
    gallery = json.loads((live.stage("train") / "outcome.json").read_text())["gallery"]
    assert {row["step"] for row in rows} == {0, *gallery}
    assert sum(isinstance(line, Sampled) for line in lines) == 1 + len(gallery)
    for row in rows:
        taken = final[row["id"]]
        for name in ("role", "prompt", "text", "width", "height"):
            assert row.get(name) == taken.get(name)
        if kind == "images":
            content = (live.live / str(row["image"])).read_bytes()
            assert content == (live.stage("export") / str(taken["image"])).read_bytes()
    at_zero = [row for row in rows if row["step"] == 0]
    assert 2 <= len(at_zero) <= 3
    assert {row["role"] for row in at_zero} == {"subject", "unrelated"}
    assert plain.live.exists() is False


def until_kept(folder: JobFolder, count: int) -> Iterator[Line]:
    """Work until so many samples were told, then stop as a supervisor does."""
    work = run(folder)
    for line in work:
        yield line
        count -= isinstance(line, Sampled)
        if not count:
            break
    work.close()


@pytest.mark.slow
def test_a_job_that_goes_on_keeps_what_was_shown_and_one_that_begins_anew_does_not(make_image_job: MakeJob) -> None:
    folder = watched(make_image_job, "job", ALWAYS)
    list(until_kept(folder, 2))
    before = shown(folder)
    assert len({row["step"] for row in before}) == 2
    at = {path.name: path.stat().st_mtime_ns for path in folder.live.glob("*.png")}
    told = list(run(folder))  # from where it saved itself when it stopped
    assert not any(isinstance(line, StageDone) and line.stage in STAGES[:4] for line in told)
    assert 0 not in [row["step"] for line in told if isinstance(line, Metrics) for row in line.rows]
    assert shown(folder)[: len(before)] == before
    assert {name: (folder.live / name).stat().st_mtime_ns for name in at} == at
    folder.stage("train").rename(folder.path / "gone")
    spec = folder.spec()
    spec["parameters"]["learning_rate"] /= 2  # what is shown belongs to another run
    folder.write_spec(spec)
    context = Context(folder)
    assert LiveSamples(context, ALWAYS)._rows == []


@pytest.mark.slow
def test_time_is_set_aside_for_samples_as_training_goes_on_and_step_zero_is_a_loan(make_image_job: MakeJob) -> None:
    folder = watched(make_image_job, "job", 0.0)
    for line in (work := run(folder)):
        if isinstance(line, StageDone) and line.stage == "prepare":
            break
    work.close()
    clock = [0.0]

    class Slow(LiveSamples):
        """Drawing a step takes ten seconds."""

        def _draw(self, step: int, adapter: object) -> None:
            super()._draw(step, None)
            clock[0] += 10.0

    live, drawn = Slow(Context(folder), 0.05, lambda: clock[0]), []
    for step in range(2001):
        drawn += [step] * bool(list(live.at(step, None)) if step % 50 == 0 else [])
        clock[0] += 1.0
        assert live._spent <= max(10.0, 0.05 * (clock[0] - live._spent))
    assert drawn == [0, 400, 600, 800, 1000, 1200, 1400, 1600, 1800, 2000]
    assert list(LiveSamples(Context(folder), 0.0).at(0, None)) == []


@pytest.mark.parametrize(("size", "small"), [((40, 30), None), ((256, 256), None), ((1024, 512), (256, 128))])
def test_a_picture_says_its_size_and_a_large_one_has_a_small_copy(
    tmp_path: Path, size: tuple[int, int], small: tuple[int, int] | None
) -> None:
    row = row_of(2, 7, [], ("subject", "a cat", Image.new("RGB", size)), tmp_path)
    assert (row["id"], row["width"], row["height"]) == ("7-2", *size)
    with Image.open(tmp_path / row["thumbnail"]) as thumbnail:
        assert thumbnail.size == (small or size)
        assert max(thumbnail.size) <= THUMBNAIL
    assert (row["thumbnail"] == row["image"]) == (small is None)
    picture = cover_of([row], 7, tmp_path)
    assert picture is not None
    with Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))) as shown:
        assert max(shown.size) == min(COVER, max(size))
    assert cover_of([{**row, "role": "unrelated"}], 7, tmp_path) is cover_of([row], 8, tmp_path) is None
