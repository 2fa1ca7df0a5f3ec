"""What a job's memory goes into: how the frozen weights are held, what is computed twice, how many gradients are kept.

One place for the rules. They look at the backbone and the device alone; whoever plans by the memory that is free
replaces what `resolved` returns, and nothing else has to change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from core.backbones.families import DeviceClass
from core.backbones.memory_needs import ADAPTED_BYTES
from core.backbones.record import BackboneRecord

# How the frozen network is held. int8: every weight matrix in 8 bits with a scale for each output, computed in the
# device's usual float. nf4: in 4 bits by blocks of 64 (QLoRA, 2305.14314). The adapter is float32 in all of them.
Precision = Literal["float32", "bfloat16", "int8", "nf4"]
# How scores hold the references' gradients: of all modules at once, or of one group of modules after another, which
# are computed anew for each. Both give the same numbers.
GradientStore = Literal["whole", "groups"]
RECOMPUTED_ABOVE = 10**9  # parameters; below it activations rarely are what fills a device (our choice)
# What is not there yet when a job plans its sizes, of every number that learns: all but the number itself.
LEARNING_BYTES = ADAPTED_BYTES - 4
# the parameters of an adapter can be counted once its backbone is loaded, and not here
GRADIENTS = (
    "While scores are made, the gradients of a fold's references are held whole where they fit into 1 GiB, on a GPU "
    "into a quarter of what is free, and else for one group of modules after another; which of both is known once the "
    "backbone is loaded."
)


class Choice(NamedTuple):
    """A value and the sentence that says why."""

    value: str | bool
    why: str


def resolved(backbone: BackboneRecord, device_class: DeviceClass) -> Mapping[str, Choice]:
    """Return what "auto" means for each setting of memory."""
    return {
        "precision": _precision(device_class),
        "checkpointing": _checkpointing(backbone),
        "gradients": Choice("auto", GRADIENTS),
    }


def usual_precision(device_class: DeviceClass) -> Precision:
    """Return the precision of jobs that ask for none, and of all jobs before there was a choice."""
    return "bfloat16" if device_class == "cuda" else "float32"


def _precision(device_class: DeviceClass) -> Choice:
    value = usual_precision(device_class)
    return Choice(value, f"{value} is our usual value on {'a GPU' if device_class == 'cuda' else 'a CPU'}.")


def _checkpointing(backbone: BackboneRecord) -> Choice:
    count = backbone.parameters
    if count is None:
        return Choice(False, f"How many parameters {backbone.id} has is not recorded, so nothing is computed twice.")
    if count > RECOMPUTED_ABOVE:
        why = "what a backward pass needs is computed again, which saves memory and takes time"
        return Choice(True, f"{backbone.id} has {count:,} parameters, more than {RECOMPUTED_ABOVE:,}: {why}.")
    return Choice(False, f"{backbone.id} has {count:,} parameters, no more than {RECOMPUTED_ABOVE:,}.")
