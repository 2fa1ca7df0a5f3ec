"""How near pictures are to references by their details, in a transformer's view of them."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from zipfile import ZipFile

import pytest
import torch
from PIL import Image, ImageChops, ImageFilter
from torch import Tensor

from core.backbones.record import read_record
from core.disk import ROOT
from core.method.backbones.images.activations import MOST_PLACES, places
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.stopping.picture_evidence import MOST_REFERENCES, judge_pictures

pytestmark = pytest.mark.slow
CATS = ROOT / "demo/emoji_ldm/references/cat"
SUBJECT, UNRELATED = 8, 4  # pictures that a step is judged by


@pytest.fixture(scope="module")
def backbone() -> DiffusionBackbone:
    record = read_record(ROOT / "demo/emoji_64/weights/flow")
    return DiffusionBackbone.load(
        record.path, form=record.form, resolution=record.resolution, target_modules=record.target_modules
    )


@pytest.fixture(scope="module")
def cats() -> list[Image.Image]:
    return [Image.open(path).convert("RGB") for path in sorted(CATS.glob("*.png"))]


def judged(
    backbone: DiffusionBackbone, references: Sequence[Image.Image], *steps: tuple[Sequence[Image.Image], Image.Image]
) -> list[tuple[float, float]]:
    """Return similarity and swallowing of steps that have drawn these pictures, the first before training."""
    drawn = [[*one] * SUBJECT for one, _ in steps], [[other] * UNRELATED for _, other in steps]
    known = [_in_turns(own[:SUBJECT], others) for own, others in zip(*drawn, strict=True)]
    snapshots = dict.fromkeys(range(1, len(steps)), backbone.lora.new(1, 1.0))
    judging = judge_pictures(
        backbone, snapshots, [*snapshots], ["cat"], ["bear"], references, seed=0, known=lambda step: known[step]
    )
    return [(one.similarity, one.swallowed) for one in judging]


def _in_turns(own: Sequence[Image.Image], others: Sequence[Image.Image]) -> list[Image.Image]:
    """Return pictures in the order in which they are drawn: one of each list in turns, as long as both last."""
    pairs = [picture for pair in zip(own, others, strict=False) for picture in pair]
    return [*pairs, *own[len(others) :]]


def smudged(picture: Image.Image) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(picture.width / 12))


def moved(picture: Image.Image) -> Image.Image:
    return ImageChops.offset(picture, picture.width // 8, picture.height // 16)


def test_what_is_clean_is_nearer_than_what_is_smudged_wherever_it_lies_and_nothing_is_far(
    backbone: DiffusionBackbone, cats: list[Image.Image]
) -> None:
    blank = Image.new("RGB", cats[0].size, "white")
    _, blurred, clean, nothing = judged(
        backbone,
        cats,
        ([smudged(smudged(cat)) for cat in cats], blank),
        ([smudged(cat) for cat in cats], blank),
        ([moved(cat) for cat in cats], moved(cats[0])),
        ([blank], smudged(smudged(cats[0]))),
    )
    assert nothing[0] < 0 < blurred[0] < clean[0] / 2
    assert 0 < nothing[1] < clean[1]


def test_likeness_is_the_mean_over_places_of_the_nearest_place_both_ways(
    backbone: DiffusionBackbone, cats: list[Image.Image]
) -> None:
    references, before, now = cats[:3], [smudged(cats[3])], cats[4:]
    found = judged(backbone, references, (before, cats[5]), (now, cats[5]))

    def alike(pictures: Tensor, others: Tensor) -> float:
        nearest = [max(float((other @ place).max()) for other in others) for each in pictures for place in each]
        return sum(nearest) / len(nearest)

    told, begun, drawn = (backbone.details(pictures) for pictures in (references, before, now))
    assert told is not None
    assert begun is not None
    assert drawn is not None
    begin, end = ((alike(some, told) + alike(told, some)) / 2 for some in (begun, drawn))
    assert found[1][0] == pytest.approx((end - begin) / (1 - begin), rel=1e-3)
    assert found[1][1] == 0.0


@pytest.mark.parametrize("count", [1, 2, 6])
def test_references_measure_one_and_other_pictures_less_however_unlike_these_are(
    backbone: DiffusionBackbone, cats: list[Image.Image], count: int
) -> None:
    with ZipFile(ROOT / "demo/emoji_64/pool/images.zip") as pool:
        names = sorted(pool.namelist())[:: len(pool.namelist()) // count][:count]
        unlike = [Image.open(BytesIO(pool.read(name))).convert("RGB") for name in names]
    _, same, others = judged(
        backbone, unlike, ([smudged(each) for each in unlike], cats[0]), (unlike, cats[0]), (cats, cats[0])
    )
    assert same[0] == pytest.approx(1.0, abs=1e-3)
    assert others[0] < 0.9


def test_of_many_references_some_are_compared(backbone: DiffusionBackbone, cats: list[Image.Image]) -> None:
    many = [cats[0], smudged(cats[0])] * MOST_REFERENCES
    _, same, other = judged(backbone, many, ([cats[1]], cats[2]), ([cats[0]], cats[2]), ([smudged(cats[0])], cats[2]))
    assert same[0] == pytest.approx(1.0, abs=1e-3)  # every second one
    assert other[0] < 0.9


@pytest.mark.parametrize(("rows", "columns", "packed"), [(8, 8, 1), (64, 48, 1), (64, 32, 2), (16, 96, 2)])
def test_many_places_are_fewer_by_the_means_of_neighbours(rows: int, columns: int, packed: int) -> None:
    picture, block = Image.new("RGB", (8, 8)), torch.nn.Identity()
    given = torch.randn(1, 3, (rows // packed) * (columns // packed))
    found = places(block, lambda given: given, [picture], lambda _: block(given), (8, 8), (rows, columns))
    sides = [min(MOST_PLACES, side // packed) for side in (rows, columns)]
    assert found.shape == (1, 4 * sides[0] * sides[1], 3)
    assert torch.allclose(found.norm(dim=2), torch.ones(1))
    corner = given.unflatten(2, (rows // packed, columns // packed))
    first = corner[0, :, : rows // packed // sides[0], : columns // packed // sides[1]].mean((1, 2))
    assert torch.allclose(found[0, 0], torch.nn.functional.normalize(first, dim=0), atol=1e-6)
