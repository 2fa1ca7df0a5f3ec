"""The unmodified openai client for Node."""

from __future__ import annotations

from pathlib import Path

from tests.clients.plant import Plant


def test_a_script_for_node_goes_on_with_one_line(plant: Plant, chat_file: Path) -> None:
    address = plant.environment()["OPENAI_BASE_URL"]
    assert plant.node("migrate.mjs", chat_file, address).splitlines() == [
        "expires 3600",
        "cancelled cancelled",
        "paused paused",
        "resumed queued",
        "ended succeeded 3",
        "found 2",
        "events true",
        "checkpoints 40 20",
        "curve step train_loss",
        "model true",
        "listed true",
        "unknown 404 not_found_error job_not_found job_id",
        "too late 409 invalid_request_error job_not_cancellable null",
        "wandb 400 invalid_request_error invalid_parameter integrations",
        "model deleted true",
        "file deleted true",
    ]
