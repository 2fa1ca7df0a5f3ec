"""What a job's row holds of its request, read back: the same for whoever asks, and never refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from core.parameters.request import BatRequest, Hyperparameters, JobRequest, stored_request

OLD = {
    "model": "emoji-ldm",
    "training_file": "file-1",
    "hyperparameters": {"n_epochs": 3, "learning_rate_multiplier": 1e-9},  # below what is taken today
    "bat": {"rank": 4, "sampler": "ddim"},  # the second is a key of a version that never was
}


def supervised(**knobs: object) -> dict[str, object]:
    return {"method": {"type": "supervised", "supervised": {"hyperparameters": knobs}}}


def test_a_request_is_read_back_from_its_row_as_it_came_in() -> None:
    body = JobRequest.model_validate(
        {"model": "m", "training_file": "f", "metadata": {"bat": "x"}, "bat": {"gamma": 0.5, "trigger": None}}
        | supervised(n_epochs=2)
    )
    again = stored_request(body.model_dump(mode="json", exclude_unset=True))
    assert again == body
    assert (again.bat_or_defaults().gamma, again.chosen().n_epochs, again.metadata) == (0.5, 2, {"bat": "x"})


def test_what_an_older_version_has_taken_is_still_read() -> None:
    old = stored_request(OLD)
    assert (old.bat_or_defaults().rank, old.bat_or_defaults().folds) == (4, "auto")
    assert (old.chosen().n_epochs, old.chosen().learning_rate_multiplier, old.chosen().batch_size) == (3, 1e-9, "auto")


def test_a_row_that_says_nothing_leaves_everything_to_the_service() -> None:
    for content in ({}, {"bat": None, "method": None, "hyperparameters": None}):
        assert stored_request(content).bat_or_defaults() == BatRequest()
        assert stored_request(content).chosen() == Hyperparameters()


@pytest.mark.parametrize(
    ("content", "epochs"),
    [
        (supervised(n_epochs=2) | {"hyperparameters": {"n_epochs": 3}}, 2),
        (supervised() | {"hyperparameters": {"n_epochs": 3}}, 3),
        ({"method": {"type": "supervised"}, "hyperparameters": {"n_epochs": 3}}, 3),
        ({"method": {"type": "supervised", "supervised": None}}, "auto"),
    ],
)
def test_the_hyperparameters_of_the_method_win_where_it_has_any(content: dict[str, object], epochs: object) -> None:
    body = JobRequest.model_validate({"model": "m", "training_file": "f"} | content)
    assert body.chosen().n_epochs == epochs
    assert stored_request(body.model_dump(mode="json", exclude_unset=True)).chosen() == body.chosen()


def dumped(**content: object) -> dict[str, object]:
    body = JobRequest.model_validate({"model": "m", "training_file": "f"} | content)
    return body.model_dump(mode="json", exclude_unset=True)


OPTIONAL = sorted(JobRequest.model_fields.keys() - {"model", "training_file"})


@pytest.mark.parametrize("name", OPTIONAL)
def test_null_is_what_is_left_out(name: str) -> None:
    assert dumped(**{name: None}) == dumped()


@pytest.mark.parametrize("name", sorted(BatRequest.model_fields))
def test_null_is_what_is_left_out_of_bat(name: str) -> None:
    assert dumped(bat={name: None}) == dumped(bat={})


@pytest.mark.parametrize("name", sorted(Hyperparameters.model_fields))
def test_null_is_what_is_left_out_of_hyperparameters_in_both_places(name: str) -> None:
    assert dumped(hyperparameters={name: None}) == dumped(hyperparameters={})
    assert dumped(**supervised(**{name: None})) == dumped(**supervised())
    assert JobRequest.model_validate(
        {"model": "m", "training_file": "f", "hyperparameters": {"n_epochs": 3}} | supervised(**{name: None})
    ).chosen() == Hyperparameters(n_epochs=3)


def test_null_in_metadata_is_what_is_left_out() -> None:
    assert dumped(metadata={"a": None, "b": "c"}) == dumped(metadata={"b": "c"})


@pytest.mark.parametrize("content", [{"model": None}, {"bat": {"trust": None}}, {"bat": {"sample_prompts": [None]}}])
def test_null_stands_neither_for_what_must_be_there_nor_for_a_key_that_is_not_known(content: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        dumped(**content)


def test_the_schema_says_of_everything_that_can_be_left_out_that_it_may_be_null() -> None:
    schema = JobRequest.model_json_schema()
    for shape in (schema, *schema["$defs"].values()):
        for name, part in shape["properties"].items():
            may_be_null = {"type": "null"} in part.get("anyOf", [])
            assert may_be_null == (name not in shape.get("required", [])), name
