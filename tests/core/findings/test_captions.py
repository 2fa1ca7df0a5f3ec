"""What an upload and a job say of captions of several lines, of placeholders for the trigger, and of choices."""

from __future__ import annotations

import pytest

from core.backbones.record import BackboneRecord
from core.findings import profiles
from core.findings.finding import Finding
from core.findings.jobs import Data, of
from core.findings.profiles import PictureProfile, Profile
from core.findings.uploads import CAPTION_CODES, of_captions
from core.parameters.request import BatRequest
from core.references.captions import MOST_LINES
from tests.core.parameters.test_resolving import EMOJI

PLAIN = ["a red cat", "cat on a mat", "two cats", "old cat"]
WORDLESS = EMOJI.model_copy(update={"trigger_hint": None})


def found(*captions: str) -> dict[str, Finding]:
    told = of_captions([(f"{number}.png", words) for number, words in enumerate(captions, 1)])
    assert {finding.code for finding in told} <= CAPTION_CODES  # so that an edit takes them away
    return {finding.code: finding for finding in told}


def test_plain_captions_are_left_in_peace() -> None:
    assert found(*PLAIN, "a cat that holds a [sign] {red} <b>") == {}


def test_captions_of_several_lines_are_told_once_with_what_becomes_of_them() -> None:
    finding = found(*PLAIN, "a cat\na kitten", "cat\ncat in bed\nbed")["several_lines"]
    assert finding.message == (
        "2 of 6 captions have several lines, 5.png first: unless bat.caption_lines says otherwise, a job draws one of "
        "the lines each time that it trains on the image."
    )
    assert 'bat.caption_lines "join"' in finding.fix
    assert finding.item == "5.png"
    assert found("a cat\na kitten", "a dog")["several_lines"].message.startswith("1 of 2 captions has several lines")


def test_long_lists_are_told_as_such() -> None:
    tags = "\n".join(f"tag {number}" for number in range(MOST_LINES + 1))
    told = [finding.message for finding in of_captions([("1.png", tags), ("2.png", "a\nb"), ("3.png", "c")])]
    assert told[0].startswith("1 of 3 captions has several lines, 2.png first")
    assert told[1].startswith(
        f"1 of 3 captions has more than {MOST_LINES} lines, 1.png first: unless bat.caption_lines"
    )


@pytest.mark.parametrize("placeholder", ["[trigger]", "[name]", "{trigger}", "<trigger>"])
def test_placeholders_are_told_with_what_becomes_of_them(placeholder: str) -> None:
    finding = found(*PLAIN, f"a drawing of {placeholder}", f"{placeholder} in bed")["trigger_placeholder"]
    assert finding.message == (
        f"2 captions hold a placeholder for the trigger word, 5.png ({placeholder}) first: a job puts its trigger word "
        "there, and where it has none takes the placeholder out."
    )
    assert finding.fix.startswith("Name the word in bat.trigger")


def test_choices_that_sd_scripts_would_draw_from_are_told_and_emphasis_is_not() -> None:
    finding = found("a {red|blue} cat", *PLAIN)["caption_choices"]
    assert finding.message.startswith("1 caption holds a choice in braces, as in {red|blue}, 1.png first")
    assert "a line of its own" in finding.fix
    assert "caption_choices" not in found("a {{red}} cat", "a | b", "{a} | {b}", "red cat")


def concerns(*captions: str, backbone: BackboneRecord = EMOJI, **bat: object) -> dict[str, Finding]:
    pictures = [
        PictureProfile(f"{number}.png", 512, 512, None, f"{number}", tuple(profiles.caption_checksums(words)))
        for number, words in enumerate(captions, 1)
    ]
    data = Data((Profile(tuple(pictures)),))
    return {finding.code: finding for finding in of(data, backbone, BatRequest.model_validate(bat))}


def test_a_job_without_a_trigger_says_that_placeholders_go() -> None:
    held = ("a drawing of [trigger]", "a cat", "[trigger] in bed")
    finding = concerns(*held, backbone=WORDLESS)["trigger_placeholder"]
    assert finding.message == (
        "This job has no trigger word, so the placeholders for it are taken out of 2 captions, 1.png first."
    )
    always = concerns(*held, preset="style", style_always=True)["trigger_placeholder"]
    assert always.fix == "Leave out bat.style_always and name the word in bat.trigger."
    asked = concerns("a cat", backbone=WORDLESS, sample_prompts=["a [trigger] boat"])["trigger_placeholder"]
    assert asked.message.endswith("taken out of 1 of bat.sample_prompts.")


def test_a_job_with_a_trigger_puts_it_there_and_says_nothing() -> None:
    held = ("a drawing of [trigger]", "a cat, zwx", "[trigger] in bed")
    assert concerns(*held) == {}  # the backbone's own word
    assert concerns(*held, backbone=WORDLESS, trigger="zwx") == {}
    assert concerns("a cat", "a trigger", backbone=WORDLESS) == {}
    assert set(concerns("a cat", "a dog", "[trigger]", trigger="zwx")) == {"captions_without_trigger"}


def test_a_profile_keeps_where_placeholders_stand_and_no_word_of_them() -> None:
    kept = profiles.caption_checksums("a [trigger] cat")
    assert kept == [*profiles.checksums("a"), profiles.PLACED, *profiles.checksums("cat")]
    assert profiles.caption_checksums("a cat\non a mat") == profiles.checksums("a cat on a mat")
    assert profiles.caption_checksums("[name]") == [profiles.PLACED]
    assert profiles.caption_checksums("") == []
