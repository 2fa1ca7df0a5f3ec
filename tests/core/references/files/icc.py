"""ICC profiles made byte by byte, and the sums of which they are the short form: what a picture should look like."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

Floats = NDArray[numpy.float64]
Point = tuple[float, float]

D65 = (0.3127, 0.3290)
D50 = numpy.array([0.9642, 1.0, 0.8249])
BRADFORD = numpy.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


@dataclass(frozen=True)
class Screen:
    """A space of three primaries; `exponent` None has the curve of sRGB."""

    name: str
    red: Point
    green: Point
    blue: Point
    white: Point = D65
    exponent: float | None = None

    def matrix(self) -> Floats:
        """XYZ under D50 of full red, green and blue, in columns."""
        corners = numpy.stack([light(point) for point in (self.red, self.green, self.blue)], 1)
        white = light(self.white)
        scaled = corners * numpy.linalg.solve(corners, white)
        adapted = numpy.linalg.inv(BRADFORD) @ numpy.diag((BRADFORD @ D50) / (BRADFORD @ white)) @ BRADFORD
        return numpy.asarray(adapted @ scaled)

    def encode(self, srgb: tuple[int, int, int]) -> Floats:
        """What a colour of sRGB is called in this space, from 0 to 1."""
        linear = numpy.linalg.solve(self.matrix(), SRGB.matrix() @ SRGB.light(numpy.array(srgb) / 255))
        clipped = numpy.clip(linear, 0, 1)
        return SRGB.level(clipped) if self.exponent is None else numpy.asarray(clipped ** (1 / self.exponent))

    def decode(self, levels: Floats) -> Floats:
        """What a colour of this space is in sRGB, from 0 to 255."""
        linear = numpy.linalg.solve(SRGB.matrix(), self.matrix() @ self.light(levels).T).T
        return 255 * SRGB.level(numpy.clip(linear, 0, 1))

    def light(self, levels: Floats) -> Floats:
        if self.exponent is not None:
            return numpy.asarray(levels**self.exponent)
        return numpy.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)

    def level(self, linear: Floats) -> Floats:
        return numpy.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)

    def profile(self, padding: int = 0) -> bytes:
        curve = parametric(*SRGB_CURVE) if self.exponent is None else parametric(self.exponent)
        columns = self.matrix().T
        tags = {name: xyz(*column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)}
        tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
        return assembled(self.name, tags | ({b"zpad": b"data" + b"\0" * padding} if padding else {}))


SRGB = Screen("sRGB of our own", (0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
P3 = Screen("Display P3", (0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE = Screen("Adobe RGB (1998)", (0.64, 0.33), (0.21, 0.71), (0.15, 0.06), exponent=563 / 256)
PROPHOTO = Screen("ProPhoto RGB", (0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001), (0.3457, 0.3585), 1.8)


def light(point: Point) -> Floats:
    x, y = point
    return numpy.array([x / y, 1, (1 - x - y) / y])


def grey(exponent: float) -> bytes:
    """A profile of grey pictures."""
    return assembled(f"Gray Gamma {exponent}", {b"kTRC": parametric(exponent)}, space=b"GRAY")


def press_light(inks: Floats) -> Floats:
    """What a made-up press prints, as linear sRGB: each ink takes its share of each light."""
    passing = numpy.array([[0.0, 0.35, 0.8], [0.75, 0.02, 0.30], [0.95, 0.85, 0.03], [0.03, 0.03, 0.03]])
    return numpy.asarray(numpy.prod(1 - inks[..., None] * (1 - passing), axis=-2))


def press(points: int = 17) -> bytes:
    """A profile of that press: a table of Lab (lut16Type) over four inks."""
    axis = numpy.linspace(0, 1, points)
    inks = numpy.stack(numpy.meshgrid(axis, axis, axis, axis, indexing="ij"), -1)
    colours = lab(press_light(inks) @ SRGB.matrix().T)
    coded = numpy.stack([colours[..., 0] * 652.8, (colours[..., 1] + 128) * 256, (colours[..., 2] + 128) * 256], -1)
    line = struct.pack(">HH", 0, 65535)
    table = b"mft2\0\0\0\0" + bytes([4, 3, points, 0]) + fixed(*numpy.eye(3).ravel()) + struct.pack(">HH", 2, 2)
    table += line * 4 + coded.clip(0, 65535).round().astype(">u2").tobytes() + line * 3
    return assembled("a press", {b"A2B0": table}, space=b"CMYK", kind=b"prtr", connection=b"Lab ")


def lab(colours: Floats) -> Floats:
    share = colours / D50
    bent = numpy.where(share > 216 / 24389, numpy.cbrt(share), (24389 / 27 * share + 16) / 116)
    return numpy.stack(
        [116 * bent[..., 1] - 16, 500 * (bent[..., 0] - bent[..., 1]), 200 * (bent[..., 1] - bent[..., 2])], -1
    )


def fixed(*numbers: float) -> bytes:
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def xyz(*numbers: float) -> bytes:
    return b"XYZ \0\0\0\0" + fixed(*numbers)


def parametric(*numbers: float) -> bytes:
    return b"para\0\0\0\0" + struct.pack(">HH", {1: 0, 5: 3}[len(numbers)], 0) + fixed(*numbers)


def described(name: str) -> bytes:
    text = name.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II4sII", 1, 12, b"enUS", len(text), 28) + text


def assembled(
    name: str, tags: dict[bytes, bytes], *, space: bytes = b"RGB ", kind: bytes = b"mntr", connection: bytes = b"XYZ "
) -> bytes:
    """A profile of version 4 with these tags."""
    whole = {b"desc": described(name), b"wtpt": xyz(*D50), **tags}
    table, data = struct.pack(">I", len(whole)), b""
    for key, body in whole.items():
        table += key + struct.pack(">II", 132 + 12 * len(whole) + len(data), len(body))
        data += body + b"\0" * (-len(body) % 4)
    head = struct.pack(
        ">I4sI4s4s4s12x4s28x", 128 + len(table + data), b"test", 0x04200000, kind, space, connection, b"acsp"
    )
    return (head + fixed(*D50)).ljust(128, b"\0") + table + data
