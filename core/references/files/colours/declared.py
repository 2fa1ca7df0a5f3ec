"""What a file says of its colours: a profile, the chunks of a PNG, or the mark of a camera."""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass

from PIL import ExifTags, Image, PngImagePlugin

from core.references.files.colours import spaces
from core.references.files.colours.spaces import ADOBE, BT709, BT2020, P3, Primaries

DAMAGED = "its colour profile is damaged"
MAX_PROFILE_BYTES = 4_000_000  # those of presses have up to 3 MB
SRGB_EXPONENT = 2.2  # that gAMA says of sRGB
EXPONENTS = (0.95, 10.0)
GAMMA_TOLERANCE = 0.05  # libpng's
UNCALIBRATED, ADOBE_MARK = 0xFFFF, 2  # EXIF's ColorSpace; 1 is sRGB
ADOBE_INTEROP = "R03"  # of DCF: what cameras write when they are set to Adobe RGB
# what cICP's numbers mean (ITU-T H.273), as far as they mean a picture for screens of today
PRIMARIES = {1: BT709, 9: BT2020, 12: P3}
CURVES = {
    **dict.fromkeys((1, 6, 13, 14, 15), spaces.srgb_curve()),
    4: spaces.power(2.2),
    5: spaces.power(2.8),
    8: spaces.power(1.0),
}
PngImagePlugin.MAX_TEXT_CHUNK = MAX_PROFILE_BYTES  # bounds profiles too


class UnusableError(Exception):
    """The picture says something of its colours that can't be followed; the message says what."""


@dataclass(frozen=True)
class Space:
    """What colours are in: an ICC profile."""

    profile: bytes
    name: str = ""  # empty: the profile has its own


def declared(image: Image.Image, content: bytes) -> Space | None:
    """Return the space that the file says its colours are in, the strongest of its words; None for sRGB."""
    if image.format == "PNG" and (code := _chunk(content, b"cICP")) is not None:
        return _coded(code)
    if "icc_profile" in image.info:
        profile = image.info["icc_profile"]
        if not profile or len(profile) > MAX_PROFILE_BYTES:
            raise UnusableError("its colour profile is too large" if profile else DAMAGED)
        return Space(profile)
    if image.format == "PNG":
        return None if "srgb" in image.info else _measured(image)
    return Space(spaces.profile(ADOBE, spaces.power(563 / 256)), "Adobe RGB") if _adobe(image) else None


def _chunk(png: bytes, wanted: bytes) -> bytes | None:
    """Return a chunk that stands before the pixels."""
    at = 8
    while at + 8 <= len(png):
        size, kind = struct.unpack_from(">I4s", png, at)
        if kind == b"IDAT":
            return None
        if kind == wanted:
            return png[at + 8 : at + 8 + size]
        at += 12 + size
    return None


def _coded(code: bytes) -> Space | None:
    """Return the space of a cICP chunk: primaries, curve, matrix, range (PNG, third edition)."""
    primaries, curve = (PRIMARIES.get(code[0]), CURVES.get(code[1])) if len(code) == 4 else (None, None)
    if primaries is None or curve is None or code[2:] != b"\0\1":
        raise UnusableError("its cICP chunk names colours that are not for such pictures, HDR perhaps")
    name = {9: "BT.2020", 12: "Display P3"}.get(code[0], "BT.709")
    return Space(spaces.profile(primaries, curve), name)


def _measured(image: Image.Image) -> Space | None:
    """Return the space that gAMA and cHRM give in numbers."""
    gamma, points = image.info.get("gamma"), image.info.get("chromaticity")
    exponent = 1 / gamma if gamma else SRGB_EXPONENT  # 0 means nothing
    if not EXPONENTS[0] <= exponent <= EXPONENTS[1]:
        raise UnusableError(f"its gAMA chunk says {gamma:g}, which no picture has")
    usual = abs(exponent / SRGB_EXPONENT - 1) < GAMMA_TOLERANCE
    if usual and points is None:
        return None
    curve = spaces.srgb_curve() if usual else spaces.power(exponent)
    name = "its own primaries" if usual else f"gamma {exponent:.3g}"
    if image.mode in {"1", "L", "I;16"}:
        return Space(spaces.grey_profile(curve), name)
    try:
        primaries = BT709 if points is None else _primaries(points)
        return Space(spaces.profile(primaries, curve), name)
    except ValueError:
        raise UnusableError("its cHRM chunk names primaries that are none") from None


def _primaries(points: tuple[float, ...]) -> Primaries:
    white, red, green, blue = zip(points[::2], points[1::2], strict=True)
    return Primaries(red, green, blue, white)


def _adobe(image: Image.Image) -> bool:
    """Tell whether a camera marked its photo as Adobe RGB, which many do without a profile."""
    with suppress(Exception):  # a broken EXIF block says nothing about the colours
        exif = image.getexif()
        mark = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.ColorSpace, UNCALIBRATED)
        interop = str(exif.get_ifd(ExifTags.IFD.Interop).get(ExifTags.Interop.InteropIndex, ""))
        return mark == ADOBE_MARK or (mark == UNCALIBRATED and interop.startswith(ADOBE_INTEROP))
    return False
