"""Who is in a batch: own references for every fold, replay in its slots, captions left out as often as asked."""

from itertools import islice

import pytest
import torch

from core.method.backbones.backbone import first_lines, join
from core.method.protection.protection import Protection
from core.method.training.batches import Captions, MixedBatches, Shuffled, SideBySide, drawn_lines

NONE = Captions(0.0, None)


def numbered(first: int, count: int, width: int = 4) -> dict[str, torch.Tensor]:
    """Return texts whose tokens are their own numbers."""
    ids = torch.arange(first, first + count).unsqueeze(1).repeat(1, width)
    return {"input_ids": ids, "labels": ids.clone(), "attention_mask": torch.ones_like(ids)}


def who(batches, steps: int) -> list[list[int]]:
    return [batch["input_ids"][:, 0].tolist() for batch, _ in islice(batches, steps)]


def test_every_index_comes_once_a_pass() -> None:
    drawn = list(islice(Shuffled([3, 5, 9], seed=0), 300))
    assert all(sorted(drawn[at : at + 3]) == [3, 5, 9] for at in range(0, 300, 3))
    assert len({tuple(drawn[at : at + 3]) for at in range(0, 300, 3)}) == 6


def test_runs_side_by_side_each_have_their_own_part_of_the_batch(tiny_language) -> None:
    streams = [
        MixedBatches(tiny_language, numbered(first, 2), Protection(), 2, NONE, seed=first) for first in (0, 10, 20)
    ]
    for row in who(SideBySide(streams), 20):
        assert [set(row[:2]), set(row[2:4]), set(row[4:])] == [{0, 1}, {10, 11}, {20, 21}]


def test_runs_that_replay_other_data_see_the_same_references_under_the_same_noise(tiny_diffusion) -> None:
    def latents(count: int, seed: int) -> dict[str, torch.Tensor]:
        mean = torch.randn(count, 4, 8, 8, generator=torch.Generator().manual_seed(seed))
        return {"mean": mean, "std": torch.zeros_like(mean), "text": torch.zeros(count, 24, 32)}

    one, two = (
        list(
            islice(
                MixedBatches(tiny_diffusion, latents(5, 0), Protection(0.5, examples=latents(n, n)), 4, NONE, seed=1),
                12,
            )
        )
        for n in (7, 9)
    )
    for (a, noise_a), (b, noise_b) in zip(one, two, strict=True):
        assert torch.equal(a["mean"][:2], b["mean"][:2])
        assert not torch.equal(a["mean"][2:], b["mean"][2:])
        assert torch.equal(noise_a.noise, noise_b.noise)


@pytest.mark.parametrize(("gamma", "size"), [(0.5, 4), (0.25, 6), (0.9, 3), (0.3, 1)])
def test_replay_fills_its_share_of_the_slots_on_average(tiny_language, gamma: float, size: int) -> None:
    rows = who(
        MixedBatches(tiny_language, numbered(0, 5), Protection(gamma, examples=numbered(100, 7)), size, NONE, seed=1),
        600,
    )
    assert all(len(row) == size for row in rows)
    share = sum(number >= 100 for row in rows for number in row) / (600 * size)
    assert share == pytest.approx(gamma, abs=0.05)


def test_without_replay_there_are_only_references(tiny_language) -> None:
    rows = who(MixedBatches(tiny_language, numbered(0, 5), Protection(), 4, NONE, seed=1), 50)
    assert {number for row in rows for number in row} == {0, 1, 2, 3, 4}


def test_references_and_replay_of_other_lengths_share_a_batch(tiny_language) -> None:
    batch, _ = next(
        MixedBatches(tiny_language, numbered(0, 5, 3), Protection(0.5, examples=numbered(100, 5, 8)), 4, NONE, seed=1)
    )
    assert batch["input_ids"].shape == (4, 8)
    assert batch["attention_mask"].sum(1).tolist() == [3, 3, 8, 8]


def test_the_same_seed_gives_the_same_batches(tiny_diffusion) -> None:
    references = {"mean": torch.randn(4, 4, 8, 8), "std": torch.zeros(4, 4, 8, 8), "text": torch.randn(4, 24, 32)}
    first, second, other = (
        next(MixedBatches(tiny_diffusion, references, Protection(), 2, NONE, seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(first[1].noise, second[1].noise)
    assert torch.equal(first[0]["mean"], second[0]["mean"])
    assert not torch.equal(first[1].noise, other[1].noise)


def test_captions_are_left_out_as_often_as_asked() -> None:
    batch = {"mean": torch.zeros(2000, 1, 1, 1), "text": torch.ones(2000, 3, 2)}
    thinned = Captions(0.1, {"text": torch.zeros(1, 3, 2)}).thin(batch, torch.Generator().manual_seed(0))
    left_out = (thinned["text"] == 0).flatten(1).all(1)
    assert left_out.float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert torch.equal(thinned["text"][~left_out], batch["text"][~left_out])
    assert batch["text"].min() == 1


def lined(counts: list[int], most: int) -> dict[str, torch.Tensor]:
    """Return latents with so many lines each; line k of example i is embedded as the number 10 i + k."""
    numbers = 10.0 * torch.arange(len(counts))[:, None] + torch.arange(most)
    lines = torch.tensor(counts)
    numbers = torch.where(torch.arange(most) < lines[:, None], numbers, torch.nan)  # what must never be drawn
    embedded = numbers[:, :, None, None].expand(-1, -1, 24, 32).clone()
    mean = numbers[:, :1, None, None].expand(-1, 4, 8, 8).clone()
    return {
        "mean": mean,
        "std": torch.zeros_like(mean),
        "text": embedded[:, 0],
        "lines": lines,
        "others": embedded[:, 1:],
    }


def said(batches, steps: int) -> list[float]:
    """Return the number of the line that every sample of the next steps was shown under."""
    return [number for batch, _ in islice(batches, steps) for number in batch["text"][:, 0, 0].tolist()]


def test_each_line_of_a_caption_comes_as_often_and_none_of_another(tiny_diffusion) -> None:
    counts, size, steps = [1, 2, 4], 3, 2000
    drawn = said(MixedBatches(tiny_diffusion, lined(counts, 4), Protection(), size, NONE, seed=1), steps)
    for example, lines in enumerate(counts):
        for line in range(lines):
            assert drawn.count(10 * example + line) / steps == pytest.approx(1 / lines, abs=0.04)
    assert set(drawn) == {0, 10, 11, 20, 21, 22, 23}


def test_a_line_is_drawn_for_each_picture_by_itself(tiny_diffusion) -> None:
    batches = MixedBatches(tiny_diffusion, lined([4, 4], 4), Protection(), 2, NONE, seed=1)
    pairs = {tuple(sorted(batch["text"][:, 0, 0].tolist())) for batch, _ in islice(batches, 400)}
    assert len(pairs) == 16


def test_captions_of_one_line_leave_chance_as_it_is() -> None:
    generator = torch.Generator().manual_seed(0)
    before, batch = generator.get_state(), lined([1, 1], 2)
    assert drawn_lines(first_lines(batch), generator).keys() == {"mean", "std", "text"}
    assert torch.equal(generator.get_state(), before)
    assert drawn_lines(batch, generator).keys() == {"mean", "std", "text"}
    assert not torch.equal(generator.get_state(), before)


def test_a_stream_that_goes_on_draws_the_lines_that_it_would_have_drawn(tiny_diffusion) -> None:
    def stream() -> MixedBatches:
        captions = Captions(0.2, {"text": torch.full((1, 24, 32), -1.0)})
        replayed = first_lines(lined([1] * 5, 1))
        return MixedBatches(
            tiny_diffusion, lined([3, 2, 4, 1], 4), Protection(0.3, examples=replayed), 4, captions, seed=2
        )

    whole, first, second = stream(), stream(), stream()
    wanted = said(whole, 30)
    begun = said(first, 11)
    second.restore(first.state())
    assert begun + said(second, 19) == wanted
    assert -1.0 in wanted


def test_replay_keeps_its_one_caption_and_runs_that_replay_other_data_draw_the_same_lines(tiny_diffusion) -> None:
    def stream(count: int) -> MixedBatches:
        replayed = {name: tensor + 100 for name, tensor in first_lines(lined([1] * count, 1)).items()}
        return MixedBatches(tiny_diffusion, lined([3, 2], 3), Protection(0.5, examples=replayed), 4, NONE, seed=4)

    one, two = said(stream(5), 40), said(stream(9), 40)
    own = [number for number in one if number < 100]
    assert own == [number for number in two if number < 100]
    assert set(own) == {0, 1, 2, 10, 11}
    assert {number for number in one if number >= 100} == {100, 110, 120, 130, 140}


def test_what_is_joined_is_padded_to_the_most_lines() -> None:
    joined = join([lined([2, 1], 2), first_lines(lined([1], 1)), lined([4], 4)])
    assert joined["lines"].tolist() == [2, 1, 1, 4]
    assert joined["others"].shape == (4, 3, 24, 32)
    assert joined["others"][3, :, 0, 0].tolist() == [1, 2, 3]
    assert joined["others"][2].abs().max() == 0
