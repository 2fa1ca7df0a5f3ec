"""Presets are files: what they may say, and how they change values."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from core.errors import InvalidInput
from core.parameters import presets, schedule
from core.parameters.presets import RANGES, built_in
from core.parameters.request import BatRequest
from core.parameters.resolving import resolve
from core.parameters.summary import ReferenceSummary
from core.references.answer_format import shape
from core.references.items import TextItem
from tests.core.parameters.test_resolving import CATS, CHATS, EMOJI, TEXT, settled

OWN = """
name = "logo"
version = 3
kind = "images"
description = "a company's mark"
learns = "its lines and colours"
[gamma]
start = 0.1
why = "a mark is drawn in one way only"
[protect]
means = "distil"
weight = 2.5
on = "captions"
why = "it stands on anything"
[values.rank]
value = 4
why = "a mark has few features"
[values.max_steps]
times = 0.5
why = "it is learned soon"
"""
ALIAS = 'name = "mug"\nversion = 7\nkind = "images"\ndescription = "a mug"\nlearns = "its shape"\n'


def test_the_five_presets_and_the_papers_two_are_there_with_reasons() -> None:
    kinds = {name: preset.kind for name, preset in built_in().items() if not preset.advanced}
    assert kinds == {"face": "images", "format": "texts", "style": "images", "subject": "images", "tone": "texts"}
    assert {name for name, preset in built_in().items() if preset.advanced} == {"paper-image", "paper-text"}
    for preset in built_in().values():
        assert all(change.why for change in preset.values.values())


def test_face_is_an_alias_of_subject_and_says_so() -> None:
    face, subject = built_in()["face"], built_in()["subject"]
    assert (face.alias_of, face.values, face.gamma) == ("subject", subject.values, subject.gamma)
    assert "values are those of subject, and nothing of its own was measured" in face.learns
    assert "[" not in (presets.FOLDER / "face.toml").read_text()
    parameters = settled({"preset": "face"})
    assert (parameters.preset, parameters.dropout_caption) == ("face", settled().dropout_caption)
    assert "the preset face 3 (an alias of subject)" in parameters.reasons["dropout_caption"]
    assert "alias" not in settled({"preset": "subject"}).reasons["dropout_caption"]


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ('alias_of = "nothing"', "alias_of: nothing is no preset with values"),
        ('alias_of = "face"', "alias_of: face is no preset with values"),
        ('alias_of = "tone"', "alias_of: tone is for texts"),
        ('alias_of = "style"\nadd_trigger = true', "add_trigger is that of style; leave it out"),
        ('alias_of = "style"\n[gamma]\nstart = 0.5\nwhy = "so"', "gamma is that of style"),
        ('alias_of = "style"\n[protect]\nmeans = "none"\nwhy = "so"', "protect is that of style"),
    ],
)
def test_an_alias_that_names_no_values_or_has_its_own_is_refused(tmp_path: Path, rest: str, said: str) -> None:
    (tmp_path / "mug.toml").write_text(ALIAS + rest)
    with pytest.raises(InvalidInput) as refused:
        presets.load(tmp_path)
    assert "mug.toml can't be used" in refused.value.message
    assert said in refused.value.message


def test_an_operators_alias_takes_the_values_of_a_built_in_preset(tmp_path: Path) -> None:
    (tmp_path / "mug.toml").write_text(ALIAS + 'alias_of = "style"')
    known = presets.load(tmp_path)
    assert (known["mug"].gamma, known["mug"].version) == (known["style"].gamma, 7)
    parameters = settled({"preset": "mug", "style_always": True}, presets=known)
    assert (parameters.max_steps, parameters.trigger) == (375, None)


def test_a_gamma_starts_where_it_was_measured() -> None:
    for name, preset in built_in().items():
        assert preset.gamma is not None
        if not preset.advanced:
            assert preset.gamma.start == (0 if name == "style" else schedule.usual_share(name))


def test_the_ranges_of_a_preset_are_those_of_a_request() -> None:
    for name, (low, high, _) in RANGES.items():
        if name in ("alpha", "sample_ratio"):  # alpha is a ratio here; a share has no least value in a request
            continue
        for value in (low, high):
            assert getattr(BatRequest.model_validate({name: value}), name) == value
        with pytest.raises(ValidationError):
            BatRequest.model_validate({name: 2 * high})


def test_a_job_says_which_preset_and_version_it_was_made_with_and_why() -> None:
    parameters = settled({"preset": "style"})
    assert (parameters.preset, parameters.preset_version, parameters.gamma_start) == ("style", 3, None)
    assert "times 1.25 by the preset style 3: on our test backbone a style" in parameters.reasons["max_steps"]
    assert (parameters.augment, parameters.gamma) == (False, 0.0)
    assert parameters.reasons["augment"].startswith("The preset style 3 protects nothing: pictures that are")
    assert "name style or face" in settled().reasons["preset"]
    assert settled({"preset": "face"}).dropout_caption == 0.05


def test_an_operators_preset_changes_values_and_is_named_by_jobs(tmp_path: Path) -> None:
    (tmp_path / "logo.toml").write_text(OWN)
    known = presets.load(tmp_path)
    assert known["logo"].source == "operator"
    parameters = settled({"preset": "logo"}, presets=known)
    assert (parameters.rank, parameters.max_steps, parameters.preset_version) == (4, 150, 3)
    assert parameters.gamma_start == 0.1
    assert (parameters.protect, parameters.protect_weight, parameters.protect_on) == ("distil", 2.5, "captions")
    assert parameters.reasons["protect"] == ("distil is set by the preset logo 3: it stands on anything; not measured.")
    data = settled({"preset": "logo", "protect": "replay"}, presets=known)
    assert (data.protect, data.protect_weight, data.protect_on) == ("replay", 2.5, "pool")
    assert data.reasons["protect_on"] == "replay needs data, and emoji-ldm has a candidate pool."
    with pytest.raises(
        InvalidInput, match="no such preset; choose face, paper-image, style, subject or auto"
    ) as refused:
        settled({"preset": "logo"})
    assert refused.value.param == "bat.preset"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("value = 4", "value = 400", "values.rank is 400; 1 to 256 is taken"),
        ("value = 4", "value = 4.5", "only whole numbers"),
        ("value = 4", "value = 4\ntimes = 2.0", "value, times or passes, and one of them alone"),
        ("value = 4", "passes = 4", "values.rank can't follow passes; max_steps and window can"),
        ("times = 0.5", "passes = 0", "values.max_steps.passes"),
        ("values.rank]\nvalue = 4", "values.window]\ntimes = 2.0", "values.window has no usual value; give value"),
        ("values.rank]\nvalue = 4", "values.window]\nvalue = 1", "values.window is 1; 2 to 1000 is taken"),
        ("[values.rank]", '[stop]\nrule = "never"\nwhy = "so"\n[values.rank]', "stop.rule"),
        ("value = 4", "value = true", "values.rank"),
        ("values.rank", "values.colour", "values.colour is not known"),
        ('kind = "images"', 'kind = "films"', "kind"),
        ("version = 3", "version = 0", "version"),
        ("version = 3", "", "version: this parameter is required"),
        ('name = "logo"', 'name = "mark"', "name the file mark.toml"),
        ('learns = "its', 'learns = "its\n', "it is not TOML"),
        ("learns", "teaches", "teaches"),
        ("times = 0.5", "times = nan", "times"),
        ('means = "distil"', 'means = "both"', "protect: captions bring nothing that both could use; say distil"),
        ('means = "distil"', 'means = "freeze"', "protect.means"),
        ('on = "captions"', 'on = "web"', "protect.on"),
        ("weight = 2.5", "weight = 100", "protect.weight"),
        ('kind = "images"', 'kind = "texts"', "protect.on is captions, and texts have none; say pool or own"),
        ('means = "distil"\nweight = 2.5\non = "captions"', 'means = "none"', "and gamma starts above 0"),
    ],
)
def test_a_preset_that_is_wrong_is_named_with_its_field(tmp_path: Path, before: str, after: str, said: str) -> None:
    assert before in OWN
    (tmp_path / "logo.toml").write_text(OWN.replace(before, after, 1))
    with pytest.raises(InvalidInput) as refused:
        presets.load(tmp_path)
    assert "logo.toml" in refused.value.message
    assert said in refused.value.message


def test_the_papers_settings_are_theirs_and_every_reason_names_its_paper() -> None:
    for name, backbone, summary in (("paper-image", EMOJI, CATS), ("paper-text", TEXT, CHATS)):
        preset = built_in()[name]
        told = [preset.gamma, preset.protect, preset.stop, *preset.values.values()]
        assert all(each and not each.measured for each in told)
        assert all(
            re.search("early-stopping paper|Early-stopping Low-Rank|Backbone Augmented", each.why) for each in told
        )
        p = settled({"preset": name}, backbone=backbone, summary=summary)
        assert (p.protect, p.protect_weight, p.protect_on, p.gamma) == ("replay", 1, "pool", 0.5)
        assert (p.stop, p.cs_semantics, p.interval) == ("cs_fluctuation", "paper", 20)
        assert p.reasons["gamma"].startswith(f"0.5 is set by the preset {name} 1, without a trial: Backbone Augmented")
        assert p.reasons["interval"].endswith(", in steps.")  # no window is to be measured


def test_pictures_are_repeated_fifty_times_an_epoch_of_which_one_is_the_window() -> None:
    p = settled({"preset": "paper-image"}, stop_default="matched_loss")
    assert (p.rank, p.alpha, p.learning_rate, p.batch_size, p.stop) == (128, 64, 1e-5, 1, "cs_fluctuation")
    assert (p.max_steps, p.window * p.interval) == (10 * 50 * 6, 50 * 6)
    assert p.reasons["window"].startswith("15 evaluations, 20 steps apart: 50 passes over 6 references in batches of 1")
    assert "copies of the last 45 are held" in p.reasons["window"]
    larger = settled({"preset": "paper-image", "batch_size": 3, "interval": 10, "stop": "matched_loss"})
    assert (larger.max_steps, larger.window, larger.stop) == (1000, 10, "matched_loss")
    many = settled({"preset": "paper-image"}, summary=CATS.model_copy(update={"count": 60}))
    assert (many.max_steps, many.window) == (20_000, 150)
    assert many.reasons["max_steps"].startswith("A run has 20,000 steps at most, though 500 passes over 60 references")
    assert settled({"preset": "paper-image", "window": 7}).window == 7


def test_sixteen_texts_a_batch_become_as_many_as_there_are() -> None:
    p = settled({"preset": "paper-text"}, backbone=TEXT, summary=CHATS)
    assert (p.rank, p.alpha, p.learning_rate, p.max_steps) == (64, 16, 4e-6, 1500)
    assert (p.batch_size, p.window, p.interval) == (12, 5, 20)
    assert p.reasons["batch_size"].endswith("there are only 12 references, and a batch holds each of them once.")
    enough = settled({"preset": "paper-text"}, backbone=TEXT, summary=CHATS.model_copy(update={"count": 40}))
    assert (enough.batch_size, enough.reasons["batch_size"][-26:]) == (16, "; there are 40 references.")
    with pytest.raises(InvalidInput, match="Paper-image is not for texts; choose format, paper-text, tone or auto"):
        settled({"preset": "paper-image"}, backbone=TEXT, summary=CHATS)


def test_a_preset_that_is_not_tried_gives_way_to_what_a_request_says_of_protection() -> None:
    assert settled({"preset": "paper-image", "gamma": "auto"}).gamma == 0.5
    assert settled({"preset": "paper-image", "gamma": 0.25}).gamma == 0.25
    assert settled({"preset": "paper-image", "protect": "none"}).gamma == 0
    assert settled({"preset": "subject"}).gamma == "auto"


def test_a_preset_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "logo.toml").mkdir()
    with pytest.raises(InvalidInput, match=r"logo\.toml can't be used: it can't be read"):
        presets.load(tmp_path)


def test_presets_are_read_again_when_a_file_changes_and_kept_while_one_is_broken(tmp_path: Path) -> None:
    live = presets.LivePresets(tmp_path / "presets")
    assert live.now() == built_in()
    (tmp_path / "presets").mkdir()
    file = tmp_path / "presets/logo.toml"
    file.write_text(OWN)
    assert live.now()["logo"].version == 3
    assert live.now() is live.now()
    file.write_text("it is not TOML")
    assert live.now()["logo"].version == 3
    file.write_text(OWN.replace("version = 3", "version = 10"))
    assert live.now()["logo"].version == 10
    file.unlink()
    assert live.now() == built_in()


def test_a_built_in_name_is_not_taken_again(tmp_path: Path) -> None:
    (tmp_path / "style.toml").write_text(OWN.replace('"logo"', '"style"'))
    with pytest.raises(InvalidInput, match="style is built in"):
        presets.load(tmp_path)
    assert presets.load(tmp_path / "nowhere") == built_in()


JSON_ANSWERS = [TextItem(prompt=f"{n}?", completion=f'{{"answer": {n}}}') for n in range(5)]
LABELLED = [TextItem(prompt=f"{n}?", completion=f"Summary: it is {n}\nNext step: wait") for n in range(5)]
TALK = [TextItem(prompt=f"{n}?", completion=f"Well, it is {n}: so it goes.") for n in range(5)]
MARKED = [
    TextItem(prompt=f"{n}?", completion=f"* **Summary:** it is {n}\n## Next step\n- **Why**: so") for n in range(5)
]
STARS = [TextItem(prompt=f"{n}?", completion="*" * 90_000) for n in range(2)]  # takes minutes where splits are tried
ASKED = [
    TextItem(
        messages=(
            {"role": "system", "content": "Answer in YAML."},
            {"role": "user", "content": f"{n}?"},
            {"role": "assistant", "content": f"answer {n}"},
        )
    )
    for n in range(5)
]


@pytest.mark.parametrize(
    ("items", "said"),
    [
        (JSON_ANSWERS, "5 of 5 answers are JSON with answer."),
        (LABELLED, "next step, summary"),
        (MARKED, "summary, why"),
        (ASKED, "ask for YAML"),
        (TALK, None),
        (STARS, None),
    ],
)
def test_answers_with_a_shape_are_taken_for_a_format(items: list[TextItem], said: str | None) -> None:
    found = shape(items)
    assert (found is None) == (said is None)
    assert said is None or said in (found or "")
    parameters = settled(backbone=TEXT, summary=CHATS.model_copy(update={"shape": found}))
    assert parameters.preset == ("tone" if said is None else "format")
    assert said is None or said in parameters.reasons["preset"]


def test_images_without_captions_get_the_operators_tagger_if_there_is_one() -> None:
    bare = CATS.model_copy(update={"uncaptioned": 2})
    assert settled(summary=bare).caption == "none"
    parameters = settled(summary=bare, taggers=["blip"])
    assert (parameters.caption, "2 images" in parameters.reasons["caption"]) == ("blip", True)
    assert settled(summary=CATS, taggers=["blip"]).caption == "none"
    assert settled({"caption": "colours"}, summary=bare).caption == "colours"
    for backbone, summary, caption, code in (
        (EMOJI, CATS, "blop", "tagger_not_found"),
        (TEXT, CHATS, "colours", "contradiction"),
    ):
        with pytest.raises(InvalidInput) as refused:
            settled({"caption": caption}, backbone=backbone, summary=summary)
        assert (refused.value.code, refused.value.param) == (code, "bat.caption")


def test_a_job_from_before_there_were_versions_goes_on() -> None:
    summary = ReferenceSummary(kind="images", count=6)
    parameters = resolve(BatRequest(), backbone=EMOJI, summary=summary, device_class="cpu", seed=1)
    newer = {
        "preset_version",
        "add_trigger",
        "style_always",
        "caption",
        "caption_lines",
        "gamma_start",
        "protect",
        "protect_weight",
    }
    newer.add("protect_on")
    again = type(parameters).model_validate(parameters.model_dump(exclude=newer))
    assert again.caption_lines == "draw"
    assert (again.preset_version, again.caption, again.gamma_start, again.style_always) == (1, "none", None, False)
