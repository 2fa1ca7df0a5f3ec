"""No field of any body, given anything at all, is answered in pydantic's words or with what was sent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from api.http.errors import invalid
from api.http.openapi import BODY_MODELS

PYDANTIC = re.compile(
    r"should|after validation|\bitems\b(?!\.|:)|\bInput\b|\bValue\b|literal|constrained|\bstr\b|\bint\b"
)
CANARY = "canary-" * 7
VALUES: list[Any] = [
    *(True, -1, 0, 1.5, 10**12, 1e308, float("nan"), float("inf")),
    *("", " ", "a\nb", "\u200b", "\x07", "a" + "\u0301" * 40, CANARY, CANARY * 2_000, "-1", "7"),
    *([], [None], [1], [CANARY] * 2_000, {}, {"a": 1}, {CANARY: CANARY}, {"": ""}, {str(n): "" for n in range(40)}),
]


def places(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    """Yield the path of every field, and one of a key that there is not."""
    yield (CANARY,)
    for name, field in model.model_fields.items():
        yield (name,)
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from ((name, *below) for below in places(inner))


def body(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    first, *rest = path
    inner = body(tuple(rest), value) if rest else value
    return {first: [inner] if first == "items" and rest else inner}


@pytest.mark.parametrize("model", BODY_MODELS)
def test_whatever_is_sent_the_answer_is_plain_and_repeats_nothing(model: type[BaseModel]) -> None:
    refused = 0
    for path in places(model):
        for value in VALUES:
            try:
                model.model_validate(body(path, value))
            except ValidationError as error:
                said = invalid(error, model).message
                refused += 1
                assert PYDANTIC.search(said) is None, said
                assert CANARY[:20] not in said
                assert said.isprintable(), said
    assert refused > 10 * len(model.model_fields)
