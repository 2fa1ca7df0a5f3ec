"""The early-stopping paper's experiment: what it reads, how questions are asked, what it says, and that it goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks.paper import findings, questions
from benchmarks.paper.findings import Run
from benchmarks.paper.material import Material
from benchmarks.paper.questions import Exam, Questions
from benchmarks.paper.running import judged_at
from core.backbones.record import describe
from core.errors import InvalidInput
from core.method.backbones.texts.language import LanguageBackbone
from core.references.items import References, TextItem
from tests.tiny_backbones import LLAMA_TARGETS, write_language
from tests.worker.floor import register, run_module
from tests.worker.stages.conftest import image_record, picture

TWO = 'Which is a fruit?,stone,"an apple, ripe",rain,rope,B\nWhat is wet?,sand,wood,water,wool,c\n'
HEADER = "question,A,B,C,D,answer\n"


def asked(tmp_path: Path, text: str, name: str = "odd_things_test.csv") -> Questions:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return questions.read(tmp_path / name)


@pytest.mark.parametrize("text", [TWO, HEADER + TWO, "\ufeff" + HEADER + TWO, HEADER + "\n" + TWO + "\n"])
def test_questions_are_read_with_a_header_or_without(tmp_path: Path, text: str) -> None:
    found = asked(tmp_path, text)
    assert (found.subject, [one.right for one in found.rows]) == ("odd things", [1, 2])
    assert found.rows[0].options[1] == "an apple, ripe"
    assert found.prompt(found.rows[1]) == (
        "The following are multiple choice questions (with answers) about odd things.\n\n"
        "What is wet?\nA. sand\nB. wood\nC. water\nD. wool\nAnswer:"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no question. A line has six columns: question,A,B,C,D,answer"),
        (HEADER, "holds no question"),
        ("Which, then?,a,b,c,d,A\n", "ends on line 1 has 7 columns"),
        (TWO + "Who?,a,b,c,d,E\n", "the answer on line 3 is 'E'"),
        (TWO + "Who?,a,b,c,d,AB\n", "the answer on line 3 is 'AB'"),
        (TWO + "Who?,a,b,c,d,\n", "the answer on line 3 is ''"),
    ],
)
def test_what_is_no_question_is_told_with_its_line_and_what_to_do(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=r"odd_things_test\.csv can't be used") as refused:
        asked(tmp_path, text)
    assert said in refused.value.message


def test_a_fault_in_a_later_line_makes_no_other_table_of_questions(tmp_path: Path) -> None:
    for text, form in ((TWO, True), (TWO + "Who?,a,b\n", True), (HEADER, True), ("prompt,completion\na,b\n", False)):
        (tmp_path / "learned.csv").write_text(text)
        assert questions.is_form(tmp_path / "learned.csv") == form
    assert not questions.is_form(tmp_path)


def test_a_file_that_is_not_there_or_not_utf8_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="Name a CSV file"):
        questions.read(tmp_path / "none.csv")
    (tmp_path / "old.csv").write_bytes("Größe?,a,b,c,d,A\n".encode("latin-1"))
    with pytest.raises(InvalidInput, match="Save it as CSV in UTF-8"):
        questions.read(tmp_path / "old.csv")


def test_references_are_held_out_by_a_draw_of_the_seed_unless_others_are_given() -> None:
    given = References("texts", tuple(TextItem(text=f"text {n}") for n in range(12)))
    learned, judging = Material(given, None, None).parts(None, 0)
    assert judging is not None
    assert (len(learned.items), len(judging.items)) == (9, 3)
    assert {*learned.items, *judging.items} == {*given.items}
    assert Material(given, None, None).parts(None, 1)[1] != judging
    assert Material(given, judging, None).parts(None, 0) == (given, judging)
    with pytest.raises(InvalidInput, match=r"12 references, and 11 of them can't be held out.*--validation"):
        Material(given, None, None).parts(11, 0)


@pytest.fixture(scope="module")
def lettered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny language model that knows the letters of answers."""
    return write_language(tmp_path_factory.mktemp("lettered"), more="ABCD")


@pytest.fixture(scope="module")
def backbone(lettered: Path) -> LanguageBackbone:
    return LanguageBackbone.load(lettered, max_tokens=40, target_modules=LLAMA_TARGETS)


def test_a_letter_is_as_likely_as_the_network_says_of_its_tokens_one_by_one(
    backbone: LanguageBackbone, tmp_path: Path
) -> None:
    found = asked(tmp_path, TWO * 3)
    exam = Exam(backbone, found)
    adapter = backbone.lora.new(2, 2.0, seed=3)
    with torch.no_grad():
        for up in adapter.up.values():
            up.normal_(generator=torch.Generator().manual_seed(1))
    for chosen in (None, adapter):
        scores = exam.scores(chosen)
        for number, one in enumerate(found.rows):
            for place, (before, after) in enumerate(exam._letters(found.prompt(one))):
                total, read = 0.0, list(before)
                for token in after:
                    with torch.no_grad(), backbone.lora.use(chosen):
                        logits = backbone.model(input_ids=torch.tensor([read])).logits[0, -1]
                    total += float(logits.float().log_softmax(-1)[token])
                    read.append(token)
                assert float(scores[number, place]) == pytest.approx(total, abs=1e-3)
    assert not torch.equal(exam.scores(None), exam.scores(adapter))


def test_a_backbone_that_reads_all_letters_alike_is_refused(tiny_language: LanguageBackbone, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="some of the letters A to D as the same token"):
        Exam(tiny_language, asked(tmp_path, TWO))


def test_marks_count_the_likeliest_letters(backbone: LanguageBackbone, tmp_path: Path) -> None:
    exam = Exam(backbone, asked(tmp_path, TWO))
    best = exam.scores(None).argmax(1)
    exam.right = torch.stack([best[0], (best[1] + 1) % 4])
    marks = exam.marks(None)
    assert marks["accuracy"] == 0.5
    assert 0 < marks["probability"] < 1


def test_adapters_are_judged_at_about_as_many_steps_as_asked_where_the_curve_is_evaluated() -> None:
    assert judged_at(1500, 20, 25) == {*range(0, 1500, 60), 1500}
    assert judged_at(100, 20, 1000) == {0, 20, 40, 60, 80, 100}
    assert judged_at(50, 20, 30) == {0, 20, 40, 50}


def curve(
    turning: int | None, figures: Mapping[int, float], *, last: int = 400, by: str = "accuracy", **more: object
) -> Run:
    window = {"evaluations": 5, "interval": 20, "reason": "it was asked for"}
    outcome = {"valleys": [40], "turning_point_step": turning, "window": window, "last_step": last, "informative": True}
    rows = [
        {"step": step} | ({"heldout_loss": value} if by == "heldout_loss" else {"measured": {by: value}})
        for step, value in figures.items()
    ]
    return Run.of({"seed": 0, "outcome": outcome, "rows": [*rows, *more.values()]})


def test_the_sentence_says_how_far_the_turning_point_is_from_the_best_step() -> None:
    run = curve(240, {0: 0.3, 100: 0.4, 160: 0.45, 240: 0.425, 400: 0.2})
    assert (run.best, run.window, run.known_after) == (160, 100, 280)
    assert findings.sentence(run) == (
        "Seed 0: the turning point is step 240, known at step 520. Accuracy was best at step 160 (45.0%), and the "
        "turning point came 80 steps after it (42.5%); before training it was 30.0%, at 2 M, step 200, 45.0%, and at "
        "the end, step 400, 20.0%."
    )
    both = {"step": 80, "heldout_loss": 1.5}
    assert findings.sentence(curve(240, {0: 0.3, 240: 0.4}, beside=both)).endswith(
        " The loss on held-out references was lowest at step 80 (1.5000)."
    )
    losses = curve(160, {0: 3.0, 160: 2.0, 400: 4.0}, by="heldout_loss")
    assert "The held-out loss was best at step 160 (2.0000), and the turning point is that very step (2.0000)" in (
        findings.sentence(losses)
    )


def test_a_run_without_a_turning_point_says_why() -> None:
    assert "the run of 200 steps was too short for its windows, which take 300" in findings.sentence(
        curve(None, {0: 0.3}, last=200)
    )
    assert "CS-Fluctuation showed 1 of two valleys in 400 steps. Accuracy was best at step 20 (40.0%)." in (
        findings.sentence(curve(None, {0: 0.3, 20: 0.4}))
    )


def test_several_seeds_are_told_together_and_what_questions_can_tell_apart() -> None:
    runs = [curve(240, {0: 0.3, 160: 0.5, 240: 0.4}), curve(100, {0: 0.3, 200: 0.6, 100: 0.2})]
    together, chance = findings.overall(runs, 40)
    assert together.startswith("Over 2 seeds the turning point is 90 steps from the best on average; accuracy is 30.0%")
    assert "one is 2.5 points, and an accuracy of a half has a standard error of 7.9 points" in chance
    assert findings.overall(runs[:1], None) == []
    (*_, guessed) = findings.overall([curve(240, {0: 0.25, 240: 0.38})], 40)
    assert guessed.startswith("Guessing gives 25%, and no judged step reaches two standard errors above that (38.7%)")


QUICK = {"rank": 2, "alpha": 1, "learning_rate": 1e-2, "max_steps": 40, "window": 3, "interval": 1}


@pytest.fixture
def texts(lettered: Path, tmp_path: Path) -> list[str]:
    """What is typed for a tiny backbone, a CSV to learn from and one of questions."""
    record = describe("tiny", lettered, licence="CC0", target_modules=LLAMA_TARGETS)
    register(record, tmp_path / "data")
    rows = "".join(f"which is {n}?,{n}a,{n}b,{n}c,{n}d,{'ABCD'[n % 4]}\n" for n in range(8))
    for name in ("odd_things_dev.csv", "odd_things_test.csv"):
        (tmp_path / name).write_text(HEADER + rows)
    return [
        *("--backbone", "tiny", "--references", str(tmp_path / "odd_things_dev.csv"), "--points", "8"),
        *("--questions", str(tmp_path / "odd_things_test.csv"), "--out", str(tmp_path / "out")),
        *("--bat", json.dumps(QUICK)),
    ]


def experiment(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_module("benchmarks.paper", tmp_path / "data", *arguments)


@pytest.mark.long
def test_an_experiment_on_texts_leaves_a_figure_a_record_and_sentences(texts: list[str], tmp_path: Path) -> None:
    done = experiment(tmp_path, *texts, "--seeds", "2")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out/record.json").read_text())
    assert record["settings"] == QUICK | {"preset": "paper-text", "batch_size": 6, "cs_semantics": "paper"}
    assert (record["references"], record["questions"], len(record["runs"])) == (6, 8, 2)
    for row in record["runs"]:
        assert list(row["curves"]["accuracy"]) == [str(step) for step in range(0, 41, 5)]
        assert set(row["curves"]["accuracy"]) == set(row["curves"]["probability"])
        assert row["curves"]["heldout_loss"]
        assert row["by"] == "accuracy"
    assert all(sentence in done.stdout for sentence in record["sentences"])
    assert "seed 2 of 2" in done.stderr
    with Image.open(tmp_path / "out/figure.png") as drawn:
        assert drawn.width > 700
    again = experiment(tmp_path, *texts, "--seeds", "2")
    assert "seed 1 of 2" not in again.stderr
    assert json.loads((tmp_path / "out/record.json").read_text()) == record


@pytest.mark.long
def test_an_experiment_that_is_stopped_goes_on_and_comes_to_the_same(texts: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.paper", *texts, "--data", str(tmp_path / "data")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as going:
        assert going.stderr is not None
        for line in going.stderr:
            if "seed 1 of 1" in line and "step 0/" not in line:
                going.terminate()
                break
        rest = going.stderr.read()
    assert (going.returncode, rest.splitlines()[-1]) == (130, "Stopped. The same command goes on from here.")
    assert not (tmp_path / "out/record.json").exists()
    resumed = experiment(tmp_path, *texts)
    assert resumed.returncode == 0, resumed.stderr
    whole = json.loads((tmp_path / "out/record.json").read_text())
    texts[texts.index("--out") + 1] = str(tmp_path / "anew")
    assert experiment(tmp_path, *texts).returncode == 0
    assert json.loads((tmp_path / "anew/record.json").read_text()) == whole


@pytest.mark.long
def test_an_experiment_on_pictures_is_judged_by_an_encoder_of_its_own(
    tiny_diffusion_folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    register(image_record(tiny_diffusion_folder, tmp_path), tmp_path / "data")
    (tmp_path / "own").mkdir()
    for number in range(5):
        (tmp_path / f"own/{number}.png").write_bytes(picture(number))
        (tmp_path / f"own/{number}.txt").write_text(f"cat number {number}")
    quick = QUICK | {"max_steps": 12, "window": 2}
    typed = ["--backbone", "tiny", "--references", str(tmp_path / "own"), "--out", str(tmp_path / "out")]
    done = experiment(tmp_path, *typed, "--points", "3", "--bat", json.dumps(quick))
    assert done.returncode == 0, done.stderr
    row = json.loads((tmp_path / "out/record.json").read_text())["runs"][0]
    assert list(row["curves"]["similarity"]) == ["0", "4", "8", "12"]
    assert row["curves"]["similarity"]["0"] == pytest.approx(0, abs=1e-6)
    assert row["curves"]["recognised"]["0"] == 1
    refused = experiment(tmp_path, *typed, "--questions", str(tmp_path / "none.csv"))
    assert (refused.returncode, "questions are for texts. Leave --questions out" in refused.stderr) == (2, True)


def test_the_help_says_what_is_needed_and_what_can_be_typed(tmp_path: Path) -> None:
    told = experiment(tmp_path, "--help").stdout
    assert all(word in told for word in ("question,A,B,C,D,answer", "--seeds", "--validation", "goes on from there"))


@pytest.mark.slow
def test_what_can_not_be_used_is_told_with_what_to_do_next(texts: list[str], tmp_path: Path) -> None:
    texts[texts.index("--references") + 1] = str(tmp_path / "nowhere")
    missing = experiment(tmp_path, *texts)
    assert (missing.returncode, "nowhere is not there; name a folder or a file." in missing.stderr) == (2, True)
    texts[texts.index("--references") + 1] = str(tmp_path)
    inside = experiment(tmp_path, *texts)
    assert (inside.returncode, "choose a folder outside of it" in inside.stderr) == (2, True)
    texts[texts.index("--backbone") + 1] = "unknown"
    assert experiment(tmp_path, *texts).returncode == 2
