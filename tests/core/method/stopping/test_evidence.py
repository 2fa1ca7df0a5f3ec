"""Folds, grid and held-out evidence on curves whose best step is known."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.method.backbones.backbone import IGNORED
from core.method.stopping.evidence import SurrogateCurves
from core.method.stopping.splitting import folds, near_duplicate_references
from core.parameters.schedule import evaluation_grid


def test_the_grid_is_dense_at_first_and_then_thirteen_percent_apart() -> None:
    grid = evaluation_grid(300)
    assert grid[:12] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert grid[-1] == 300
    assert all(later <= 1.2 * earlier for earlier, later in pairwise(grid[9:]))


@pytest.mark.parametrize("budget", [0, 1, 5, 8, 9])
def test_a_short_grid_ends_at_its_budget(budget: int) -> None:
    assert evaluation_grid(budget) == list(range(budget + 1))


@given(st.integers(2, 40), st.integers(2, 8), st.integers(0, 5))
def test_every_reference_is_held_out_exactly_once(count: int, parts: int, seed: int) -> None:
    split = folds(count, parts, seed)
    assert sorted(index for fold in split for index in fold) == list(range(count))
    assert len(split) == min(parts, count)
    assert max(map(len, split)) - min(map(len, split)) <= 1


@given(st.lists(st.integers(0, 5), min_size=2, max_size=30), st.integers(2, 5))
def test_near_duplicates_share_a_fold(groups: list[int], parts: int) -> None:
    place = {index: number for number, fold in enumerate(folds(len(groups), parts, 0, groups)) for index in fold}
    assert all(len({place[i] for i, g in enumerate(groups) if g == group}) == 1 for group in groups)


def test_folds_depend_on_the_seed_alone() -> None:
    assert folds(12, 4, 1) == folds(12, 4, 1) != folds(12, 4, 2)


def test_a_slightly_changed_image_is_a_near_duplicate() -> None:
    images = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    images[3] = images[1] + 0.05 * torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(1))
    assert near_duplicate_references({"mean": images}) == [0, 1, 2, 1]


def rows(*texts: tuple[list[int], list[int]]) -> dict[str, torch.Tensor]:
    """Encode texts, each as tokens that are read and tokens that are learned."""
    width = max(len(read) + len(learned) for read, learned in texts)
    padded = [(read, learned, width - len(read) - len(learned)) for read, learned in texts]
    return {
        "input_ids": torch.tensor([read + learned + [0] * more for read, learned, more in padded]),
        "labels": torch.tensor([[IGNORED] * len(read) + learned + [IGNORED] * more for read, learned, more in padded]),
        "attention_mask": torch.tensor([[1] * (width - more) + [0] * more for *_, more in padded]),
    }


def draw(count: int, seed: int) -> list[int]:
    return torch.randint(1, 1000, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def test_a_copied_text_is_a_near_duplicate_whatever_its_padding() -> None:
    batch = rows(([], [1, 2, 3, 4, 5]), ([], [9, 8, 7, 6, 5, 4]), ([], [1, 2, 3, 4, 5]))
    batch["input_ids"][2, 5] = 7
    assert near_duplicate_references(batch) == [0, 1, 0]


def test_a_long_prompt_that_all_texts_share_makes_none_of_them_a_copy() -> None:
    prompt = draw(400, 0)
    batch = rows(*((prompt, draw(40, seed)) for seed in range(1, 9)))
    groups = near_duplicate_references(batch)
    assert groups == list(range(8))
    assert list(map(len, folds(8, 4, 0, groups))) == [2, 2, 2, 2]


def test_texts_of_which_the_same_is_learned_are_copies_whatever_is_read_before() -> None:
    answer = draw(40, 0)
    nearly = [*answer[:20], 7, *answer[21:]]
    assert near_duplicate_references(rows((draw(90, 1), answer), (draw(9, 2), nearly), (draw(90, 1), draw(40, 3)))) == [
        0,
        0,
        2,
    ]


def test_a_short_answer_to_many_questions_makes_them_no_copies() -> None:
    prompt, yes, no = draw(50, 0), [3, 4], [5, 4]
    batch = rows(*(([*prompt, *draw(9, seed)], yes if seed % 2 else no) for seed in range(1, 9)))
    assert near_duplicate_references(batch) == list(range(8))
    assert near_duplicate_references(rows((prompt, yes), (prompt, no), (prompt, yes))) == [0, 1, 0]


def test_answers_that_have_only_their_shape_in_common_are_no_copies() -> None:
    shape = draw(60, 0)
    shaped = [[*shape[:30], *draw(3, seed), *shape[30:]] for seed in range(1, 9)]
    answers = [*shaped, shaped[0], [*shaped[1][:50], 7, *shaped[1][51:]]]
    groups = near_duplicate_references(rows(*((draw(9, 50 + n), answer) for n, answer in enumerate(answers))))
    assert groups[:8] == list(range(8))
    assert groups[8] == 0
    same = draw(9, 50)
    assert set(near_duplicate_references(rows(*((same, answer) for answer in shaped)))) == {0}
    assert set(near_duplicate_references(rows(*((draw(9, 50 + n), shape) for n in range(8))))) == {0}


@given(st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.sampled_from([0, 1, 2])), min_size=2, max_size=6))
def test_texts_are_grouped_as_by_looking_at_every_pair(kinds: list[tuple[int, int]]) -> None:
    questions, answers = [draw(20, 1), draw(20, 2), draw(300, 3)], [draw(40, 4), draw(40, 5), draw(5, 6)]
    groups = near_duplicate_references(rows(*((questions[q], answers[a]) for q, a in kinds)))
    for i, (q, a) in enumerate(kinds):
        for j, (other, same) in enumerate(kinds):
            assert (groups[i] == groups[j]) == (a == same and (a != 2 or q == other))


def curves(count: int, best: float, rise: float = 0.01, noise: float = 0.0, until: int = 200) -> SurrogateCurves:
    """Draw surrogates whose training loss falls for ever and whose held-out loss is lowest at `best`."""
    split = folds(count, 4, 0)
    result = SurrogateCurves(tuple(map(tuple, split)))
    offsets = noise * torch.linspace(-1, 1, len(split))
    for step in evaluation_grid(until):
        losses = torch.full((len(split), count), 1 / (1 + 0.02 * step))
        for run, fold in enumerate(split):
            gain = 0.3 * min(step, best) / best * (1 + offsets[run])
            losses[run, list(fold)] = 1 - gain + rise * max(0.0, step - best)
        result.add(step, losses)
        if result.turned:
            break
    return result


def test_the_best_step_and_level_are_those_of_the_held_out_minimum() -> None:
    evidence = curves(8, best=40).evidence()
    assert evidence.best_step == pytest.approx(40, rel=0.15)
    assert evidence.level == pytest.approx(1 / (1 + 0.02 * evidence.best_step))
    assert evidence.gain == pytest.approx(0.3, rel=0.15)
    assert evidence.range == (evidence.best_step // 2, 2 * evidence.best_step)


def test_the_surrogates_stop_at_twice_the_best_step() -> None:
    result = curves(8, best=40)
    assert 2 * result.evidence().best_step <= result.steps[-1] <= 1.15 * 2 * result.evidence().best_step
    assert curves(8, best=3).steps[-1] >= 16


def test_a_best_step_at_the_end_says_that_the_budget_was_reached_and_is_never_of_high_confidence() -> None:
    evidence = curves(8, best=500, until=100).evidence()
    assert evidence.at_end
    assert evidence.best_step == 100
    assert "budget reached" in evidence.sentence()
    assert "best near" not in evidence.sentence()
    assert evidence.confidence == "medium"
    turned = curves(8, best=40).evidence()
    assert "best near the surrogates' step" in turned.sentence()
    assert "budget" not in turned.sentence()
    assert turned.confidence == "high"


@pytest.mark.parametrize(
    ("folds", "ratio"), [(((0, 1), (2, 3)), 2.0), (((0,), (1,), (2,), (3,)), 4 / 3), (((0,), (1, 2)), 2.0)]
)
def test_the_scale_is_the_root_of_all_references_over_those_that_a_surrogate_saw(folds, ratio: float) -> None:
    result, count = SurrogateCurves(folds), sum(map(len, folds))
    for step in range(3):
        result.add(step, torch.full((len(folds), count), 1.0))
    assert result.evidence().scale == pytest.approx(ratio**0.5)


@pytest.mark.parametrize(
    ("count", "noise", "confidence"), [(8, 0.1, "high"), (6, 0.1, "medium"), (8, 1.2, "medium"), (3, 0.1, "low")]
)
def test_confidence_needs_references_and_agreement(count: int, noise: float, confidence: str) -> None:
    assert curves(count, best=40, noise=noise).evidence().confidence == confidence


@given(st.lists(st.floats(0.1, 2.0), min_size=2, max_size=30))
def test_a_copy_kept_while_promising_is_there_in_the_end(losses: list[float]) -> None:
    result, kept = SurrogateCurves(((0,), (1,))), set()
    for step, loss in enumerate(losses):
        result.add(step, torch.full((2, 2), loss))
        kept = (kept | {step}) & result.promising()
    assert result.evidence().best_step in kept
    assert len(kept) <= 3


def test_references_that_only_get_worse_are_low_confidence() -> None:
    result = SurrogateCurves(((0, 1, 2, 3), (4, 5, 6, 7)))
    for step in evaluation_grid(40):
        result.add(step, torch.full((2, 8), 1 + 0.01 * step))
    evidence = result.evidence()
    assert evidence.best_step == 1
    assert evidence.confidence == "low"
    assert "add some" in evidence.sentence()


def test_held_out_loss_counts_every_reference_once_when_folds_differ_in_size() -> None:
    result = SurrogateCurves(((0,), (1, 2)))
    result.add(0, torch.tensor([[6.0, 1.0, 1.0], [1.0, 3.0, 3.0]]))
    assert result.mean_held_out() == pytest.approx(4.0)
    assert result.mean_seen() == pytest.approx(1.0)


def test_one_reference_alone_leaves_no_evidence() -> None:
    result = SurrogateCurves(((),))
    for step in evaluation_grid(20):
        result.add(step, torch.tensor([[1 / (1 + step)]]))
    assert result.evidence() is None
    assert not result.turned
    assert result.mean_held_out() is None


def held_out(*losses: float, count: int = 4, seen: float = 0.5) -> SurrogateCurves:
    """Return two surrogates whose held-out losses are these at steps 0, 1, 2, ..., and what they saw falls by half."""
    half = tuple(range(count // 2)), tuple(range(count // 2, count))
    result = SurrogateCurves(half)
    for step, loss in enumerate(losses):
        rows = torch.full((2, count), 1.0 if step == 0 else seen)
        for run, fold in enumerate(half):
            rows[run, list(fold)] = loss
        result.add(step, rows)
    return result


def test_few_references_that_agree_are_not_said_to_show_no_benefit() -> None:
    few = curves(3, best=40).evidence()
    assert (few.confidence, few.gain > 0.2) == ("low", True)
    assert "clear benefit" not in few.sentence()
    assert "With fewer than 4 references it is never more: add some." in few.sentence()
    assert "fewer than" not in curves(6, best=40).evidence().sentence()


def test_a_loss_that_got_worse_is_not_called_an_improvement() -> None:
    worse = held_out(1.0, 1.1, 1.2, 1.3, 1.4).evidence()
    assert not worse.helps
    assert worse.sentence().startswith("No improvement of the loss on unseen data is expected: it got worse by 10.0 %")
    assert "least near the surrogates' step 1 " in worse.sentence()
    better = held_out(1.0, 0.9, 1.2, 1.3, 1.4).evidence()
    assert better.helps
    assert better.sentence().startswith("Expected improvement of the loss on unseen data 10.0 %")


def test_a_best_step_just_before_the_budget_ended_is_not_called_its_end() -> None:
    evidence = held_out(1.0, 0.9, 0.5, 0.4, 0.7).evidence()
    assert evidence.at_end
    assert "reached at the surrogates' step 3 of 4 (budget reached" in evidence.sentence()
    assert "still falling" not in evidence.sentence()


@pytest.mark.parametrize(
    ("losses", "told"),
    [((1.0, 0.7, 0.6, 0.9, 1.0, 1.1), True), ((1.0, 0.9, 0.8), False), ((1.0, 1.1, 1.2, 1.3, 1.4), False)],
)
def test_only_a_best_step_that_really_came_early_asks_for_a_lower_learning_rate(losses, told: bool) -> None:
    evidence = held_out(*losses).evidence()
    assert evidence.best_step <= 3
    assert ("with a lower learning rate" in evidence.sentence()) == told


def test_the_interval_of_a_forecast_widens_with_few_references_and_one_alone_has_none() -> None:
    few, many = curves(4, best=40).evidence(), curves(12, best=40).evidence()
    assert few.interval[0] < few.gain < few.interval[1]
    assert few.interval[1] - few.interval[0] > many.interval[1] - many.interval[0]
    assert f"(90 % interval {100 * few.interval[0]:.0f} to" in few.sentence()
    alone = replace(few, references=1)
    assert "90 % interval" not in alone.sentence()


def test_a_reference_whose_loss_is_nothing_before_training_improves_by_nothing() -> None:
    result = SurrogateCurves(((0, 1), (2,)))
    for step, losses in enumerate(([0.0, 1.0, 0.0], [0.0, 0.5, 0.0])):
        result.add(step, torch.tensor([losses, losses]))
    evidence = result.evidence()
    assert result.learnt == pytest.approx([0.0, 0.25, 0.0])
    assert (evidence.gain, evidence.level) == pytest.approx((0.25, 0.75))
    assert evidence.interval[0] < evidence.gain < evidence.interval[1]
