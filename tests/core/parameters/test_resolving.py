"""From a request to parameters: what is refused, what "auto" becomes, and why."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from core.backbones.record import BackboneRecord
from core.errors import InvalidInput
from core.parameters.defaults import STARTING_POINTS
from core.parameters.parameters import Parameters
from core.parameters.presets import built_in
from core.parameters.request import BatRequest, Hyperparameters
from core.parameters.resolving import resolve
from core.parameters.summary import ReferenceSummary

EMOJI = BackboneRecord(
    id="emoji-ldm",
    family="diffusion",
    path=Path("weights"),
    revision="1",
    sha256={},
    target_modules=("to_q",),
    licence="Apache-2.0",
    pool=Path("pool"),
    resolution=32,
    trigger_hint="sks",
    unrelated_prompts=("emoji of pizza",),
    defaults={"rank": 8, "learning_rate": 1e-3, "batch_size": 6},
)
TEXT = EMOJI.model_copy(
    update={"id": "tiny", "family": "language", "resolution": None, "trigger_hint": None, "defaults": {}}
)
CATS = ReferenceSummary(
    kind="images", count=6, prompts=("emoji of sks cat face smiling", "emoji of sks cat face crying")
)
CHATS = ReferenceSummary(kind="texts", count=12)


def settled(bat=None, hyperparameters=None, backbone=EMOJI, summary=CATS, device="cpu", **more) -> Parameters:
    request = BatRequest.model_validate(bat or {})
    knobs = Hyperparameters.model_validate(hyperparameters or {})
    return resolve(request, knobs, backbone=backbone, summary=summary, device_class=device, seed=1, **more)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(("backbone", "summary"), [(EMOJI, CATS), (TEXT, CHATS)])
def test_every_auto_becomes_a_number_with_a_sentence(backbone, summary, device) -> None:
    parameters = settled(backbone=backbone, summary=summary, device=device)
    autos = {name for name, field in BatRequest.model_fields.items() if field.default == "auto"}
    autos -= {"resolution"} if parameters.kind == "texts" else set()
    assert autos <= set(parameters.reasons)
    left = {name for name, value in parameters.model_dump().items() if value == "auto"}
    assert left == {"gamma", "window", "stop"}  # measured by the run itself; and a rule that is called auto
    for name, reason in parameters.reasons.items():
        assert reason[-1] == ".", name
        assert len(reason) > 15, name


def test_a_request_wins_over_everything_and_needs_no_reason() -> None:
    asked = {"rank": 3, "alpha": 1.5, "learning_rate": 2e-4, "batch_size": 2, "max_steps": 7, "folds": 3, "gamma": 0.3}
    parameters = settled(asked, {"batch_size": 5, "n_epochs": 9, "learning_rate_multiplier": 4.0})
    assert {name: getattr(parameters, name) for name in asked} == asked
    assert not set(asked) & set(parameters.reasons)
    assert parameters.surrogate_steps == 7  # never longer than the run it stands for


def test_the_three_openai_knobs_are_followed() -> None:
    parameters = settled(hyperparameters={"batch_size": 3, "n_epochs": 5, "learning_rate_multiplier": 0.5})
    assert (parameters.batch_size, parameters.max_steps, parameters.learning_rate) == (3, 10, 5e-4)
    assert "5 epochs" in parameters.reasons["max_steps"]


def test_the_backbone_the_preset_and_the_device_each_have_a_say() -> None:
    assert settled().learning_rate == 1e-3
    assert settled(device="cuda").surrogate_steps == STARTING_POINTS["diffusion", "cuda"]["surrogate_steps"]
    assert settled({"preset": "style"}).max_steps == 450
    assert "style" in settled({"preset": "style"}).reasons["max_steps"]
    assert settled(backbone=TEXT, summary=CHATS).alpha == 32


def test_two_references_get_two_folds_even_where_four_are_asked_for() -> None:
    two = CATS.model_copy(update={"count": 2})
    assert settled(summary=two).folds == 2
    parameters = settled({"folds": 4}, summary=two)
    assert parameters.folds == 2
    assert "only 2" in parameters.reasons["folds"]


def test_the_sampled_prompts_are_what_the_captions_share_and_two_of_them() -> None:
    assert settled().sample_prompts == ("emoji of sks cat face", *CATS.prompts)
    assert settled({"sample_prompts": ["a cat"]}).sample_prompts == ("a cat",)


def test_captions_are_put_into_the_form_that_is_trained_on_before_they_are_sampled() -> None:
    backbone = EMOJI.model_copy(update={"caption_prefix": "emoji of "})
    plain = CATS.model_copy(update={"prompts": ("cat smiling", "", "zwx cat crying")})
    assert settled(backbone=backbone, summary=plain).sample_prompts == ("emoji of sks", "emoji of sks cat smiling")
    own = settled(
        {"trigger": "zwx"}, backbone=backbone, summary=plain.model_copy(update={"prompts": plain.prompts[2:]})
    )
    assert own.sample_prompts == ("emoji of zwx cat crying",)
    style = built_in()["style"].model_copy(update={"add_trigger": False})
    bare = settled({"preset": "style"}, backbone=backbone, summary=plain, presets={"style": style})
    assert bare.sample_prompts == ("emoji of", "emoji of cat smiling", "emoji of sks")


def test_the_service_decides_how_to_stop_unless_the_request_does() -> None:
    assert settled(stop_default="matched_loss").stop == "matched_loss"
    assert settled({"stop": "max_steps"}, stop_default="matched_loss").stop == "max_steps"


def test_without_a_pool_nothing_is_mixed_in() -> None:
    parameters = settled(backbone=EMOJI.model_copy(update={"pool": None}))
    assert (parameters.augment, parameters.gamma, parameters.pool) == (False, 0.0, None)
    assert "no candidate pool" in parameters.reasons["augment"]


def test_parameters_survive_json() -> None:
    parameters = settled()
    assert Parameters.model_validate_json(parameters.model_dump_json()) == parameters


@pytest.mark.parametrize(
    ("bat", "param"),
    [
        ({"preset": "tone"}, "bat.preset"),
        ({"pool": "laion"}, "bat.pool"),
        ({"augment": False, "gamma": 0.5}, "bat.augment"),
        ({"augment": False, "selected_count": 8}, "bat.augment"),
    ],
)
def test_a_request_that_contradicts_itself_is_refused(bat, param) -> None:
    with pytest.raises(InvalidInput) as refused:
        settled(bat)
    assert (refused.value.code, refused.value.param) == ("contradiction", param)


def test_references_that_do_not_fit_the_backbone_are_refused() -> None:
    for backbone, summary, bat in (
        (TEXT, CATS, {}),
        (EMOJI, CHATS, {}),
        (EMOJI, CATS.model_copy(update={"count": 1}), {}),
        (TEXT, CHATS, {"resolution": 512}),
        (EMOJI.model_copy(update={"pool": None}), CATS, {"augment": True}),
    ):
        with pytest.raises(InvalidInput):
            settled(bat, backbone=backbone, summary=summary)


WRONG_NUMBERS = (
    [{"max_steps": value} for value in (0, -1, 10**9, True, "7", 7.5)]
    + [{"rank": value} for value in (0, 7.5, 4096, True, "8")]
    + [{"learning_rate": value} for value in (0, -1, 10, True, "1e-4")]
    + [{"batch_size": value} for value in (0, 10**6)]
    + [{"resolution": value} for value in (513, 0, 16384)]
    + [{"gamma": value} for value in (-0.1, 1, True, "half")]
    + [
        {"folds": 1},
        {"folds": 9},
        {"window": 1},
        {"sample_ratio": 0},
        {"selected_count": 0},
        {"dropout_caption": 1},
        {"augment": 1},
        {"augment": "yes"},
    ]
)


@pytest.mark.parametrize("bat", WRONG_NUMBERS, ids=str)
def test_a_number_out_of_range_or_of_another_type_is_refused(bat) -> None:
    with pytest.raises(ValidationError):
        BatRequest.model_validate(bat)
    with pytest.raises(ValidationError):
        BatRequest.model_validate_json(json.dumps(bat))


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_numbers_that_are_not_finite_are_refused(text: str) -> None:
    for name in ("gamma", "learning_rate", "alpha", "sample_ratio"):
        with pytest.raises(ValidationError):
            BatRequest.model_validate_json(f'{{"{name}": {text}}}')
        with pytest.raises(ValidationError):
            BatRequest.model_validate({name: float(text)})
    with pytest.raises(ValidationError):
        Hyperparameters.model_validate({"learning_rate_multiplier": float(text)})


@pytest.mark.parametrize("rate", [0, 5e-324, 1e-310, 9e-7, 101])
def test_a_learning_rate_that_no_step_could_be_counted_by_is_refused(rate: float) -> None:
    with pytest.raises(ValidationError):
        Hyperparameters.model_validate({"learning_rate_multiplier": rate})
    with pytest.raises(ValidationError):
        BatRequest.model_validate({"learning_rate": rate / 100})
    assert settled(hyperparameters={"learning_rate_multiplier": 1e-6}).learning_rate > 1e-12


@pytest.mark.parametrize(
    "bat",
    [
        {"trigger": ""},
        {"trigger": "   "},
        {"trigger": "x" * 500},
        {"trigger": " sks"},
        {"trigger": "s\nk"},
        {"trigger": "a\x00b"},
        {"trigger": "\ud800"},
        {"sample_prompts": ["x"] * 9},
        {"sample_prompts": [""]},
        {"sample_prompts": ["\x1b[2J"]},
        {"sample_prompts": "cat"},
        {"preset": "Logo!"},
        {"score": "best"},
        {"trust_remote_code": True},
        {"custom_pipeline": "x"},
        {"training_files": [1]},
    ],
    ids=ascii,
)
def test_words_that_are_unclean_or_unknown_are_refused(bat) -> None:
    with pytest.raises(ValidationError):
        BatRequest.model_validate(bat)


def test_the_tables_have_the_same_rows() -> None:
    assert len({frozenset(table) for table in STARTING_POINTS.values()}) == 1
