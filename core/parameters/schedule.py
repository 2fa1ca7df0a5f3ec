"""The figures of the method's schedule that need no tensors: whoever forecasts a job counts with the same ones."""

from __future__ import annotations

import math

from core.backbones.families import Kind

STAGES = ("prepare", "surrogate", "score", "trial", "train", "export")  # of a job, in the order they run in
SOURCE = "source"  # beside their folders: what a job that publishes a step of another takes over of its last stage
GROWTH = 1.13  # the evaluation grid's ratio from step 8 on
EARLIEST_STOP = 16  # of surrogates
PATIENCE = 2.0  # the surrogates stop when the best step lies this factor back
EXTENSION = 1.5  # surrogates whose held-out loss still falls at the end of their budget go on, once, up to this factor
LOOK_AHEAD = 3.5  # times the matched step: how far pictures are looked at, and a valley near it is confirmed by then
VOICE_AHEAD = 2.0  # the same for a voice, which is whole later than its loss is best on held-out answers
OVERSHOOT = 0.2  # share of a run of other texts, which only shows what training on would do
# What the frozen network's prediction of a sample costs beside a step with it: a pass forward is about a third of one
# forward and backward.
FROZEN_PASS = 1 / 3
OWN_SAMPLES = 64  # that a backbone makes once, where it is protected on its own
# What it makes once for a pool: so many that with a quarter held out as a probe three times are left of those that are
# selected; drawing them takes twice as long as its own samples do.
GENERATED = 128
WATCHED_EVERY = 3  # evaluations of the references for one of the probe and of held-out data
PROBE_EXAMPLES = 16  # evaluated again and again; more would cost more than they tell
EVALUATED_AT_ONCE = 64  # samples in one forward pass without gradients
CANDIDATES_AT_ONCE = 32  # scored in one pass
GRADIENTS_AT_ONCE = 32  # examples in one pass that gives each of them its own gradient
MIN_CANDIDATES = 16
# Of what is sampled from the pool, a first part is scored by every fold to see whether scores repeat at all: so large
# that an agreement of .17 is told from chance (our choice).
TESTED_SHARE, MIN_TESTED = 0.1, 96
TEXT_FOLDS = 2  # texts have no draws to spread over folds, so every fold costs a whole pass over the pool
LISTENED = 16  # questions of the references: the untouched backbone answers them, or about as many the surrogates
HELD_OUT_ASKED = 4  # questions of the validation file that are answered at every kept step
OWN_ASKED = 8  # questions of the references, at every kept step, where hardly any new one is answered in their shape
# Pictures of a step, at least, of what was learned and of unrelated prompts; few prompts are repeated with other noise.
PICTURES, UNRELATED_PICTURES = 8, 4
DRAWN_AT_ONCE = 4  # so that drawing needs no more memory than training, however many pictures a step is judged by
# What "auto" starts with: half of the slots protects a subject's surroundings best, but a style is not learned so.
SUBJECT_SHARE, STYLE_SHARE = 0.5, 0.25
STYLES = frozenset({"style", "tone", "format"})  # they ask how, not what; replay with like captions opposes them
MAX_SHARE = 0.95  # of the batch slots that a job may ask for
MIN_TRIED_SHARE = 0.2  # a share that harms is halved and tried again, but not below this


def evaluation_grid(budget: int) -> list[int]:
    """Return the steps at which losses are evaluated: 0, 1..8, then 13 % apart, up to and with the budget."""
    steps = list(range(min(8, budget) + 1))
    while steps[-1] < budget:
        steps.append(min(budget, max(steps[-1] + 1, round(GROWTH * steps[-1]))))
    return steps


def first_part(sampled: int) -> int:
    """Return how many of the sampled candidates are scored before it is decided whether the rest are."""
    return min(sampled, max(MIN_TESTED, math.ceil(TESTED_SHARE * sampled)))


def step_budget(steps: int, gamma: float) -> int:
    """Return the steps after which the references have been seen as often as in `steps` without backbone data."""
    return math.ceil(steps / (1 - gamma) - 1e-9)


def extended(budget: int) -> int:
    """Return the steps that surrogates take at most, where the budget was not asked for."""
    return math.ceil(EXTENSION * budget)


def look_ahead(kind: Kind, learns: str, *, past_best: bool) -> float:
    """Return how far a run goes, as a multiple of the step where it could stop.

    Pictures and voices are chosen among later steps, for what can be seen or heard comes later than the best loss;
    other answers only show there what training on would do.
    """
    if not past_best:
        return 1.0
    if kind == "texts":
        return VOICE_AHEAD if learns == "tone" else 1 / (1 - OVERSHOOT)
    return LOOK_AHEAD


def usual_share(preset: str) -> float:
    """Return the share of batch slots that a preset starts with."""
    return STYLE_SHARE if preset in STYLES else SUBJECT_SHARE
