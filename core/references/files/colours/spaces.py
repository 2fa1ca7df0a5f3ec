"""Colour spaces that a picture describes by numbers or by a mark, made into ICC profiles, which LittleCMS reads."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Point = tuple[float, float]  # a chromaticity: x, y of CIE 1931
Vector = tuple[float, float, float]

D65: Point = (0.3127, 0.3290)
D50: Vector = (0.9642, 1.0, 0.8249)  # X, Y, Z of the white that profiles are made for
# Bradford: X, Y, Z as the three kinds of cones see them (ICC.1:2010, annex E)
CONES = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))
VERSION = 0x04200000  # 4.2
MAX_NUMBER = 32_767.0  # of a profile's fixed-point numbers


@dataclass(frozen=True)
class Primaries:
    """The colours that a space is made of."""

    red: Point
    green: Point
    blue: Point
    white: Point = D65


BT709 = Primaries((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))  # of sRGB too
BT2020 = Primaries((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
P3 = Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE = Primaries((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))


def power(exponent: float) -> bytes:
    """Return the curve of light = sample ** exponent."""
    return b"para" + struct.pack(">4xHH", 0, 0) + _fixed(exponent)


def srgb_curve() -> bytes:
    """Return the curve of sRGB: a power of 2.4 with a straight foot (IEC 61966-2-1)."""
    return b"para" + struct.pack(">4xHH", 3, 0) + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def profile(primaries: Primaries, curve: bytes) -> bytes:
    """Return an ICC profile of a screen; raise ValueError where the primaries span no space."""
    red, green, blue = (b"XYZ \0\0\0\0" + _fixed(*column) for column in _columns(primaries))
    tags = {b"rXYZ": red, b"gXYZ": green, b"bXYZ": blue, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    return _assembled(b"RGB ", tags)


def grey_profile(curve: bytes) -> bytes:
    """Return an ICC profile of grey pictures."""
    return _assembled(b"GRAY", {b"kTRC": curve})


def _assembled(space: bytes, colours: Mapping[bytes, bytes]) -> bytes:
    tags = {b"wtpt": b"XYZ \0\0\0\0" + _fixed(*D50), **colours}
    table, data = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, body in tags.items():
        table += name + struct.pack(">II", start + len(data), len(body))
        data += body + b"\0" * (-len(body) % 4)
    head = struct.pack(">I4xI4s4s4s12x4s28x", start + len(data), VERSION, b"mntr", space, b"XYZ ", b"acsp")
    return (head + _fixed(*D50)).ljust(128, b"\0") + table + data


def _columns(primaries: Primaries) -> tuple[Vector, Vector, Vector]:
    """Return X, Y, Z of full red, green and blue under D50 (ICC.1:2010, annex E; Lindbloom)."""
    white = _light(primaries.white)
    corners = [_light(point) for point in (primaries.red, primaries.green, primaries.blue)]
    amounts = _solved(_turned(corners), white)
    cones, wanted = _times(CONES, white), _times(CONES, D50)
    columns = []
    for corner, amount in zip(corners, amounts, strict=True):
        seen = _times(CONES, tuple(amount * value for value in corner))
        columns.append(_solved(CONES, [value * to / of for value, to, of in zip(seen, wanted, cones, strict=True)]))
    return columns[0], columns[1], columns[2]


def _light(point: Point) -> Vector:
    x, y = point
    if not (0 <= x <= 1 and 0 < y <= 1 and x + y <= 1):
        raise ValueError("no colour")
    return (x / y, 1.0, (1 - x - y) / y)


def _times(rows: Sequence[Sequence[float]], vector: Sequence[float]) -> list[float]:
    return [sum(factor * value for factor, value in zip(row, vector, strict=True)) for row in rows]


def _turned(rows: Sequence[Sequence[float]]) -> list[Sequence[float]]:
    return list(zip(*rows, strict=True))


def _solved(rows: Sequence[Sequence[float]], wanted: Sequence[float]) -> Vector:
    """Solve three equations by Cramer's rule; raise ValueError where they have no answer."""
    whole = _determinant(_turned(rows))
    if abs(whole) < 1e-9:
        raise ValueError("primaries that span no space")
    columns = _turned(rows)
    first, second, third = (
        _determinant([wanted if place == other else column for other, column in enumerate(columns)]) / whole
        for place in range(3)
    )
    return (first, second, third)


def _determinant(columns: Sequence[Sequence[float]]) -> float:
    (a, b, c), (d, e, f), (g, h, i) = columns
    return a * (e * i - f * h) - d * (b * i - c * h) + g * (b * f - c * e)


def _fixed(*numbers: float) -> bytes:
    """Return numbers as ICC's s15Fixed16; raise ValueError for one that it can't hold."""
    if not all(abs(number) < MAX_NUMBER for number in numbers):
        raise ValueError("a number beyond a profile's")
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)
