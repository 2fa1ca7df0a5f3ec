"""Whole jobs through the six stages on tiny backbones: what is written, what is skipped, what is exact."""

from __future__ import annotations

import csv
import json
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from api.serializers import covers
from core.backbones.record import describe
from core.parameters.schedule import STAGES
from tests.core.method.lora import networks
from tests.tiny_backbones import LETTERS, letter_tokenizer
from tests.worker.stages.conftest import CANDIDATES, MakeJob, maker, picture
from worker.job_folder import DONE, JobFolder, checkpoint_file, seal, write_json
from worker.protocol import Kept, Known, Line, Message, Metrics, Progress, StageDone
from worker.stages import run
from worker.stages.context import Context

Finished = tuple[JobFolder, list[Line]]


def done(lines: list[Line]) -> list[str]:
    return [line.stage for line in lines if isinstance(line, StageDone)]


def read(folder: JobFolder, name: str):
    return json.loads((folder.path / name).read_text())


def test_an_image_job_leaves_everything_that_it_promises(finished_image_job: Finished) -> None:
    folder, lines = finished_image_job
    assert done(lines) == list(STAGES) == folder.finished()
    manifest = read(folder, "export/manifest.json")
    formats = {result["file"]: result.get("format") for result in manifest["results"]}
    assert next(iter(formats)) == "metrics.csv"
    assert {form for form in formats.values() if form} == {"peft", "diffusers", "kohya", "card"}
    assert all((folder.stage("export") / file).stat().st_size for file in formats)
    steps = {row["step"] for row in manifest["checkpoints"]}
    assert manifest["outcome"]["published_step"] in steps
    assert all((folder.path / row["file"]).is_file() for row in manifest["checkpoints"])
    assert manifest["outcome"]["stop_reason"]
    assert covers.shown(manifest["outcome"]["cover"]) is not None
    assert "cover" not in read(folder, "export/report.json")  # which is for people


@pytest.mark.slow
def test_progress_only_grows_and_its_estimates_are_times(finished_image_job: Finished) -> None:
    _, lines = finished_image_job
    for stage in STAGES:
        told = [line for line in lines if isinstance(line, Progress) and line.stage == stage]
        assert [line.step for line in told] == sorted(line.step for line in told), stage
        assert all(line.step <= line.total for line in told), stage
        assert all(line.eta_seconds is None or line.eta_seconds >= 0 for line in told), stage
    measured = [
        row["step"] for line in lines if isinstance(line, Metrics) and line.stage == "train" for row in line.rows
    ]
    assert measured == list(range(len(measured)))


@pytest.mark.slow
def test_a_job_on_a_device_with_hardly_any_room_computes_one_by_one_and_says_so(make_text_job: MakeJob) -> None:
    folder = make_text_job()
    folder.write_spec(folder.spec() | {"device_memory_bytes": 1})
    lines = list(run(folder))
    assert done(lines) == list(STAGES)
    told = [line.text for line in lines if isinstance(line, Message) and "are computed at once" in line.text]
    works = {words.partition(":")[0] for words in told}
    assert works == {"Training", "Evaluation", "Scoring", "Gradients of single examples"}
    assert len(told) == len(works)
    assert all(": 1 of " in words for words in told)


@pytest.mark.slow
def test_candidates_and_samples_have_what_a_reader_needs(finished_image_job: Finished) -> None:
    folder, _ = finished_image_job
    candidates = read(folder, "score/influence.json")
    assert [row["rank"] for row in candidates] == list(range(1, CANDIDATES + 1))
    assert sum(row["selected"] for row in candidates) == 4
    assert all(row["thumbnail"].startswith("data:image/png;base64,") for row in candidates)
    assert read(folder, "score/decision.json")["selection"] in ("ranked", "random")
    assert (
        read(folder, "export/manifest.json")["outcome"]["selection"] == read(folder, "score/decision.json")["selection"]
    )
    samples = read(folder, "export/samples.json")
    assert {row["role"] for row in samples} == {"subject", "unrelated"}
    assert next(row["labels"] for row in samples if row["step"] == 0) == ["before"]
    assert any("published" in row["labels"] for row in samples)
    assert len({row["image"] for row in samples}) == len(samples)


@pytest.mark.slow
def test_the_curves_are_a_table_under_the_wires_names(finished_image_job: Finished) -> None:
    folder, _ = finished_image_job
    with (folder.stage("export") / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:5] == ["step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy"]
    assert rows[0]["probe_loss"]
    assert any(row["cosine_similarity"] for row in rows)
    speaking = [row for row in rows if row["cs_fluctuation"]]
    assert speaking
    assert all(0 < int(row["cs_step"]) < int(row["step"]) for row in speaking)
    assert not any(row["cs_step"] for row in rows if row not in speaking)


@pytest.mark.slow
def test_a_resumed_job_gives_the_same_adapter_to_the_bit(make_image_job: MakeJob) -> None:
    folder = make_image_job()
    list(run(folder))
    first = read(folder, "export/card.json")["adapter"]["sha256"]
    for stage in ("train", "export"):
        shutil.rmtree(folder.stage(stage))
    assert done(list(run(folder))) == ["train", "export"]
    assert read(folder, "export/card.json")["adapter"]["sha256"] == first


@pytest.mark.slow
def test_a_job_that_is_closed_between_two_steps_goes_on_later(make_image_job: MakeJob) -> None:
    folder = make_image_job()
    lines = run(folder)
    for line in lines:
        if isinstance(line, Progress) and line.stage == "train" and line.step == 3:
            break
    lines.close()
    assert folder.finished() == ["prepare", "surrogate", "score", "trial"]
    assert done(list(run(folder))) == ["train", "export"]


@pytest.mark.slow
def test_without_backbone_data_nothing_is_scored(make_image_job: MakeJob) -> None:
    folder = make_image_job(augment=False, selected_count="auto")
    list(run(folder))
    outcome = read(folder, "export/manifest.json")["outcome"]
    assert (outcome["gamma"], outcome["selected"], outcome["pool_size"]) == (0.0, 0, 0)
    assert outcome["protected"] is read(folder, "export/card.json")["protected"] is None
    assert read(folder, "score/influence.json") == []
    assert outcome["forgetting"] is not None  # the probe is watched all the same


def messages(lines: list[Line], stage: str) -> str:
    return " ".join(line.text for line in lines if isinstance(line, Message) and line.stage == stage)


@pytest.mark.slow
def test_a_pool_too_small_to_score_is_left_alone_and_the_job_says_so(make_image_job: MakeJob) -> None:
    folder = make_image_job()
    index = Path(folder.spec()["backbone"]["pool"]) / "index.jsonl"
    index.write_text("\n".join(index.read_text().splitlines()[:9]))
    lines = list(run(folder))
    assert "holds 9 candidates; fewer than 16" in messages(lines, "score")
    outcome = read(folder, "export/manifest.json")["outcome"]
    assert (outcome["gamma"], outcome["selected"]) == (0.0, 0)
    assert "references alone" in outcome["selection_reason"]


@pytest.mark.slow
def test_references_that_are_all_the_same_still_give_an_adapter_and_a_warning(make_image_job: MakeJob) -> None:
    folder = make_image_job()
    files = list(folder.references.glob("**/*.png"))
    assert len(files) == 4
    for file in files:
        file.write_bytes(picture(3))
    lines = list(run(folder))
    assert "All references teach nearly the same" in messages(lines, "surrogate")
    assert "Training a surrogate on all references: none can be held out." in messages(lines, "surrogate")
    outcome = read(folder, "export/manifest.json")["outcome"]
    assert outcome["gamma"] == 0.0
    assert [row["verdict"] for row in outcome["references"]] == ["unknown", "duplicate", "duplicate", "duplicate"]
    assert "No reference could be held out" in outcome["reasons"]["confidence"]


@pytest.mark.slow
def test_the_report_says_of_every_reference_and_figure_what_it_means(finished_image_job: Finished) -> None:
    folder, lines = finished_image_job
    outcome = read(folder, "export/manifest.json")["outcome"]
    assert [row["name"] for row in outcome["references"]] == ["0.png", "1.png", "2.png", "3.png"]
    assert all(row["name"] in row["sentence"] for row in outcome["references"])
    assert set(outcome["reasons"]) == {"scores", "backbone_data", "cs_fluctuation", "stop", "confidence", "forgetting"}
    assert outcome["probe"] == {"on": "pool", "examples": 3}
    assert "the loss on 3 held-out examples of the backbone's data is" in outcome["reasons"]["forgetting"]
    trial = outcome["trial"]
    assert trial["interval"][0] <= trial["gain"] <= trial["interval"][1]
    assert (outcome["verdict"] == "harms") == (outcome["gamma"] == 0)
    assert "Tried on held-out references" in messages(lines, "trial")
    steps = [row["step"] for line in lines if isinstance(line, Metrics) and line.stage == "trial" for row in line.rows]
    assert steps == list(range(len(steps)))


@pytest.mark.slow
def test_numbers_that_decide_nothing_are_on_the_card_alone(finished_image_job: Finished) -> None:
    folder, _ = finished_image_job
    assert "mixing" not in read(folder, "score/decision.json")
    report = read(folder, "export/report.json")
    assert "mixing" not in report
    assert "M(gamma)" not in json.dumps(report)
    told = read(folder, "export/card.json")["diagnostics"]
    assert told["note"].startswith("These numbers decide nothing")
    law = told["error_law"]
    assert law["curve"][0] == [0.0, 1.0]
    assert {"proposition", "ratio", "judged_gamma"} <= set(law)
    assert not {"verdict", "note"} & set(law)  # the verdict is the trial's


@pytest.mark.slow
def test_a_job_that_was_scored_together_with_its_error_law_shows_that_one(make_image_job: MakeJob) -> None:
    folder = make_image_job()
    list(run(folder))
    shutil.rmtree(folder.stage("export"))
    scored = folder.stage("score")
    known = {"ratio": 0.5, "verdict": "helps", "note": "At a share of 0.95 ..."}
    write_json(scored / "decision.json", read(folder, "score/decision.json") | {"mixing": known})
    (scored / DONE).unlink()
    seal(scored)
    assert done(list(run(folder))) == ["export"]
    assert read(folder, "export/card.json")["diagnostics"]["error_law"] == {"ratio": 0.5}


@pytest.mark.slow
def test_without_backbone_data_there_is_no_error_law(make_image_job: MakeJob) -> None:
    folder = make_image_job(augment=False, selected_count="auto")
    list(run(folder))
    assert read(folder, "export/card.json")["diagnostics"]["error_law"] is None


@pytest.mark.slow
def test_a_draw_that_was_asked_for_is_not_called_scoring(make_image_job: MakeJob) -> None:
    folder = make_image_job(score="random", sample_ratio="auto")
    told = messages(list(run(folder)), "score")
    assert "drawn at random, as was asked; none is scored" in told
    assert "Scor" not in told
    assert "kept, by a draw, as was asked" in told
    assert "scores" not in read(folder, "export/report.json")["reasons"]


@pytest.mark.slow
def test_a_gamma_that_was_asked_for_is_not_tried(make_image_job: MakeJob) -> None:
    folder = make_image_job(gamma=0.4)
    list(run(folder))
    outcome = read(folder, "export/manifest.json")["outcome"]
    assert (outcome["gamma"], outcome["trial"], outcome["verdict"]) == (0.4, None, None)
    protected, p = read(folder, "export/card.json")["protected"], folder.spec()["parameters"]
    assert protected == outcome["protected"]
    assert (protected["share"], protected["examples"], protected["kept"]) == (0.4, outcome["selected"], None)
    assert [protected[name] for name in ("means", "weight", "on")] == [
        p[name] for name in ("protect", "protect_weight", "protect_on")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("stop", ["cs_fluctuation", pytest.param("max_steps", marks=pytest.mark.long)])
def test_only_the_default_rule_lets_the_pictures_choose(make_image_job: MakeJob, stop: str) -> None:
    folder = make_image_job(stop=stop, max_steps=4)
    list(run(folder))
    outcome = read(folder, "export/manifest.json")["outcome"]
    assert outcome["published_step"] == outcome["proposals"][stop][0]
    assert not any("Published" in sentence for _, sentence in outcome["proposals"].values())
    assert "pictures" in outcome["proposals"]


def test_a_text_job_answers_its_prompts_at_the_named_steps(make_text_job: MakeJob) -> None:
    folder = make_text_job()
    assert done(list(run(folder))) == list(STAGES)
    samples = read(folder, "export/samples.json")
    assert all(isinstance(row["text"], str) for row in samples)
    manifest = read(folder, "export/manifest.json")
    assert manifest["outcome"]["trained_tokens"] > 0
    with zipfile.ZipFile(folder.stage("export") / "adapter-peft.zip") as archive:
        assert set(archive.namelist()) == {"README.md", "adapter_config.json", "adapter_model.safetensors"}


@pytest.mark.slow
@pytest.mark.parametrize("precision", [pytest.param("int8", marks=pytest.mark.long), "nf4"])
def test_a_job_on_a_backbone_held_in_fewer_bits_gives_files_that_work(make_image_job: MakeJob, precision: str) -> None:
    folder = make_image_job(precision=precision, checkpointing=True)
    lines = list(run(folder))
    assert done(lines) == list(STAGES)
    assert {"peft", "diffusers", "kohya"} <= set(read(folder, "export/manifest.json")["outcome"]["formats"])
    assert read(folder, "export/card.json")["parameters"]["precision"] == precision


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["images", "texts"])
def test_computing_passes_twice_changes_no_number(make_image_job: MakeJob, make_text_job: MakeJob, kind: str) -> None:
    make = make_image_job if kind == "images" else make_text_job
    once, twice = make("once"), make("twice", checkpointing=True)
    for folder in (once, twice):
        for line in (work := run(folder)):
            if isinstance(line, StageDone) and line.stage == "surrogate":
                work.close()
    files = sorted(once.stage("surrogate").rglob("*.safetensors"))
    assert files
    for file in files:
        first, second = load_file(file), load_file(twice.path / file.relative_to(once.path))
        assert all(torch.equal(tensor, second[name]) for name, tensor in first.items()), file


@pytest.mark.slow
def test_target_modules_that_nothing_flows_through_are_left_out_and_told(
    make_text_job: MakeJob, tmp_path: Path
) -> None:
    whole = make_text_job()
    assert not any("left out of the adapter" in line.text for line in prepared(whole))
    assert Context(whole).backbone.lora.left_out == ()
    seeing = tmp_path / "seeing"
    networks.gemma3().save_pretrained(seeing)
    letter_tokenizer(["<pad>", "</s>", *LETTERS, " ", "\n", "<unk>"]).save_pretrained(seeing)
    record = describe("seeing", seeing, licence="CC0", target_modules=("v_proj", "o_proj"), defaults={"max_tokens": 40})
    folder = maker(record, tmp_path / "pirate.jsonl", tmp_path)("seeing-job")
    [told] = [line.text for line in prepared(folder) if "left out of the adapter" in line.text]
    dead = "model.vision_tower.encoder.layers.0.self_attn.v_proj"
    assert told == f"The target module {dead} is left out of the adapter: nothing that is learned flows through it."
    lora = Context(folder).backbone.lora
    assert (len(lora.layers), lora.left_out) == (4, (dead,))


def prepared(folder: JobFolder) -> list[Message]:
    """The messages of the first stage."""
    work = run(folder)
    found = []
    for line in work:
        if isinstance(line, StageDone):
            break
        found += [line] if isinstance(line, Message) else []
    work.close()
    return found


@pytest.mark.slow
def test_a_kept_step_is_told_before_training_goes_on_and_is_the_file_that_the_job_leaves(
    finished_image_job: Finished,
) -> None:
    folder, lines = finished_image_job
    rows = {row["step"]: row for row in read(folder, "export/manifest.json")["checkpoints"]}
    at, early, kept = 0, list[int](), list[Kept]()
    for line in lines:
        if isinstance(line, Metrics) and line.stage == "train":
            at = line.rows[-1]["step"]
        if isinstance(line, Kept):
            kept.append(line)
            early += [line.step] * (line.step == at)
    assert len(early) > 2  # the others are what only a rule of the end names
    assert {line.step for line in kept} == {0, *rows}
    assert len(kept) == 1 + len(rows)
    for line in kept[1:]:
        assert line.metrics == rows[line.step]["metrics"]
        assert (folder.kept / checkpoint_file(line.step)).samefile(folder.path / rows[line.step]["file"])


@pytest.mark.slow
def test_what_the_outcome_will_tell_is_told_as_soon_as_its_stage_is_done(finished_image_job: Finished) -> None:
    folder, lines = finished_image_job
    outcome = read(folder, "export/manifest.json")["outcome"]
    known = {line.stage: line.facts for line in lines if isinstance(line, Known)}
    assert list(known) == ["surrogate", "score", "trial", "train"]
    assert known["surrogate"] == {"references": outcome["references"]}
    for stage, facts in known.items():
        late = {"selected", "selection_reason"} if stage == "score" else set()  # which the trial has the last word on
        for name, fact in facts.items():
            told = outcome[name]
            assert name in late or (fact.items() <= told.items() if name == "reasons" else fact == told), name
    assert {"pool_size", "selected", "score_reliability"} <= known["score"].keys()
    assert {"gamma", "verdict", "trial", "protected"} <= known["trial"].keys()
    places = [number for number, line in enumerate(lines) if isinstance(line, Known | StageDone)]
    assert [type(lines[at]).__name__ for at in places] == ["StageDone", *["Known", "StageDone"] * 4, "StageDone"]
