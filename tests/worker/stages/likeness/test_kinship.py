"""Texts that differ in letters' size, marks or blanks are kin, and what of the pool was sent is known again."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from PIL import ImageOps

from core.references.items import ImageItem, References, TextItem
from tests.worker.stages.conftest import picture
from worker.stages.likeness.kinship import kin
from worker.stages.likeness.known import known, told
from worker.stages.pool import Candidate, Pool
from worker.stages.references import picture_of

REPORT = (
    "On 3 May 2021 the ferry left the harbour of Stromness at 7 in the morning with 212 people on board, and came to "
    "Scrabster 90 minutes later, though the captain had told them all to be ready for a rough and slow crossing today."
)


def texts(*said: str) -> References:
    return References("texts", tuple(TextItem(text=text) for text in said))


def pool(*items: dict[str, object]) -> Pool:
    candidates = tuple(Candidate(f"c{n}", "s", "CC0", item) for n, item in enumerate(items))
    return Pool(candidates, (), "")


@pytest.mark.parametrize(
    "copy",
    [
        REPORT.upper(),
        REPORT.replace(",", " -").replace(" ", "  "),
        REPORT.replace("212", "213").replace("90", "85").replace(" 7 ", " 9 "),
    ],
)
def test_a_text_in_other_letters_marks_or_numbers_is_kin(copy: str) -> None:
    assert kin(texts(REPORT, "Something else is said here.", copy)) == [0, 1, 0]


def test_forms_that_differ_in_their_numbers_alone_are_no_kin() -> None:
    forms = [REPORT.replace("2021", f"{1900 + 7 * n}").replace("212", f"{13 * n}") for n in range(2, 8)]
    short = [f"{n} and {n + 3} make {2 * n + 3}." for n in range(6)]
    assert kin(texts(*short)) == list(range(6))
    assert kin(texts(*forms)) == list(range(6))


def test_candidates_that_were_sent_are_known_in_other_letters_too() -> None:
    own = pool({"text": REPORT.lower()}, {"text": "Bread is baked at night."}, {"text": "Say  WHAT you know"})
    found = known(own, [texts("say what you know."), texts(REPORT)])
    assert found == {"candidate": [0, 2], "probe": []}
    (line,) = told(own, found)
    assert line.text.startswith("2 of 3 examples of the backbone's own data are among what was sent")


def test_a_mirrored_reference_in_the_pool_is_known() -> None:
    images = sent(range(2))
    mirrored, other = ImageOps.mirror(picture_of(images[1])), picture_of(*sent([9]))
    found = known(pool({"image": other}, {"image": mirrored}), [References("images", tuple(images))])
    assert found["candidate"] == [1]


def sent(numbers: Sequence[int]) -> list[ImageItem]:
    return [ImageItem(f"{n}.png", None, picture(n), 32, 32, str(n)) for n in numbers]
