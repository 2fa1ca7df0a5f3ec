"""What is said of a value that is not taken: plain words, the place, and never the value."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.runtime.complaints import Complaint, Written, complaints


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: Annotated[str, Written("^[a-z]+$", "letters")] = "a"
    long_name_that_is_a_known_parameter_of_ours: int = 1


class Whole(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    text: Annotated[str, Field(min_length=2, max_length=4)] = "ab"
    single: Annotated[str, Field(max_length=1)] = "a"
    some: Annotated[list[str], Field(min_length=1, max_length=2)] = Field(default_factory=list)
    count: Literal["auto"] | Annotated[int, Field(ge=1, le=9, multiple_of=2)] = "auto"
    epochs: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    share: Literal["auto"] | Literal["natural"] | Annotated[float, Field(gt=0, lt=0.5)] = "auto"
    switch: Literal["auto"] | bool = "auto"
    seed: Annotated[int, Field(ge=0)] | None = None
    pairs: dict[Annotated[str, Field(max_length=40)], Annotated[str, Field(max_length=3)]] = Field(default_factory=dict)
    part: Part | None = None
    parts: list[Part] = Field(default_factory=list)
    shape: Annotated[str, Field(pattern="^a+$")] = "a"


def told(**content: Any) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate(content)
    return [(one.path, one.sentence) for one in complaints(caught.value.errors(), Whole)]


@pytest.mark.parametrize(
    ("content", "path", "sentence"),
    [
        ({"text": "abcde"}, "text", "must be at most 4 characters long"),
        ({"text": "a"}, "text", "must be at least 2 characters long"),
        ({"single": "ab"}, "single", "must be at most 1 character long"),
        ({"text": 7}, "text", "must be a text"),
        ({"some": []}, "some", "must not be empty"),
        ({"some": ["a"] * 3}, "some", "must be a list of at most 2 entries"),
        ({"some": "a"}, "some", "must be a list"),
        ({"some": ["a", 1]}, "some.1", "must be a text"),
        ({"count": 0}, "count", 'must be "auto" or a number of at least 1'),
        ({"count": 10}, "count", 'must be "auto" or a number of at most 9'),
        ({"count": 3}, "count", 'must be "auto" or a multiple of 2'),
        ({"count": 1.5}, "count", 'must be "auto" or a whole number'),
        ({"count": "4"}, "count", 'must be "auto" or a whole number (numbers stand without quotation marks)'),
        ({"text": "1"}, "text", "must be at least 2 characters long"),
        ({"count": "many"}, "count", 'must be "auto" or a whole number'),
        (
            {"epochs": -1},
            "epochs",
            'must be "auto" or a number of at least 1 ("auto" leaves it to the service; -1 does not)',
        ),
        ({"epochs": -2}, "epochs", 'must be "auto" or a number of at least 1'),
        ({"share": 0}, "share", 'must be "auto", "natural" or a number of more than 0'),
        ({"share": 1}, "share", 'must be "auto", "natural" or a number of less than 0.5'),
        ({"share": float("inf")}, "share", 'must be "auto", "natural" or a finite number'),
        ({"switch": "yes"}, "switch", 'must be "auto", true or false'),
        ({"seed": -1}, "seed", "must be a number of at least 0 (leave it out, and one is drawn)"),
        ({"seed": -2}, "seed", "must be a number of at least 0"),
        ({"pairs": {"k": 1}}, "pairs.k", "must be a text"),
        ({"pairs": {"k" * 39: "long"}}, "pairs.(a key of 39 characters)", "must be at most 3 characters long"),
        ({"pairs": {"k" * 41: "v"}}, "pairs.(a key of 41 characters)", "the key must be at most 40 characters long"),
        ({"pairs": 1}, "pairs", "must be a JSON object"),
        ({"part": 1}, "part", "must be a JSON object"),
        ({"part": {"name": "A"}}, "part.name", "must be letters"),
        ({"part": {"nam": "a"}}, "part.nam", "this parameter is not known"),
        ({"parts": [{}, {"nam": "a"}]}, "parts.1.nam", "this parameter is not known"),
        ({"shape": "b"}, "shape", "must be written as ^a+$"),
        ({"k y": 1}, "(a key of 3 characters)", "this parameter is not known"),
    ],
)
def test_each_thing_that_can_be_wrong_has_plain_words(content: dict[str, Any], path: str, sentence: str) -> None:
    assert told(**content) == [(path, sentence)]


def test_a_known_name_is_told_however_long_it_is() -> None:
    name = "long_name_that_is_a_known_parameter_of_ours"
    assert told(part={name: "x"}) == [(f"part.{name}", "must be a whole number")]


def test_keys_that_are_not_shown_are_no_part_of_the_parameter() -> None:
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate({"pairs": {"k" * 39: 1}})
    (one,) = complaints(caught.value.errors(), Whole)
    assert one == Complaint("pairs.(a key of 39 characters)", "pairs", "must be a text")


def test_what_may_be_meant_is_asked_only_of_keys_that_are_not_known() -> None:
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate({"txt": "ab", "text": "a"})
    said = {one.path: one.sentence for one in complaints(caught.value.errors(), Whole, lambda path: "text")}
    assert said["txt"] == "this parameter is not known (did you mean text?)"
    assert "did you mean" not in said["text"]
    assert "did you mean" not in complaints(caught.value.errors(), Whole, lambda path: None)[-1].sentence


def test_a_written_text_fits_as_a_whole_and_its_pattern_is_in_the_schema() -> None:
    assert Part(name="abc").name == "abc"
    with pytest.raises(ValidationError):
        Part(name="abc\n")
    assert Part.model_json_schema()["properties"]["name"]["pattern"] == "^[a-z]+$"
