"""What is said in subtitles."""

from __future__ import annotations

import pytest

from core.references.rows.subtitles import spoken

SRT = "\ufeff1\n00:00:01,000 --> 00:00:02,500\nAhoy,\nsailor!\n\n2\n00:00:03,000 --> 00:00:04,000\n12\n"
VTT = (
    "WEBVTT - a song\n\nNOTE made by hand\n\nSTYLE\n::cue { color: red }\n\nfirst\n"
    "00:01.000 --> 00:02.000 align:start\nAhoy\n\n\n01:00:03.000 --> 01:00:04.000\n<i>Fair winds</i>\n"
)
SPOKEN = "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Ann>Ahoy <00:01.500>{\\an8}there</v>\n"


@pytest.mark.parametrize(
    ("text", "said"), [(SRT, "Ahoy,\nsailor!\n\n12"), (VTT, "Ahoy\n\nFair winds"), (SPOKEN, "Ahoy there")]
)
def test_what_is_said_stays_and_numbers_times_and_notes_go(text: str, said: str) -> None:
    assert spoken(text) == said


@pytest.mark.parametrize(
    "text",
    [
        "1\n2\n3\n",
        "At 00:00:01 he came.\n",
        "WEBVTTX\n",
        "WEBVTT is a format.\n\nSo it is.",
        "00:00:01,000 -- 00:00:02,000\nx",
        "",
    ],
)
def test_what_only_looks_so_is_a_text(text: str) -> None:
    assert spoken(text) is None
