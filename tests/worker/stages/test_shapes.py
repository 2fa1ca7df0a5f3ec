"""A job whose pictures have three shapes, some of them a mask: what it tells, what it draws, and that it can stop."""

from __future__ import annotations

import io
import json
import math
import random
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file

from core.backbones.sides import side_step
from core.errors import JobFailure
from core.references.packing import write_folder
from core.references.picture_shapes import choose
from core.settings import Settings
from core.uploads.reading import read
from tests.core.backbones.test_folders import change
from tests.families.images import write_images
from tests.worker.stages.conftest import MakeJob, image_jobs, image_record, maker
from tests.worker.stages.test_saves import same
from worker.job_folder import JobFolder
from worker.protocol import Line, Message, Metrics, Progress
from worker.stages import run
from worker.stages.context import Context
from worker.stages.prepare import prepare

SIZES = [(36, 60)] * 3 + [(60, 36)] * 2 + [(40, 40)] * 2
SHAPED = {"shapes": 3, "masks": True, "folds": 2, "resolution": 32}


def png(number: int, size: tuple[int, int]) -> bytes:
    image = Image.new("RGB", size, (19 * number % 256, 255 - 30 * number % 256, 90))
    ImageDraw.Draw(image).ellipse((number % 9, 3, 20 + number % 9, 25), fill=(250, 40 * number % 256, 10))
    return packed(image)


def packed(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def mask(size: tuple[int, int], *, black: bool = False) -> bytes:
    greys = Image.new("L", size)
    if not black:
        ImageDraw.Draw(greys).ellipse((0, 0, 25, 30), fill=255)
    return packed(greys)


def shaped_jobs(backbone: Path, place: Path, *, blank: bool = False) -> MakeJob:
    return maker(image_record(backbone, place), pictures(place / "cat.zip", blank=blank), place)


def pictures(upload: Path, sizes: Sequence[tuple[int, int]] = SIZES, *, blank: bool = False) -> Path:
    """Pack pictures of these sizes, of which each third has a mask."""
    with zipfile.ZipFile(upload, "w") as archive:
        for number, size in enumerate(sizes):
            archive.writestr(f"{number}.png", png(number, size))
            archive.writestr(f"{number}.txt", f"cat {number}")
            if number % 3 == 0:
                archive.writestr(f"masks/{number}.png", mask(size, black=blank and number == 6))
    return upload


@pytest.fixture
def make_shaped_job(tiny_diffusion_folder: Path, tmp_path: Path) -> MakeJob:
    return shaped_jobs(tiny_diffusion_folder, tmp_path)


def messages(lines: list[Line]) -> list[str]:
    return [line.text for line in lines if isinstance(line, Message)]


def size_of(file: Path) -> tuple[int, int]:
    with Image.open(file) as image:
        return image.size


@pytest.mark.slow
def test_shapes_and_masks_are_prepared_and_told(make_shaped_job: MakeJob) -> None:
    folder = make_shaped_job(**SHAPED)
    said = messages(list(prepare(Context(folder))))
    context = Context(folder)
    assert context.shapes == choose(SIZES, 32, side_step(context.record.path) or 0, 3, 2)
    assert len(context.shapes) == 3
    assert any("3 in 24 x 40, 2 in 32 x 32, 2 in 40 x 24" in text for text in said)
    batch = context.references()
    assert batch["mask"].flatten(1).amin(1)[[0, 3]].tolist() == [0.0, 0.0]
    assert batch["mask"][1, 0, :20, :12].min() == 1
    assert not any("more than 10 %" in text for text in said)


@pytest.mark.slow
def test_a_job_that_asks_for_neither_has_squares_and_no_masks_and_is_told_what_that_cuts(
    make_shaped_job: MakeJob,
) -> None:
    folder = make_shaped_job()
    lines = list(prepare(Context(folder)))
    found = [line.data["finding"] for line in lines if isinstance(line, Message) and "finding" in (line.data or {})]
    context = Context(folder)
    assert context.shapes == ((16, 16),)
    assert set(context.references()) == {"mean", "std", "text"}
    [cut] = [each for each in found if each["code"] == "cut_off"]
    assert cut["message"] == (
        "Pictures are trained in the shape 16 x 16: 5 of 7 lose more than 10% of their area, the most 0.png (40%), "
        "1.png (40%), 2.png (40%), 3.png (40%), 4.png (40%)."
    )


@pytest.mark.slow
def test_shapes_are_told_by_their_pictures(make_shaped_job: MakeJob) -> None:
    texts = []
    for asked in ({}, SHAPED):
        folder = make_shaped_job(str(len(texts)), **asked)
        texts += [text for text in messages(list(prepare(Context(folder)))) if text.startswith("Pictures are")]
    cut, chosen = texts
    assert cut.startswith("Pictures are trained in the shape 16 x 16: 5 of 7 lose")
    assert chosen == "Pictures are trained in these shapes: 3 in 24 x 40, 2 in 32 x 32, 2 in 40 x 24."


@pytest.mark.slow
def test_square_references_are_told_nothing_of_shapes(tiny_diffusion_folder: Path, tmp_path: Path) -> None:
    folder = image_jobs(tiny_diffusion_folder, tmp_path)(shapes=3)
    said = messages(list(prepare(Context(folder))))
    assert not any("shape" in text for text in said)
    assert set(Context(folder).references()) == {"mean", "std", "text"}


def test_a_job_prepared_before_there_were_shapes_has_squares(make_shaped_job: MakeJob) -> None:
    folder = make_shaped_job()
    list(prepare(Context(folder)))
    (folder.stage("prepare") / "shapes.json").unlink()
    assert Context(folder).shapes == ((16, 16),)


@pytest.mark.slow
def test_a_black_mask_ends_the_job_and_names_its_picture(tiny_diffusion_folder: Path, tmp_path: Path) -> None:
    folder = shaped_jobs(tiny_diffusion_folder, tmp_path, blank=True)(**SHAPED)
    with pytest.raises(JobFailure, match=r"Nothing would be learned of 6\.png: its mask is black throughout"):
        list(prepare(Context(folder)))


@pytest.mark.slow
def test_a_black_mask_of_a_validation_picture_is_not_said_to_be_learned(
    make_shaped_job: MakeJob, tmp_path: Path
) -> None:
    folder = make_shaped_job(**SHAPED)
    others = pictures(tmp_path / "others.zip", blank=True)
    write_folder(read(others, others.name, Settings(data=tmp_path, min_image_side=8)), folder.validation)
    with pytest.raises(JobFailure, match=r"Nothing would be judged by the validation image 6\.png: its mask is black"):
        list(prepare(Context(folder)))


@pytest.mark.slow
def test_a_job_of_three_shapes_with_masks_draws_in_the_commonest_and_gives_the_same_bytes_after_stops(
    make_shaped_job: MakeJob,
) -> None:
    asked = SHAPED | {"gamma": 0.5, "max_steps": 4, "surrogate_steps": 3, "sample_prompts": ["a cat"]}
    straight = make_shaped_job("straight", **asked)
    list(run(straight))
    replay = load_file(straight.stage("score") / "replay.safetensors")
    assert len(replay["mean"]) == 3 * 4
    assert sorted({tuple(size) for size in replay["size"].tolist()}) == [(12, 20), (16, 16), (20, 12)]
    manifest = json.loads((straight.stage("export") / "manifest.json").read_text())
    assert manifest["outcome"]["gamma"] == 0.5
    drawn = list(straight.stage("export").glob("sample-*.png"))
    assert drawn
    assert {size_of(file) for file in drawn} == {(24, 40)}
    stopped, chance, stops = make_shaped_job("stopped", **asked), random.Random(1), 0
    while not stopped.done("export"):
        amount, attempt = chance.randrange(2, 5), run(stopped)
        for line in attempt:
            amount -= 1
            if amount <= 0 and (isinstance(line, Metrics) or (isinstance(line, Progress) and line.stage == "score")):
                attempt.close()
                stops += 1
                break
    assert stops > 4
    same(straight, stopped)
    assert torch.isfinite(replay["mean"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("family", ["sdxl", "sd2-v"])
def test_other_families_train_in_three_shapes_with_masks_and_are_judged_by_pictures_of_other_shapes(
    tmp_path: Path, family: str
) -> None:
    backbone = write_images(family, tmp_path / family)
    if family == "sd2-v":  # trained to a last step of pure noise, as is told of files with `ztsnr`
        change(backbone / "scheduler/scheduler_config.json", rescale_betas_zero_snr=True)
    make = shaped_jobs(backbone, tmp_path)
    asked = SHAPED | {"min_snr": 5.0, "gamma": 0.5, "max_steps": 3, "surrogate_steps": 2, "sample_prompts": ["a cat"]}
    straight, stopped = (judged_by_others(make(name, **asked), tmp_path) for name in ("straight", "stopped"))
    rows = [row for line in run(straight) if isinstance(line, Metrics) for row in line.rows]
    assert rows
    assert all(math.isfinite(number) for row in rows for number in row.values() if isinstance(number, float))
    batch, judged = Context(straight).references(), Context(straight).heldout()
    assert judged is not None
    shapes = {tuple(size) for size in batch["size"].tolist()}
    assert shapes == {(20, 12), (16, 16), (12, 20)}
    assert {tuple(size) for size in judged["size"].tolist()} <= shapes
    assert judged["mask"].flatten(1).amin(1)[0] == 0
    assert {size_of(file) for file in straight.stage("export").glob("sample-*.png")} == {(24, 40)}
    if family == "sdxl":
        assert batch["time_ids"][0].tolist() == [60, 36, 0, 0, 40, 24]
        attempt = run(stopped)
        next(line for line in attempt if isinstance(line, Metrics))
        attempt.close()
        list(run(stopped))
        same(straight, stopped)


def judged_by_others(folder: JobFolder, place: Path) -> JobFolder:
    """Give a job a validation set of pictures whose shapes it does not train in."""
    others = pictures(place / "others.zip", [(80, 32), (32, 80), (50, 40)])
    write_folder(read(others, others.name, Settings(data=place, min_image_side=8)), folder.validation)
    return folder


@pytest.mark.slow
def test_what_is_see_through_is_a_mask_in_every_shape_where_a_job_asks_for_it(
    tiny_diffusion_folder: Path, tmp_path: Path
) -> None:
    upload = tmp_path / "cat.zip"
    with zipfile.ZipFile(upload, "w") as archive:
        for number, size in enumerate(SIZES):
            image = Image.open(io.BytesIO(png(number, size)))
            if number != 1:
                image.putalpha(Image.open(io.BytesIO(mask(size))))
            archive.writestr(f"{number}.png", packed(image))
            archive.writestr(f"{number}.txt", f"cat {number}")
    folder = maker(image_record(tiny_diffusion_folder, tmp_path), upload, tmp_path)(**SHAPED | {"masks": "alpha"})
    list(prepare(Context(folder)))
    batch = Context(folder).references()
    filled = [row[0, : size[0], : size[1]] for row, size in zip(batch["mask"], batch["size"].tolist(), strict=True)]
    assert [float(each.min()) for each in filled] == [1.0 if number == 1 else 0.0 for number in range(len(SIZES))]
    assert all(each.max() == 1 for each in filled)
