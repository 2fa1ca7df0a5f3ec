"""The whole algorithm on tiny backbones, and what every stopping rule publishes."""

from __future__ import annotations

from collections.abc import Generator, Iterator, MutableMapping

import pytest
import torch
from PIL import Image

from core.method.albat import forecast_error, score_candidates, train_adapter, train_surrogate
from core.method.backbones.backbone import Batch, count, take
from core.method.lora.adapter import Adapter
from core.method.protection.protection import Protection
from core.method.stopping.evidence import SurrogateCurves
from core.method.stopping.picture_evidence import choose, judge_pictures
from core.method.training.final_run import Outcome
from core.method.training.loop import Step, evaluate
from core.method.training.surrogates import Surrogate
from core.parameters.parameters import Parameters
from core.parameters.schedule import evaluation_grid


def parameters(kind: str, **changes: object) -> Parameters:
    values = {
        "backbone": "tiny",
        "kind": kind,
        "seed": 3,
        "device_class": "cpu",
        "preset": "subject" if kind == "images" else "tone",
        "trigger": None,
        "augment": True,
        "gamma": "auto",
        "selected_count": 6,
        "pool": "tiny",
        "score": "influence",
        "sample_ratio": 0.75,
        "folds": 3,
        "rank": 4,
        "alpha": 4.0,
        "learning_rate": 5e-3,
        "batch_size": 2,
        "max_steps": 60,
        "surrogate_steps": 30,
        "window": "auto",
        "interval": 2,
        "cs_semantics": "paper",
        "stop": "auto",
        "resolution": None,
        "max_tokens": None,
        "sample_prompts": (),
        "unrelated_prompts": (),
        "dropout_caption": 0.1 if kind == "images" else 0.0,
        "draws_score": 3,
        "draws_eval": 2,
        "reasons": {"interval": "", "max_steps": ""},
    }
    return Parameters(**values | changes)


def drain(generator: Generator) -> tuple[list, object]:
    """Return everything yielded, and the result."""
    yielded = []
    while True:
        try:
            yielded.append(next(generator))
        except StopIteration as end:
            return yielded, end.value


def picture(seed: int, hue: tuple[int, int, int]) -> Image.Image:
    noise = torch.randint(-40, 40, (16, 16, 3), generator=torch.Generator().manual_seed(seed))
    pixels = (torch.tensor(hue) + noise).clamp(0, 255).byte()
    return Image.frombytes("RGB", (16, 16), bytes(pixels.flatten().tolist()))


REDS = [{"image": picture(seed, (200, 30, 30)), "caption": f"sks red {seed}"} for seed in range(4)]
BLUES = [{"image": picture(seed, (30, 60, 200)), "caption": f"blue {seed}"} for seed in range(20, 36)]
TONES = [{"text": f"arr, the number {word} be mine, arr"} for word in ("one", "two", "three", "four", "five")]
PLAIN = [{"text": f"the number {number} is {number * 7}"} for number in range(16)]


@pytest.fixture(params=["images", "texts"])
def case(request: pytest.FixtureRequest) -> tuple[object, Batch, Batch, Parameters]:
    """Return a backbone, its references, its candidates and parameters."""
    images = request.param == "images"
    backbone = request.getfixturevalue("tiny_diffusion" if images else "tiny_language")
    references, candidates = (backbone.encode(part) for part in ((REDS, BLUES) if images else (TONES, PLAIN)))
    return backbone, references, candidates, parameters(request.param)


def flat_curves(best: int, until: int = 60) -> SurrogateCurves:
    """Return surrogate curves whose held-out loss is lowest at `best` and whose training loss hardly falls."""
    curves = SurrogateCurves(((0, 1), (2, 3)))
    for step in evaluation_grid(until):
        losses = torch.full((2, 4), 1 - 1e-4 * step)
        losses[0, :2] = losses[1, 2:] = 1 + 0.01 * abs(step - best)
        curves.add(step, losses)
    return curves


class Ledger(MutableMapping[int, Adapter]):
    """Snapshots that also remember the hash of every copy at the moment it was taken."""

    def __init__(self) -> None:
        self.copies: dict[int, Adapter] = {}
        self.hashes: dict[int, str] = {}

    def __setitem__(self, step: int, adapter: Adapter) -> None:
        self.copies[step], self.hashes[step] = adapter, adapter.sha256()

    def __getitem__(self, step: int) -> Adapter:
        return self.copies[step]

    def __delitem__(self, step: int) -> None:
        del self.copies[step]

    def __iter__(self) -> Iterator[int]:
        return iter(self.copies)

    def __len__(self) -> int:
        return len(self.copies)


def test_the_whole_algorithm_runs_from_references_to_a_published_adapter(case) -> None:
    backbone, references, candidates, p = case
    p = p.model_copy(update={"max_steps": 30})
    steps, surrogate = drain(train_surrogate(backbone, references, p))
    assert isinstance(surrogate, Surrogate)
    assert surrogate.adapter.runs == 3
    assert steps[0].heldout_loss is not None
    assert surrogate.step == surrogate.curves.evidence().best_step

    sources = ["even" if place % 2 else "odd" for place in range(count(candidates))]
    progress, scoring = drain(score_candidates(backbone, surrogate, references, candidates, p, sources))
    assert progress[-1].done == progress[-1].total
    assert scoring.scores.isfinite().sum() == 12
    assert len(scoring.selection.indices) == 6
    assert all(scoring.scores[index].isfinite() for index in scoring.selection.indices)
    law = forecast_error(backbone, surrogate, references, candidates, scoring.selection.indices, p)
    assert law.curve[0][0] == 0.0
    assert forecast_error(backbone, surrogate, references, candidates, scoring.selection.indices[:1], p) is None
    assert scoring.notes == ()  # a surrogate that had seen its targets would be told of here

    selected, snapshots = take(candidates, torch.tensor(scoring.selection.indices)), {}
    probe = take(candidates, torch.arange(count(candidates) - 3, count(candidates)))
    run = train_adapter(
        backbone, references, Protection(scoring.gamma.gamma, examples=selected), p, surrogate.curves, probe, snapshots
    )
    steps, outcome = drain(run)
    assert isinstance(outcome, Outcome)
    assert [step.step for step in steps] == list(range(outcome.last_step + 1))
    losses = [step.reference_loss for step in steps if step.reference_loss is not None]
    assert losses[-1] < losses[0]
    watched = [step.step for step in steps if step.probe_loss is not None]
    assert watched[0] == 0
    assert len(watched) > 1
    assert all(step.reference_loss is not None for step in steps if step.step in watched)
    assert set(snapshots) == set(outcome.gallery)
    assert any(bool(matrix.any()) for matrix in snapshots[outcome.published_step].up.values())
    assert outcome.reason.startswith("Published step") or "second valley" in outcome.reason


RULES = [
    ("max_steps", {}, 30),
    ("matched_loss", {}, 30),
    ("auto", {}, 30),
    ("cs_fluctuation", {"window": 3, "interval": 1}, 30),
    ("cs_fluctuation", {"window": 30, "interval": 1}, 30),
]


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "changes", "budget"), RULES)
def test_every_rule_publishes_a_deep_copy_of_the_step_it_names(tiny_language, rule, changes, budget) -> None:
    """Train once to the end with every step's hash on record, then let the rule run: the hashes must agree."""
    references, snapshots, truth = tiny_language.encode(TONES[:4]), Ledger(), Ledger()
    everything = parameters("texts", stop="max_steps", max_steps=budget, window=2, interval=1, reasons={})
    drain(train_adapter(tiny_language, references, Protection(), everything, flat_curves(12), None, truth))
    p = parameters("texts", stop=rule, max_steps=budget, reasons={"interval": ""}, **changes)
    _, outcome = drain(train_adapter(tiny_language, references, Protection(), p, flat_curves(12), None, snapshots))
    published = snapshots[outcome.published_step]
    assert published.sha256() == truth.hashes[outcome.published_step] == snapshots.hashes[outcome.published_step]
    assert outcome.rule == rule
    if outcome.published_step != outcome.last_step:
        assert published.sha256() != snapshots[outcome.last_step].sha256()


def test_the_second_valley_is_confirmed_3m_minus_1_evaluations_after_the_published_step(tiny_language) -> None:
    references, snapshots = tiny_language.encode(TONES[:4]), {}
    p = parameters("texts", stop="cs_fluctuation", window=3, interval=2, max_steps=60, reasons={})
    steps, outcome = drain(train_adapter(tiny_language, references, Protection(), p, flat_curves(12), None, snapshots))
    assert outcome.published_step == outcome.turning_point_step == outcome.last_step - 2 * (3 * 3 - 1)
    assert outcome.ended_by_turning
    assert steps[-1].turning_point == outcome.published_step
    assert steps[-2].turning_point is None
    assert outcome.stopped_early


def test_the_published_adapter_reproduces_the_losses_of_its_step(tiny_language) -> None:
    references, snapshots = tiny_language.encode(TONES[:4]), {}
    p = parameters("texts", stop="matched_loss", reasons={})
    steps, outcome = drain(train_adapter(tiny_language, references, Protection(), p, flat_curves(12), None, snapshots))
    again = evaluate(tiny_language, snapshots[outcome.published_step], references, tiny_language.fixed_draws(2, 4, 3))
    assert float(again.mean()) == pytest.approx(steps[outcome.published_step].reference_loss, rel=1e-6)


def test_replay_stretches_the_budget_only_where_the_budget_was_ours(tiny_language) -> None:
    references, selected = tiny_language.encode(TONES[:4]), tiny_language.encode(PLAIN)
    for reasons, last in (({"max_steps": ""}, 40), ({}, 20)):
        p = parameters("texts", stop="max_steps", max_steps=20, reasons=reasons)
        run = train_adapter(tiny_language, references, Protection(0.5, examples=selected), p, flat_curves(12), None, {})
        assert drain(run)[1].last_step == last


def test_near_duplicates_alone_hold_nothing_out_and_still_give_an_adapter(tiny_language) -> None:
    references, snapshots = tiny_language.encode([TONES[0]] * 3), {}
    p = parameters("texts", max_steps=25, surrogate_steps=30, selected_count=3)
    _, surrogate = drain(train_surrogate(tiny_language, references, p))
    assert surrogate.curves.evidence() is None
    assert surrogate.step <= 16
    _, scoring = drain(
        score_candidates(tiny_language, surrogate, references, tiny_language.encode(PLAIN), p, ["a"] * 16)
    )
    assert any("training set" in note for note in scoring.notes)
    assert scoring.gamma.gamma == 0.0
    _, outcome = drain(train_adapter(tiny_language, references, Protection(), p, surrogate.curves, None, snapshots))
    assert outcome.confidence is None
    assert outcome.published_step in snapshots


def test_a_surrogate_is_tried_with_what_was_selected_without_its_own_held_out_references(tiny_language) -> None:
    references, candidates = tiny_language.encode(TONES), tiny_language.encode(PLAIN)
    p = parameters("texts", surrogate_steps=8, sample_ratio=1.0, selected_count=4)
    _, surrogate = drain(train_surrogate(tiny_language, references, p))
    _, scoring = drain(score_candidates(tiny_language, surrogate, references, candidates, p, ["a"] * 16))
    assert len(scoring.blind) == len(surrogate.curves.folds)
    for fold, other in ((0, 1), (1, 0)):  # two folds of texts are scored
        best = set(scoring.per_fold[other].topk(4).indices.tolist())
        assert set(scoring.blind[fold]) == (best if scoring.selection.rule == "top" else set(scoring.selection.indices))
    drawn = parameters("texts", surrogate_steps=8, score="random", selected_count=4)
    _, scoring = drain(score_candidates(tiny_language, surrogate, references, candidates, drawn, ["a"] * 16))
    assert {frozenset(pick) for pick in scoring.blind} == {frozenset(scoring.selection.indices)}


def test_a_candidate_that_was_sent_is_neither_scored_nor_selected(tiny_language) -> None:
    references, candidates = tiny_language.encode(TONES), tiny_language.encode(PLAIN)
    _, surrogate = drain(train_surrogate(tiny_language, references, parameters("texts", surrogate_steps=8)))
    for score in ("influence", "random"):
        p = parameters("texts", surrogate_steps=8, score=score, sample_ratio=1.0, selected_count=16)
        found = score_candidates(tiny_language, surrogate, references, candidates, p, ["a"] * 16, left_out=[3, 7])
        _, scoring = drain(found)
        assert not {3, 7} & {*scoring.selection.indices, *(place for pick in scoring.blind for place in pick)}
        assert scoring.scores.isnan().nonzero().flatten().tolist() == [3, 7]


def test_validation_data_is_followed_beside_the_references(tiny_language) -> None:
    p = parameters("texts", stop="max_steps", max_steps=3, reasons={})
    references, held = tiny_language.encode(TONES[:4]), tiny_language.encode(TONES[4:])
    steps, _ = drain(train_adapter(tiny_language, references, Protection(), p, flat_curves(2), None, {}, heldout=held))
    assert steps[0].heldout_loss is not None
    assert steps[-1].heldout_loss is not None
    assert isinstance(steps[0], Step)


def test_the_same_seed_gives_the_same_surrogates_and_each_fold_its_own(tiny_language) -> None:
    references = tiny_language.encode(TONES[:4])
    first, second = (drain(train_surrogate(tiny_language, references, parameters("texts")))[1] for _ in range(2))
    assert first.adapter.sha256() == second.adapter.sha256()
    hashes = {first.adapter.select(run).sha256() for run in range(first.adapter.runs)}
    assert len(hashes) == first.adapter.runs


def test_a_sampled_pool_gives_its_candidates_the_scores_they_have_in_the_whole_pool(tiny_language) -> None:
    references, candidates = tiny_language.encode(TONES), tiny_language.encode(PLAIN)
    _, surrogate = drain(train_surrogate(tiny_language, references, parameters("texts", surrogate_steps=8)))
    part, whole = (
        drain(
            score_candidates(
                tiny_language, surrogate, references, candidates, parameters("texts", sample_ratio=ratio), ["a"] * 16
            )
        )[1].scores
        for ratio in (0.5, 1.0)
    )
    scored = part.isfinite()
    assert scored.sum() == 8
    assert torch.allclose(part[scored], whole[scored], rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("score", ["random", "cosine", "datainf"])
def test_other_scores_select_as_many(tiny_language, score: str) -> None:
    references, candidates = tiny_language.encode(TONES), tiny_language.encode(PLAIN)
    p = parameters("texts", score=score, sample_ratio=1.0)
    _, surrogate = drain(train_surrogate(tiny_language, references, p))
    _, scoring = drain(score_candidates(tiny_language, surrogate, references, candidates, p, ["a"] * 16))
    assert len(set(scoring.selection.indices)) == 6
    assert (scoring.ranking.reliability is None) == (score == "random")


def test_closing_a_run_half_way_leaves_the_backbone_as_it_was(tiny_language) -> None:
    references = tiny_language.encode(TONES[:4])
    before = evaluate(tiny_language, None, references, tiny_language.fixed_draws(1, 4, 0))
    run = train_adapter(tiny_language, references, Protection(), parameters("texts"), flat_curves(12), None, {})
    for _ in range(5):
        next(run)
        assert torch.is_grad_enabled()
        assert torch.equal(evaluate(tiny_language, None, references, tiny_language.fixed_draws(1, 4, 0)), before)
    run.close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' scheduler with numpy 2
def test_pictures_are_drawn_for_every_kept_step_and_decide_for_auto(tiny_diffusion) -> None:
    references, snapshots = tiny_diffusion.encode(REDS), {}
    p = parameters("images", max_steps=20, reasons={"interval": ""})
    _, outcome = drain(train_adapter(tiny_diffusion, references, Protection(), p, flat_curves(6), None, snapshots))
    steps = outcome.gallery
    assert len(steps) > 2
    images = [item["image"] for item in REDS]
    drawn, _ = drain(judge_pictures(tiny_diffusion, snapshots, steps, ["sks red"], ["blue", "green"], images, seed=0))
    assert [one.step for one in drawn] == [0, *steps]
    assert all(len(one.subject) == 8 and len(one.unrelated) == 4 for one in drawn)
    assert (drawn[0].similarity, drawn[0].swallowed, drawn[0].drift) == (0.0, 0.0, 0.0)
    final = outcome.favouring(steps[1], choose(drawn, outcome.published_step).reason, "pictures")
    assert final.published_step == final.kept["published"] == steps[1]
    assert final.published_step in snapshots
