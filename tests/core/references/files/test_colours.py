"""Whatever space a picture's colours are in, they are kept as sRGB; and no profile does any harm."""

from __future__ import annotations

import dataclasses
import io
import struct
import zlib
from pathlib import Path

import numpy
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from core.references.files import images
from core.references.files.colours.conversion import EXACT_PIXELS
from core.references.files.colours.declared import MAX_PROFILE_BYTES
from core.references.files.images import Picture
from core.references.notices import Notice
from core.settings import Settings
from tests.core.references.files import icc
from tests.core.references.files.icc import ADOBE, P3, PROPHOTO, SRGB, Screen
from tests.inputs.files import chunk

RED = (200, 40, 40)
LIMITS = Settings(data=Path("/nonexistent"))
SPACES = pytest.mark.parametrize("space", [P3, ADOBE, PROPHOTO], ids=lambda space: space.name)
SIDE = 32
LINEAR = dataclasses.replace(SRGB, name="linear", exponent=1.0)


def packed(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def decoded(content: bytes) -> Picture:
    return images.decode(content, "a.png", LIMITS)


def pixel(picture: Picture) -> tuple[int, ...]:
    with Image.open(io.BytesIO(picture.png)) as image:
        level = image.getpixel((5, 5))
    assert isinstance(level, tuple)
    return level


def told(picture: Picture) -> list[tuple[str, str]]:
    return [(notice.code, notice.detail) for notice in picture.changes]


def distance(first: tuple[int, ...], second: tuple[int, ...]) -> int:
    return max(abs(a - b) for a, b in zip(first, second, strict=True))


def flat(space: Screen, mode: str = "RGB", colour: tuple[int, int, int] = RED) -> Image.Image:
    """A picture of one colour, written down in a space."""
    level = tuple(round(255 * float(value)) for value in space.encode(colour))
    return Image.new("RGB", (SIDE, SIDE), level).convert(mode)


def raw(depth: int, kind: int, levels: list[int], *extra: bytes) -> bytes:
    """A PNG of one colour, of any depth and kind of pixels, with chunks before them."""
    one = b"".join(struct.pack(">H" if depth == 16 else ">B", level) for level in levels)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, depth, kind, 0, 0, 0))
    rows = zlib.compress((b"\0" + one * SIDE) * SIDE)
    return b"".join([b"\x89PNG\r\n\x1a\n", head, *extra, chunk(b"IDAT", rows), chunk(b"IEND", b"")])


def profile_chunk(profile: bytes) -> bytes:
    return chunk(b"iCCP", b"profile\0\0" + zlib.compress(profile))


def gamma_chunk(gamma: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(100_000 * gamma)))


def primaries_chunk(space: Screen) -> bytes:
    points = [space.white, space.red, space.green, space.blue]
    return chunk(b"cHRM", struct.pack(">8I", *(round(100_000 * part) for point in points for part in point)))


def sixteen(space: Screen) -> list[int]:
    return [round(65_535 * float(value)) for value in space.encode(RED)]


@SPACES
@pytest.mark.parametrize(
    ("format", "options"),
    [("PNG", {}), ("JPEG", {"quality": 95, "subsampling": 0}), ("WEBP", {"lossless": True}), ("WEBP", {"quality": 95})],
)
def test_red_stays_red_whatever_profile_says_it(space: Screen, format: str, options: dict[str, object]) -> None:
    picture = decoded(packed(flat(space), format, icc_profile=space.profile(), **options))
    assert distance(pixel(picture), RED) <= 2
    assert told(picture) == [("converted_to_srgb", f"from {space.name}")]


@SPACES
@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_other_kinds_of_pixels_are_converted_too(space: Screen, mode: str) -> None:
    image = flat(space).quantize(2) if mode == "P" else flat(space, mode)
    picture = decoded(packed(image, icc_profile=space.profile()))
    assert distance(pixel(picture), RED) <= 2


@SPACES
def test_a_png_of_16_bits_is_converted_too(space: Screen) -> None:
    picture = decoded(raw(16, 2, sixteen(space), profile_chunk(space.profile())))
    assert distance(pixel(picture), RED) <= 2


def test_transparency_stays_apart_while_colours_are_converted() -> None:
    image = flat(P3, "RGBA")
    image.paste((0, 0, 0, 0), (16, 0, SIDE, SIDE))
    image.paste((*image.getpixel((5, 5))[:3], 128), (0, 0, 16, SIDE))  # type: ignore[index]
    picture = decoded(packed(image, icc_profile=P3.profile()))
    assert distance(pixel(picture), tuple((level + 255) // 2 for level in RED)) <= 2
    assert [code for code, _ in told(picture)] == ["converted_to_srgb", "see_through"]


def test_a_photo_in_the_inks_of_a_press_is_converted() -> None:
    axis = numpy.linspace(0, 255, 52).round() / 255
    inks = numpy.stack(numpy.meshgrid([0.0], axis, axis, axis, indexing="ij"), -1).reshape(-1, 4)
    printed = 255 * SRGB.level(icc.press_light(inks))
    nearest = numpy.abs(printed - RED).max(1).argmin()
    level, meant = tuple(round(255 * ink) for ink in inks[nearest]), tuple(round(part) for part in printed[nearest])
    assert distance(meant, RED) <= 8
    profile = icc.press()
    for side in (SIDE, 1 + int(EXACT_PIXELS**0.5)):
        content = packed(Image.new("CMYK", (side, side), level), "JPEG", quality=95, icc_profile=profile)
        picture = decoded(content)
        assert distance(pixel(picture), meant) <= 2
        assert told(picture) == [("converted_to_srgb", "from a press")]


def test_inks_without_a_profile_are_taken_with_a_word() -> None:
    picture = decoded(packed(Image.new("CMYK", (SIDE, SIDE), (0, 200, 200, 0)), "JPEG"))
    assert told(picture) == [("colours_uncertain", "it is in CMYK without a colour profile")]


@pytest.mark.parametrize("exponent", [1.0, 1.8, 2.6])
@pytest.mark.parametrize(("depth", "kind"), [(8, 0), (16, 0), (8, 4), (16, 4), (8, 2)])
def test_grey_pictures_are_converted_by_profiles_of_grey(exponent: float, depth: int, kind: int) -> None:
    most = 2**depth - 1
    levels = [round(most * 0.4)] * (3 if kind == 2 else 1) + [most] * (kind == 4)
    picture = decoded(raw(depth, kind, levels, profile_chunk(icc.grey(exponent))))
    wanted = round(float(255 * SRGB.level(numpy.array(0.4**exponent))))
    assert distance(pixel(picture), (wanted,) * 3) <= 2
    assert told(picture) == [("converted_to_srgb", f"from Gray Gamma {exponent}")]


def test_a_grey_picture_may_carry_the_profile_of_colours() -> None:
    picture = decoded(packed(Image.new("L", (SIDE, SIDE), 60), icc_profile=ADOBE.profile()))
    wanted = round(float(255 * SRGB.level(numpy.array((60 / 255) ** (563 / 256)))))
    assert distance(pixel(picture), (wanted,) * 3) <= 1


@pytest.mark.parametrize(
    "profile", [SRGB.profile(), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()]
)
def test_what_is_in_srgb_already_is_left_as_it_is_without_a_word(profile: bytes) -> None:
    chart = Image.radial_gradient("L").resize((SIDE, SIDE)).convert("RGB")
    picture = decoded(packed(chart, icc_profile=profile))
    with Image.open(io.BytesIO(picture.png)) as kept:
        assert kept.tobytes() == chart.tobytes()
    assert picture.changes == ()


@pytest.mark.parametrize(
    ("chunks", "space"),
    [
        ([gamma_chunk(1.0)], LINEAR),
        ([gamma_chunk(1 / 1.8)], dataclasses.replace(SRGB, exponent=1.8)),
        ([gamma_chunk(1 / 1.8), primaries_chunk(PROPHOTO)], PROPHOTO),
        ([primaries_chunk(P3)], P3),
        ([gamma_chunk(0.45455), primaries_chunk(P3)], P3),
        ([gamma_chunk(0.45455), profile_chunk(ADOBE.profile())], ADOBE),
        ([gamma_chunk(1.0), profile_chunk(ADOBE.profile())], ADOBE),
        ([chunk(b"cICP", bytes([12, 13, 0, 1]))], P3),
        ([chunk(b"cICP", bytes([12, 13, 0, 1])), profile_chunk(ADOBE.profile())], P3),
        ([chunk(b"cICP", bytes([1, 8, 0, 1]))], LINEAR),
    ],
)
@pytest.mark.parametrize("depth", [8, 16])
def test_what_a_png_says_of_its_colours_counts_and_the_strongest_word_most(
    chunks: list[bytes], space: Screen, depth: int
) -> None:
    levels = [round((2**depth - 1) * float(value)) for value in space.encode(RED)]
    picture = decoded(raw(depth, 2, levels, *chunks))
    assert distance(pixel(picture), RED) <= 2
    assert [code for code, _ in told(picture)] == ["converted_to_srgb"]


@pytest.mark.parametrize(
    "chunks",
    [
        [gamma_chunk(0.45455)],
        [gamma_chunk(0.45455), primaries_chunk(SRGB)],
        [chunk(b"sRGB", b"\0"), gamma_chunk(1.0)],
        [gamma_chunk(0)],
        [chunk(b"cICP", bytes([1, 13, 0, 1])), gamma_chunk(1.0)],
    ],
)
def test_what_a_png_says_of_srgb_changes_nothing(chunks: list[bytes]) -> None:
    picture = decoded(raw(8, 2, list(RED), *chunks))
    assert (pixel(picture), picture.changes) == (RED, ())


@pytest.mark.parametrize(
    ("chunks", "what"),
    [
        ([gamma_chunk(2.2)], "gAMA"),
        ([gamma_chunk(40_000)], "gAMA"),
        ([gamma_chunk(0.00001)], "gAMA"),
        ([chunk(b"cHRM", b"\0" * 32)], "cHRM"),
        ([chunk(b"cHRM", b"\xff" * 32)], "cHRM"),
        ([chunk(b"cHRM", struct.pack(">8I", *[31_270, 32_900] * 4))], "cHRM"),
        ([chunk(b"cICP", bytes([9, 16, 0, 1]))], "cICP"),
        ([chunk(b"cICP", b"\1")], "cICP"),
        ([profile_chunk(icc.grey(1.8))], "for GRAY pixels"),
        ([profile_chunk(icc.press(2))], "for CMYK pixels"),
        ([profile_chunk(icc.assembled("x", {}, kind=b"link"))], "not one of pictures"),
        ([profile_chunk(icc.assembled("x", {}, space=b"Lab "))], "not one of pictures"),
        ([profile_chunk(icc.assembled("x", {}))], "damaged"),
        ([profile_chunk(b"noise" * 99)], "damaged"),
        ([profile_chunk(P3.profile()[:-40])], "damaged"),
        ([chunk(b"iCCP", b"profile\0\0noise")], "damaged"),
    ],
)
def test_what_can_not_be_followed_leaves_the_picture_as_it_is_with_a_word(chunks: list[bytes], what: str) -> None:
    picture = decoded(raw(8, 2, list(RED), *chunks))
    assert pixel(picture) == RED
    ((code, why),) = told(picture)
    assert code == "colours_uncertain"
    assert what in why


def exif(mark: int | None, interop: str = "") -> Image.Exif:
    made = Image.Exif()
    if mark is not None:
        made.get_ifd(0x8769)[0xA001] = mark
    if interop:
        made.get_ifd(0x8769)[0xA005] = {1: interop}
    return made


@pytest.mark.parametrize(
    ("mark", "interop", "adobe"),
    [(0xFFFF, "R03", True), (2, "", True), (1, "R03", False), (0xFFFF, "R98", False), (0xFFFF, "", False)],
)
@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_a_camera_may_say_adobe_rgb_without_a_profile(format: str, mark: int, interop: str, adobe: bool) -> None:
    content = packed(flat(ADOBE), format, quality=95, exif=exif(mark, interop))
    picture = decoded(content)
    assert (distance(pixel(picture), RED) <= 2) == adobe
    assert told(picture) == ([("converted_to_srgb", "from Adobe RGB")] if adobe else [])


def test_a_long_profile_comes_in_several_pieces_of_a_jpeg_and_each_is_needed() -> None:
    content = packed(flat(P3), "JPEG", quality=95, icc_profile=P3.profile(padding=200_000))
    assert distance(pixel(decoded(content)), RED) <= 2
    at = content.index(b"ICC_PROFILE\0\2") - 4
    size = int.from_bytes(content[at + 2 : at + 4])
    picture = decoded(content[:at] + content[at + 2 + size :])
    assert told(picture) == [("colours_uncertain", "its colour profile is damaged")]


@pytest.mark.parametrize("format", ["PNG", "WEBP", "JPEG"])
def test_a_profile_of_megabytes_is_read_up_to_a_bound(format: str) -> None:
    losses: dict[str, dict[str, object]] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}}
    lossless = losses.get(format, {})
    large = P3.profile(padding=MAX_PROFILE_BYTES - 10_000)
    assert distance(pixel(decoded(packed(flat(P3), format, icc_profile=large, **lossless))), RED) <= 2
    if format != "PNG":  # such a chunk is a bomb
        picture = decoded(packed(flat(P3), format, icc_profile=large + b"\0" * 20_000, **lossless))
        assert told(picture) == [("colours_uncertain", "its colour profile is too large")]


def test_the_name_of_a_profile_is_one_clean_line() -> None:
    space = dataclasses.replace(P3, name="a\n\x1b[2Jb\u202ec" + "d" * 500)
    ((_, detail),) = told(decoded(packed(flat(P3), icc_profile=space.profile())))
    assert detail.startswith("from a [2Jb cd")
    assert len(detail) <= 50
    assert (
        "without a name"
        in told(decoded(packed(flat(P3), icc_profile=dataclasses.replace(P3, name="").profile())))[0][1]
    )


def points(low_x: float, high_x: float, low_y: float, high_y: float) -> st.SearchStrategy[tuple[float, float]]:
    return st.tuples(st.floats(low_x, high_x), st.floats(low_y, high_y))


SCREENS = st.builds(
    Screen,
    name=st.just("any"),
    red=points(0.55, 0.70, 0.26, 0.30),
    green=points(0.10, 0.30, 0.55, 0.70),
    blue=points(0.05, 0.18, 0.02, 0.12),
    white=points(0.28, 0.36, 0.30, 0.37),
    exponent=st.one_of(st.none(), st.floats(1.0, 2.8)),
)
LEVELS = st.lists(st.integers(0, 255), min_size=3 * 64, max_size=3 * 64)


@settings(max_examples=60)
@given(SCREENS, LEVELS)
def test_any_profile_of_primaries_gives_the_colours_that_sums_give(space: Screen, levels: list[int]) -> None:
    image = Image.frombytes("RGB", (16, 4), bytes(levels)).resize((32, 16), Image.Resampling.NEAREST)
    given_levels = numpy.asarray(image).reshape(-1, 3)
    picture = decoded(packed(image, icc_profile=space.profile()))
    with Image.open(io.BytesIO(picture.png)) as kept:
        shown = numpy.asarray(kept).reshape(-1, 3)
    wanted = space.decode(given_levels / 255)
    assert numpy.abs(shown - wanted).max() <= (2 if picture.changes else 3)


@pytest.mark.slow
@settings(max_examples=60)
@given(SCREENS)
def test_numbers_in_a_png_give_what_a_profile_of_them_gives(space: Screen) -> None:
    exponent = space.exponent or 2.2
    chunks = [gamma_chunk(1 / exponent), primaries_chunk(space)]
    assume(abs(exponent / 2.2 - 1) > 0.06)
    picture = decoded(raw(8, 2, [90, 140, 60], *chunks))
    other = decoded(raw(8, 2, [90, 140, 60], profile_chunk(dataclasses.replace(space, exponent=exponent).profile())))
    assert distance(pixel(picture), pixel(other)) <= 1


TABLES = st.builds(
    lambda kind, head, body: kind + b"\0\0\0\0" + head + body,
    st.sampled_from([b"mft1", b"mft2", b"mAB ", b"curv", b"para", b"mluc"]),
    st.binary(min_size=4, max_size=60),
    st.binary(max_size=300),
)
TAGS = st.dictionaries(st.sampled_from([b"A2B0", b"A2B1", b"rTRC", b"rXYZ", b"kTRC", b"desc", b"chad"]), TABLES)


@pytest.mark.slow
@settings(max_examples=300)
@given(
    st.sampled_from([P3.profile(), icc.press(3), icc.grey(1.8)]),
    st.lists(st.tuples(st.integers(0, 2_000), st.binary(min_size=1, max_size=8)), max_size=6),
    st.integers(0, 3_000),
    st.sampled_from(["RGB", "RGBA", "L", "P", "CMYK"]),
)
def test_a_damaged_profile_never_does_harm(
    profile: bytes, damages: list[tuple[int, bytes]], cut: int, mode: str
) -> None:
    damaged = bytearray(profile)
    for at, what in damages:
        damaged[at % len(profile) : at % len(profile) + len(what)] = what
    image = Image.new("CMYK", (SIDE, SIDE), (0, 90, 90, 9)) if mode == "CMYK" else flat(P3, mode)
    content = packed(image, "JPEG" if mode == "CMYK" else "PNG", icc_profile=bytes(damaged[: cut or None]))
    check(decoded(content))


@pytest.mark.slow
@settings(max_examples=300)
@given(TAGS, st.sampled_from([b"RGB ", b"GRAY", b"CMYK"]), st.sampled_from([b"XYZ ", b"Lab "]))
def test_a_profile_of_absurd_tables_never_does_harm(tags: dict[bytes, bytes], space: bytes, connection: bytes) -> None:
    profile = icc.assembled("absurd", tags, space=space, kind=b"prtr", connection=connection)
    for mode in ("RGB", "L"):
        check(decoded(packed(flat(P3, mode), icc_profile=profile)))


@pytest.mark.parametrize("inputs", [3, 4, 15])
def test_a_table_that_claims_a_world_of_memory_is_not_followed(inputs: int) -> None:
    body = b"mft2\0\0\0\0" + bytes([inputs, 3, 255, 0]) + icc.fixed(*[1.0] * 9) + struct.pack(">HH", 4096, 4096)
    profile = icc.assembled("bomb", {b"A2B0": body + b"\0" * 5_000}, kind=b"prtr", connection=b"Lab ")
    picture = decoded(packed(flat(P3), icc_profile=profile))
    assert told(picture) == [("colours_uncertain", "its colour profile is damaged")]


def check(picture: Picture) -> None:
    assert (picture.width, picture.height) == (SIDE, SIDE)
    assert all(isinstance(notice, Notice) and notice.detail.isprintable() for notice in picture.changes)
    assert {notice.code for notice in picture.changes} <= {"converted_to_srgb", "colours_uncertain"}
