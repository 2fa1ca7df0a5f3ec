"""Mirrored, shifted, framed and brightened pictures are kin, and other pictures are not: on the demo's real ones."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import pytest
from PIL import Image, ImageEnhance, ImageOps

from core.disk import ROOT
from core.method.likeness.groups import grouped
from core.method.likeness.pictures import Views, kin

POOL = ROOT / "demo/emoji_ldm/pool/images.zip"
OTHERS = ROOT / "benchmarks/data/emoji.zip"
SIDE = 256
HITS = 0.94  # of the copies of each kind
# two hearts that differ in size and a dot, and two of nearly one colour
ALIKE = {("heart", "heavy_heart_exclamation_mark_ornament"), ("orange_heart", "yellow_heart")}


def opened(*archives: object) -> dict[str, Image.Image]:
    found = {}
    for archive in archives:
        with zipfile.ZipFile(archive) as packed:  # type: ignore[call-overload]
            for name in sorted(packed.namelist()):
                label = name.removesuffix(".png").split("-", 1)[-1] if name[0].isdigit() else name
                found[label] = Image.open(io.BytesIO(packed.read(name))).convert("RGB")
    return found


def shifted(image: Image.Image, right: int, down: int) -> Image.Image:
    """Move a picture over its own edge, whose colours go on."""
    corner = image.getpixel((0, 0))
    ground = Image.new("RGB", image.size, corner)
    ground.paste(image, (right, down))
    return ground


def cropped(image: Image.Image, share: float) -> Image.Image:
    edge = round(share * SIDE)
    return image.crop((edge, edge, SIDE - edge, SIDE - edge)).resize((SIDE, SIDE))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "mirrored": ImageOps.mirror,
    "shifted by 2 %": lambda image: shifted(image, 5, -3),
    "shifted by 8 %": lambda image: shifted(image, 20, 16),
    "framed in black": lambda image: ImageOps.expand(image, 13, "black"),
    "framed in white": lambda image: ImageOps.expand(image, 20, "white"),
    "brightened": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "darkened": lambda image: ImageEnhance.Brightness(image).enhance(0.6),
    "contrast lowered": lambda image: ImageEnhance.Contrast(image).enhance(0.7),
    "contrast raised": lambda image: ImageEnhance.Contrast(image).enhance(1.4),
    "cropped": lambda image: cropped(image, 0.08),
    "mirrored, cropped and darkened": lambda image: ImageOps.mirror(
        ImageEnhance.Brightness(cropped(image, 0.05)).enhance(0.75)
    ),
}


def found(images: list[Image.Image], change: Callable[[Image.Image], Image.Image]) -> float:
    """Return the share of pictures of which the changed one is kin."""
    large = [image.resize((SIDE, SIDE), Image.Resampling.LANCZOS) for image in images]
    return sum(bool(kin([Views.of(image)], [Views.of(change(image))])) for image in large) / len(large)


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_cat_is_kin_of_the_cat(change: str) -> None:
    cats = [image for name, image in opened(OTHERS).items() if name.startswith("cat")][:3]
    assert found(cats, CHANGES[change]) == 1.0


def test_the_faces_of_one_cat_are_no_kin() -> None:
    cats = [Views.of(image) for name, image in opened(OTHERS).items() if name.startswith("cat")]
    assert len(cats) > 5
    assert kin(cats, cats) == []


def test_kin_of_kin_are_one_group() -> None:
    cats = [image for name, image in opened(OTHERS).items() if name.startswith("cat")][:2]
    family = [cats[0], ImageOps.mirror(cats[0]), cats[1], ImageEnhance.Brightness(cats[0]).enhance(0.7)]
    views = [Views.of(image) for image in family]
    assert grouped(4, kin(views, views)) == [0, 0, 2, 0]


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_nearly_all_changed_pictures_are_found(change: str) -> None:
    assert found(list(opened(POOL, OTHERS).values())[::8], CHANGES[change]) >= HITS


@pytest.mark.long
def test_of_all_pairs_of_pictures_two_are_taken_for_kin() -> None:
    pictures = opened(POOL, OTHERS)
    names, views = list(pictures), [Views.of(image) for image in pictures.values()]
    assert {tuple(sorted((names[i], names[j]))) for i, j in kin(views, views)} <= ALIKE
