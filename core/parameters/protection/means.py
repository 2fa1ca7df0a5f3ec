"""By what means the rest of a backbone is protected while an adapter learns, how much that counts, and on what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

# replay: the loss on data that the backbone knows. distil: the distance to what the frozen backbone says of it.
# both: half of the weight on each. none: nothing but the references is trained on.
Means = Literal["replay", "distil", "both", "none"]
# pool: selected candidates. own: what the backbone makes itself. captions: references under unrelated captions.
Ground = Literal["pool", "own", "captions"]
GENERATE = "generate"  # a pool that the backbone makes itself, from plain prompts
# Where data comes from that nothing is trained on, so that what is forgotten shows on it.
Probed = Literal["pool", "own"]
# What slots of batches hold, in a sentence such as "with 25% of every batch filled with backbone data".
DATA: Mapping[Ground, str] = {
    "pool": "backbone data",
    "own": "samples of the backbone's own",
    "captions": "references under unrelated captions",
}
# What it is that nothing is trained on, after "On ...".
PROBE: Mapping[Probed, str] = {"pool": "other data", "own": "held-out samples of the backbone's own"}
LEAST_WEIGHT, MOST_WEIGHT = 0.1, 64.0
WITHOUT_DATA: frozenset[Means] = frozenset({"distil"})  # captions bring none that could be replayed
