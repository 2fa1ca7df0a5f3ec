"""What protects a backbone: weights of slots, distances to the frozen network, unrelated captions, resuming."""

from itertools import islice

import pytest
import torch
from PIL import Image

from core.method.backbones.backbone import Draw, count, join, take
from core.method.backbones.shapes import sizes_of
from core.method.lora.adapter import Adapter
from core.method.protection.keeping import kept_distance
from core.method.protection.protection import Protection
from core.method.training.batches import Captions, MixedBatches, Shuffled, SideBySide, batch_slots
from core.method.training.loop import Training

NO_CAPTIONS = Captions(0.0, None)
COLOURS = ("red", "green", "blue")
OWN = [{"text": "arr, the sea be wide"}, {"text": "arr, me hearty"}, {"text": "arr, the wind be fair"}]
POOL = [{"text": "the cat sat on the mat"}, {"text": "numbers are one two three"}, {"text": "a dog"}]


@pytest.fixture
def pictures(tiny_diffusion):
    """Three encoded pictures with captions."""
    size = (tiny_diffusion.resolution, tiny_diffusion.resolution)
    return tiny_diffusion.encode([{"image": Image.new("RGB", size, name), "caption": name} for name in COLOURS])


def trained(backbone, protections, steps: int = 6, pieces: int = 1):
    references, batches = backbone.encode(OWN), []
    for protection in protections:
        batches.append(MixedBatches(backbone, references, protection, 4, NO_CAPTIONS, seed=1))
    stack = backbone.lora.new(2, 4.0, runs=len(batches), seed=3)
    training = Training(backbone, stack, SideBySide(batches), learning_rate=1e-2, max_steps=steps, pieces=pieces)
    return stack, list(training)


def moved(backbone, runs: int = 1) -> Adapter:
    """Return an adapter that changes predictions, by each run in another way."""
    adapter = backbone.lora.new(2, 4.0, runs=runs, seed=1)
    for up in adapter.up.values():
        up.data.normal_(generator=torch.Generator().manual_seed(0)).mul_(0.3)
    return adapter


def test_means_and_weight_say_what_data_and_distance_count() -> None:
    found = {means: Protection.by(means, 4.0, 0.5) for means in ("replay", "distil", "both")}
    assert {means: (one.replay, one.distil) for means, one in found.items()} == {
        "replay": (4.0, 0.0),
        "distil": (0.0, 4.0),
        "both": (2.0, 2.0),
    }
    assert Protection.by("replay", 1.0, 0.5).plain
    assert not found["replay"].plain


class Published:
    """Batches as versions before there were means of protection made them: own data in a share of the slots."""

    def __init__(self, backbone, references, examples, gamma: float, size: int, seed: int) -> None:
        self.backbone, self.gamma, self.size = backbone, gamma, size
        self.everything, first = join([references, examples]), count(references)
        self.noise = torch.Generator().manual_seed(3 * seed)
        self.own = Shuffled(range(first), 3 * seed + 1)
        self.replayed = Shuffled(range(first, count(self.everything)), 3 * seed + 2)

    def __iter__(self):
        return self

    def __next__(self):
        slots = batch_slots(self.gamma, self.size, self.noise)
        own = [next(self.own) for _ in range(self.size - slots)]
        batch = take(self.everything, torch.tensor(own + [next(self.replayed) for _ in range(slots)]))
        return batch, self.backbone.random_draw(self.size, self.noise, **sizes_of(batch))


@pytest.mark.parametrize("kind", ["texts", "images"])
def test_replay_at_weight_one_trains_what_was_published_to_the_bit(
    tiny_language, tiny_diffusion, pictures, kind: str
) -> None:
    backbone, own, pool = tiny_diffusion, take(pictures, torch.arange(2)), take(pictures, torch.tensor([2]))
    if kind == "texts":
        backbone, own, pool = tiny_language, tiny_language.encode(OWN), tiny_language.encode(POOL)
    told = Protection.by("replay", 1.0, 0.5, pool)
    streams = [
        MixedBatches(backbone, own, told, 4, NO_CAPTIONS, seed=1),
        Published(backbone, own, pool, gamma=0.5, size=4, seed=1),
    ]
    hashes = set()
    for batches in streams:
        adapter = backbone.lora.new(2, 4.0, seed=3)
        list(Training(backbone, adapter, batches, learning_rate=1e-2, max_steps=6))
        hashes.add(adapter.sha256())
    assert len(hashes) == 1


def test_replay_at_weight_one_does_not_feel_runs_beside_it_that_distil(tiny_language) -> None:
    pool = tiny_language.encode(POOL)
    plain, _ = trained(tiny_language, [Protection(0.5, examples=pool)])
    weighed, _ = trained(tiny_language, [Protection(0.5, examples=pool), Protection(0.5, distil=1.0, examples=pool)])
    for path, matrix in plain.up.items():
        torch.testing.assert_close(matrix[0], weighed.up[path][0], rtol=1e-4, atol=1e-6)
        assert not torch.allclose(weighed.up[path][0], weighed.up[path][1], atol=1e-6)


def test_a_weight_counts_like_as_many_slots(tiny_language) -> None:
    batch = tiny_language.encode(POOL)
    counted = batch | {"weight": torch.tensor([1.0, 4.0, 0.0]), "distil": torch.zeros(3)}
    once, weighed = (tiny_language.loss(one, Draw()) for one in (batch, counted))
    torch.testing.assert_close(weighed, once * torch.tensor([1.0, 4.0, 0.0]))


def test_the_distance_of_texts_is_the_divergence_of_whole_distributions(tiny_language) -> None:
    batch, adapter = tiny_language.encode(POOL), moved(tiny_language)
    ids, mask, labels = batch["input_ids"], batch["attention_mask"], batch["labels"]

    def logs() -> torch.Tensor:
        return tiny_language.model(input_ids=ids, attention_mask=mask).logits[:, :-1].log_softmax(-1)

    with torch.no_grad():
        with tiny_language.lora.use(None):
            then = logs()
        with tiny_language.lora.use(adapter):
            now, found = logs(), tiny_language.distance(batch, Draw())
    learned = (labels[:, 1:] != -100).float()
    wanted = ((then.exp() * (then - now)).sum(-1) * learned).sum(1) / learned.sum(1)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
    assert bool((wanted > 1e-3).all())


def test_runs_side_by_side_ask_the_frozen_model_once_for_the_texts_that_they_share(tiny_language) -> None:
    batch, adapter, asked = tiny_language.encode(POOL), moved(tiny_language, runs=2), []
    alone = kept_distance(tiny_language, adapter.select(1).clone(), batch, [Draw()])
    heard = tiny_language.model.register_forward_pre_hook(
        lambda _, __, given: asked.append(len(given["input_ids"])), with_kwargs=True
    )
    both = kept_distance(tiny_language, adapter, batch, [Draw()])
    heard.remove()
    assert asked == [2 * count(batch), count(batch)]
    torch.testing.assert_close(both[1:], alone, rtol=1e-4, atol=1e-6)


def test_an_adapter_that_changes_nothing_is_at_no_distance(tiny_language, tiny_diffusion, pictures) -> None:
    for backbone, batch in ((tiny_language, tiny_language.encode(POOL)), (tiny_diffusion, pictures)):
        draws = backbone.fixed_draws(2, count(batch), 0)
        distances = kept_distance(backbone, backbone.lora.new(2, 4.0, runs=2), batch, draws)
        assert (distances.shape, float(distances.abs().max())) == ((2, count(batch)), pytest.approx(0, abs=1e-9))
        assert float(kept_distance(backbone, moved(backbone), batch, draws).min()) > 0


def test_the_loss_of_a_picture_that_is_distilled_is_its_distance(tiny_diffusion, pictures) -> None:
    draw = tiny_diffusion.random_draw(count(pictures), torch.Generator().manual_seed(4))
    weight, distil = torch.tensor([1.0, 0.0, 2.0]), torch.tensor([0.0, 3.0, 0.5])
    with torch.no_grad(), tiny_diffusion.lora.use(moved(tiny_diffusion)):
        loss, distance = tiny_diffusion.loss(pictures, draw), tiny_diffusion.distance(pictures, draw)
        found = tiny_diffusion.loss(pictures | {"weight": weight, "distil": distil}, draw)
    torch.testing.assert_close(found, weight * loss + distil * distance)


@pytest.mark.parametrize("kind", ["texts", "images"])
def test_stacked_runs_with_other_protections_train_as_alone(tiny_language, tiny_diffusion, pictures, kind: str) -> None:
    if kind == "texts":
        backbone, references, pool = tiny_language, tiny_language.encode(OWN), tiny_language.encode(POOL)
        means = [Protection(), Protection(0.5, examples=pool), Protection.by("distil", 4.0, 0.25, pool)]
    else:
        backbone, references, pool = tiny_diffusion, pictures, pictures
        captions = {"text": pictures["text"].flip(0)}
        means = [Protection(0.5, 4.0, examples=pool), Protection.by("distil", 4.0, 0.5, captions=captions)]

    def train(chosen: list[Protection]):
        streams = [MixedBatches(backbone, references, one, 4, NO_CAPTIONS, seed=1) for one in chosen]
        stack = backbone.lora.new(2, 4.0, runs=len(chosen), seed=3)
        list(Training(backbone, stack, SideBySide(streams), learning_rate=1e-3, max_steps=4))
        return stack

    together = train(means)
    for place, one in enumerate(means):
        alone = train([one])
        for path, matrix in alone.up.items():
            torch.testing.assert_close(together.up[path][place], matrix[0], rtol=2e-3, atol=2e-5)


def test_a_batch_in_pieces_gives_the_same_steps(tiny_language) -> None:
    protection = Protection.by("both", 4.0, 0.5, tiny_language.encode(POOL))
    whole, cut = (trained(tiny_language, [protection], pieces=pieces)[1] for pieces in (1, 2))
    assert [step.loss[0] for step in cut] == pytest.approx([step.loss[0] for step in whole], rel=1e-3)


def test_unrelated_captions_stand_on_references_and_leave_their_latents(tiny_diffusion, pictures) -> None:
    captions = {"text": torch.full((5, *pictures["text"].shape[1:]), 7.0) + torch.arange(5).view(-1, 1, 1)}
    protection = Protection.by("distil", 2.0, 0.5, captions=captions)
    stream = MixedBatches(tiny_diffusion, pictures, protection, 4, NO_CAPTIONS, seed=2)
    said = set()
    for batch, _ in islice(stream, 10):
        assert batch["distil"].tolist() == [0, 0, 2, 2]
        assert batch["weight"].tolist() == [1, 1, 0, 0]
        assert all(any(torch.equal(row, own) for own in pictures["mean"]) for row in batch["mean"])
        said |= {float(row[0, 0]) for row in batch["text"][2:]}
        assert not any(float(row[0, 0]) in {7.0, 8.0, 9.0, 10.0, 11.0} for row in batch["text"][:2])
    assert said == {7.0, 8.0, 9.0, 10.0, 11.0}


def test_a_stream_with_unrelated_captions_goes_on_where_another_stood(tiny_diffusion, pictures) -> None:
    captions = {"text": torch.randn(5, *pictures["text"].shape[1:], generator=torch.Generator().manual_seed(0))}

    def stream() -> MixedBatches:
        protection = Protection.by("distil", 2.0, 0.3, captions=captions)
        return MixedBatches(tiny_diffusion, pictures, protection, 4, NO_CAPTIONS, seed=2)

    whole, begun, resumed = stream(), stream(), stream()
    list(islice(whole, 7))
    list(islice(begun, 7))
    resumed.restore(begun.state())
    for (one, noise), (other, same) in islice(zip(whole, resumed, strict=True), 6):
        assert all(torch.equal(one[name], other[name]) for name in one)
        assert noise.noise is not None
        assert torch.equal(noise.noise, same.noise)


def test_joined_batches_say_what_each_counts_where_one_of_them_does(tiny_language) -> None:
    batch = tiny_language.encode(POOL)
    weighed = Protection.by("distil", 2.0, 0.5, batch).weighed(take(batch, torch.tensor([0, 1])), 1)
    joined = join([batch, weighed])
    assert joined["weight"].tolist() == [1, 1, 1, 1, 0]
    assert joined["distil"].tolist() == [0, 0, 0, 0, 2]


def test_what_is_distilled_moves_less_from_the_backbone_than_what_is_not(tiny_language) -> None:
    pool = tiny_language.encode(POOL)
    held = Protection.by("distil", 4.0, 0.5, pool)
    stack, _ = trained(tiny_language, [Protection(), held], steps=30)
    alone, kept = kept_distance(tiny_language, stack, pool, [Draw()]).mean(1).tolist()
    assert kept < 0.5 * alone


def test_a_surrogate_is_protected_by_the_examples_that_were_chosen_without_its_own_references(tiny_language) -> None:
    whole = tiny_language.encode(POOL)
    blind = tuple(take(whole, torch.tensor([place])) for place in (2, 0))
    protection = Protection(0.5, 4.0, examples=whole, blind=blind)
    for fold, examples in enumerate(blind):
        own = protection.at(0.25).of_fold(fold)
        assert (own.examples, own.gamma, own.replay) == (examples, 0.25, 4.0)
    assert Protection(0.5, examples=whole).of_fold(1).examples is whole
