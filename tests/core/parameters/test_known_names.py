"""What a key that is not known may mean, wherever it was put."""

from __future__ import annotations

import pytest

from core.parameters.known_names import OTHER_NAMES, meant
from core.parameters.request import BatRequest, JobRequest


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("n_epochs", "hyperparameters.n_epochs"),
        ("learning_rate_multiplier", "hyperparameters.learning_rate_multiplier"),
        ("batch_size", "hyperparameters.batch_size"),
        ("learning_rate", "bat.learning_rate"),
        ("rank", "bat.rank"),
        ("trigger", "bat.trigger"),
        ("bat.n_epoch", "hyperparameters.n_epochs"),
        ("bat.rnk", "bat.rank"),
        ("bat.metadata", "metadata"),
        ("bat.lora_rank", "bat.rank"),
        ("hyperparameters.rank", "bat.rank"),
        ("hyperparameters.n_epoch", "hyperparameters.n_epochs"),
        ("method.hyperparameters", "method.supervised.hyperparameters"),
        ("method.supervised.n_epochs", "method.supervised.hyperparameters.n_epochs"),
        ("method.supervised.hyperparameters.epochs", "method.supervised.hyperparameters.n_epochs"),
        ("trainingFile", "training_file"),
        ("training-file", "training_file"),
        ("Model", "model"),
        ("num_train_epochs", "hyperparameters.n_epochs"),
        ("bat.max_seq_length", "bat.max_tokens"),
        ("cutoff_len", "bat.max_tokens"),
        ("trainingType", None),
        ("training_type", None),
        ("trust_remote_code", None),
        ("bat.prompt_loss_weight", None),
    ],
)
def test_a_job_s_keys_are_looked_for_beside_it_and_elsewhere(path: str, name: str | None) -> None:
    assert meant(JobRequest, path.split(".")) == name


def test_without_the_job_around_it_only_what_is_in_bat_is_meant() -> None:
    assert meant(BatRequest, ["max_stepz"]) == "max_steps"
    assert meant(BatRequest, ["lr"]) == "learning_rate"
    assert meant(BatRequest, ["n_epochs"]) is None


def test_every_name_of_others_stands_for_one_of_ours() -> None:
    for other in OTHER_NAMES:
        found = meant(JobRequest, [other])
        assert found is not None, other
        assert found.split(".")[-1] == OTHER_NAMES[other]
