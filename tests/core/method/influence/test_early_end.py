"""A first part of the sample is scored before the rest: where its halves agree like chance, there is no rest."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest
import torch

from core.method.albat import score_candidates, train_surrogate
from core.method.backbones.backbone import Batch
from core.method.influence.pool_scoring import Scoring, ScoringProgress, sample_sizes
from core.method.influence.ranking import rank
from core.method.training.resuming import NOWHERE, Keeper, State
from core.method.training.surrogates import Surrogate
from core.parameters.parameters import Parameters
from core.parameters.schedule import MIN_TESTED, first_part
from tests.core.method.test_albat import TONES, drain, parameters

CANDIDATES, FIRST = 240, 96
FOLDS = 2  # that score texts: three pieces each of the first part, five of the rest
SOURCES = [f"s{number % 6}" for number in range(CANDIDATES)]
LETTERS = "abcdefghijklmnopqrstuvwxyz "
Work = tuple[object, Surrogate, Batch, Batch]


class Memory:
    """Keeps one state, as a stage's keeper does on disk."""

    def __init__(self, state: State | None = None) -> None:
        self.state = state

    def found(self) -> State | None:
        return self.state

    def offer(self, state: Callable[[], State]) -> None:
        pass

    def leave(self, state: Callable[[], State]) -> None:
        self.state = state()


def asked(**changes: object) -> Parameters:
    """Return the parameters of a job that leaves the share of the pool to the service."""
    usual = {"sample_ratio": 1.0, "folds": 4, "surrogate_steps": 1, "reasons": {"sample_ratio": ""}}
    return parameters("texts", **usual | changes)


def work(backbone: object, *, helpful: bool) -> Work:
    """Return a backbone, surrogates, references, and a pool of noise, of which one source may be like them."""
    chosen = random.Random(1)
    words = ["".join(chosen.choice(LETTERS) for _ in range(24)) for _ in SOURCES]
    texts = [
        f"arr, the number {word[:5]} be mine, arr" if helpful and source == "s0" else word
        for word, source in zip(words, SOURCES, strict=True)
    ]
    references = backbone.encode(TONES)
    _, surrogate = drain(train_surrogate(backbone, references, asked()))
    return backbone, surrogate, references, backbone.encode([{"text": text} for text in texts])


@pytest.fixture
def related(tiny_language) -> Work:
    return work(tiny_language, helpful=True)


@pytest.fixture
def noise(tiny_language) -> Work:
    return work(tiny_language, helpful=False)


def scored(work: Work, p: Parameters, keeper: Keeper = NOWHERE) -> tuple[list[ScoringProgress], Scoring]:
    return drain(score_candidates(*work, p, SOURCES, keeper))


def test_what_repeats_is_scored_to_the_end_and_chooses(related: Work) -> None:
    progress, scoring = scored(related, asked())
    assert (scoring.scored, scoring.sampled) == (CANDIDATES, CANDIDATES)
    assert scoring.ranking.repeats
    assert scoring.selection.rule == "top"
    assert scoring.scores.isfinite().all()
    told = [(one.done, one.total) for one in progress]
    assert told == sorted(told)
    assert told[-1] == (FOLDS * CANDIDATES, FOLDS * CANDIDATES)


def test_what_agrees_like_chance_is_not_scored_any_further_and_a_draw_replaces_it(noise: Work) -> None:
    progress, scoring = scored(noise, asked())
    assert (scoring.scored, scoring.sampled) == (FIRST, CANDIDATES)
    assert scoring.scores.isfinite().sum() == FIRST  # what is known stays
    assert [(one.done, one.total) for one in progress][-1] == (FOLDS * FIRST, FOLDS * FIRST)
    assert scoring.selection.rule == "random"
    chosen = scoring.selection.indices
    assert Counter(SOURCES[i] for i in chosen) == {f"s{number}": 1 for number in range(6)}
    assert not all(scoring.scores[i].isfinite() for i in chosen)  # the draw is from the whole pool
    assert scoring.ranking.reliability == scoring.ranking.by_candidate
    reason = scoring.selection.reason
    assert reason.startswith(
        "Two halves of the scores of 96 candidates agree no better than chance (a correlation of -0"
    )
    assert "so the other 144 were not scored: 6 candidates were drawn at random, evenly over the sources" in reason


def test_whoever_asks_for_a_share_of_the_pool_has_all_of_it_scored(noise: Work) -> None:
    _, scoring = scored(noise, asked(reasons={}))
    assert scoring.scored == CANDIDATES
    assert scoring.ranking.repeats is False
    assert scoring.selection.rule == "random"  # for its reliability


def test_a_small_sample_and_a_draw_have_no_first_part() -> None:
    assert sample_sizes(434, asked(sample_ratio=0.2)) == (87, 87)
    assert sample_sizes(434, asked(sample_ratio=0.5)) == (217, MIN_TESTED)
    assert sample_sizes(5000, asked()) == (5000, 500)
    assert sample_sizes(5000, asked(score="random")) == (5000, 5000)
    assert [first_part(sampled) for sampled in (1, 96, 97, 961)] == [1, 96, 96, 97]


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["related", "noise"])
@pytest.mark.parametrize("stop", [2, 5, 6, 7, 9])
def test_scoring_that_is_stopped_anywhere_ends_as_if_it_had_not_been(
    request: pytest.FixtureRequest, pool: str, stop: int
) -> None:
    work, p, keeper = request.getfixturevalue(pool), asked(), Memory()
    told, whole = scored(work, p)
    steps = score_candidates(*work, p, SOURCES, keeper)
    for done, _ in enumerate(steps, 1):
        if done == stop:
            break
    steps.close()
    progress, resumed = scored(work, p, keeper)
    assert torch.equal(resumed.per_fold.nan_to_num(9), whole.per_fold.nan_to_num(9))
    assert resumed.selection == whole.selection
    assert progress == (told[stop:] or told[-1:] if keeper.state else told)  # nothing is scored twice


def test_a_state_of_the_version_before_is_not_taken_for_scores_in_this_order(noise: Work) -> None:
    p = asked()
    before = State({"notes": ["old"]}, {"0": torch.zeros(1, 64)})
    _, scoring = scored(noise, p, Memory(before))
    _, anew = scored(noise, p)
    assert torch.equal(scoring.scores.nan_to_num(9), anew.scores.nan_to_num(9))
    assert scoring.notes == anew.notes


@pytest.mark.slow
@pytest.mark.parametrize("folds", [2, 4])
@pytest.mark.parametrize("sources", [1, 24])
def test_noise_passes_for_agreement_about_as_seldom_as_it_should(folds: int, sources: int) -> None:
    """Candidates at 5 %, and sources, which a pool may have too few of, at 16 %."""
    generator, passed = torch.Generator().manual_seed(0), 0
    for _ in range(300):
        noise = torch.randn(folds, 1, 96, generator=generator)
        passed += bool(rank(noise, [number % sources for number in range(96)]).repeats)
    assert 0.02 * 300 < passed < (0.09 if sources == 1 else 0.27) * 300


def test_an_agreement_that_many_candidates_tell_from_chance_may_still_be_too_little_to_choose_by() -> None:
    generator = torch.Generator().manual_seed(2)
    shared = 0.25 * torch.randn(1, 1, 8000, generator=generator)
    ranking = rank(shared + torch.randn(2, 1, 8000, generator=generator))
    assert 0.1 > ranking.by_candidate > ranking.chance_by_candidate
    assert ranking.repeats is False
    assert ranking.doubt.startswith("agree too little to choose by (a correlation of 0.0")
    assert "where more than 0.10 is needed" in ranking.doubt


def test_what_could_not_be_split_is_not_called_chance() -> None:
    assert rank(torch.randn(1, 1, 200)).repeats is None
