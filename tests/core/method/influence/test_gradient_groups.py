"""Gradients of one group of modules after another give what all of them at once give, in less memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import get_args

import pytest
import torch
from torch import Tensor

from core.method.backbones.backbone import Backbone, Batch, Draw, take
from core.method.backbones.texts.language import LanguageBackbone
from core.method.influence.folds import ScoringFolds
from core.method.influence.gradients import layout_of, module_groups, per_sample_gradients
from core.method.influence.reference_rows import References, WholeRows
from core.method.influence.scores import ScoreWarning, scorer
from core.method.lora.adapter import Adapter
from core.method.memory.measuring import peak_bytes as living_bytes
from core.parameters.request import ScoreName
from tests.core.method.influence.test_scores import SamplingBackbone, case, latents, relative, texts, used
from tests.core.method.memory.budget import Budget
from tests.core.method.peak import peak_bytes
from tests.core.method.test_albat import parameters

HELD, TRAINED = [4, 5], [0, 1, 2, 3]
FAMILIES = ["tiny_language", "tiny_diffusion"]
CURVED = [mode for mode in get_args(ScoreName) if mode != "random"]


@pytest.fixture
def backbone(request: pytest.FixtureRequest) -> Backbone:
    made = request.getfixturevalue(request.param)
    if request.param == "tiny_language":
        made.__class__ = SamplingBackbone  # so that every score can be had of it
    return made


MORE = [(1, True), (14, True), (1, False), (3, False), (14, False)]


def groups_of(adapter: Adapter, amount: int) -> list[tuple[str, ...]]:
    paths = list(adapter.down)
    cuts = [round(at * len(paths) / amount) for at in range(amount + 1)]
    return [tuple(paths[start:stop]) for start, stop in pairwise(cuts)]


def candidates_of(backbone: Backbone, amount: int) -> tuple[Batch, list[Draw]]:
    batch = latents(backbone, amount) if backbone.kind == "images" else texts(amount, seed=9)
    return batch, backbone.fixed_draws(2, amount, seed=5)


def test_gradients_are_there_no_more_than_twice(tiny_language: LanguageBackbone) -> None:
    _, batch, _ = case(tiny_language, 6)
    adapter, draws = tiny_language.lora.new(64, 64.0).to("cpu"), [Draw()] * 16
    all_rows = 4 * 6 * len(draws) * layout_of(adapter)[-1].span.stop
    whole = References(tiny_language, adapter, batch, draws, [5], [0, 1, 2, 3, 4], damping=0.1, pooled=True)
    assert living_bytes(lambda: WholeRows(whole)) < 2.3 * all_rows


def scores(
    backbone: Backbone, mode: ScoreName, groups: list[tuple[str, ...]], *, pooled: bool
) -> tuple[Tensor, Tensor, Tensor]:
    adapter, batch, draws = case(backbone, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ScoreWarning)
        ready = scorer(
            backbone, adapter, batch, draws, held=HELD, trained=TRAINED, mode=mode, pooled=pooled, groups=groups
        )
    return ready.target, ready.direction, ready.score(*candidates_of(backbone, 5))


@pytest.mark.slow
@pytest.mark.parametrize("backbone", FAMILIES, indirect=True)
@pytest.mark.parametrize(
    ("amount", "pooled"), [(3, True), *(pytest.param(*more, marks=pytest.mark.long) for more in MORE)]
)
@pytest.mark.parametrize("mode", CURVED)
def test_groups_of_modules_give_the_scores_of_the_whole(
    backbone: Backbone, mode: ScoreName, pooled: bool, amount: int
) -> None:
    whole = scores(backbone, mode, [], pooled=pooled)
    grouped = scores(backbone, mode, groups_of(used(backbone), amount), pooled=pooled)
    for found, expected in zip(grouped, whole, strict=True):
        assert found.shape == expected.shape
        assert relative(found, expected) < 1e-5


@pytest.mark.parametrize("backbone", FAMILIES, indirect=True)
def test_gradients_of_some_modules_are_those_of_all_at_their_places(backbone: Backbone) -> None:
    adapter, batch, draws = case(backbone, 3)
    whole = per_sample_gradients(backbone, adapter, batch, draws, per_draw=True)
    some = [path for number, path in enumerate(adapter.down) if number % 3 == 1]
    found = per_sample_gradients(backbone, adapter, batch, draws, per_draw=True, modules=some)
    assert [block.path for block in found.layout] == [path for path in some for _ in range(2)]
    places = [block.span for block in whole.layout if block.path in some]
    assert relative(found.rows, torch.cat([whole.rows[:, place] for place in places], 1)) < 1e-6
    mean = per_sample_gradients(backbone, adapter, batch, draws, modules=some)
    assert torch.allclose(mean.rows, found.rows.view(3, len(draws), -1).mean(1), atol=1e-7)


def test_modules_are_packed_in_their_order_and_none_is_lost(tiny_language: Backbone) -> None:
    adapter = used(tiny_language)
    whole = layout_of(adapter)[-1].span.stop
    for rows, floats in ((1, whole), (1, whole // 3), (7, whole), (5, 1)):
        groups = module_groups(adapter, rows, floats)
        assert [path for group in groups for path in group] == list(adapter.down)
        sizes = [sum(b.span.stop - b.span.start for b in layout_of(adapter) if b.path in group) for group in groups]
        assert all(rows * size <= floats or len(group) == 1 for group, size in zip(groups, sizes, strict=True))
        assert (len(groups) == 1) == (rows * whole <= floats)


@pytest.mark.long
def test_rows_of_a_group_take_a_part_of_the_memory(tiny_diffusion: Backbone) -> None:
    adapter = tiny_diffusion.lora.new(16, 16.0, seed=1)
    batch, draws = latents(tiny_diffusion, 6), tiny_diffusion.fixed_draws(16, 6, seed=0)
    parameters = layout_of(adapter)[-1].span.stop
    rows = 4 * parameters * len(TRAINED) * len(draws)
    groups = module_groups(adapter, len(TRAINED) * len(draws), rows // 4 // 4)

    def ready(groups: list[tuple[str, ...]]) -> Callable[[], object]:
        return lambda: scorer(tiny_diffusion, adapter, batch, draws, held=HELD, trained=TRAINED, groups=groups)

    assert len(groups) >= 4
    assert peak_bytes(ready(groups)) < peak_bytes(ready([])) / 3


def folds(backbone: Backbone, room: int, references: int = 8) -> ScoringFolds:
    batch = texts(references, seed=3)
    held = [list(range(fold, references, 2)) for fold in range(2)]
    return ScoringFolds(backbone, batch, [used(backbone), used(backbone)], held, room=room)


def test_who_asks_for_nothing_gets_gradients_whole_where_they_fit_and_by_groups_where_not(
    tiny_language: Backbone,
) -> None:
    size = layout_of(used(tiny_language))[-1].span.stop
    p = parameters("texts", gradients="auto")
    fitting, tight = folds(tiny_language, 8 * size), folds(tiny_language, 3 * size)
    assert fitting.plan(0, p).groups == []
    assert fitting.notes == []
    plan = tight.plan(0, p)
    assert len(plan.groups) > 1
    assert (plan.held, plan.trained) == ([0, 2, 4, 6], [1, 3, 5, 7])
    tight.plan(1, p)
    assert tight.notes == [
        "The gradients of all references would take 0.0 GiB for a fold, so they were computed for one group of modules "
        "after another."
    ]
    pool = texts(9, seed=9)
    pairs = [one.scorer(0, p).score(pool, [Draw()]) for one in (fitting, tight)]
    assert relative(*pairs) < 1e-5


@pytest.mark.parametrize("references", [8, 60])
def test_however_little_room_there_is_scores_go_by_all_references(tiny_language: Backbone, references: int) -> None:
    size = layout_of(used(tiny_language))[-1].span.stop
    p = parameters("texts", gradients="auto")
    whole, tight = (folds(tiny_language, room, references) for room in (2 * references * size, size // 4))
    plan = tight.plan(0, p)
    assert len(plan.groups) == len(used(tiny_language).down)
    assert sorted([*plan.held, *plan.trained]) == list(range(references))
    pool = texts(9, seed=9)
    assert relative(*(one.scorer(0, p).score(pool, [Draw()]) for one in (whole, tight))) < 1e-5


def test_rows_that_a_device_has_no_room_for_are_computed_by_groups_with_the_same_scores(
    tiny_language: Backbone,
) -> None:
    adapters = [tiny_language.lora.new(16, 16.0, seed=seed).to("cpu") for seed in (1, 2)]
    for adapter in adapters:
        for matrix in adapter.up.values():
            matrix.normal_(0, 0.05, generator=torch.Generator().manual_seed(3))
    held = [list(range(fold, 60, 2)) for fold in range(2)]
    whole, tight = (ScoringFolds(tiny_language, texts(60, seed=3), adapters, held, room=room) for room in (None, 2**18))
    p, pool = parameters("texts", gradients="auto"), texts(9, seed=9)
    scores = whole.scorer(0, p).score(pool, [Draw()])
    needed, grouped = (peak_bytes(lambda: folds.scorer(0, p)) for folds in (whole, tight))  # noqa: B023
    with Budget((needed + grouped) // 2) as budget:
        found = whole.scorer(0, p)
    assert budget.refused
    assert relative(found.score(pool, [Draw()]), scores) < 1e-4
    assert any(words.startswith("The references' gradients: ") for words in tiny_language.memory.news)


def test_scores_that_need_gradients_of_candidates_take_many_of_these_at_once(tiny_language: Backbone) -> None:
    adapter, batch, draws = case(tiny_language, 6)
    groups = groups_of(adapter, 3)
    with pytest.warns(ScoreWarning):
        whole = scorer(tiny_language, adapter, batch, draws, held=HELD, trained=TRAINED, mode="kolossov_bartlett")
    with pytest.warns(ScoreWarning):
        grouped = scorer(
            tiny_language, adapter, batch, draws, held=HELD, trained=TRAINED, mode="kolossov_bartlett", groups=groups
        )
    pool = texts(70, seed=9)
    pieces = [whole.score(take(pool, part), [Draw()]) for part in torch.arange(70).split(whole.at_once)]
    assert len(pieces) == 3
    assert grouped.at_once >= 70
    assert relative(grouped.score(pool, [Draw()]), torch.cat(pieces, 1)) < 1e-5
