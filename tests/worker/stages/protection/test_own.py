"""Samples of a backbone's own: made once for all jobs, bounded, gone on with after a stop, and the same for one job."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from core.errors import TransientFailure
from core.method.protection.own import PATIENCE, plain_prompts
from tests.word_backbones import write_word_folder
from tests.worker.stages.conftest import MakeJob, image_jobs, text_jobs
from worker.job_folder import JobFolder
from worker.protocol import Line, Message, Progress
from worker.stages import run
from worker.stages.context import PARTS_OF_PREPARING, Context
from worker.stages.pool import Pool
from worker.stages.protection import own
from worker.stages.protection.samples import COUNT, FEWEST, SampleFile, Samples
from worker.stages.protection.words import prompts_of

OWN = {"protect": "distil", "protect_on": "own", "selected_count": "auto", "sample_ratio": "auto"}
NO_TIME = 1e-9
ROUND = 4


def said(lines: list[Line]) -> str:
    return " ".join(line.text for line in lines if isinstance(line, Message))


def change(folder: JobFolder, **told: object) -> JobFolder:
    folder.write_spec(folder.spec() | told)
    return folder


def made(folder: JobFolder) -> list[Line]:
    return list(own.made(Context(folder), "prepare"))


def found(folder: JobFolder) -> Pool:
    pool = own.samples(Context(folder))
    assert pool is not None
    return pool


def files(folder: JobFolder, pattern: str) -> list[str]:
    return [path.name for path in Path(folder.spec()["pools"]).glob(pattern)]


@pytest.fixture(scope="module")
def drawn(tiny_diffusion_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[JobFolder, list[Line]]:
    """A job whose backbone has made all its samples, only to be read, and what was said meanwhile."""
    folder = image_jobs(tiny_diffusion_folder, tmp_path_factory.mktemp("drawn"))(**OWN)
    return folder, made(folder)


@pytest.fixture
def job(make_image_job: MakeJob, drawn: tuple[JobFolder, list[Line]]) -> JobFolder:
    """A job that finds the samples made."""
    folder = make_image_job(**OWN)
    shutil.copytree(drawn[0].spec()["pools"], folder.spec()["pools"])
    return folder


def test_another_size_list_of_prompts_or_way_of_drawing_is_another_file(make_image_job: MakeJob) -> None:
    folder = make_image_job(**OWN)
    of_pool = own.file_of(Context(folder))
    assert own.file_of(Context(make_image_job("larger", **OWN, resolution=32))) != of_pool
    assert own.file_of(Context(make_image_job("other", **OWN, rank=4, trigger="zwx"))) == of_pool
    change(folder, backbone=folder.spec()["backbone"] | {"pool": None})
    without = own.file_of(Context(folder))
    assert without != of_pool
    change(folder, backbone=folder.spec()["backbone"] | {"defaults": {"sample_steps": 4, "guidance": 0.0}})
    assert own.file_of(Context(folder)) != without


def test_with_no_time_left_a_job_goes_on_without(make_image_job: MakeJob) -> None:
    folder = change(make_image_job(**OWN), own_seconds=NO_TIME)
    assert f"Only 0 of the {FEWEST} samples of tiny's own that protection needs were made within" in said(made(folder))
    assert own.samples(Context(folder)) is None
    assert not own.file_of(Context(folder)).ready  # so that the next job goes on with it


def test_a_trainer_that_may_not_keep_samples_makes_none(make_image_job: MakeJob, tmp_path: Path) -> None:
    folder = change(make_image_job(**OWN), own_pools=str(tmp_path / "of-the-job"))
    assert "Only 0 of the" in said(made(folder))
    assert files(folder, "*") == []


@pytest.mark.slow
def test_pictures_are_made_once_and_another_job_finds_them(drawn: tuple[JobFolder, list[Line]], job: JobFolder) -> None:
    folder, lines = drawn
    assert f"tiny draws {COUNT} pictures of its own, once for all jobs of this size" in said(lines)
    told = [line for line in lines if isinstance(line, Progress)]
    assert len(told) == 1 + COUNT / ROUND
    assert told[1].eta_seconds > told[-1].eta_seconds == 0
    assert [line.step for line in told] == list(range(0, COUNT + 1, ROUND))
    assert {line.total for line in told} == {COUNT + PARTS_OF_PREPARING}  # preparing itself comes after
    (taken,) = (line.data for line in lines if isinstance(line, Message) and line.data)
    assert taken["samples"] == COUNT
    assert f"tiny made {COUNT} samples of its own in {taken['seconds']:.0f} s." in said(lines)
    pool = found(folder)
    assert len(pool.candidates) == COUNT
    assert {one.item["image"].size for one in pool.candidates} == {(16, 16)}
    assert {one.item["caption"] for one in pool.candidates} == {f"thing {n}" for n in range(20)}  # not of the probe
    assert len({one.png for one in pool.candidates}) == COUNT
    assert made(job) == []
    assert found(job).sha256 == pool.sha256
    assert len(files(folder, "*-own-*")) == 1


@pytest.mark.slow
def test_what_is_begun_is_gone_on_with_and_comes_out_the_same(
    drawn: tuple[JobFolder, list[Line]], make_image_job: MakeJob
) -> None:
    stopped = make_image_job(**OWN)
    drawing = own.made(Context(stopped), "prepare")
    while len(own.file_of(Context(stopped)).so_far().rows) < 2 * ROUND:
        next(drawing)
    drawing.close()
    assert not own.file_of(Context(stopped)).ready
    lines = made(stopped)
    told = [line for line in lines if isinstance(line, Progress)]
    assert [line.step for line in told] == list(range(2 * ROUND, COUNT + 1, ROUND))
    assert told[0].eta_seconds is None  # what was there before says nothing of how fast it goes
    assert f"tiny made {COUNT - 2 * ROUND} samples of its own in" in said(lines)
    assert [one.png for one in found(stopped).candidates] == [one.png for one in found(drawn[0]).candidates]
    assert files(stopped, "*.begun") == []


@pytest.mark.slow
def test_what_another_trainer_has_made_meanwhile_is_not_made_again(make_image_job: MakeJob) -> None:
    folder = make_image_job(**OWN)
    drawing, others = own.made(Context(folder), "prepare"), own.file_of(Context(folder))
    while len(others.so_far().rows) < ROUND:
        next(drawing)
    begun = others.so_far()
    rows = tuple(begun.rows[place % ROUND] for place in range(FEWEST))
    others.finish(Samples(rows, begun.pictures))
    lines = list(drawing)
    assert not [line for line in lines if isinstance(line, Progress)]
    assert not [line for line in lines if isinstance(line, Message) and line.level == "warn"]
    assert len(found(folder).candidates) == FEWEST
    assert files(folder, "*.begun") == []


@pytest.mark.slow
def test_some_are_enough_once_the_time_is_over(make_image_job: MakeJob) -> None:
    folder = make_image_job(**OWN)
    drawing = own.made(Context(folder), "prepare")
    while len(own.file_of(Context(folder)).so_far().rows) < FEWEST:
        next(drawing)
    drawing.close()
    assert "Only" not in said(made(change(folder, own_seconds=NO_TIME)))
    assert len(found(folder).candidates) == FEWEST
    assert made(change(folder, own_seconds=900)) == []  # who began with these goes on with these


@pytest.mark.slow
def test_a_model_that_ends_no_sentence_is_asked_only_so_often(tmp_path: Path) -> None:
    folder = text_jobs(write_word_folder(tmp_path / "endless", ends=""), tmp_path)(**OWN)
    assert "tiny makes no samples of its own that could be learned from" in said(made(folder))
    assert own.samples(Context(folder)) is None
    assert made(folder) == []  # nor is it ever asked again
    assert Samples(in_vain=PATIENCE).over


@pytest.mark.slow
def test_a_file_that_is_damaged_is_made_anew(job: JobFolder) -> None:
    file = own.file_of(Context(job))
    file.whole.write_bytes(file.whole.read_bytes()[:-50])
    assert not file.ready
    file.finish(Samples())
    assert file.ready


@pytest.mark.slow
def test_a_job_goes_on_with_the_samples_that_it_began_with_or_from_no_save(job: JobFolder) -> None:
    to_the_end_of_prepare(job)
    context = Context(job)
    assert list(own.ready(context)) == []
    with job.saving("surrogate") as save:
        (save / "state.json").write_text("{}")
    replace_some(own.file_of(context), found(job))
    assert own.OTHERS in said(list(own.ready(context)))
    assert job.saved("surrogate") is None


@pytest.mark.slow
def test_a_job_whose_samples_are_gone_for_good_is_tried_again_and_not_trained_without(job: JobFolder) -> None:
    to_the_end_of_prepare(job)
    own.file_of(Context(job)).whole.unlink()
    with pytest.raises(TransientFailure, match="are gone"):
        list(own.ready(Context(change(job, own_seconds=NO_TIME))))


def test_plain_prompts_are_drawn_where_there_is_no_pool(make_image_job: MakeJob) -> None:
    context = Context(make_image_job(**OWN))
    asked = prompts_of(context.record.model_copy(update={"caption_prefix": "emoji of "}), None)
    assert {words.removeprefix("emoji of ") for words in asked} == set(plain_prompts())


def to_the_end_of_prepare(folder: JobFolder) -> None:
    lines = run(folder)
    while not folder.done("prepare"):
        next(lines)
    lines.close()


def replace_some(file: SampleFile, pool: Pool) -> None:
    """Let another machine have made fewer."""
    rows = [{"id": str(n), "caption": one.item["caption"], "file": f"{n}.png"} for n, one in enumerate(pool.candidates)]
    pictures = {f"{n}.png": one.png for n, one in enumerate(pool.candidates) if one.png}
    file.whole.unlink()
    file.finish(Samples(tuple(rows[:FEWEST]), dict(list(pictures.items())[:FEWEST])))
