"""What is see-through gets a ground that shows it, and photos larger than is taken are scaled down."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from core.errors import InvalidInput
from core.references.files import images
from core.references.files.images import GREY, Picture
from core.settings import Settings
from tests.inputs.files import chunk

LIMITS = Settings(data=Path("/nonexistent"))
SMALL = Settings(data=Path("/nonexistent"), max_image_pixels=10_000, max_image_side=120)
WHITE, BLACK, RED = (255, 255, 255), (0, 0, 0), (200, 0, 0)
CLEAR = (0, 0, 0, 0)


def packed(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def decoded(content: bytes, limits: Settings = LIMITS) -> tuple[Picture, Image.Image]:
    picture = images.decode(content, "a.png", limits)
    with Image.open(io.BytesIO(picture.png)) as image:
        image.load()
        assert (image.mode, image.info, image.size) == ("RGB", {}, (picture.width, picture.height))
        return picture, image


def told(picture: Picture) -> list[tuple[str, str]]:
    return [(notice.code, notice.detail) for notice in picture.changes]


def sticker(colour: tuple[int, int, int], alpha: int = 255) -> Image.Image:
    """A disc of one colour on nothing."""
    image = Image.new("RGBA", (64, 64), CLEAR)
    ImageDraw.Draw(image).ellipse((16, 16, 48, 48), fill=(*colour, alpha))
    return image


@pytest.mark.parametrize(
    ("colour", "ground", "called"),
    [
        (WHITE, GREY, "grey"),
        ((240, 236, 233), GREY, "grey"),
        ((255, 255, 200), WHITE, "white"),
        ((210, 210, 210), WHITE, "white"),
        (RED, WHITE, "white"),
        (BLACK, WHITE, "white"),
    ],
)
def test_art_lies_on_a_ground_that_shows_it(
    colour: tuple[int, int, int], ground: tuple[int, int, int], called: str
) -> None:
    picture, image = decoded(packed(sticker(colour)))
    assert (image.getpixel((2, 2)), image.getpixel((32, 32))) == (ground, colour)
    assert told(picture) == [("see_through", called)]


def test_white_art_with_much_else_in_it_lies_on_white() -> None:
    image = sticker(WHITE)
    ImageDraw.Draw(image).ellipse((24, 24, 40, 40), fill=(*RED, 255))
    assert decoded(packed(image))[1].getpixel((2, 2)) == WHITE
    image = sticker(WHITE)
    ImageDraw.Draw(image).ellipse((30, 30, 33, 33), fill=(*RED, 255))
    assert decoded(packed(image))[1].getpixel((2, 2)) == GREY


def test_what_covers_more_counts_more() -> None:
    image = sticker(WHITE, alpha=255)
    ImageDraw.Draw(image).rectangle((0, 0, 63, 10), fill=(*BLACK, 12))
    assert decoded(packed(image))[1].getpixel((2, 60)) == GREY


def keyed(depth: int, kind: int, ink: list[int], key: list[int]) -> bytes:
    """A PNG in which one colour stands for transparency (tRNS): the left half of the picture."""

    def level(values: list[int]) -> bytes:
        return b"".join(struct.pack(">H" if depth == 16 else ">B", value) for value in values)

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 32, 32, depth, kind, 0, 0, 0))
    clear = chunk(b"tRNS", b"".join(struct.pack(">H", value) for value in key))
    rows = zlib.compress((b"\0" + level(key) * 16 + level(ink) * 16) * 32)
    return b"".join([b"\x89PNG\r\n\x1a\n", head, clear, chunk(b"IDAT", rows), chunk(b"IEND", b"")])


WAYS = {
    "RGBA": packed(sticker(WHITE)),
    "LA": packed(sticker(WHITE).convert("LA")),
    "a palette": packed(sticker(WHITE).quantize(2)),
    "WebP": packed(sticker(WHITE), "WEBP", lossless=True),
    "grey, one level of it clear": keyed(8, 0, [255], [0]),
    "grey of 16 bits": keyed(16, 0, [65_535], [5_140]),
    "colours, one of them clear": keyed(8, 2, [250, 255, 255], [1, 2, 3]),
    "colours of 16 bits": keyed(16, 2, [65_535, 64_000, 65_535], [300, 600, 900]),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_being_see_through_is_seen(way: str) -> None:
    picture, image = decoded(WAYS[way])
    assert image.getpixel((2, 2)) == GREY
    assert told(picture) == [("see_through", "grey")]


def test_what_is_half_see_through_is_mixed_with_its_ground() -> None:
    picture, image = decoded(packed(sticker(RED, alpha=128)))
    assert image.getpixel((32, 32)) == (227, 127, 127)
    assert told(picture) == [("see_through", "white")]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_that_nothing_makes_use_of_is_no_news(mode: str) -> None:
    picture, image = decoded(packed(Image.radial_gradient("L").convert(mode)))
    assert picture.changes == ()
    assert image.tobytes() == Image.radial_gradient("L").convert("RGB").tobytes()


def test_a_picture_of_which_nothing_can_be_seen_says_so() -> None:
    picture, image = decoded(packed(Image.new("RGBA", (32, 32), (9, 90, 9, 0))))
    assert image.getpixel((5, 5)) == WHITE
    assert told(picture) == [("nothing_visible", "")]


def scene(width: int, height: int) -> Image.Image:
    return Image.linear_gradient("L").resize((width, height)).convert("RGB")


@pytest.mark.slow
def test_a_phones_photo_of_48_megapixels_is_taken_at_half_its_size() -> None:
    picture, image = decoded(packed(scene(8064, 6048), "JPEG"))
    assert image.size == (4032, 3024)
    assert told(picture) == [("scaled_down", "8064 x 6048 to 4032 x 3024")]


@pytest.mark.parametrize(
    ("size", "scaled"),
    [((100, 100), (100, 100)), ((160, 120), (80, 60)), ((161, 119), (81, 60)), ((400, 300), (100, 75))],
)
@pytest.mark.parametrize("format", ["JPEG", "MPO"])
def test_a_jpeg_of_too_many_pixels_is_decoded_smaller(
    format: str, size: tuple[int, int], scaled: tuple[int, int]
) -> None:
    more = {"save_all": True, "append_images": [scene(40, 40)]} if format == "MPO" else {}
    picture, image = decoded(packed(scene(*size), format, **more), SMALL)
    assert image.size == scaled
    assert bool(picture.changes) == (size != scaled)
    shown, meant = image.getpixel((20, scaled[1] // 2)), scene(*scaled).getpixel((20, scaled[1] // 2))
    assert isinstance(shown, tuple)
    assert isinstance(meant, tuple)
    assert abs(shown[0] - meant[0]) <= 4


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_so_is_one_of_other_pixels(mode: str) -> None:
    assert decoded(packed(scene(160, 120).convert(mode), "JPEG"), SMALL)[1].size == (80, 60)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_a_panorama_is_scaled_to_the_longest_side(format: str) -> None:
    picture, image = decoded(packed(scene(240, 40), format), SMALL)
    assert image.size == (120, 20)
    assert told(picture) == [("scaled_down", "240 x 40 to 120 x 20")]
    upright, _ = decoded(packed(scene(40, 240), format), SMALL)
    assert told(upright) == [("scaled_down", "40 x 240 to 20 x 120")]


def test_sizes_are_told_of_the_picture_as_it_stands_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture, image = decoded(packed(scene(160, 120), "JPEG", exif=exif), SMALL)
    assert image.size == (60, 80)
    assert told(picture) == [("turned_upright", ""), ("scaled_down", "120 x 160 to 60 x 80")]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (packed(scene(160, 120)), "too_many_pixels"),
        (packed(scene(160, 120), "WEBP"), "too_many_pixels"),
        (packed(scene(900, 900), "JPEG"), "too_many_pixels"),
        (packed(scene(300, 20), "JPEG"), "image_side"),
        (packed(scene(200, 20)), "image_side"),
        (packed(scene(15, 100)), "image_side"),
    ],
)
def test_what_can_not_be_scaled_is_refused(content: bytes, code: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        decoded(content, SMALL)
    assert refusal.value.code == code


@pytest.mark.parametrize(("side", "code"), [(14_200, "too_many_pixels"), (60_000, "too_many_pixels")])
def test_a_jpeg_that_claims_more_than_any_phone_takes_is_refused(side: int, code: str) -> None:
    content = bytearray(packed(scene(64, 64), "JPEG"))
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", side, side)
    with pytest.raises(InvalidInput) as refusal:
        decoded(bytes(content))
    assert refusal.value.code == code


def test_a_packed_picture_has_no_more_pixels_than_pillow_takes_by_itself() -> None:
    whole = packed(scene(64, 64))
    assert images.decode_packed(whole, "a.png").size == (64, 64)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0))
    with pytest.raises(InvalidInput):
        images.decode_packed(whole[:8] + head + whole[33:], "a.png")
