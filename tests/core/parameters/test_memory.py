"""How a backbone is held and computed: what "auto" means, and what jobs of older versions meant."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from core.parameters.memory import RECOMPUTED_ABOVE
from core.parameters.parameters import Parameters
from core.parameters.request import BatRequest
from tests.core.parameters.test_resolving import CHATS, TEXT, settled


def sized(count: int | None, **bat: object) -> Parameters:
    return settled(bat, backbone=TEXT.model_copy(update={"parameters": count}), summary=CHATS)


@pytest.mark.parametrize(("device", "precision", "what"), [("cpu", "float32", "a CPU"), ("cuda", "bfloat16", "a GPU")])
def test_precision_follows_the_device(device: str, precision: str, what: str) -> None:
    parameters = settled(device=device)
    assert parameters.precision == precision
    assert parameters.reasons["precision"] == f"{precision} is our usual value on {what}."


def test_a_large_backbone_is_computed_twice_and_a_small_or_unknown_one_is_not() -> None:
    large, small, unknown = sized(RECOMPUTED_ABOVE + 1), sized(RECOMPUTED_ABOVE), sized(None)
    assert (large.checkpointing, small.checkpointing, unknown.checkpointing) == (True, False, False)
    assert large.reasons["checkpointing"] == (
        "tiny has 1,000,000,001 parameters, more than 1,000,000,000: what a backward pass needs is computed again, "
        "which saves memory and takes time."
    )
    assert small.reasons["checkpointing"] == "tiny has 1,000,000,000 parameters, no more than 1,000,000,000."
    assert "How many parameters tiny has is not recorded" in unknown.reasons["checkpointing"]


def test_what_is_asked_for_wins_and_needs_no_reason() -> None:
    asked = {"precision": "nf4", "checkpointing": True, "gradients": "groups"}
    parameters = sized(10, **asked)
    assert {name: getattr(parameters, name) for name in asked} == asked
    assert not set(asked) & set(parameters.reasons)
    assert sized(RECOMPUTED_ABOVE + 1, checkpointing=False).checkpointing is False


@pytest.mark.parametrize("asked", [{"precision": "int4"}, {"checkpointing": 1}, {"gradients": "some"}])
def test_other_values_are_refused(asked: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        BatRequest.model_validate(asked)


@pytest.mark.parametrize(("device", "precision"), [("cpu", "float32"), ("cuda", "bfloat16")])
def test_a_job_of_an_older_version_is_computed_as_it_was(device: str, precision: str) -> None:
    stored = settled(device=device).model_dump(mode="json")
    older = {name: value for name, value in stored.items() if name not in ("precision", "checkpointing", "gradients")}
    read = Parameters.model_validate(older)
    assert (read.precision, read.checkpointing, read.gradients) == (precision, False, "whole")
