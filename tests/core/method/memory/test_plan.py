"""What the plan says of sizes that people train, on the cards that they have."""

from __future__ import annotations

import pytest

from core.backbones.memory_needs import kept_of_picture, kept_of_token
from core.method.memory import plan
from core.parameters.schedule import CANDIDATES_AT_ONCE, EVALUATED_AT_ONCE, GRADIENTS_AT_ONCE
from tests.core.method.memory import foretold
from tests.core.method.memory.foretold import Sample

GIB, MIB = 2**30, 2**20
LLAMA_WORDS, LLAMA_D, LLAMA_PARAMETERS = 128_256, 41_943_040, 8_030_261_248  # 3.1 8B, all its projections at rank 16
LLAMA_SIDES = (32, 4096, 14_336, LLAMA_WORDS)
SD1_D, SD1_PARAMETERS = 3_188_736, 859_520_964
SD1 = Sample.of(kept_of_picture("sd1", 512, SD1_PARAMETERS, "cuda"), SD1_D)


def bf16(parameters: int) -> int:
    return 2 * parameters


def nf4(parameters: int, words: int, hidden: int) -> int:
    """Matrices in half a byte and a float32 scale of each 64, embeddings and head in bfloat16."""
    outside = 2 * words * hidden
    return int((parameters - outside) * (0.5 + 4 / 64)) + 2 * outside


def test_a_default_job_of_stable_diffusion_fits_24_gb_in_training_and_scoring() -> None:
    free = 23 * GIB - bf16(SD1_PARAMETERS + 200_000_000)  # and its VAE; the driver has taken the rest
    sizes = foretold.plan(free, SD1, SD1_D, runs=5, batch=4)
    for work in ("step", "score", "gradient", "evaluation"):
        reserved = plan.learning(SD1_D, 5) if work == "step" else 0
        assert foretold.fits(free, getattr(SD1, work), reserved)
        assert sizes[work] * getattr(SD1, work) + reserved <= free
    assert sizes["step"] >= 15  # of 20: two pieces a step
    assert sizes["score"] >= 16


def test_a_text_model_of_8_billion_trains_and_scores_1024_tokens_on_80_gb() -> None:
    free = 79 * GIB - bf16(LLAMA_PARAMETERS)
    kept = 1024 * kept_of_token(*LLAMA_SIDES, "cuda")
    assert kept >= 1024 * 9.9 * MIB
    sample = Sample.of(kept, LLAMA_D, logits=1024 * LLAMA_WORDS)
    sizes = foretold.plan(free, sample, LLAMA_D, runs=5, batch=4)
    assert all(foretold.fits(free, getattr(sample, work)) for work in ("score", "gradient", "evaluation"))
    assert foretold.fits(free, sample.step, plan.learning(LLAMA_D, 5))
    assert sizes["step"] == 5  # a sample of each surrogate at once
    assert min(sizes.values()) >= 4


def test_a_text_model_of_8_billion_trains_and_scores_1024_tokens_on_24_gb_in_4_bits_computed_twice() -> None:
    free = 23 * GIB - nf4(LLAMA_PARAMETERS, LLAMA_WORDS, 4096)
    # the input of each of 32 blocks in bfloat16, and of one block and of the head all that they keep
    kept = 1024 * (32 * 4096 * 2 + kept_of_token(1, *LLAMA_SIDES[1:], "cuda"))
    sample = Sample.of(kept, LLAMA_D, logits=1024 * LLAMA_WORDS)
    assert foretold.fits(free, sample.step, plan.learning(LLAMA_D, 5))
    assert all(foretold.fits(free, getattr(sample, work)) for work in ("score", "gradient", "evaluation"))
    assert min(foretold.plan(free, sample, LLAMA_D, runs=5, batch=4).values()) >= 4


def test_with_room_enough_every_size_is_the_usual_one() -> None:
    sizes = foretold.plan(2**50, SD1, SD1_D, runs=5, batch=4)
    usual = {"step": 20, "score": CANDIDATES_AT_ONCE, "gradient": GRADIENTS_AT_ONCE, "encode": plan.ENCODED_AT_ONCE}
    assert sizes == usual | {"evaluation": EVALUATED_AT_ONCE // 5 * 5}


def test_one_sample_at_once_is_the_least_that_is_planned() -> None:
    assert set(foretold.plan(0, SD1, SD1_D, runs=5, batch=4).values()) == {1}
    assert not foretold.fits(GIB, 0.95 * GIB)


@pytest.mark.parametrize("at_once", range(1, 22))
def test_pieces_of_a_stack_hold_every_sample_once_and_no_more_than_asked_for(at_once: int) -> None:
    runs, samples = 5, 4
    pieces = plan.grid(runs, samples, at_once)
    places = [(run, sample) for rows, columns in pieces for run in _all(rows) for sample in _all(columns)]
    assert sorted(places) == [(run, sample) for run in range(runs) for sample in range(samples)]
    assert all(len(_all(rows)) * len(_all(columns)) <= at_once for rows, columns in pieces)


def _all(part: slice) -> range:
    return range(part.start, part.stop)
