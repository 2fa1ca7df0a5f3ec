"""Every sentence that small jobs tell is true by their records, and the checker finds those that are not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.reports.__main__ import RESULTS
from benchmarks.reports.checking import Verdict, check
from benchmarks.reports.material import furnish
from benchmarks.reports.orders import ORDERS, QUICK, USUAL
from benchmarks.reports.running import run
from core.findings.pictures import cut_off
from core.findings.texts.cut_texts import CutText, findings
from core.settings import Settings


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Settings]:
    place = tmp_path_factory.mktemp("reports")
    return place, furnish(place)


@pytest.fixture
def told(furnished: tuple[Path, Settings], tmp_path: Path) -> Path:
    """A copy of a finished job's folder, whose words may be changed."""
    place, settings = furnished
    shutil.copytree(run(ORDERS["tone-fast"], place, settings), tmp_path / "job")
    return tmp_path / "job"


def faults(verdict: Verdict) -> list[str]:
    return [f"{fault.sentence.where}: {fault.what}: {fault.sentence.text}" for fault in verdict.faults]


@pytest.mark.slow
@pytest.mark.parametrize("name", [QUICK[0], *(pytest.param(name, marks=pytest.mark.long) for name in QUICK[1:])])
def test_no_sentence_of_a_job_is_false(furnished: tuple[Path, Settings], name: str) -> None:
    place, settings = furnished
    verdict = check(run(ORDERS[name], place, settings), [settings.presets_folder])
    assert faults(verdict) == []
    assert verdict.sentences > 30
    assert verdict.claims >= verdict.sentences


def test_a_number_that_the_records_do_not_show_is_found(told: Path) -> None:
    report = json.loads((told / "report.json").read_text())
    assert faults(check(told)) == []
    report["reasons"]["confidence"] = report["reasons"]["confidence"].replace("unseen data ", "unseen data 1")
    (told / "report.json").write_text(json.dumps(report))
    assert [fault.sentence.where for fault in check(told).faults] == ["reasons.confidence"]


def test_a_sentence_that_no_rule_knows_is_an_error(told: Path) -> None:
    report = json.loads((told / "report.json").read_text())
    report["stop_reason"] += " It is the best adapter there could be."
    (told / "report.json").write_text(json.dumps(report))
    (found,) = check(told).faults
    assert found.sentence.where == "stop_reason"
    assert found.what == "no rule knows: It is the best adapter there could be."


CUT = CutText(1, 190, 55, {"question", "older turns"}), CutText(3, 61, 60, {"answer"}, (40, 41))


@pytest.mark.parametrize("cut", [CUT, CUT[:1], CUT[1:]], ids=["two", "a question", "an answer"])
def test_what_is_told_of_long_texts_is_held_against_itself(told: Path, cut: tuple[CutText, ...]) -> None:
    rows = json.loads((told / "messages.json").read_text())
    found = list(findings(cut, 10, 60, 128))
    more = [{"stage": "prepare", "text": one.message, "level": "warn", "data": {"finding": vars(one)}} for one in found]
    (told / "messages.json").write_text(json.dumps([*more, *rows]))
    assert faults(check(told)) == []
    for right, false in {
        " of 10 texts": " of 11 texts",
        "the 60": "the 61",
        "(61)": "(60)",
        "(40 of": "(41 of",
    }.items():
        wrong = [row | {"text": row["text"].replace(right, false)} for row in more]
        (told / "messages.json").write_text(json.dumps([*wrong, *rows]))
        assert bool(faults(check(told))) == (wrong != more), right
    (told / "messages.json").write_text(json.dumps([*more[:1], *rows]))
    assert bool(faults(check(told))) == (len(more) == 2)


def test_a_step_that_is_not_published_is_not_said_to_be(told: Path) -> None:
    report = json.loads((told / "report.json").read_text())
    report["proposals"]["auto"][1] = report["proposals"]["auto"][1].replace("Proposed", "Published")
    (told / "report.json").write_text(json.dumps(report))
    assert any("Published is said in proposals.auto" in fault for fault in faults(check(told)))


def test_a_reason_that_the_parameters_contradict_is_found(told: Path) -> None:
    spec = json.loads((told / "work" / "spec.json").read_text())
    spec["parameters"]["rank"] += 1
    (told / "work" / "spec.json").write_text(json.dumps(spec))
    assert {fault.sentence.where for fault in check(told).faults} == {"parameters.rank", "parameters.alpha"}


@pytest.mark.long
def test_answers_in_a_shape_are_counted_anew_and_not_as_the_report_counts_them(
    furnished: tuple[Path, Settings], tmp_path: Path
) -> None:
    place, settings = furnished
    out = tmp_path / "job"
    shutil.copytree(run(ORDERS["format-json"], place, settings), out)
    samples = json.loads((out / "samples.json").read_text())
    published = json.loads((out / "report.json").read_text())["published_step"]
    for row in samples:
        if row["step"] == published:
            row["text"] = '{"a": 1, "b": "ok", "c": []}'
    (out / "samples.json").write_text(json.dumps(samples))
    found = " ".join(faults(check(out)))
    asked = sum(row["role"] == "subject" for row in samples if row["step"] == published)
    assert f"the number of subject answers that fit at step {published} is {asked}, not 0" in found
    assert f"the number of unrelated answers that fit at step {published} is 2, not 0" in found
    assert "they do: {" in found  # where no kept step was said to


def test_the_kept_results_are_of_all_jobs_and_nothing_in_them_is_false() -> None:
    kept = json.loads(RESULTS.read_text())
    assert {row["job"] for row in kept["rows"]} >= set(USUAL)
    assert kept["jobs"] >= len(USUAL) >= 30
    assert kept["false"] == 0
    assert {row["preset"] for row in kept["rows"]} >= {
        "subject",
        "style",
        "face",
        "tone",
        "format",
        "postcard",
        "motto",
    }


def test_what_is_said_of_memory_is_held_against_the_settings(told: Path) -> None:
    spec, card = (json.loads((told / name).read_text()) for name in ("work/spec.json", "card.json"))
    messages = json.loads((told / "messages.json").read_text())
    parameters, left_out = (
        spec["parameters"],
        "The target module a.b is left out of the adapter: nothing that is learned ",
    )
    messages.append({**messages[0], "stage": "prepare", "text": left_out + "flows through it."})
    parameters |= {"precision": "int8", "checkpointing": True}
    parameters["reasons"]["checkpointing"] = f"{spec['backbone']['id']} has 5 parameters, no more than 1,000,000,000."
    for name, content in (("work/spec.json", spec), ("messages.json", messages)):
        (told / name).write_text(json.dumps(content))
    assert {fault.sentence.where for fault in check(told).faults} == {
        *("parameters.precision", "parameters.checkpointing", "messages.prepare")
    }
    spec["backbone"]["parameters"] = 5
    parameters |= {"precision": "float32", "checkpointing": False}
    card["adapter"]["left_out"] = ["a.b"]
    for name, content in (("work/spec.json", spec), ("card.json", card)):
        (told / name).write_text(json.dumps(content))
    assert faults(check(told)) == []


def test_what_is_told_of_pictures_that_are_cut_is_held_against_itself(told: Path) -> None:
    rows = json.loads((told / "messages.json").read_text())
    sized = [("a.png", (360, 640)), ("b.png", (300, 400))] + [("c.png", (500, 500))] * 8
    cut = cut_off(sized, [(512, 512)])
    assert cut is not None
    shapes = "Pictures are trained in these shapes: 10 in 384 x 704."
    more = [{"stage": "prepare", "text": text, "level": "warn", "data": None} for text in (cut.message, shapes)]
    (told / "messages.json").write_text(json.dumps([*more, *rows]))
    assert faults(check(told)) == []
    for right, false in {
        "2 of 10": "3 of 10",
        "of 10 lose": "of 11 lose",
        "a.png (44%), b.png (25%)": "a.png (44%), b.png (45%)",
        "shape 512 x 512": "shapes 512 x 512 and 384 x 704",
        "10 in 384": "9 in 384",
    }.items():
        wrong = [row | {"text": row["text"].replace(right, false)} for row in more]
        assert wrong != more, right
        (told / "messages.json").write_text(json.dumps([*wrong, *rows]))
        assert faults(check(told)), right
