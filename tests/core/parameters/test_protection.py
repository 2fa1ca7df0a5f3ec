"""Protection: what is settled where nothing, a part or all of it is asked for, what is refused, and what is said."""

from __future__ import annotations

import pytest

from core.errors import InvalidInput
from core.parameters.parameters import Parameters
from core.parameters.presets import Presets, Protect, built_in
from tests.core.parameters.test_resolving import CATS, CHATS, EMOJI, TEXT, settled

BARE = EMOJI.model_copy(update={"pool": None})
BARE_TEXT = TEXT.model_copy(update={"pool": None})


def presets(**told: Protect | None) -> Presets:
    """Return the built-in presets, some with another protection: so tests hold whatever the files come to say."""
    known = built_in()
    return known | {name: known[name].model_copy(update={"protect": protect}) for name, protect in told.items()}


REPLAY = Protect(means="replay", weight=4.0, on="pool", why="it was tried", measured=True)
DISTIL = Protect(means="distil", weight=2.0, on="pool", why="it was thought of")
CAPTIONS = Protect(means="distil", weight=8.0, on="captions", why="it was tried", measured=True)
NONE = Protect(means="none", why="it was tried", measured=True)


def protection(bat=None, told: Protect | None = REPLAY, **more) -> tuple[str, float, str, bool]:
    p = settled(bat, presets=presets(subject=told, tone=told, style=NONE), **more)
    assert p.augment == (p.protect != "none")
    assert (p.gamma == 0) == (not p.augment)
    assert p.pool == ("generate" if p.generates else "emoji-ldm" if p.selects else None)
    return p.protect, p.protect_weight, p.protect_on, p.selects


@pytest.mark.parametrize(
    ("bat", "found"),
    [
        ({}, ("replay", 4, "pool", True)),
        ({"augment": True}, ("replay", 4, "pool", True)),
        ({"gamma": 0.3}, ("replay", 4, "pool", True)),
        ({"protect": "both"}, ("both", 4, "pool", True)),
        ({"protect": "replay", "protect_weight": 1.0, "gamma": 0.5}, ("replay", 1, "pool", True)),  # as published
        ({"protect_on": "own"}, ("distil", 4, "own", False)),
        ({"protect_on": "own", "protect": "replay"}, ("replay", 4, "own", False)),
        ({"protect_on": "captions"}, ("distil", 4, "captions", False)),
        ({"protect_on": "pool", "protect_weight": 0.1}, ("replay", 0.1, "pool", True)),
        ({"pool": "generate"}, ("replay", 4, "pool", True)),
        ({"pool": "generate", "protect_on": "pool", "protect": "distil"}, ("distil", 4, "pool", True)),
        ({"preset": "style", "pool": "generate"}, ("replay", 1, "pool", True)),
        ({"protect": "none"}, ("none", 1, "pool", False)),
        ({"augment": False}, ("none", 1, "pool", False)),
        ({"augment": False, "protect": "none"}, ("none", 1, "pool", False)),
        ({"gamma": 0}, ("none", 1, "pool", False)),
        ({"preset": "style"}, ("none", 1, "pool", False)),
        ({"preset": "style", "augment": True}, ("replay", 1, "pool", True)),
        ({"preset": "style", "gamma": 0.25}, ("replay", 1, "pool", True)),
        ({"preset": "style", "protect": "distil"}, ("distil", 1, "pool", True)),
        ({"preset": "style", "protect_on": "captions"}, ("distil", 1, "captions", False)),
    ],
    ids=str,
)
def test_what_is_asked_for_stays_and_the_rest_is_the_presets(bat, found) -> None:
    if bat.get("gamma"):
        p = settled(bat, presets=presets(subject=REPLAY))
        assert p.gamma == bat["gamma"]
    assert protection(bat) == found


@pytest.mark.parametrize(("backbone", "summary"), [(BARE, CATS), (BARE_TEXT, CHATS)])
@pytest.mark.parametrize("told", [REPLAY, DISTIL, None])
def test_a_backbone_without_a_pool_is_protected_on_what_it_makes_itself(backbone, summary, told) -> None:
    weight = 1 if told is None else told.weight
    assert protection(told=told, backbone=backbone, summary=summary) == ("distil", weight, "own", False)
    p = settled({"augment": True}, backbone=backbone, summary=summary)
    assert (p.augment, p.protect_on, p.pool) == (True, "own", None)
    assert p.reasons["protect_on"] == (
        f"{backbone.id} has no candidate pool, so it is protected on samples that it makes itself."
    )
    assert p.reasons["gamma"].startswith("It is chosen by a trial on held-out references.")
    assert p.reasons["pool"] == "No pool is used."
    assert settled({"preset": "style"}, backbone=BARE).protect == "none"


def test_a_preset_may_protect_on_captions_and_needs_no_pool_for_it() -> None:
    for backbone in (EMOJI, BARE):
        assert protection(told=CAPTIONS, backbone=backbone) == ("distil", 8, "captions", False)
    assert protection({"protect": "replay"}, CAPTIONS) == ("replay", 8, "pool", True)
    assert protection({"protect": "replay"}, CAPTIONS, backbone=BARE) == ("replay", 8, "own", False)


@pytest.mark.parametrize(("backbone", "summary"), [(BARE, CATS), (BARE_TEXT, CHATS), (EMOJI, CATS)])
def test_a_pool_that_the_backbone_makes_itself_needs_none_that_is_there(backbone, summary) -> None:
    p = settled({"pool": "generate"}, backbone=backbone, summary=summary)
    assert (p.augment, p.protect_on, p.pool, p.selects, p.generates) == (True, "pool", "generate", True, True)
    assert p.reasons["protect_on"] == f"The pool that {backbone.id} makes itself was asked for."
    made = "draws 128 pictures" if summary.kind == "images" else "writes 128 texts"
    assert p.reasons["pool"].startswith(f"It was asked for: {backbone.id} {made}")
    assert settled({"preset": "style", "pool": "generate"}).gamma == "auto"


def test_every_auto_of_protection_says_what_and_why() -> None:
    why = settled(presets=presets(subject=REPLAY)).reasons
    named = "the preset subject 3"
    assert why["protect"] == f"replay is set by {named}: it was tried."
    assert why["protect_weight"] == f"4 is set by {named}."
    assert why["protect_on"] == f"pool is set by {named}."
    assert why["gamma"].startswith("It is chosen after scoring, by a trial on held-out references. It starts at 0.5: ")
    why = settled({"protect": "distil"}, presets=presets(subject=REPLAY)).reasons
    assert "protect" not in why
    assert why["protect_weight"] == f"4 is set by {named}, for replay."
    assert settled(presets=presets(subject=DISTIL)).reasons["protect"].endswith("it was thought of; not measured.")
    assert settled(presets=presets(subject=None)).reasons["protect"] == ("replay is how the method was published.")
    for asked in ({"protect": "none"}, {"augment": False}, {"gamma": 0}):
        why = settled(asked).reasons
        assert why["protect_weight"] == why["protect_on"] == "Nothing is protected."
    on = settled({"protect_on": "captions"}).reasons
    assert on["protect"] == (
        "Unrelated captions bring no data to replay, so the distance to the frozen backbone is kept small."
    )
    assert settled({"score": "random"}).reasons["gamma"].startswith("It is chosen by a trial")


@pytest.mark.parametrize(
    ("bat", "param", "said"),
    [
        ({"protect": "none", "augment": True}, "protect", "Augment true asks for what protect none turns off"),
        ({"protect": "none", "gamma": 0.5}, "protect", "name another protect"),
        ({"protect": "none", "gamma": "natural"}, "protect", "name another protect"),
        ({"protect": "none", "selected_count": 4}, "protect", "name another protect"),
        ({"protect": "none", "protect_weight": 4.0}, "protect_weight", "leave one of the two out"),
        ({"protect": "none", "protect_on": "own"}, "protect_on", "leave one of the two out"),
        ({"augment": False, "protect": "replay"}, "augment", "protect replay needs augment"),
        ({"augment": False, "protect_on": "pool"}, "protect_on", "leave one of the two out"),
        ({"gamma": 0, "protect": "both"}, "gamma", "let protect be none"),
        ({"gamma": 0, "augment": True}, "gamma", "leave gamma out, or let augment be false"),
        ({"gamma": 0, "selected_count": 4}, "selected_count", "leave one of the two out"),
        ({"gamma": 0, "protect_weight": 4.0}, "protect_weight", "leave one of the two out"),
        ({"protect": "replay", "protect_on": "captions"}, "protect_on", "let bat.protect be distil"),
        ({"protect": "both", "protect_on": "captions"}, "protect_on", "let bat.protect be distil"),
        ({"protect_on": "captions", "gamma": "natural"}, "protect_on", "Gamma natural counts examples"),
        ({"protect_on": "captions", "selected_count": 4}, "selected_count", "chooses from a candidate pool"),
        ({"protect_on": "own", "selected_count": 4}, "selected_count", "with protect_on own none is used"),
        ({"protect_on": "own", "sample_ratio": 0.5}, "sample_ratio", "chooses from a candidate pool"),
        ({"protect_on": "captions", "score": "random"}, "score", "Score random chooses from a candidate pool"),
        ({"protect_on": "own", "pool": "emoji-ldm"}, "pool", "with protect_on own no pool is used"),
        ({"protect_on": "own", "pool": "generate"}, "pool", "with protect_on own no pool is used"),
        ({"protect_on": "captions", "pool": "generate"}, "pool", "with protect_on captions no pool is used"),
        ({"protect": "none", "pool": "generate"}, "pool", "pool generate says how to protect, and this request turns"),
        ({"augment": False, "pool": "generate"}, "pool", "leave one of the two out"),
        ({"gamma": 0, "pool": "generate"}, "pool", "leave one of the two out"),
        ({"pool": "other"}, "pool", "or say auto or generate"),
    ],
    ids=str,
)
def test_what_asks_for_protection_and_for_none_is_refused_with_what_to_do(bat, param, said) -> None:
    with pytest.raises(InvalidInput) as refused:
        settled(bat)
    assert (refused.value.code, refused.value.param) == ("contradiction", f"bat.{param}")
    assert said.lower() in refused.value.message.lower()


def test_a_pool_that_is_not_there_and_captions_of_texts_are_refused() -> None:
    for backbone, summary, on, said in (
        (BARE, CATS, "pool", "let bat.pool be generate or bat.protect_on own, or build one"),
        (TEXT, CHATS, "captions", "texts have no captions; let bat.protect_on be pool or own"),
    ):
        with pytest.raises(InvalidInput) as refused:
            settled({"protect_on": on}, backbone=backbone, summary=summary)
        assert said.lower() in refused.value.message.lower()


@pytest.mark.parametrize("bat", [{"protect": "replay", "protect_weight": 1.0}, {"augment": False}])
def test_a_job_from_before_there_was_protection_goes_on_as_it_was(bat) -> None:
    today = settled(bat)
    stored = today.model_dump(exclude={"protect", "protect_weight", "protect_on"})
    assert Parameters.model_validate(stored) == today
