"""Convert a picture's colours to sRGB from the space that it says they are in.

What learns from pictures, and whoever looks at what comes of it, takes every number for sRGB.
"""

from __future__ import annotations

import io
import struct
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageChops, ImageCms

from core.references.files.colours.declared import DAMAGED, UnusableError, declared

MAX_NAME_CHARACTERS = 40
SAME_LEVELS = 2  # of 256: a space that differs less from sRGB is sRGB, written down with other roundings
EXACT_PIXELS = 1_000_000  # a table is followed exactly in so many; in more (0.3 s each million) by a grid of it
GRID = 33  # points a side of that grid: at most a few levels off, in dark inks
INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC  # with black point compensation, as editors of photos do by default
CLASSES = frozenset({"mntr", "scnr", "prtr", "spac"})  # of profiles; others describe no picture


@dataclass(frozen=True)
class Converted:
    """A picture in sRGB, as L, RGB or RGBA, or in CMYK where it is not known which; and what became of its colours."""

    image: Image.Image
    source: str = ""  # the space it was converted from; empty where it was in sRGB before
    trouble: str = ""  # why it was left as it is though its colours may be meant otherwise


@dataclass(frozen=True)
class _Profile:
    opened: ImageCms.ImageCmsProfile
    kind: str  # of the pixels it is for
    name: str
    by_matrix: bool  # and not by tables


def to_srgb(image: Image.Image, content: bytes) -> Converted:
    """Convert a loaded picture, in place where its kind of pixels allows; `content` is the file it was read from."""
    plain = _plain(image)
    try:
        space = declared(image, content)
        if space is None and plain.mode == "CMYK":
            raise UnusableError("it is in CMYK without a colour profile")
        if space is None:
            return Converted(_levels(plain))
        colours = _of_kind(plain, _read(space.profile).kind)
        transform = _transform(space.profile, colours.mode, colours.width * colours.height <= EXACT_PIXELS)
    except UnusableError as error:
        return Converted(_levels(plain), trouble=str(error))
    if transform is None:
        return Converted(_levels(plain))
    name = space.name or _read(space.profile).name or "a profile without a name"
    return Converted(_applied(transform, colours, plain), source=name)


def _plain(image: Image.Image) -> Image.Image:
    """Return the picture as L, I;16, RGB, RGBA or CMYK."""
    if image.mode in {"LA", "PA"} or "transparency" in image.info:
        return _see_through(image)
    if image.mode in {"L", "I;16", "RGB", "RGBA", "CMYK"}:
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _see_through(image: Image.Image) -> Image.Image:
    """Return RGBA; the colour that stands for transparency is told in 16 bits where the file had so many."""
    if image.mode == "RGBA":
        return image
    clear = image.info.get("transparency")
    if image.mode == "I;16":
        image = _levels(image)
        image.info["transparency"] = clear >> 8 if isinstance(clear, int) else None
    elif image.mode == "RGB" and isinstance(clear, tuple) and max(clear) > 255:
        image.info["transparency"] = tuple(level >> 8 for level in clear)
    return image.convert("RGBA")


def _levels(image: Image.Image) -> Image.Image:
    """Return 8 of 16 bits."""
    return image.point(lambda value: value / 256).convert("L") if image.mode == "I;16" else image


@lru_cache(maxsize=8)  # photos of one camera carry one profile
def _read(profile: bytes) -> _Profile:
    """Parse an ICC profile, which anybody may have written."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        facts = opened.profile
        kind, of_pictures = facts.xcolor_space.strip(), facts.device_class in CLASSES
        name = " ".join("".join(sign if sign.isprintable() else " " for sign in _description(opened)).split())
        read = _Profile(opened, kind, name[:MAX_NAME_CHARACTERS].strip(), facts.is_matrix_shaper)
    except Exception as error:  # LittleCMS and Pillow raise what they meet
        raise UnusableError(DAMAGED) from error
    if not of_pictures or kind not in {"RGB", "GRAY", "CMYK"}:
        raise UnusableError("its colour profile is not one of pictures")
    return read


def _description(opened: ImageCms.ImageCmsProfile) -> str:
    with suppress(UnicodeError):
        return opened.profile.profile_description or ""
    return ""


def _of_kind(image: Image.Image, kind: str) -> Image.Image:
    """Return the pixels that a profile is applied to."""
    if kind == "RGB" and image.mode != "CMYK":
        return image if image.mode in {"RGB", "RGBA"} else _levels(image).convert("RGB")
    if kind == "CMYK" and image.mode == "CMYK":
        return image
    if kind == "GRAY" and image.mode in {"L", "I;16"}:
        return image
    if kind == "GRAY" and image.mode in {"RGB", "RGBA"} and _is_grey(image):
        return image.getchannel("R")
    raise UnusableError(f"its colour profile is for {kind} pixels, and its own are {image.mode}")


def _is_grey(image: Image.Image) -> bool:
    red, green, blue = (image.getchannel(name) for name in "RGB")
    return not (ImageChops.difference(red, green).getbbox() or ImageChops.difference(red, blue).getbbox())


@lru_cache(maxsize=8)  # photos of one camera carry one profile
def _transform(profile: bytes, mode: str, exact: bool) -> ImageCms.ImageCmsTransform | None:
    """Return what turns such pixels into sRGB; None where they are in it already."""
    read = _read(profile)
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    if not read.by_matrix:
        flags |= ImageCms.Flags.NOOPTIMIZE if exact else ImageCms.Flags.GRIDPOINTS(GRID)
    target = "RGBA" if mode == "RGBA" else "RGB"
    try:
        srgb = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(read.opened, srgb, mode, target, INTENT, flags)
        return None if mode != "CMYK" and _changes_nothing(transform, mode) else transform
    except Exception as error:  # as in `_read`; a table that wants too much memory is one of them
        raise UnusableError(DAMAGED) from error


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Tell whether a transform leaves a chart of colours, or of greys, as it is."""
    if mode in {"RGB", "RGBA"}:
        steps = range(0, 256, 15)
        levels = bytes(level for red in steps for green in steps for blue in steps for level in (red, green, blue))
        chart = Image.frombytes("RGB", (len(steps), len(steps) ** 2), levels)
        given = chart.convert(mode)
    else:
        chart = Image.frombytes("L", (256, 1), bytes(range(256))).convert("RGB")
        sixteen = struct.pack("<256H", *range(0, 65_536, 257))
        given = chart.convert("L") if mode == "L" else Image.frombytes("I;16", (256, 1), sixteen)
    shown = ImageCms.applyTransform(given, transform)
    assert shown is not None
    difference = ImageChops.difference(chart, shown.convert("RGB"))
    return max(max(band.tobytes()) for band in difference.split()) <= SAME_LEVELS


def _applied(transform: ImageCms.ImageCmsTransform, colours: Image.Image, plain: Image.Image) -> Image.Image:
    """Return the pixels in sRGB, with the transparency they had; each copy of 40 megapixels would take 160 MB."""
    if colours.mode in {"RGB", "RGBA"}:
        ImageCms.applyTransform(colours, transform, inPlace=True)
        return colours
    shown = ImageCms.applyTransform(colours, transform)
    assert shown is not None
    if plain.mode == "RGBA":
        shown.putalpha(plain.getchannel("A"))
    return shown
