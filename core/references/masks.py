"""Masks beside pictures: whose each is, and its greys in the size of that picture. White is learned, black is not."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence

from PIL import Image, ImageChops

from core.references.files import images, litter, names
from core.references.files.images import Picture
from core.references.notices import Notices
from core.settings import Settings

# of files and folders that hold masks; maps of labels, and such with a grey band that is undecided, are none
NAMES = re.compile(r"masks?(?:[-_ ]?\d{1,3})?|masklabel|alpha|matte", re.IGNORECASE)
STRETCHED = 0.02  # by which proportions may differ before it is told


def owners(path: str, pictures: Iterable[str]) -> list[str]:
    """Return the pictures that a mask belongs to, which differ in their endings only; none where that is unclear."""
    folder, stem, _ = names.parts(path)
    below = any(NAMES.fullmatch(part) for part in folder.split("/"))
    called = litter.pictures_called(litter.MASK, stem, NAMES) | ({names.key(stem)} if below else set())
    found = [picture for picture in pictures if picture != path and names.key(names.parts(picture)[1]) in called]
    nearness = {picture: _in_common(folder, names.parts(picture)[0]) for picture in found}
    nearest = [picture for picture in found if nearness[picture] == max(nearness.values())]
    return nearest if len({names.key(names.without_ending(picture)) for picture in nearest}) == 1 else []


def fitted(masks: Sequence[tuple[str, bytes]], picture: Picture, limits: Settings, notices: Notices) -> bytes:
    """Return the masks of one picture as one, in greys and in its size; raises InvalidInput as images.decode.

    What is white in any of them is learned; what is see-through in one is black.
    """
    whole: Image.Image | None = None
    for label, content in masks:
        greys = _greys(images.decode(content, label, limits))
        if greys.size != (picture.width, picture.height):
            said = f"{greys.width} x {greys.height} for {picture.width} x {picture.height}"
            across, down = greys.width * picture.height, greys.height * picture.width
            stretched = abs(across - down) > STRETCHED * max(across, down)
            notices.add("mask_stretched" if stretched else "mask_scaled", label, said)
            greys = greys.resize((picture.width, picture.height), Image.Resampling.BILINEAR)
        whole = greys if whole is None else ImageChops.lighter(whole, greys)
    assert whole is not None
    if whole.getextrema() == (0, 0):
        notices.add("mask_empty", masks[0][0])
    return images.as_png(whole)


def is_blank(layer: bytes) -> bool:
    """Tell whether a mask, or an alpha, of ours leaves nothing to be learned."""
    with Image.open(io.BytesIO(layer), formats=["PNG"]) as image:
        return image.getextrema() == (0, 0)


def _greys(mask: Picture) -> Image.Image:
    with Image.open(io.BytesIO(mask.png), formats=["PNG"]) as image:
        greys = image.convert("L")
    if mask.alpha is None:
        return greys
    with Image.open(io.BytesIO(mask.alpha), formats=["PNG"]) as alpha:
        return ImageChops.multiply(greys, alpha.convert("L"))


def _in_common(folder: str, other: str) -> tuple[bool, int]:
    """Return how near two folders are: whether they are one, and how many of their first parts are the same."""
    pairs = zip(folder.split("/"), other.split("/"), strict=False)
    same = 0
    for first, second in pairs:
        if names.key(first) != names.key(second):
            break
        same += 1
    return names.key(folder) == names.key(other), same
