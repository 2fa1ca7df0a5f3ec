"""The list is whole: every bad input has a row or a reason, and no file of this folder forgets its rows."""

from __future__ import annotations

import re
from pathlib import Path

from tests.inputs.catalogue import LEFT_OUT, NUMBERS

SOURCES = Path(__file__).parent.glob("test_*.py")


def test_every_bad_input_is_tested_or_left_out_for_a_reason() -> None:
    text = "\n".join(path.read_text() for path in SOURCES if path.name != Path(__file__).name)
    tested = {int(number) for number in re.findall(r'(?:"C|def test_c)(\d{2,3})', text)}
    left_out = {int(number.removeprefix("C")) for number, _ in LEFT_OUT}
    assert tested | left_out == set(NUMBERS)
    assert not tested & left_out
    assert all(reason for _, reason in LEFT_OUT)
