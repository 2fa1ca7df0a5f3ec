"""Jobs that are protected without a pool, through the real stages: on samples of a backbone's own and on captions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from core.backbones.record import read_record
from core.disk import ROOT
from core.method.backbones.backbone import Batch
from core.method.protection.protection import NONE
from core.parameters.schedule import PROBE_EXAMPLES
from tests.worker.stages.conftest import MakeJob, maker, picture
from tests.worker.stages.test_shapes import SHAPED, shaped_jobs
from worker.job_folder import JobFolder, write_json
from worker.protocol import Line, Message, Progress, StageDone
from worker.stages import run
from worker.stages.context import PROBE_FILE, Context
from worker.stages.protection import own, protection
from worker.stages.protection.samples import COUNT, FEWEST, Samples
from worker.stages.protection.words import CAPTIONS

UNCHOSEN = {"protect": "distil", "protect_weight": 4, "selected_count": "auto", "sample_ratio": "auto"}
OWN = UNCHOSEN | {"protect_on": "own"}
ON_CAPTIONS = UNCHOSEN | {"protect_on": "captions"}


def said(lines: list[Line]) -> str:
    return " ".join(line.text for line in lines if isinstance(line, Message))


def adapter(folder: JobFolder) -> dict[str, torch.Tensor]:
    context = Context(folder)
    step = context.read("train", "outcome.json")["published_step"]
    return load_file(folder.stage("train") / f"snapshots/step-{step:05d}.safetensors")


def without_pool(folder: JobFolder) -> JobFolder:
    spec = folder.spec()
    folder.write_spec(spec | {"backbone": spec["backbone"] | {"pool": None}})
    return folder


def with_samples(folder: JobFolder, count: int = FEWEST) -> JobFolder:
    """Let the backbone have made some samples already."""
    rows = [{"id": str(n), "caption": f"thing {n}", "file": f"{n}.png"} for n in range(count)]
    pictures = {f"{n}.png": picture(20 + n) for n in range(count)}
    own.file_of(Context(folder)).finish(Samples(tuple(rows), pictures))
    return folder


def shared(one: Batch, other: Batch) -> int:
    """Count the pictures that are in both."""
    return sum(any(torch.equal(mine, theirs) for theirs in other["mean"]) for mine in one["mean"])


def until(folder: JobFolder, stage: str) -> list[Line]:
    """Work until the stage is done; return what was said."""
    lines, work = list[Line](), run(folder)
    while not folder.done(stage):
        lines.append(next(work))
    work.close()
    return lines


@pytest.mark.slow
def test_a_job_on_its_own_samples_scores_nothing_and_is_protected_on_them(make_image_job: MakeJob) -> None:
    folder = with_samples(make_image_job(**OWN, gamma=0.5, sample_prompts=["a dog"]))
    lines = until(folder, "trial")
    context = Context(folder)
    decided = context.read("score", "decision.json")
    assert (decided["on"], decided["count"], decided["selected"], decided["gamma"]) == ("own", FEWEST, [], 0.5)
    assert context.read("score", "influence.json") == []
    assert "none is scored" in said(lines)
    used = protection.protection(context)
    assert (used.gamma, used.replay, used.distil) == (0.5, 0.0, 4.0)
    assert used.examples is not None
    assert len(used.examples["mean"]) == FEWEST


@pytest.mark.slow
def test_a_quarter_of_its_own_samples_is_the_probe_of_a_backbone_without_a_pool(make_image_job: MakeJob) -> None:
    folder = with_samples(without_pool(make_image_job(**OWN, gamma=0.5, sample_prompts=["a dog"])))
    until(folder, "trial")
    context, held = Context(folder), FEWEST // 4
    probe, used = context.probe(), protection.protection(context).examples
    assert probe is not None
    assert used is not None
    assert (context.probed_on, len(probe["mean"]), len(used["mean"])) == ("own", held, FEWEST - held)
    assert context.read("score", "decision.json")["count"] == FEWEST - held
    assert shared(probe, used) == 0


def test_without_protection_a_probe_of_own_samples_is_there_only_where_they_were_made_already(
    make_image_job: MakeJob,
) -> None:
    unprotected = {"protect": "none", "selected_count": "auto", "sample_prompts": ["a dog"]}
    folder = without_pool(make_image_job("before", **unprotected))
    assert "of its own" not in said(until(folder, "prepare"))
    assert (Context(folder).probe(), Context(folder).probed_on) == (None, None)
    with_samples(folder)
    folder = without_pool(make_image_job("after", **unprotected))
    until(folder, "prepare")
    assert Context(folder).probed_on == "own"
    assert protection.noted(Context(folder)) == {}


@pytest.mark.slow
def test_a_job_that_began_before_samples_were_held_out_goes_on_with_all_of_them(make_image_job: MakeJob) -> None:
    folder = with_samples(without_pool(make_image_job(**OWN, gamma=0.5, sample_prompts=["a dog"])))
    until(folder, "score")
    prepared = folder.stage("prepare")
    note = json.loads((prepared / protection.NOTE).read_text())
    write_json(prepared / protection.NOTE, {"own": note["own"], "count": FEWEST})
    (prepared / PROBE_FILE).unlink()
    offered = protection.offered(Context(folder))
    assert offered.examples is not None
    assert len(offered.examples["mean"]) == FEWEST
    assert Context(folder).probe() is None


@pytest.mark.slow
def test_captions_that_protect_are_encoded_while_text_encoders_are_there_and_name_no_reference(
    make_image_job: MakeJob,
) -> None:
    folder = make_image_job(**ON_CAPTIONS, gamma=0.5, sample_prompts=["a dog"])
    lines = list(run(folder))
    assert [line.stage for line in lines if isinstance(line, StageDone)][-1] == "export"
    captions = protection.noted(Context(folder))["captions"]
    assert len(captions) == CAPTIONS
    assert not [caption for caption in captions if "cat" in caption.split()]
    used = protection.protection(Context(folder))
    assert used.examples is None
    assert used.captions is not None
    assert used.captions["text"].shape[0] == CAPTIONS
    assert not torch.equal(used.captions["text"][0], used.captions["text"][1])


@pytest.mark.slow
def test_a_trigger_that_every_caption_holds_leaves_none_to_protect_under_and_the_job_says_so(
    make_image_job: MakeJob,
) -> None:
    folder = without_pool(make_image_job(**ON_CAPTIONS, trigger="emoji", sample_prompts=["a dog"]))
    spec = folder.spec()
    folder.write_spec(spec | {"backbone": spec["backbone"] | {"caption_prefix": "emoji of "}})
    lines = until(folder, "score")
    assert protection.noted(Context(folder))["captions"] == []
    assert protection.NOTHING["captions"].format("tiny") in said(lines)
    assert "samples of tiny's own" not in said(lines)


@pytest.mark.slow
@pytest.mark.parametrize("bat", [OWN, ON_CAPTIONS, OWN | {"protect": "replay"}, OWN | {"protect": "both"}])
def test_a_stopped_job_that_goes_on_gives_the_same_adapter_to_the_bit(
    make_image_job: MakeJob, bat: dict[str, object]
) -> None:
    whole = with_samples(make_image_job("whole", **bat, sample_prompts=["a dog"]))
    stopped = make_image_job("stopped", **bat, sample_prompts=["a dog"])
    list(run(whole))
    for stage in ("trial", "train"):
        lines = run(stopped)
        while not (isinstance(line := next(lines), Progress) and line.stage == stage and line.step >= 2):
            pass
        lines.close()
        assert stopped.saved(stage) is not None
    list(run(stopped))
    expected, found = adapter(whole), adapter(stopped)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.slow
def test_a_backbone_of_pictures_without_a_pool_is_protected_on_what_it_draws(make_image_job: MakeJob) -> None:
    folder = without_pool(make_image_job(**OWN, sample_prompts=["a dog"]))
    lines = list(run(folder))
    assert "tiny draws 64 pictures of its own" in said(lines)
    assert "surrogates again, 50% of every batch filled with samples of the backbone's own" in said(lines)
    shares = [line.step / line.total for line in lines if isinstance(line, Progress) and line.stage == "prepare"]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    context, held = Context(folder), COUNT // 4
    assert context.read("score", "decision.json")["count"] == COUNT - held
    told = context.read("export", "manifest.json")["outcome"]
    assert set(told["trial"]["kept"]) == {"without", "with"}
    assert "On held-out samples of the backbone's own it moved" in told["selection_reason"]
    card = context.read("export", "card.json")
    assert told["probe"] == card["probe"] == {"on": "own", "examples": held}
    assert told["forgetting"] == card["outcome"]["forgetting"] is not None
    assert f"the loss on {held} held-out samples of the backbone's own is" in told["reasons"]["forgetting"]
    assert "probe_loss" in card["curves"]["columns"]
    shares = protection.protection(context)
    assert shares is NONE or shares.distil == 4.0


@pytest.mark.slow
def test_a_backbone_of_texts_without_a_pool_is_protected_on_what_it_writes(make_text_job: MakeJob) -> None:
    folder = without_pool(make_text_job(**OWN, gamma=0.25))
    lines = list(run(folder))
    assert "tiny writes 64 texts of its own" in said(lines)
    used = protection.protection(Context(folder))
    assert used.examples is not None
    assert used.gamma == 0.25
    probe = Context(folder).probe()
    assert probe is not None
    held = [tuple(ids) for ids in probe["input_ids"].tolist()]
    assert used.examples["input_ids"].shape[0] == COUNT - len(protection.noted(Context(folder))["held_out"])
    assert 0 < len(held) <= PROBE_EXAMPLES
    assert not set(held) & {tuple(ids) for ids in used.examples["input_ids"].tolist()}
    assert "forgetting" in Context(folder).read("export", "report.json")["reasons"]


@pytest.mark.slow
def test_a_job_without_enough_samples_is_trained_on_its_references_alone_and_says_so(make_image_job: MakeJob) -> None:
    folder = make_image_job(**OWN, sample_prompts=["a dog"])
    folder.write_spec(folder.spec() | {"own_seconds": 1e-9})
    lines = list(run(folder))
    assert protection.NOTHING["own"].format("tiny") in said(lines)
    assert protection.protection(Context(folder)) is NONE


@pytest.mark.slow
def test_own_samples_are_trained_in_the_shapes_of_the_job(tiny_diffusion_folder: Path, tmp_path: Path) -> None:
    folder = with_samples(shaped_jobs(tiny_diffusion_folder, tmp_path)(**OWN, **SHAPED, gamma=0.5))
    until(folder, "score")
    offered, shapes = protection.offered(Context(folder)), Context(folder).shapes
    assert offered.examples is not None
    assert len(shapes) == 3
    assert len(offered.examples["size"]) == FEWEST * len(shapes)
    assert len({tuple(size) for size in offered.examples["size"].tolist()}) == len(shapes)


@pytest.mark.long
def test_the_emoji_backbone_is_protected_on_pictures_that_it_draws(tmp_path: Path) -> None:
    record = read_record(ROOT / "demo/emoji_ldm/weights").model_copy(update={"pool": None})
    references = tmp_path / "references"
    references.mkdir()
    for number in range(4):
        (references / f"{number}.png").write_bytes(picture(number))
        (references / f"{number}.txt").write_text(f"emoji of zyx {number}")
    folder = maker(record, references, tmp_path)(**OWN, gamma=0.5, sample_prompts=["emoji of zyx"])
    drawing = own.made(Context(folder), "prepare")
    while len(own.file_of(Context(folder)).so_far().rows) < FEWEST:
        next(drawing)
    drawing.close()
    folder.write_spec(folder.spec() | {"own_seconds": 1e-9})  # these are enough, and no time is left
    until(folder, "trial")
    pool = own.samples(Context(folder))
    assert pool is not None
    spread = [max(high - low for low, high in one.item["image"].getextrema()) for one in pool.candidates]
    assert min(spread) > 60  # something is drawn on every one
    assert protection.protection(Context(folder)).used
