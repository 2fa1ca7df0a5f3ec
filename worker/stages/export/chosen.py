"""A kept step that its owner chose to publish: what is said of it is taken over from the job that has kept it.

That job has drawn, scored and judged; its samples are those of this step, and its card is this adapter's but for what
depends on the step. Nothing is sampled again, and what was learned from is not needed.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from core.adapters.card import CARD_FILE
from core.errors import JobFailure
from core.method.lora.adapter import Adapter
from core.method.training.final_run import Outcome
from worker.job_folder import write_rows
from worker.protocol import Json
from worker.stages.context import Context
from worker.stages.export import forgetting
from worker.stages.export.card import OUTCOME, versions
from worker.stages.export.explanations import fluctuation
from worker.stages.export.samples import marks

CHANGED = (
    "The backbone {id} is another revision than the one that this adapter was trained on. The operator has to register "
    "that one again; then publish the step once more."
)


def step(context: Context) -> int | None:
    """Return the kept step that is to be published; None in a job that trains."""
    found: int | None = context.spec.get("publish_step")
    return found


def check(context: Context) -> None:
    """Raise JobFailure "backbone_unavailable" where the backbone is not the one that the adapter was trained on."""
    trained_on, record = _source(context, CARD_FILE)["backbone"], context.record
    if (trained_on["id"], trained_on["revision"]) != (record.id, record.revision):
        raise JobFailure(CHANGED.format(id=record.id), code="backbone_unavailable", param="model")


def outcome(context: Context, trained: Outcome, step: int) -> Outcome:
    """Return what training came to with the step that its owner chose, and why another one was named."""
    named = context.spec["outcome"]["published_from"]["named"]
    reason = f"The owner of the job chose step {step} of those that were kept."
    if named["step"] is not None:
        reason += f" The service had named step {named['step']}. {named['reason'] or ''}".rstrip()
    return trained.choosing(step, reason)


def summary(context: Context, outcome: Outcome, changes: Json) -> Json:
    """Return the job's `bat` fields: those of the job that has kept the step, with what is so of this step."""
    told: Json = {"probe": None, **context.spec["outcome"], **changes}
    told |= {"published_step": outcome.published_step, "stop_rule": outcome.rule, "stop_reason": outcome.reason}
    reasons = {"cs_fluctuation": fluctuation(outcome), "stop": outcome.reason}
    reasons |= forgetting.reasons(told, context.read("train", "curve.json"))
    return told | {"reasons": {**told.get("reasons", {}), **reasons}}


def card(context: Context, adapter: Adapter, summary: Json) -> Json:
    """Return the adapter's card: that of the job's own adapter, with what is so of this one, and whose step it is."""
    found = _source(context, CARD_FILE)
    return found | {
        "adapter": {**found["adapter"], "sha256": adapter.sha256()},
        "outcome": {name: summary.get(name) for name in OUTCOME},
        "published_from": {**summary["published_from"], "versions": found["versions"]},
        "versions": versions(),
    }


def write_samples(context: Context, outcome: Outcome, folder: Path) -> list[Json]:
    """Write the samples of the step and those before training, as they were drawn then, and return their rows."""
    rows = [row for row in _source(context, "samples.json") if row["step"] in (0, outcome.published_step)]
    for row in rows:
        row["labels"] = marks(outcome, row["step"])
        for file in {row.get("image"), row.get("thumbnail")} - {None}:
            shutil.copyfile(context.folder.source / Path(file).name, folder / Path(file).name)
    write_rows(folder / "samples.json", rows)
    shutil.copyfile(context.folder.stage("score") / "decision.json", folder / "decision.json")
    return rows


def _source(context: Context, name: str) -> Any:
    return json.loads((context.folder.source / name).read_text())
