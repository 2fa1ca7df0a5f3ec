"""ALBAT: train surrogates on the references, score backbone data with them, train the adapter on both, stop in time.

Three generators, one a stage; each yields what happens and returns its result. They own no files, clocks or settings,
so whoever drives them logs, saves, cancels (by closing them) or stops asking. `forecast_error` is for the card alone.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, MutableMapping, Sequence

from core.method.backbones.backbone import Backbone, Batch
from core.method.influence.mixing_forecast import forecast_mixing
from core.method.influence.pool_scoring import Scoring, ScoringProgress, score_pool
from core.method.lora.adapter import Adapter
from core.method.mixing.error_law import MixingReport
from core.method.protection.protection import Protection
from core.method.stopping.evidence import SurrogateCurves
from core.method.stopping.splitting import held_out
from core.method.training.batches import MixedBatches, ShapesInTurn
from core.method.training.final_run import FinalRun, Outcome
from core.method.training.loop import Step, Training
from core.method.training.resuming import NOWHERE, Keeper, State, saved
from core.method.training.surrogates import Surrogate, captions, train_folds
from core.parameters.parameters import Parameters


def train_surrogate(
    backbone: Backbone, references: Batch, p: Parameters, keeper: Keeper = NOWHERE, kin: Sequence[int] | None = None
) -> Generator[Step, None, Surrogate]:
    """Train K surrogates in one pass, each blind to one fold; near-duplicates share a fold, and so do `kin`."""
    held = held_out(references, p.folds, p.seed, kin)
    return (yield from train_folds(backbone, references, held, p, keeper=keeper))


def score_candidates(
    backbone: Backbone,
    surrogate: Surrogate,
    references: Batch,
    candidates: Batch,
    p: Parameters,
    sources: Sequence[str],
    keeper: Keeper = NOWHERE,
    left_out: Collection[int] = (),
) -> Generator[ScoringProgress, None, Scoring]:
    """Score a share `p.sample_ratio` of the candidates but those `left_out`, select the best, and choose gamma."""
    held, adapter = surrogate.curves.folds, surrogate.adapter
    return (yield from score_pool(backbone, adapter, held, references, candidates, p, sources, keeper, left_out))


def forecast_error(
    backbone: Backbone,
    surrogate: Surrogate,
    references: Batch,
    candidates: Batch,
    selected: Sequence[int],
    p: Parameters,
) -> MixingReport | None:
    """Return the error law M(gamma) for the candidates `selected`; nothing goes by it. None with too few to tell."""
    held = surrogate.curves.folds
    return forecast_mixing(backbone, surrogate.adapter, held, references, candidates, selected, p)


def train_adapter(
    backbone: Backbone,
    references: Batch,
    protection: Protection,
    p: Parameters,
    curves: SurrogateCurves,
    probe: Batch | None,
    snapshots: MutableMapping[int, Adapter],
    heldout: Batch | None = None,
    keeper: Keeper = NOWHERE,
) -> Generator[Step, None, Outcome]:
    """Train a fresh adapter on references and protection (A1) until the stopping rule says so, and name a step.

    `snapshots` receives deep copies and afterwards holds every step that the outcome names and no others; the adapter
    to publish is `snapshots[outcome.published_step]`, never the live one. `probe` is backbone data that is never
    trained on, on which forgetting shows; `heldout` is the user's own validation data. `curves` are those of the
    surrogates, or of the trial where the mixture was tried. Step 0 is before training. With a `keeper` that has found a
    state, the run goes on from there, and `snapshots` gets the copies of that state; it begins anew where a version
    with other rules has left that state.
    """
    run = FinalRun(backbone, references, p, curves, protection.share, snapshots)
    run.watch(probe=probe, heldout=heldout)
    training = _training(backbone, references, protection, p, run.budget)
    goes_on = _goes_on(run, training, keeper)

    def state() -> State:
        return State.of({"run": run.state(), "training": training.state()})

    yield from saved(_measured(run, training, first=not goes_on), keeper, state)
    return run.outcome()


def _training(backbone: Backbone, references: Batch, protection: Protection, p: Parameters, budget: int) -> Training:
    """Return the training of a fresh adapter on references and protection."""
    adapter = backbone.lora.new(p.rank, p.alpha, seed=p.seed)
    turns = ShapesInTurn.of(references, p.seed)
    batches = MixedBatches(backbone, references, protection, p.batch_size, captions(backbone, p), p.seed, turns)
    return Training(backbone, adapter, batches, learning_rate=p.learning_rate, max_steps=budget, pieces=p.accumulation)


def _goes_on(run: FinalRun, training: Training, keeper: Keeper) -> bool:
    """Take up the state that the keeper has found; False where there is none, or rules have changed since."""
    found = keeper.found()
    if found is None or not run.understands(found.part("run")):
        return False
    run.restore(found.part("run"))
    training.restore(found.part("training"))
    return True


def _measured(run: FinalRun, training: Training, *, first: bool) -> Iterator[Step]:
    """Yield the steps as they are measured until the run has ended, the `first` before any training among them."""
    if first:
        yield run.measure(Step(0, (), (), run.p.learning_rate), training.adapter, training.average)
    while not run.ended and (step := next(training, None)) is not None:
        yield run.measure(step, training.adapter, training.average)
