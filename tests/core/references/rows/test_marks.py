"""Marks that stand where nobody reads them: refused, for what they say would be lost."""

from __future__ import annotations

from typing import Any

import pytest

from core.references.items import TextItem
from core.references.rows.shapes import shaped


@pytest.mark.parametrize(
    "more",
    [
        {"metadata": {"train": False}},
        {"meta": {"id": 7, "weight": 0}},
        {"info": {"split": "test"}},
        {"extra_info": {"loss_mask": [0, 1]}},
    ],
)
def test_a_mask_within_an_object_that_is_passed_over_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="which is not read there"):
        shaped({"text": "a", **more})


@pytest.mark.parametrize(
    "more", [{"metadata": {"id": 7, "split": "train"}}, {"metadata": {"weight": None}}, {"meta": {}}]
)
def test_an_object_without_a_mask_is_passed_over(more: dict[str, Any]) -> None:
    assert shaped({"text": "a", **more}) == TextItem(text="a")


def test_a_message_of_a_question_that_is_marked_as_learned_is_refused() -> None:
    said = {"role": "assistant", "content": "b", "train": True}
    asked = [{"role": "user", "content": "a"}, said, {"role": "user", "content": "c"}]
    with pytest.raises(ValueError, match="message 2 stands in the question"):
        shaped({"prompt": asked, "completion": [{"role": "assistant", "content": "d"}]})
