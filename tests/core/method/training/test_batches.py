"""Who is in a batch: own references for every fold, replay in its slots, captions left out as often as asked."""

from itertools import islice

import pytest
import torch

from core.method.training.batches import Captions, MixedBatches, Shuffled, SideBySide

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
    streams = [MixedBatches(tiny_language, numbered(first, 2), None, 0.0, 2, NONE, seed=first) for first in (0, 10, 20)]
    for row in who(SideBySide(streams), 20):
        assert [set(row[:2]), set(row[2:4]), set(row[4:])] == [{0, 1}, {10, 11}, {20, 21}]


def test_runs_that_replay_other_data_see_the_same_references_under_the_same_noise(tiny_diffusion) -> None:
    def latents(count: int, seed: int) -> dict[str, torch.Tensor]:
        mean = torch.randn(count, 4, 8, 8, generator=torch.Generator().manual_seed(seed))
        return {"mean": mean, "std": torch.zeros_like(mean), "text": torch.zeros(count, 24, 32)}

    one, two = (
        list(islice(MixedBatches(tiny_diffusion, latents(5, 0), latents(n, n), 0.5, 4, NONE, seed=1), 12))
        for n in (7, 9)
    )
    for (a, noise_a), (b, noise_b) in zip(one, two, strict=True):
        assert torch.equal(a["mean"][:2], b["mean"][:2])
        assert not torch.equal(a["mean"][2:], b["mean"][2:])
        assert torch.equal(noise_a.noise, noise_b.noise)


@pytest.mark.parametrize(("gamma", "size"), [(0.5, 4), (0.25, 6), (0.9, 3), (0.3, 1)])
def test_replay_fills_its_share_of_the_slots_on_average(tiny_language, gamma: float, size: int) -> None:
    rows = who(MixedBatches(tiny_language, numbered(0, 5), numbered(100, 7), gamma, size, NONE, seed=1), 600)
    assert all(len(row) == size for row in rows)
    share = sum(number >= 100 for row in rows for number in row) / (600 * size)
    assert share == pytest.approx(gamma, abs=0.05)


def test_without_replay_there_are_only_references(tiny_language) -> None:
    rows = who(MixedBatches(tiny_language, numbered(0, 5), None, 0.5, 4, NONE, seed=1), 50)
    assert {number for row in rows for number in row} == {0, 1, 2, 3, 4}


def test_references_and_replay_of_other_lengths_share_a_batch(tiny_language) -> None:
    batch, _ = next(MixedBatches(tiny_language, numbered(0, 5, 3), numbered(100, 5, 8), 0.5, 4, NONE, seed=1))
    assert batch["input_ids"].shape == (4, 8)
    assert batch["attention_mask"].sum(1).tolist() == [3, 3, 8, 8]


def test_the_same_seed_gives_the_same_batches(tiny_diffusion) -> None:
    references = {"mean": torch.randn(4, 4, 8, 8), "std": torch.zeros(4, 4, 8, 8), "text": torch.randn(4, 24, 32)}
    first, second, other = (
        next(MixedBatches(tiny_diffusion, references, None, 0.0, 2, NONE, seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(first[1].noise, second[1].noise)
    assert torch.equal(first[0]["mean"], second[0]["mean"])
    assert not torch.equal(first[1].noise, other[1].noise)


def test_captions_are_left_out_as_often_as_asked() -> None:
    batch = {"mean": torch.zeros(2000, 1, 1, 1), "text": torch.ones(2000, 3, 2)}
    thinned = Captions(0.1, torch.zeros(1, 3, 2)).thin(batch, torch.Generator().manual_seed(0))
    left_out = (thinned["text"] == 0).flatten(1).all(1)
    assert left_out.float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert torch.equal(thinned["text"][~left_out], batch["text"][~left_out])
    assert batch["text"].min() == 1
