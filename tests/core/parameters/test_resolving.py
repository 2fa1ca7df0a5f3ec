"""From a request to parameters: what is refused, what "auto" becomes, and why."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from core.backbones.record import MAX_TOKENS, BackboneRecord
from core.errors import InvalidInput
from core.parameters.defaults import STARTING_POINTS
from core.parameters.parameters import Parameters
from core.parameters.presets import Change, built_in
from core.parameters.request import BatRequest, Hyperparameters
from core.parameters.resolving import resolve
from core.parameters.summary import ReferenceSummary
from core.parameters.token_limits import TokenLimit

EMOJI = BackboneRecord(
    id="emoji-ldm",
    family="sd1",
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
    update={"id": "tiny", "family": "llama", "resolution": None, "trigger_hint": None, "defaults": {}}
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
    autos -= {"resolution", "shapes"} if parameters.kind == "texts" else {"max_tokens"}
    assert autos <= set(parameters.reasons)
    left = {name for name, value in parameters.model_dump().items() if value == "auto"}
    assert left == {
        "gamma",
        "window",
        "stop",
        "gradients",
    }  # measured by the run itself; and a rule that is called auto
    for name, reason in parameters.reasons.items():
        assert reason[-1] == ".", name
        assert len(reason) > 15, name


def test_a_request_wins_over_everything_and_needs_no_reason() -> None:
    asked = {"rank": 3, "alpha": 1.5, "learning_rate": 2e-4, "batch_size": 2, "max_steps": 7, "folds": 3, "gamma": 0.3}
    parameters = settled(asked, {"batch_size": 5, "n_epochs": 9, "learning_rate_multiplier": 4.0})
    assert {name: getattr(parameters, name) for name in asked} == asked
    assert not set(asked) & set(parameters.reasons)
    assert parameters.surrogate_steps == 3  # the share of a run's steps that is usual


def test_the_three_openai_knobs_are_followed() -> None:
    parameters = settled(hyperparameters={"batch_size": 3, "n_epochs": 5, "learning_rate_multiplier": 0.5})
    assert (parameters.batch_size, parameters.max_steps, parameters.learning_rate) == (3, 10, 5e-4)
    assert "5 epochs" in parameters.reasons["max_steps"]


def test_the_backbone_the_preset_and_the_device_each_have_a_say() -> None:
    assert settled().learning_rate == 1e-3
    assert settled(device="cuda").surrogate_steps == STARTING_POINTS["images", "cuda"]["surrogate_steps"]
    assert settled({"preset": "style"}).max_steps == 375
    assert "style" in settled({"preset": "style"}).reasons["max_steps"]
    assert settled(backbone=TEXT, summary=CHATS).alpha == 32


def test_two_references_get_two_folds_even_where_four_are_asked_for() -> None:
    two = CATS.model_copy(update={"count": 2})
    assert settled(summary=two).folds == 2
    parameters = settled({"folds": 4}, summary=two)
    assert parameters.folds == 2
    assert "only 2" in parameters.reasons["folds"]


def test_the_owners_trigger_wins_over_the_backbones_and_texts_have_none() -> None:
    assert settled({"trigger": "zwx"}).trigger == "zwx"
    assert "trigger" not in settled({"trigger": "zwx"}).reasons
    assert settled().trigger == "sks"
    assert settled().reasons["trigger"] == "'sks' is the word that is registered for emoji-ldm."
    assert settled(backbone=TEXT, summary=CHATS).trigger is None


def test_the_surrogates_budget_follows_the_runs() -> None:
    usual, style = settled(), settled({"preset": "style"})
    assert (usual.max_steps, usual.surrogate_steps) == (300, 120)
    assert (style.max_steps, style.surrogate_steps) == (375, 150)
    assert style.reasons["surrogate_steps"].startswith("150 of 375 steps: the share that is usual on a CPU, 120 of 300")
    assert settled({"max_steps": 1}).surrogate_steps == 1
    assert settled({"max_steps": 100, "surrogate_steps": 90}).surrogate_steps == 90
    assert settled(hyperparameters={"n_epochs": 100}).surrogate_steps == 40
    registered = settled(backbone=EMOJI.model_copy(update={"defaults": {"max_steps": 160, "surrogate_steps": 100}}))
    assert registered.surrogate_steps == 100
    assert "that is registered for emoji-ldm, 100 of 160" in registered.reasons["surrogate_steps"]


def test_a_preset_that_sets_the_surrogates_budget_is_followed_up_to_the_runs() -> None:
    change = Change(value=200, why="so it was measured")
    known = {"subject": built_in()["subject"].model_copy(update={"values": {"surrogate_steps": change}})}
    assert settled(presets=known).surrogate_steps == 200
    assert "so it was measured; never more than max_steps" in settled(presets=known).reasons["surrogate_steps"]
    assert settled({"max_steps": 150}, presets=known).surrogate_steps == 150


def test_a_style_that_comes_always_has_no_trigger_and_more_captions_are_left_out() -> None:
    bare = CATS.model_copy(update={"uncaptioned": 2})
    always = settled({"preset": "style", "style_always": True}, summary=bare)
    assert (always.trigger, always.add_trigger, always.style_always, always.dropout_caption) == (None, False, True, 0.1)
    assert "so no word is put into captions" in always.reasons["trigger"]
    assert "not measured" in always.reasons["dropout_caption"]
    assert always.reasons["caption"].endswith("so no words name them.")
    assert "style_always" not in always.reasons
    asked = settled({"preset": "style"}, summary=bare)
    assert (asked.trigger, asked.add_trigger, asked.style_always, asked.dropout_caption) == ("sks", True, False, 0.0)
    assert asked.reasons["dropout_caption"] == "No caption is left out."
    assert asked.reasons["caption"].endswith("so only the trigger word names them.")
    assert settled({"preset": "style", "style_always": False}).trigger == "sks"
    assert settled({"preset": "style", "style_always": True, "dropout_caption": 0.3}).dropout_caption == 0.3


def test_the_service_decides_how_to_stop_unless_the_request_does() -> None:
    assert settled(stop_default="matched_loss").stop == "matched_loss"
    assert settled({"stop": "max_steps"}, stop_default="matched_loss").stop == "max_steps"


def test_parameters_survive_json() -> None:
    parameters = settled()
    assert Parameters.model_validate_json(parameters.model_dump_json()) == parameters


def test_small_backbones_have_squares_and_large_ones_up_to_three_shapes() -> None:
    small, large = settled(), settled({"resolution": 512})
    assert (small.shapes, small.masks) == (1, False)
    assert small.reasons["shapes"] == f"At {small.resolution} pixels a side pictures are trained as squares."
    assert large.shapes == 3
    assert "at most 3 of about 512 x 512 pixels" in large.reasons["shapes"]
    asked = settled({"shapes": 2, "masks": "alpha"})
    assert (asked.shapes, asked.masks) == (2, "alpha")
    assert "shapes" not in asked.reasons
    old = {name: value for name, value in small.model_dump().items() if name not in ("shapes", "masks")}
    assert Parameters.model_validate(old) == small


@pytest.mark.parametrize(
    ("bat", "param"),
    [
        ({"preset": "tone"}, "bat.preset"),
        ({"pool": "laion"}, "bat.pool"),
        ({"style_always": True}, "bat.style_always"),
        ({"preset": "subject", "style_always": True}, "bat.style_always"),
        ({"preset": "style", "style_always": True, "trigger": "sks"}, "bat.trigger"),
        ({"augment": False, "gamma": 0.5}, "bat.augment"),
        ({"augment": False, "selected_count": 8}, "bat.augment"),
    ],
)
def test_a_request_that_contradicts_itself_is_refused(bat, param) -> None:
    with pytest.raises(InvalidInput) as refused:
        settled(bat)
    assert (refused.value.code, refused.value.param) == ("contradiction", param)


def test_how_many_tokens_a_text_may_have_is_asked_registered_or_usual() -> None:
    registered = TEXT.model_copy(update={"defaults": {"max_tokens": 96}})
    short = TEXT.model_copy(update={"context_tokens": 64})
    for backbone, bat, device, tokens, reason, whence in (
        (TEXT, {}, "cpu", 128, "128 is our usual value for texts on a CPU; of", "that are usual on a CPU"),
        (TEXT, {}, "cuda", 1024, "1024 is our usual value for texts on a GPU; of", "that are usual on a GPU"),
        (
            registered,
            {},
            "cuda",
            96,
            "96 is registered for tiny; of what is longer a part",
            "that are registered for tiny",
        ),
        (short, {}, "cpu", 64, "tiny has places for 64 tokens and no more.", "that tiny has places for"),
        (registered, {"max_tokens": 300}, "cpu", 300, None, "that bat.max_tokens asks for"),
        (short, {"max_tokens": 40}, "cpu", 40, None, "that bat.max_tokens asks for"),
    ):
        parameters = settled(bat, backbone=backbone, summary=CHATS, device=device)
        assert parameters.max_tokens == tokens
        assert (parameters.reasons.get("max_tokens") or "").startswith(reason or "")
        assert ("max_tokens" in parameters.reasons) == (reason is not None)
        limit = TokenLimit.of(BatRequest.model_validate(bat), backbone, device)
        assert (limit.tokens, limit.whence) == (tokens, whence)
        assert limit.most == (backbone.context_tokens or MAX_TOKENS)
    assert settled().max_tokens is None


def test_all_timesteps_count_alike_unless_a_request_says_otherwise() -> None:
    usual, asked, texts = settled(), settled({"min_snr": 5}), settled(backbone=TEXT, summary=CHATS)
    assert usual.min_snr is None
    assert usual.reasons["min_snr"] == "All timesteps count alike, unless a request asks for another weighting."
    assert asked.min_snr == 5.0
    assert "min_snr" not in asked.reasons
    assert texts.min_snr is None
    assert texts.reasons["min_snr"] == "Texts are learned without noise."
    with pytest.raises(InvalidInput, match=r"leave bat\.min_snr out"):
        settled({"min_snr": 5}, backbone=TEXT, summary=CHATS)
    assert {settled({"preset": name}).min_snr for name in ("subject", "style", "face")} == {None}


def test_a_job_from_before_there_was_min_snr_goes_on_without_it() -> None:
    stored = settled().model_dump(exclude={"min_snr"})
    assert Parameters.model_validate(stored).min_snr is None


def test_references_that_do_not_fit_the_backbone_are_refused() -> None:
    for backbone, summary, bat in (
        (TEXT, CATS, {}),
        (EMOJI, CHATS, {}),
        (EMOJI, CATS.model_copy(update={"count": 1}), {}),
        (TEXT, CHATS, {"resolution": 512}),
        (TEXT, CHATS, {"style_always": True}),
        (TEXT, CHATS, {"caption_lines": "draw"}),
        (TEXT, CHATS, {"min_snr": 5.0}),
        (EMOJI, CATS, {"max_tokens": 128}),
        (TEXT.model_copy(update={"context_tokens": 64}), CHATS, {"max_tokens": 65}),
        (EMOJI.model_copy(update={"pool": None}), CATS, {"protect_on": "pool"}),
        (TEXT, CHATS, {"protect_on": "captions"}),
    ):
        with pytest.raises(InvalidInput):
            settled(bat, backbone=backbone, summary=summary)


LISTED = "\n".join(f"tag {number}" for number in range(20))


@pytest.mark.parametrize(
    ("captions", "count", "why"),
    [
        (("a cat", "", "a dog"), 3, "No caption has several lines."),
        (("a cat\ncat", "a dog"), 2, "1 of 2 captions have several lines, and one of them is drawn each time."),
        ((LISTED, "a dog"), 2, "1 of 2 captions have more than 16 lines, which are joined to one."),
        (
            (LISTED, "a cat\ncat", "a dog\ndog"),
            3,
            "2 of 3 captions have several lines, and one of them is drawn each time. 1 of 3 captions have more than 16 "
            "lines, which are joined to one.",
        ),
        (
            ("a cat\ncat",),
            2,  # as in an estimate, where a file is too long to be read
            "Where a caption has several lines, one of them is drawn each time that its image is trained on.",
        ),
    ],
)
def test_what_becomes_of_several_lines_is_said_as_far_as_captions_are_known(captions, count, why) -> None:
    summary = ReferenceSummary(kind="images", count=count, prompts=captions)
    found = settled(summary=summary)
    assert (found.caption_lines, found.reasons["caption_lines"]) == ("draw", why)
    for asked in ("draw", "join", "first"):
        chosen = settled({"caption_lines": asked}, summary=summary)
        assert chosen.caption_lines == asked
        assert "caption_lines" not in chosen.reasons
    assert settled(backbone=TEXT, summary=CHATS).reasons["caption_lines"] == "Texts have no captions."


def test_a_placeholder_in_prompts_becomes_the_trigger_or_goes() -> None:
    asked = {"sample_prompts": ["a [trigger] boat", "a hut"]}
    assert settled({**asked, "trigger": "zwx"}).sample_prompts == ("a zwx boat", "a hut")
    assert settled(asked).sample_prompts == ("a sks boat", "a hut")
    wordless = EMOJI.model_copy(update={"trigger_hint": None})
    assert settled(asked, backbone=wordless).sample_prompts == ("a boat", "a hut")
    assert settled(asked, backbone=TEXT, summary=CHATS).sample_prompts == ("a [trigger] boat", "a hut")
    twice = {"sample_prompts": ["a [trigger] boat", "a hut", "a zwx boat", "a hut"], "trigger": "zwx"}
    assert settled(twice).sample_prompts == ("a zwx boat", "a hut")
    assert len(settled(twice, backbone=TEXT, summary=CHATS).sample_prompts) == 3


WRONG_NUMBERS = (
    [{"max_steps": value} for value in (0, -1, 10**9, True, "7", 7.5)]
    + [{"rank": value} for value in (0, 7.5, 4096, True, "8")]
    + [{"learning_rate": value} for value in (0, -1, 10, True, "1e-4")]
    + [{"batch_size": value} for value in (0, 10**6)]
    + [{"resolution": value} for value in (513, 0, 16384)]
    + [{"max_tokens": value} for value in (31, 131_073, True, "128", 64.5)]
    + [{"gamma": value} for value in (-0.1, 1, True, "half")]
    + [
        {"folds": 1},
        {"folds": 9},
        {"window": 1},
        {"sample_ratio": 0},
        {"selected_count": 0},
        {"dropout_caption": 1},
        {"min_snr": 0},
        {"min_snr": True},
        {"min_snr": 101},
        {"augment": 1},
        {"augment": "yes"},
        {"protect": "weights"},
        {"protect": True},
        {"protect_on": "web"},
        {"protect_weight": 0},
        {"protect_weight": 65},
        {"protect_weight": True},
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


@pytest.mark.parametrize("bat", [{"shapes": 2}, {"masks": True}, {"masks": "alpha"}])
def test_texts_have_neither_shapes_nor_masks(bat) -> None:
    with pytest.raises(InvalidInput, match="Texts have no"):
        settled(bat, backbone=TEXT, summary=CHATS)
