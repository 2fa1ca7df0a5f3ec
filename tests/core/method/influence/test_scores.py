"""Per-sample gradients and score engines on tiny backbones of both kinds."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor

from core.errors import InvalidInput
from core.method.backbones.backbone import IGNORED, Backbone, Batch, Draw, take
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.texts.language import LanguageBackbone
from core.method.influence.gradients import as_adapter, flat, layout_of, per_sample_gradients
from core.method.influence.scores import Scorer, ScoreWarning, check_held_out, score_draws, scorer
from core.method.lora.adapter import Adapter
from core.parameters.request import ScoreName
from tests.core.method.influence.oracles import (
    SMALL_STEPS,
    Engine,
    central_difference,
    difference,
    forward_mode,
    loop,
    over_draws,
)

WORDS, LENGTH = 24, 10


class SamplingBackbone(LanguageBackbone):
    """A language backbone that can also draw targets from its own prediction."""

    def with_model_targets(self, batch: Batch, draw: Draw, generator: torch.Generator) -> Batch:
        logits = self.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        drawn = logits[:, :-1].softmax(-1).flatten(0, 1).multinomial(1, generator=generator).view(len(logits), -1)
        labels = batch["labels"].clone()
        labels[:, 1:] = torch.where(labels[:, 1:] == IGNORED, IGNORED, drawn)
        return {**batch, "labels": labels}


def texts(count: int, seed: int) -> Batch:
    ids = torch.randint(WORDS, (count, LENGTH), generator=torch.Generator().manual_seed(seed))
    mask = torch.ones_like(ids)
    mask[::3, -3:] = 0
    labels = torch.where(mask == 1, ids, IGNORED)
    labels[:, :2] = IGNORED
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}


def latents(backbone: DiffusionBackbone, count: int) -> Batch:
    generator = torch.Generator().manual_seed(1)
    shape = backbone.fixed_draws(1, count, 0)[0].noise.shape
    width = backbone.network.config.cross_attention_dim
    text = torch.randn(count, 8, width, generator=generator)
    return {"mean": torch.randn(shape, generator=generator), "std": torch.zeros(shape), "text": text}


def used(backbone: Backbone, scale: float = 0.05) -> Adapter:
    """An adapter that has left its zero start."""
    fresh = backbone.lora.new(3, 6.0, seed=1)
    generator = torch.Generator().manual_seed(2)
    up = {path: scale * torch.randn(matrix.shape, generator=generator) for path, matrix in fresh.up.items()}
    return replace(fresh, up=up).to("cpu", trainable=True)


def case(backbone: Backbone, count: int) -> tuple[Adapter, Batch, list[Draw]]:
    batch = latents(backbone, count) if isinstance(backbone, DiffusionBackbone) else texts(count, seed=3)
    return used(backbone), batch, backbone.fixed_draws(2, count, seed=0)


def direction_of(backbone: Backbone, adapter: Adapter, batch: Batch, draws: list[Draw]) -> Adapter:
    return as_adapter(per_sample_gradients(backbone, adapter, batch, draws).rows.mean(0), adapter)


def relative(a: Tensor, b: Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize("name", ["tiny_language", "tiny_diffusion"])
def test_stacked_copies_give_the_gradient_of_every_sample(name: str, request: pytest.FixtureRequest) -> None:
    backbone = request.getfixturevalue(name)
    adapter, batch, draws = case(backbone, 3)
    rows = per_sample_gradients(backbone, adapter, batch, draws[:1]).rows
    for i in range(3):
        with backbone.lora.use(adapter):
            loss = backbone.loss(batch, draws[0])[i]
        alone = torch.cat([g.flatten() for g in torch.autograd.grad(loss, adapter.parameters())])
        assert relative(rows[i], alone) < 1e-4


def test_draws_are_averaged_or_kept_as_rows(tiny_diffusion: DiffusionBackbone) -> None:
    adapter, batch, draws = case(tiny_diffusion, 2)
    kept = per_sample_gradients(tiny_diffusion, adapter, batch, draws, per_draw=True)
    mean = per_sample_gradients(tiny_diffusion, adapter, batch, draws)
    assert kept.rows.shape == (4, flat(adapter).shape[1])
    assert torch.allclose(kept.rows.view(2, 2, -1).mean(1), mean.rows)
    assert mean.blocks[0].start == 0
    assert mean.blocks[-1].stop == kept.rows.shape[1]


def test_an_adapter_survives_being_flattened(tiny_language: LanguageBackbone) -> None:
    adapter = used(tiny_language)
    assert as_adapter(flat(adapter)[0], adapter).sha256() == adapter.sha256()
    assert [block.matrix for block in layout_of(adapter)[:2]] == ["down", "up"]


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # torch's own forward mode still uses it
@pytest.mark.parametrize("name", ["tiny_language", "tiny_diffusion"])
@pytest.mark.parametrize("oracle", [loop, central_difference, forward_mode])
def test_scores_are_what_slower_ways_find(name: str, oracle: Engine, request: pytest.FixtureRequest) -> None:
    backbone = request.getfixturevalue(name)
    adapter, batch, draws = case(backbone, 5)
    direction = direction_of(backbone, adapter, batch, draws)
    truth = over_draws(loop, backbone, adapter, direction, batch, draws)
    found = score_draws(backbone, adapter, direction, batch, draws)
    other = over_draws(oracle, backbone, adapter, direction, batch, draws)
    assert found.shape == other.shape == (len(draws), 5)
    assert relative(found, truth) < 1e-3
    assert relative(other, truth) < 1e-3


def test_a_score_is_the_fall_of_the_loss_along_minus_u(tiny_language: LanguageBackbone) -> None:
    """A gradient step on the candidate moves the reference loss by minus its score, to first order."""
    adapter, batch, draws = case(tiny_language, 6)
    references, candidate = take(batch, torch.arange(5)), take(batch, torch.tensor([5]))
    v = per_sample_gradients(tiny_language, adapter, references, draws).rows.mean(0)
    gain = score_draws(tiny_language, adapter, as_adapter(v, adapter), candidate, draws).mean(0).item()
    step = per_sample_gradients(tiny_language, adapter, candidate, draws).rows[0] * 1e-2
    with torch.no_grad(), tiny_language.lora.use(adapter):
        before = tiny_language.loss(references, draws[0]).mean()
    with torch.no_grad(), tiny_language.lora.use(as_adapter(flat(adapter)[0] - step, adapter)):
        after = tiny_language.loss(references, draws[0]).mean()
    assert ((before - after) / 1e-2).item() == pytest.approx(gain, rel=0.02)


def test_scores_stay_exact_where_central_differences_are_off(tiny_language: LanguageBackbone) -> None:
    adapter, batch, draws = case(tiny_language, 5)
    adapter = used(tiny_language, scale=40.0)  # 1.5 % of a huge adapter is no small step
    direction = direction_of(tiny_language, adapter, batch, draws)
    found = score_draws(tiny_language, adapter, direction, batch, draws)
    for fraction in SMALL_STEPS:
        rough = over_draws(difference(fraction), tiny_language, adapter, direction, batch, draws)
        assert relative(rough, found) > 1e-2
    assert relative(found, over_draws(loop, tiny_language, adapter, direction, batch, draws)) < 1e-3


def test_a_target_from_training_data_is_warned_about() -> None:
    with pytest.warns(ScoreWarning, match="1 of the 2 references"):
        check_held_out(held=[0, 1], trained=[1, 2, 3])


def test_a_held_out_target_is_not_warned_about(tiny_language: LanguageBackbone) -> None:
    adapter, batch, draws = case(tiny_language, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        target = scorer(tiny_language, adapter, batch, draws, held=[0, 1], trained=[2, 3]).target
    rows = per_sample_gradients(tiny_language, adapter, batch, draws).rows
    assert torch.equal(target, rows[[0, 1]].mean(0))
    with pytest.raises(ValueError, match="held-out"):
        check_held_out(held=[], trained=[0])


def fold(backbone: Backbone, mode: ScoreName) -> Scorer:
    adapter, batch, draws = case(backbone, 6)
    return scorer(backbone, adapter, batch, draws, held=[4, 5], trained=[0, 1, 2, 3], mode=mode)


@pytest.mark.parametrize("mode", [mode for mode in get_args(ScoreName) if mode != "kolossov_bartlett"])
def test_every_mode_scores_every_candidate_for_every_draw(mode: ScoreName, tiny_diffusion: DiffusionBackbone) -> None:
    prepared = fold(tiny_diffusion, mode)
    candidates = latents(tiny_diffusion, 3)
    scores = prepared.score(candidates, tiny_diffusion.fixed_draws(2, 3, seed=5))
    assert scores.shape == (2, 3)
    assert scores.isfinite().all()
    assert scores.std() > 0


def test_a_pool_scored_in_pieces_scores_as_in_one(tiny_language: LanguageBackbone) -> None:
    prepared, pool, draws = fold(tiny_language, "influence"), texts(7, seed=9), [Draw()]
    pieces = [prepared.score(take(pool, part), draws) for part in torch.arange(7).split(3)]
    assert torch.allclose(torch.cat(pieces, 1), prepared.score(pool, draws), rtol=1e-3, atol=1e-6)
    assert 0 < torch.cosine_similarity(prepared.direction, prepared.target, dim=0) <= 1


def test_cosine_scores_are_cosines(tiny_language: LanguageBackbone) -> None:
    prepared, pool = fold(tiny_language, "cosine"), texts(4, seed=9)
    rows = per_sample_gradients(tiny_language, prepared.adapter, pool, [Draw()]).rows
    expected = rows @ prepared.target / rows.norm(dim=1) / prepared.target.norm()
    assert torch.allclose(prepared.score(pool, [Draw()])[0], expected, atol=1e-5)


def test_the_full_fisher_of_texts_wants_targets_drawn_from_the_model(tiny_language_folder: Path) -> None:
    backbone = SamplingBackbone.load(tiny_language_folder, max_tokens=LENGTH, target_modules=["q_proj", "v_proj"])
    scores = fold(backbone, "fisher_full").score(texts(4, seed=9), [Draw()])
    assert scores.shape == (1, 4)
    assert scores.isfinite().all()


def test_the_full_fisher_is_refused_where_it_cannot_be_had(tiny_language: LanguageBackbone) -> None:
    with pytest.raises(InvalidInput, match="Use score 'influence'") as refused:
        fold(tiny_language, "fisher_full")
    assert refused.value.code == "score_unsupported"


def test_the_literal_plug_in_is_warned_about_and_is_never_negative(tiny_language: LanguageBackbone) -> None:
    with pytest.warns(ScoreWarning, match="mislabelled"):
        prepared = fold(tiny_language, "kolossov_bartlett")
    assert (prepared.score(texts(5, seed=9), [Draw()]) > 0).all()


def test_random_scores_repeat_with_their_seed(tiny_language: LanguageBackbone) -> None:
    pool = texts(5, seed=9)
    assert torch.equal(
        fold(tiny_language, "random").score(pool, [Draw()]), fold(tiny_language, "random").score(pool, [Draw()])
    )
