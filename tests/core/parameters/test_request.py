"""What a job's row holds of its request, read back: the same for whoever asks, and never refused."""

from __future__ import annotations

import pytest

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
