"""What does not fit is computed in smaller pieces, with the results of what fits; and what is planned does fit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from core.errors import JobFailure
from core.method.albat import train_adapter, train_surrogate
from core.method.backbones.backbone import Backbone, Batch, Draw, count
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.texts.language import LanguageBackbone
from core.method.influence.gradients import each_gradient, flattened, per_sample_gradients
from core.method.influence.scores import score_draws, scorer
from core.method.lora.adapter import Adapter
from core.method.memory.measuring import peak_bytes
from core.method.memory.memory import Memory
from core.method.protection.protection import Protection
from core.method.training.loop import Training, evaluate
from tests.core.method.influence.test_scores import case, direction_of, relative, texts
from tests.core.method.memory.budget import WORDS, Budget, narrow
from tests.core.method.stacks import stack
from tests.core.method.test_albat import BLUES, REDS, drain, flat_curves, parameters
from tests.core.method.training.test_loop import batches

NAMES = ["tiny_language", "tiny_diffusion"]


@pytest.fixture(params=NAMES)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    return request.getfixturevalue(request.param)


def evaluated(backbone: Backbone) -> Tensor:
    adapter, batch, draws = case(backbone, 7)
    return evaluate(backbone, stack([adapter, adapter.clone(), adapter.clone()]), batch, draws)


def scored(backbone: Backbone) -> Tensor:
    adapter, batch, draws = case(backbone, 7)
    direction = direction_of(backbone, adapter, batch, draws)
    return score_draws(backbone, adapter, direction, batch, draws)


def curved(backbone: Backbone) -> Tensor:
    adapter, batch, draws = case(backbone, 7)
    ready = scorer(backbone, adapter, batch, draws, held=[4, 5, 6], trained=[0, 1, 2, 3])
    return torch.cat([ready.score(batch, draws).flatten(), torch.tensor([ready.reference_loss])])


def differentiated(backbone: Backbone) -> Tensor:
    adapter, batch, draws = case(backbone, 7)
    return per_sample_gradients(backbone, adapter, batch, draws, per_draw=True).rows


def yielded(backbone: Backbone) -> Tensor:
    adapter, batch, draws = case(backbone, 7)
    rows = torch.zeros(count(batch), 1)
    for index, gradients in each_gradient(backbone, adapter, batch, draws):
        rows[index] += flattened(gradients).sum(1, keepdim=True)
    return rows


def trained(backbone: Backbone) -> Tensor:
    _, batch, _ = case(backbone, 4)
    adapter = backbone.lora.new(4, 8.0, runs=3)
    training = Training(backbone, adapter, batches(backbone, [batch] * 3), learning_rate=1e-3, max_steps=2)
    losses = torch.tensor([step.loss for step in training])
    return torch.cat([losses.flatten(), *(matrix.detach().flatten() for matrix in adapter.parameters())])


WORK: list[Callable[[Any], Tensor]] = [evaluated, scored, curved, differentiated, yielded, trained]


@pytest.mark.slow
@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("most", [1, pytest.param(2, marks=pytest.mark.long)])
def test_what_a_device_refuses_is_computed_in_smaller_pieces_with_the_same_result(
    backbone: Backbone, work: Callable[[Any], Tensor], most: int
) -> None:
    whole = work(backbone)
    with narrow(backbone, most) as asked:
        pieces = work(backbone)
    assert max(asked) > most
    assert relative(pieces, whole) < 1e-4
    assert any("did not fit into memory" in words for words in backbone.memory.news)


@pytest.mark.slow
def test_a_size_that_did_not_fit_is_not_tried_again_for_the_same_kind_of_work(tiny_language: Backbone) -> None:
    with narrow(tiny_language, 2) as asked:
        trained(tiny_language)
        assert asked == [12, 6, 3] + [1] * 24
        evaluated(tiny_language)
    assert asked[27:31] == [21, 9, 3, 2]
    assert [words.partition(":")[0] for words in tiny_language.memory.news] == ["Training"] * 3 + ["Evaluation"] * 3
    news: list[str] = []
    tiny_language.memory.begin(0, news)  # another job
    trained(tiny_language)
    assert news == []


def test_a_step_that_fails_once_in_its_middle_is_repeated_from_its_beginning(tiny_language: Backbone) -> None:
    whole, loss, calls = trained(tiny_language), tiny_language.loss, list[int]()

    def once(batch: Batch, draw: Draw) -> Tensor:
        calls.append(count(batch))
        losses = loss(batch, draw)
        if len(calls) in (1, 3):
            losses.register_hook(_full)
        return losses

    tiny_language.loss = once
    assert relative(trained(tiny_language), whole) < 1e-4
    assert calls == [12, 6, 6, *[3] * 8]


def _full(gradient: Tensor) -> Tensor:
    raise torch.OutOfMemoryError(WORDS)


@pytest.mark.slow
def test_where_one_at_once_does_not_fit_the_job_ends_and_says_what_to_do(backbone: Backbone) -> None:
    for work, what in ((trained, "Training"), (evaluated, "Evaluation"), (differentiated, "Gradients of single")):
        with narrow(backbone, 0), pytest.raises(JobFailure) as failure:
            work(backbone)
        assert failure.value.code == "out_of_memory"
        assert failure.value.message.startswith(what)
        assert "nf4" in failure.value.message


def test_another_error_is_no_matter_of_memory(tiny_language: Backbone) -> None:
    memory = Memory(torch.device("cpu"))

    def broken(_: int) -> None:
        raise RuntimeError("shapes can't be multiplied")

    with pytest.raises(RuntimeError, match="multiplied"):
        memory.fitted("step", 8, broken)
    assert memory.news == []


def test_what_may_be_a_matter_of_memory_is_tried_in_smaller_pieces_and_stays_itself_in_the_smallest() -> None:
    memory, words = Memory(torch.device("cpu")), "GET was unable to find an engine to execute this computation"

    def computed(most: int, size: int) -> int:
        if size > most:
            raise RuntimeError(words)
        return size

    assert memory.fitted("encode", 8, partial(computed, 2)) == 2
    with pytest.raises(RuntimeError, match="unable to find an engine"):
        memory.fitted("encode", 8, partial(computed, 0))


def surrogates(backbone: DiffusionBackbone) -> tuple[list[float], list[Tensor]]:
    p = parameters("images", surrogate_steps=3, batch_size=3)
    _, found = drain(train_surrogate(backbone, backbone.encode(REDS), p))
    return [loss for row in found.curves.seen for loss in row], found.adapter.parameters()


@pytest.mark.long
def test_surrogates_and_the_final_run_end_where_they_end_with_more_memory(tiny_diffusion: DiffusionBackbone) -> None:
    def run() -> tuple[list[float], list[Tensor]]:
        p, kept = parameters("images", max_steps=4), dict[int, Adapter]()
        references, pool = tiny_diffusion.encode(REDS), tiny_diffusion.encode(BLUES)
        protection = Protection(0.5, examples=pool)
        steps, outcome = drain(train_adapter(tiny_diffusion, references, protection, p, flat_curves(3), pool, kept))
        return [step.loss[0] for step in steps], kept[outcome.published_step].parameters()

    for work in (partial(surrogates, tiny_diffusion), run):
        losses, weights = work()
        with narrow(tiny_diffusion, 1):
            again, others = work()
        assert again == pytest.approx(losses, rel=1e-3)
        assert all(torch.allclose(a, b, atol=2e-4) for a, b in zip(weights, others, strict=True))


@pytest.mark.slow
def test_pictures_are_encoded_in_smaller_pieces_where_they_do_not_fit(tiny_diffusion: DiffusionBackbone) -> None:
    whole = tiny_diffusion.encode(BLUES)
    peak = peak_bytes(lambda: tiny_diffusion.encode(BLUES))
    with tiny_diffusion.encoding(), Budget(peak // 3) as budget:
        pieces = tiny_diffusion.encode(BLUES)
    assert budget.refused
    assert all(torch.allclose(pieces[name], tensor, atol=1e-5) for name, tensor in whole.items())


@pytest.mark.slow
def test_samples_are_drawn_in_smaller_pieces_where_they_do_not_fit(
    tiny_diffusion: DiffusionBackbone, tiny_language: LanguageBackbone
) -> None:
    def drawn() -> list[bytes]:
        return [image.tobytes() for image in tiny_diffusion.sample(["a", "b", "c"], seed=3, steps=2)]

    def said() -> list[str]:
        return tiny_language.answer([{"prompt": word} for word in ("one", "two", "three")], max_new_tokens=8)

    for work, backbone in ((drawn, tiny_diffusion), (said, tiny_language)):
        whole, peak = work(), peak_bytes(work)
        with Budget(2 * peak // 3) as budget:
            pieces = work()
        assert budget.refused
        assert len(pieces) == len(whole) == 3
        assert backbone.memory.news[0].startswith("Drawing samples: 3 samples at once did not fit")


@pytest.mark.long
@pytest.mark.parametrize("work", WORK)
def test_work_goes_on_within_a_real_limit_of_bytes(backbone: Backbone, work: Callable[[Any], Tensor]) -> None:
    whole, peak = work(backbone), peak_bytes(lambda: work(backbone))
    with Budget(2 * peak // 3) as budget:
        pieces = work(backbone)
    assert relative(pieces, whole) < 1e-4
    assert budget.refused


@pytest.mark.slow
@pytest.mark.parametrize("work", WORK)
def test_what_is_planned_for_a_limit_of_bytes_fits_into_it(backbone: Backbone, work: Callable[[Any], Tensor]) -> None:
    whole, peak = work(backbone), peak_bytes(lambda: work(backbone))
    backbone.memory.told = backbone.memory.weights + peak // 2
    with Budget(2 * peak) as budget:
        pieces = work(backbone)
    assert relative(pieces, whole) < 1e-4
    assert budget.peak < peak
    assert any("are computed at once" in words for words in backbone.memory.news)
    assert not any("did not fit" in words for words in backbone.memory.news)


def test_texts_are_planned_by_their_length(tiny_language: Backbone) -> None:
    batch = texts(64, seed=1)
    batch["attention_mask"][:32, 3:] = 0
    sizes: list[tuple[int, int]] = []
    loss = tiny_language.loss

    def seen(batch: Batch, draw: Draw) -> Tensor:
        sizes.append((count(batch), int(batch["attention_mask"].sum(1).max())))
        return loss(batch, draw)

    tiny_language.loss = seen
    one = peak_bytes(lambda: evaluate(tiny_language, None, {k: t[-1:] for k, t in batch.items()}, [Draw()]))
    tiny_language.memory.told = tiny_language.memory.weights + 8 * one
    evaluate(tiny_language, None, batch, [Draw()])
    assert max(amount for amount, _ in sizes) <= 8


def test_a_module_that_nothing_flows_through_keeps_no_step_from_being_planned(tiny_language: LanguageBackbone) -> None:
    *_, last = tiny_language.lora.layers.values()
    last.register_forward_hook(lambda _module, _inputs, output: output.detach())
    tiny_language.memory.told = tiny_language.memory.weights + 2**30
    assert trained(tiny_language).isfinite().all()
    assert tiny_language.memory._each  # it was planned


def test_storages_are_counted_as_long_as_they_live() -> None:
    weight = torch.ones(100, 100, requires_grad=True)

    def work() -> None:
        a = weight.t() * 2  # a view is no new storage
        b = a + 1
        del a
        (b * b).sum().backward()

    assert peak_bytes(lambda: weight.t()) == 0
    assert 80_000 <= peak_bytes(work) <= 200_100
