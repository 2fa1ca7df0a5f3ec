"""K surrogates in one stack are K separate runs, and what is mixed in beside the references reaches all of them."""

from __future__ import annotations

from collections.abc import Callable

import torch

from core.method.backbones.backbone import take
from core.method.protection.protection import Protection
from core.method.training.batches import Captions, MixedBatches
from core.method.training.loop import Training
from core.method.training.resuming import State
from core.method.training.surrogates import WEAK_STEPS, train_folds
from tests.core.method.test_albat import TONES, drain, parameters

HELD = [[0, 3], [1], [2, 4]]


def test_each_surrogate_of_the_stack_is_the_one_that_would_have_been_trained_alone(tiny_language) -> None:
    references, p = tiny_language.encode(TONES), parameters("texts", surrogate_steps=6)
    replay = tiny_language.encode([{"text": "the number 3 is 21"}, {"text": "the number 4 is 28"}])
    _, together = drain(train_folds(tiny_language, references, HELD, p, Protection(0.5, examples=replay)))
    for fold, part in enumerate(HELD):
        own = take(references, torch.tensor([i for i in range(5) if i not in part]))
        alone = tiny_language.lora.new(p.rank, p.alpha, seed=p.seed)
        batches = MixedBatches(
            tiny_language, own, Protection(0.5, examples=replay), p.batch_size, Captions(0.0, None), p.seed + fold
        )
        training = Training(tiny_language, alone, batches, learning_rate=p.learning_rate, max_steps=together.step)
        list(training)
        averaged = training.average.parameters()
        for one, other in zip(together.adapter.select(fold).parameters(), averaged, strict=True):
            assert torch.allclose(one, other, atol=1e-5)


def test_the_curves_remember_what_was_mixed_in_and_last_as_much_longer(tiny_language) -> None:
    references, p = tiny_language.encode(TONES), parameters("texts", surrogate_steps=6, learning_rate=1e-5)
    steps, alone = drain(train_folds(tiny_language, references, HELD, p))
    longer, mixed = drain(train_folds(tiny_language, references, HELD, p, Protection(0.5, examples=references)))
    assert (alone.curves.gamma, mixed.curves.gamma) == (0.0, 0.5)
    assert (steps[-1].step, longer[-1].step) == (6, 12)
    assert [len(row) for row in mixed.curves.held_out] == [5] * len(mixed.curves.steps)


def test_a_surrogate_that_has_seen_everything_is_kept_weak(tiny_language) -> None:
    p = parameters("texts", surrogate_steps=60)
    steps, surrogate = drain(train_folds(tiny_language, tiny_language.encode(TONES), [[]], p))
    assert steps[-1].step == WEAK_STEPS
    assert surrogate.curves.evidence() is None


def test_surrogates_that_still_get_better_go_on_once_where_the_budget_was_ours(tiny_language) -> None:
    references = tiny_language.encode(TONES)
    falling = {"surrogate_steps": 6, "learning_rate": 1e-4}
    ours = parameters("texts", **falling, reasons={"surrogate_steps": ""})
    steps, longer = drain(train_folds(tiny_language, references, HELD, ours))
    assert longer.curves.falling
    assert steps[-1].step == 9
    assert {6, 9} <= set(longer.curves.steps)
    asked, _ = drain(train_folds(tiny_language, references, HELD, parameters("texts", **falling)))
    assert asked[-1].step == 6


def test_surrogates_that_got_no_better_in_their_budget_end_with_it(tiny_language) -> None:
    p = parameters("texts", surrogate_steps=12, learning_rate=1e-12, reasons={"surrogate_steps": ""})
    steps, surrogate = drain(train_folds(tiny_language, tiny_language.encode(TONES), HELD, p))
    assert not surrogate.curves.falling
    assert steps[-1].step == 12


class Given:
    """Keeps the newest state, and gives the one to go on from."""

    def __init__(self, state: State | None = None) -> None:
        self.state = state

    def found(self) -> State | None:
        return self.state

    def offer(self, state: Callable[[], State]) -> None:
        self.state = state()

    leave = offer


def test_an_interrupted_training_goes_on_only_where_the_same_references_are_held_out(tiny_language) -> None:
    references, p = tiny_language.encode(TONES), parameters("texts", surrogate_steps=6)

    def begins(held: list[list[int]], change: Callable[[State], object] = lambda state: None) -> int:
        keeper = Given()
        steps = train_folds(tiny_language, references, HELD, p, keeper=keeper)
        for _ in range(4):
            next(steps)
        steps.close()
        assert keeper.state is not None
        state = keeper.state
        change(state)
        return next(train_folds(tiny_language, references, held, p, keeper=Given(state))).step

    assert begins(HELD) == 4
    assert begins([[]]) == begins([[0], [1, 3], [2, 4]]) == 0
    assert begins(HELD, lambda state: state.values["curves"].pop("folds")) == 0
