"""What an adapter is asked for: new contents and questions, and what of the backbone's own is not in the references."""

from __future__ import annotations

import pytest

from core.backbones.record import OTHERS, UNRELATED
from core.parameters.parameters import Parameters
from core.parameters.presets import Change, built_in
from core.parameters.sample_prompts import EVERYDAY_QUESTIONS, shared_words
from tests.core.parameters.test_resolving import CATS, CHATS, EMOJI, TEXT, settled

BACKBONE = EMOJI.model_copy(
    update={
        "caption_prefix": "emoji of ",
        "unrelated_prompts": ("emoji of slice of pizza", "emoji of red apple", "emoji of bear face"),
        "settings": ("with sunglasses", "crying", "with party hat"),
    }
)
GHOSTS = ("ghost smiling", "ghost crying", "happy ghost", "emoji of ghost with a hat")


def asked(captions: tuple[str, ...], **bat: object) -> Parameters:
    summary = CATS.model_copy(update={"prompts": captions, "count": max(2, len(captions))})
    return settled(bat, backbone=BACKBONE, summary=summary)


def answered(*questions: str, unrelated: tuple[str, ...] = (), **bat: object) -> Parameters:
    backbone = TEXT.model_copy(update={"unrelated_prompts": unrelated})
    return settled(bat, backbone=backbone, summary=CHATS.model_copy(update={"prompts": questions}))


def test_a_subject_is_asked_for_by_the_words_that_captions_share_and_in_new_settings() -> None:
    found = asked(GHOSTS)
    assert found.sample_prompts == (
        "emoji of ghost, sks",
        "emoji of ghost with sunglasses, sks",
        "emoji of ghost with party hat, sks",  # one is crying already
    )
    assert found.reasons["sample_prompts"] == (
        "4 of 4 captions hold the words 'ghost', which are sampled with the trigger: alone, and in settings that no "
        "known caption names."
    )


def test_four_of_five_captions_are_enough_and_three_are_not() -> None:
    assert asked((*GHOSTS, "a boat")).reasons["sample_prompts"].startswith("4 of 5 captions hold the words 'ghost'")
    assert asked((*GHOSTS[:3], "a boat", "a hut")).sample_prompts == ("emoji of sks", "emoji of ghost smiling, sks")


def test_where_captions_share_nothing_that_is_said() -> None:
    found = asked(("ghost", "boat", "hut"))
    assert found.sample_prompts == ("emoji of sks", "emoji of ghost, sks")
    assert found.reasons["sample_prompts"] == (
        "Captions share no words that name something, so the trigger alone is sampled, and the first caption."
    )
    single = asked(("", "boat", ""))
    assert single.sample_prompts == ("emoji of sks", "emoji of boat, sks")
    assert single.reasons["sample_prompts"].startswith(
        "Only one caption is known, so the trigger alone is sampled, and"
    )
    none = asked(("", "", ""))
    assert none.sample_prompts == ("emoji of sks",)
    assert none.reasons["sample_prompts"] == "No caption is known, so the trigger alone is sampled."


LINED = ("ghost smiling\nfunny sheet", "ghost crying\na boat\na mask", "ghost", "ghost and bear\na hut")


def test_of_captions_of_several_lines_the_first_are_asked_for_and_no_line_names_what_is_new() -> None:
    found = asked((*LINED[:2], "ghost\na ghost with sunglasses", LINED[3]))
    assert found.sample_prompts == ("emoji of ghost, sks", "emoji of ghost with party hat, sks")
    assert found.reasons["sample_prompts"].startswith(
        "4 of 4 captions hold the words 'ghost' in their first line, which"
    )
    apart = asked(("ghost\ncat", "boat\ncat", "hut\ncat"))
    assert apart.sample_prompts == ("emoji of sks", "emoji of ghost, sks")
    assert apart.reasons["sample_prompts"] == (
        "First lines of captions share no words that name something, so the trigger alone is sampled, and the first "
        "line of the first caption."
    )
    wordless = BACKBONE.model_copy(update={"trigger_hint": None})
    summary = CATS.model_copy(update={"prompts": ("ghost\ncat", "boat\ncat"), "count": 2})
    assert (
        settled(backbone=wordless, summary=summary)
        .reasons["sample_prompts"]
        .endswith("there is no trigger: the first lines of the first of them are sampled.")
    )


def test_lines_that_are_joined_or_left_out_are_asked_for_as_they_are_trained_on() -> None:
    joined = asked(("ghost\ncat", "boat\ncat", "hut\ncat"), caption_lines="join")
    assert joined.sample_prompts[0] == "emoji of cat, sks"
    assert joined.reasons["sample_prompts"].startswith("3 of 3 captions hold the words 'cat', which")
    first = asked((*LINED[:2], "ghost\na ghost with sunglasses", LINED[3]), caption_lines="first")
    assert "emoji of ghost with sunglasses, sks" in first.sample_prompts
    assert "first line" not in first.reasons["sample_prompts"]


def test_placeholders_count_as_the_trigger_and_name_nothing() -> None:
    held, written = (tuple(f"a {word} {what}" for what in ("smiling", "crying")) for word in ("[trigger]", "sks"))
    assert asked(held).sample_prompts == asked(written).sample_prompts
    style = asked(tuple(f"{what} in [name] style" for what in ("boat", "hut")), preset="style", trigger="zwx")
    assert all(prompt.endswith(", zwx") for prompt in style.sample_prompts)
    wordless = BACKBONE.model_copy(update={"trigger_hint": None})
    summary = CATS.model_copy(update={"prompts": ("[trigger] ghost", "[trigger]"), "count": 2})
    assert settled(backbone=wordless, summary=summary).sample_prompts == ("emoji of ghost",)


def test_without_a_trigger_none_is_spoken_of() -> None:
    backbone = BACKBONE.model_copy(update={"trigger_hint": None})
    for captions, prompts, why in (
        (
            GHOSTS,
            ("emoji of ghost", "emoji of ghost with sunglasses", "emoji of ghost with party hat"),
            "hold the words",
        ),
        (
            ("boat", "hut", "cow"),
            ("emoji of boat", "emoji of hut"),
            "there is no trigger: the first of them are sampled",
        ),
        (("", ""), (), "No caption is known and there is no trigger."),
    ):
        found = settled(backbone=backbone, summary=CATS.model_copy(update={"prompts": captions}))
        assert found.sample_prompts == prompts
        assert why in found.reasons["sample_prompts"]
        assert "with the trigger" not in found.reasons["sample_prompts"]


def test_a_trigger_that_owners_wrote_stays_where_it_stands() -> None:
    assert asked(("sks ghost in a hut", "sks ghost on a hill")).sample_prompts[:2] == (
        "emoji of sks ghost",
        "emoji of sks ghost with sunglasses",
    )
    assert asked(("ghost in a hut, sks", "ghost on a hill, sks")).sample_prompts[1] == (
        "emoji of ghost with sunglasses, sks"
    )
    assert asked(("big ghost", "big ghost"), trigger="my word").sample_prompts[0] == "emoji of big ghost, my word"


def test_a_preset_that_adds_no_trigger_asks_with_one_only_where_captions_hold_it() -> None:
    plain = {"subject": built_in()["subject"].model_copy(update={"add_trigger": False})}
    for captions, prompt in ((GHOSTS, "emoji of ghost"), ((*GHOSTS, "sks ghost"), "emoji of ghost, sks")):
        found = settled(backbone=BACKBONE, summary=CATS.model_copy(update={"prompts": captions}), presets=plain)
        assert found.sample_prompts[0] == prompt
        assert ("with the trigger" in found.reasons["sample_prompts"]) == ("sks" in prompt)


def test_where_every_setting_is_in_a_caption_none_is_claimed() -> None:
    found = asked(("ghost crying with sunglasses", "ghost with party hat"))
    assert found.sample_prompts == ("emoji of ghost, sks",)
    assert found.reasons["sample_prompts"].endswith("which are sampled with the trigger.")


@pytest.mark.parametrize(
    ("captions", "shared"),
    [
        (["A photo of a ghost, by night.", "a photo of a ghost in snow"], "A photo of a ghost"),
        (["cat face with tears", "cat face with a hat"], "cat face"),  # no run ends with such a word
        (["car, police car", "car, taxi"], "car"),
        (["red ghost flying", "blue ghost flying"], "ghost flying"),
        (["one", "two"], ""),
        ([], ""),
    ],
)
def test_shared_words_are_found_in_order(captions: list[str], shared: str) -> None:
    assert " ".join(shared_words(captions)[0]) == shared


def test_what_the_request_asks_for_is_what_is_asked() -> None:
    found = asked(GHOSTS, sample_prompts=["a ghost, eating red apples"])
    assert found.sample_prompts == ("a ghost, eating red apples",)
    assert "sample_prompts" not in found.reasons
    assert "emoji of red apple" not in found.unrelated_prompts  # it is in what is sampled


def test_unrelated_prompts_that_captions_name_are_replaced_and_that_is_said() -> None:
    kept = asked(GHOSTS)
    assert kept.unrelated_prompts == BACKBONE.unrelated_prompts
    assert kept.reasons["unrelated_prompts"] == (
        "They are the backbone's own; no known caption or sample names the same."
    )
    other = f"emoji of {UNRELATED['images'][1]}"
    replaced = asked(("pizza", "a pizza slice, burnt", "a pizza with apples"))
    assert replaced.unrelated_prompts == (
        "emoji of red apple",
        "emoji of bear face",
        f"emoji of {UNRELATED['images'][0]}",
    )
    assert replaced.reasons["unrelated_prompts"] == (
        "Left out 1 of the backbone's 3, with 1 other instead: a caption or a sample names the same."
    )
    assert other not in replaced.unrelated_prompts


def test_unrelated_prompts_hold_nothing_of_the_subject() -> None:
    bears = asked(("bear smiling", "bear crying", "bear asleep"))
    assert "emoji of bear face" not in bears.unrelated_prompts
    assert len(bears.unrelated_prompts) == 3


def test_where_nothing_else_is_left_unrelated_prompts_are_left_out() -> None:
    everything = (*BACKBONE.unrelated_prompts, *UNRELATED["images"], *OTHERS["images"])
    found = asked(tuple(words.removeprefix("emoji of ") for words in everything))
    assert found.unrelated_prompts == ()
    assert found.reasons["unrelated_prompts"] == "Left out 3 of the backbone's 3: a caption or a sample names the same."
    style = asked(everything, preset="style")
    assert style.sample_prompts[0] == "emoji of slice of pizza, sks"
    assert style.reasons["sample_prompts"].startswith("Known captions name every content")
    assert style.unrelated_prompts == ()
    assert style.reasons["unrelated_prompts"] == "Known captions name every content that could be asked for."


def test_a_backbone_without_unrelated_prompts_keeps_none() -> None:
    found = settled(backbone=BACKBONE.model_copy(update={"unrelated_prompts": ()}), summary=CATS)
    assert (found.unrelated_prompts, found.reasons["unrelated_prompts"]) == ((), "None is registered for emoji-ldm.")


def test_without_captions_nothing_is_said_of_what_they_name() -> None:
    for captions in (("", ""), ()):
        found = settled(backbone=BACKBONE, summary=CATS.model_copy(update={"prompts": captions}))
        assert found.reasons["unrelated_prompts"] == "They are the backbone's own."


def test_a_style_is_asked_for_contents_that_no_caption_names_with_its_trigger_and_without() -> None:
    found = asked(("pizza in ink", "a boat in ink", "a red apple in ink"), preset="style")
    contents = ("bear face", *UNRELATED["images"], OTHERS["images"][0])
    assert found.sample_prompts == tuple(f"emoji of {words}, sks" for words in contents)
    assert found.unrelated_prompts == tuple(f"emoji of {words}" for words in contents)
    assert found.reasons["sample_prompts"] == "They are contents that no known caption names, each with the trigger."
    assert found.reasons["unrelated_prompts"] == (
        "They are contents that no known caption names, without the trigger: the style should not come unless "
        "asked for."
    )
    bare = asked(("", ""), preset="style")
    assert bare.reasons["sample_prompts"].startswith("No caption is known to compare them with")


def test_a_style_that_comes_always_is_asked_for_without_a_trigger_and_nothing_is_unrelated() -> None:
    found = asked(("a boat", "a hut"), preset="style", style_always=True)
    assert found.sample_prompts[0] == "emoji of slice of pizza"
    assert len(found.sample_prompts) == 4
    assert found.reasons["sample_prompts"].endswith("without a trigger.")
    assert found.unrelated_prompts == ()
    assert "no prompt is unrelated" in found.reasons["unrelated_prompts"]


def test_a_style_that_nothing_can_ask_for_has_no_unrelated_prompts() -> None:
    bare = BACKBONE.model_copy(update={"trigger_hint": None})
    summary = CATS.model_copy(update={"prompts": ("a boat", "a hut")})
    found = settled({"preset": "style"}, backbone=bare, summary=summary)
    assert found.trigger is None
    assert found.unrelated_prompts == ()
    assert found.reasons["unrelated_prompts"].startswith("Without a trigger nothing asks for the style")
    assert asked(("a boat", "a hut"), preset="style").unrelated_prompts != ()


def test_texts_are_asked_new_everyday_questions() -> None:
    found = answered("Why is the sea salty?", "How do I cook a quick dinner?")
    assert found.sample_prompts == EVERYDAY_QUESTIONS[1:11]
    assert found.reasons["sample_prompts"] == "They are everyday questions; none resembles a known reference."
    assert answered().sample_prompts == EVERYDAY_QUESTIONS[:10]
    known = answered(*EVERYDAY_QUESTIONS)
    assert known.sample_prompts == EVERYDAY_QUESTIONS[:10]
    assert known.reasons["sample_prompts"].startswith("Each of our everyday questions resembles one of the references")


def test_no_question_is_both_trained_on_or_sampled_and_unrelated() -> None:
    unrelated = ("What is the capital of France?", "How do plants stay alive?")
    found = answered("Name the capital of France.", unrelated=unrelated, sample_prompts=["Are plants alive?"])
    assert found.unrelated_prompts == (UNRELATED["texts"][1], OTHERS["texts"][0])
    assert found.reasons["unrelated_prompts"] == (
        "Left out 2 of the backbone's 2, with 2 others instead: a reference or a sample asks alike."
    )
    kept = answered("Why is the sea salty?", unrelated=unrelated, sample_prompts=["Who are you?"])
    assert kept.unrelated_prompts == unrelated
    assert kept.reasons["unrelated_prompts"].endswith("; no known reference or sample asks alike.")
    auto = answered("Why is the sea salty?", unrelated=unrelated)
    assert unrelated[1] not in auto.unrelated_prompts  # it resembles an everyday question that is sampled


def test_changes_of_a_preset_do_not_matter_to_what_is_asked() -> None:
    change = {"subject": built_in()["subject"].model_copy(update={"values": {"rank": Change(value=2, why="small")}})}
    summary = CATS.model_copy(update={"prompts": GHOSTS})
    assert settled(backbone=BACKBONE, summary=summary, presets=change).sample_prompts == asked(GHOSTS).sample_prompts
