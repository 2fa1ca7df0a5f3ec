"""References of several shapes and with masks: one shape a step, and the same numbers in company as alone."""

from __future__ import annotations

import random
from collections import Counter
from itertools import islice

import pytest
import torch
from PIL import Image, ImageDraw

from core.backbones.record import read_record
from core.backbones.registry import BUILT_IN
from core.method.backbones.backbone import Batch, count, join, part_of, take
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.shapes import cut, first_shape, in_order, pieces, shapes_of, sizes_of
from core.method.influence.gradients import as_adapter, flat, per_sample_gradients
from core.method.influence.scores import score_draws
from core.method.lora.adapter import Adapter
from core.method.protection.protection import Protection
from core.method.stopping.splitting import folds, held_out, near_duplicate_references
from core.method.training.batches import Captions, MixedBatches, ShapesInTurn, SideBySide
from core.method.training.loop import Training, evaluate

PORTRAIT, LANDSCAPE, SQUARE = (12, 20), (20, 12), (16, 16)
NONE = Captions(0.0, None)


def picture(number: int, size: tuple[int, int] = (40, 40)) -> Image.Image:
    image = Image.radial_gradient("L").resize(size).convert("RGB").point(lambda level: (level * (number + 3)) % 256)
    ImageDraw.Draw(image).rectangle((number, number, 2 * number + 5, 12), fill=(250, 20 * number, 10))
    return image


def mask(size: tuple[int, int] = (40, 40)) -> Image.Image:
    greys = Image.new("L", size)
    ImageDraw.Draw(greys).ellipse((4, 4, 25, 30), fill=255)
    return greys


def mixed(backbone: DiffusionBackbone, *, masks: bool = True) -> Batch:
    """Nine pictures of three shapes in turn, every second with a mask."""
    items = []
    for number in range(9):
        item = {
            "image": picture(number),
            "caption": f"thing {number}",
            "size": (PORTRAIT, LANDSCAPE, SQUARE)[number % 3],
        }
        items.append(item | ({"mask": mask()} if masks and number % 2 else {}))
    return backbone.encode(items)


def test_every_picture_is_encoded_in_its_shape_as_it_is_alone(tiny_diffusion: DiffusionBackbone) -> None:
    batch = mixed(tiny_diffusion, masks=False)
    assert batch["mean"].shape == (9, 4, 10, 10)
    assert shapes_of(batch) == [(10, 6), (6, 10), (8, 8)] * 3
    for number, (height, width) in enumerate(shapes_of(batch)):
        size = (2 * width, 2 * height)
        alone = tiny_diffusion.encode([{"image": picture(number), "caption": f"thing {number}", "size": size}])
        one = cut(take(batch, torch.tensor([number])))
        assert one["mean"].shape == (1, 4, height, width)
        for name in ("mean", "std", "text"):
            assert torch.allclose(one[name], cut(alone)[name], atol=1e-5)
        assert not batch["mean"][number, :, height:].any()
        assert not batch["mean"][number, :, :, width:].any()


def test_squares_are_encoded_and_trained_as_before_there_were_other_shapes(tiny_diffusion: DiffusionBackbone) -> None:
    """The figures were computed by the version that knew squares only."""

    def old(number: int) -> Image.Image:
        size = (20, 20) if number % 2 else (30, 21)
        gradient = Image.radial_gradient("L").resize(size).convert("RGB")
        return gradient.point(lambda level: (level * (number + 3)) % 256)

    items = [{"image": old(number), "caption": f"thing {number}"} for number in range(6)]
    batch = tiny_diffusion.encode(items)
    assert set(batch) == {"mean", "std", "text"}
    sized = tiny_diffusion.encode([{**item, "size": SQUARE} for item in items])
    assert all(torch.equal(batch[name], sized[name]) for name in batch)
    assert batch["mean"].double().sum().item() == pytest.approx(-64.41846173547674, rel=1e-4)
    empty = Captions(0.1, tiny_diffusion.nothing())
    streams = [
        MixedBatches(
            tiny_diffusion,
            take(batch, torch.tensor(own)),
            Protection(0.4, examples=take(batch, torch.tensor([4, 5]))),
            3,
            empty,
            seed,
            ShapesInTurn.of(batch, seed),
        )
        for seed, own in ((0, [0, 1, 2]), (1, [1, 2, 3]))
    ]
    adapter = tiny_diffusion.lora.new(4, 4.0, runs=2, seed=1)
    list(Training(tiny_diffusion, adapter, SideBySide(streams), learning_rate=1e-2, max_steps=4))
    weights = sum(each.double().sum().item() for each in adapter.parameters())
    assert weights == pytest.approx(-26.74463106074836, rel=1e-3)
    losses = evaluate(tiny_diffusion, adapter, batch, tiny_diffusion.fixed_draws(2, 6, 3))
    assert losses.double().sum().item() == pytest.approx(11.858162879943848, rel=1e-4)


def test_every_step_of_a_stack_has_one_shape_as_often_as_its_references(tiny_diffusion: DiffusionBackbone) -> None:
    batch = mixed(tiny_diffusion)
    more = take(batch, torch.tensor([*range(9), 0, 3, 6]))  # half of twelve are portraits
    streams = SideBySide(
        [
            MixedBatches(
                tiny_diffusion,
                take(more, torch.tensor(own)),
                Protection(0.5, examples=batch),
                4,
                NONE,
                seed,
                ShapesInTurn.of(more, 3),
            )
            for seed, own in ((1, range(6)), (2, range(4, 12)), (3, range(12)))
        ]
    )
    seen = Counter()
    for step, draw in islice(streams, 48):
        [shape] = set(shapes_of(step))
        seen[shape] += 1
        assert draw.noise is not None
        assert draw.noise.shape[2:] == shape
        assert count(step) == 12
    assert seen == {(10, 6): 24, (6, 10): 12, (8, 8): 12}


def test_a_stream_of_shapes_goes_on_where_it_was_saved(tiny_diffusion: DiffusionBackbone) -> None:
    batch = mixed(tiny_diffusion)
    streams = [
        MixedBatches(tiny_diffusion, batch, Protection(0.5, examples=batch), 2, NONE, 1, ShapesInTurn.of(batch, 1))
        for _ in range(2)
    ]
    list(islice(streams[0], 7))
    streams[1].restore(streams[0].state())
    for (first, noise), (second, other) in zip(islice(streams[0], 9), islice(streams[1], 9), strict=True):
        assert torch.equal(first["mean"], second["mean"])
        assert noise.noise is not None
        assert other.noise is not None
        assert torch.equal(noise.noise, other.noise)


@pytest.mark.slow
def test_stacked_runs_of_all_shapes_are_separate_runs(tiny_diffusion: DiffusionBackbone) -> None:
    batch = mixed(tiny_diffusion)
    tiny_diffusion.network.double()  # Adam takes whole steps where gradients are next to nothing: no rounding is seen

    def exact(runs: int) -> Adapter:
        new = tiny_diffusion.lora.new(4, 4.0, runs=runs, seed=5)
        return new._map(lambda matrix: matrix.detach().double().requires_grad_())

    def stream(run: int) -> MixedBatches:
        own = take(batch, torch.tensor([place for place in range(9) if place % 4 != run]))
        return MixedBatches(
            tiny_diffusion, own, Protection(0.5, examples=batch), 2, NONE, run, ShapesInTurn.of(batch, 5)
        )

    stacked = exact(3)
    joined = SideBySide([stream(run) for run in range(3)])
    together = list(Training(tiny_diffusion, stacked, joined, learning_rate=1e-3, max_steps=6))
    for run in range(3):
        alone = exact(1)
        steps = list(Training(tiny_diffusion, alone, stream(run), learning_rate=1e-3, max_steps=6))
        assert steps[-1].loss[0] == pytest.approx(together[-1].loss[run], abs=1e-5)
        for ours, theirs in zip(stacked.select(run).parameters(), alone.parameters(), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.slow
def test_losses_gradients_and_slopes_of_all_shapes_are_those_of_each_alone(tiny_diffusion: DiffusionBackbone) -> None:
    batch = mixed(tiny_diffusion)
    draws = tiny_diffusion.fixed_draws(2, 9, 1, **sizes_of(batch))
    adapter = tiny_diffusion.lora.new(2, 2.0, seed=1)
    with torch.no_grad():
        for weights in adapter.parameters():
            weights.add_(0.05 * torch.randn(weights.shape, generator=torch.Generator().manual_seed(2)))
    losses = evaluate(tiny_diffusion, adapter, batch, draws)[0]
    rows = per_sample_gradients(tiny_diffusion, adapter, batch, draws, per_draw=True).rows.unflatten(0, (9, 2))
    along = torch.randn(rows.shape[2], generator=torch.Generator().manual_seed(4))
    slopes = score_draws(tiny_diffusion, adapter, as_adapter(along, adapter), batch, draws)
    assert flat(adapter).shape[1] == rows.shape[2]
    for number in range(9):
        index = torch.tensor([number])
        one, alone = take(batch, index), [part_of(draw, index) for draw in draws]
        with torch.enable_grad(), tiny_diffusion.lora.use(adapter):
            each = [tiny_diffusion.loss(one, draw) for draw in alone]
            grads = [torch.autograd.grad(loss.sum(), adapter.parameters()) for loss in each]
        assert losses[number] == pytest.approx(torch.stack(each).mean().item(), rel=1e-5)
        for place, grad in enumerate(grads):
            plain = torch.cat([part.flatten() for part in grad])
            error = (rows[number, place] - plain).norm() / plain.norm()
            assert error < 2e-5
            assert slopes[place, number] == pytest.approx((plain @ along).item(), rel=1e-3, abs=1e-5)


def test_noise_of_a_shape_is_the_same_in_any_company(tiny_diffusion: DiffusionBackbone) -> None:
    batch = mixed(tiny_diffusion)
    whole = tiny_diffusion.fixed_draws(3, 9, 7, **sizes_of(batch))
    squares = tiny_diffusion.fixed_draws(3, 1, 7)
    for number, (height, width) in enumerate(shapes_of(batch)):
        alone = tiny_diffusion.fixed_draws(3, 1, 7, sizes=batch["size"][number : number + 1])
        for one, every, square in zip(alone, whole, squares, strict=True):
            assert one.noise is not None
            assert every.noise is not None
            assert square.noise is not None
            assert torch.equal(one.noise[0], every.noise[number, :, :height, :width])
            assert (height, width) != (8, 8) or torch.equal(one.noise, square.noise)


def test_a_loss_of_several_shapes_at_once_is_refused(tiny_diffusion: DiffusionBackbone) -> None:
    batch = mixed(tiny_diffusion)
    with pytest.raises(ValueError, match="several shapes"):
        tiny_diffusion.loss(batch, tiny_diffusion.fixed_draws(1, 9, 0, **sizes_of(batch))[0])
    assert set(shapes_of(first_shape(batch))) == {(10, 6)}


def test_what_is_computed_by_shape_comes_back_in_order() -> None:
    batch = {"mean": torch.arange(7.0), "size": torch.tensor([[2, 3], [3, 2], [2, 3], [2, 2], [3, 2], [2, 3], [2, 2]])}
    split = pieces(batch, 2)
    assert max(map(len, split)) == 2
    assert torch.equal(in_order([batch["mean"][index] for index in split], split), batch["mean"])
    plain = {"mean": torch.arange(5.0)}
    assert [index.tolist() for index in pieces(plain, 2)] == [[0, 1], [2, 3], [4]]


def test_joined_batches_share_a_canvas_and_what_has_no_mask_counts_whole(tiny_diffusion: DiffusionBackbone) -> None:
    squares = tiny_diffusion.encode([{"image": picture(1)}, {"image": picture(2)}])
    portraits = tiny_diffusion.encode([{"image": picture(3), "size": PORTRAIT, "mask": mask()}])
    joined = join([squares, portraits])
    assert shapes_of(joined) == [(8, 8), (8, 8), (10, 6)]
    assert joined["mean"].shape[2:] == (10, 8)
    assert torch.equal(joined["mask"][0, 0, :8], torch.ones(8, 8))
    assert torch.equal(cut(take(joined, torch.tensor([0, 1])))["mean"], squares["mean"])
    assert torch.equal(cut(take(joined, torch.tensor([2])))["mask"], portraits["mask"])


def test_pictures_of_each_shape_are_in_every_fold() -> None:
    shapes = ["tall"] * 5 + ["wide"] * 4 + ["square"] * 8
    for seed in range(5):
        held = folds(17, 4, seed, None, shapes)
        assert sorted(place for fold in held for place in fold) == list(range(17))
        assert all({shapes[place] for place in fold} == {"tall", "wide", "square"} for fold in held)
    assert folds(9, 3, 1, None, ["same"] * 9) == folds(9, 3, 1)


def test_near_duplicates_of_one_shape_never_leave_a_surrogate_without_that_shape() -> None:
    latents = torch.randn(8, 4, 10, 10, generator=torch.Generator().manual_seed(0))
    latents[:4] = latents[0]  # all portraits are one picture
    size = torch.tensor([[10, 6]] * 4 + [[6, 10]] * 4)
    batch = {"mean": latents, "size": size}
    assert near_duplicate_references(batch) == [0, 0, 0, 0, 4, 5, 6, 7]
    for fold in held_out(batch, 4, 0):
        assert {place < 4 for place in range(8) if place not in fold} == {True, False}


def test_a_picture_and_its_middle_square_are_near_duplicates_and_others_are_not() -> None:
    record = read_record(
        BUILT_IN["emoji-ldm"]
    )  # latents of a VAE of random weights change with the size of what is seen
    backbone = DiffusionBackbone.load(record.path, resolution=64, target_modules=record.target_modules)
    talls = [ellipses(seed) for seed in range(3)]
    squares = [{"image": tall.crop((0, 80, 240, 320))} for tall in talls]
    batch = backbone.encode([*({"image": tall, "size": (48, 80)} for tall in talls), *squares])
    assert shapes_of(batch)[2:4] == [(40, 24), (32, 32)]
    assert near_duplicate_references(batch) == [0, 1, 2, 0, 1, 2]


def ellipses(seed: int) -> Image.Image:
    chance = random.Random(seed)
    image = Image.new("RGB", (240, 400), tuple(chance.randrange(256) for _ in range(3)))
    for _ in range(14):
        left, top, width = chance.randrange(200), chance.randrange(360), chance.randrange(20, 120)
        box = (left, top, left + width, top + width // 2 + 10)
        ImageDraw.Draw(image).ellipse(box, fill=tuple(chance.randrange(256) for _ in range(3)))
    return image
