"""The probe of a backbone whose pool has none: samples of its own that are held out, where they are there.

None are made for its sake: a job that does not protect on them has it where another one has had them made.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from core.method.backbones.backbone import take
from core.parameters.schedule import PROBE_EXAMPLES
from worker.stages.context import PROBE_FILE, Context
from worker.stages.costs import note_examples
from worker.stages.protection import own


def prepare(context: Context, folder: Path) -> None:
    """Encode the probe for the stages that come, whatever becomes of the samples."""
    if context.probed_on is not None or (made := own.samples(context)) is None:
        return
    if places := own.held_out(context, made)[:PROBE_EXAMPLES]:
        batch = take(own.encoded(context, made), torch.tensor(places))
        note_examples(context.profiler, "probe", batch)
        save_file({name: tensor.contiguous() for name, tensor in batch.items()}, folder / PROBE_FILE)
