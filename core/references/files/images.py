"""Decode an untrusted image into plain RGB pixels, or say what is wrong with it."""

from __future__ import annotations

import hashlib
import io
import warnings
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

from PIL import ExifTags, Image, ImageChops, ImageOps, ImageStat

from core.errors import InvalidInput, TooLarge
from core.references.files import formats
from core.references.files.colours.conversion import to_srgb
from core.references.items import ImageItem
from core.references.notices import Notice, Notices
from core.settings import Settings

# A JPEG is decoded at a half, a fourth or an eighth of its size; no other format can be
REDUCTIONS = (1, 2, 4, 8)
MAX_PHOTO_PIXELS = 200_000_000  # of a JPEG: what phones take
PILLOWS_PIXELS = Image.MAX_IMAGE_PIXELS or 0
Image.MAX_IMAGE_PIXELS = MAX_PHOTO_PIXELS
# Pillow only warns of a decompression bomb; an error for the whole process, because threads share warning filters.
warnings.simplefilter("error", Image.DecompressionBombWarning)
PNG_EFFORT = 3  # of 9: half the time of the usual 6 for a tenth more bytes
MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")
WHITE, GREY = (255, 255, 255), (128, 128, 128)
FAINT = 232  # of 255: where no channel is darker, a pixel can hardly be told from white
VANISHING = 0.9  # a picture of which so much is faint would vanish on white (our own rule)


@dataclass(frozen=True)
class Picture:
    """A decoded image without any metadata, as PNG bytes."""

    png: bytes
    width: int
    height: int
    changes: tuple[Notice, ...] = ()  # what its owner may not expect: turned, converted, put on a ground, scaled
    alpha: bytes | None = None  # greys in PNG, of what was see-through in places


def looks_like_image(head: bytes) -> bool:
    """Tell by the first bytes whether this claims to be one of the formats that are read."""
    return head.startswith(MAGIC[:2]) or (head.startswith(MAGIC[2]) and head[8:12] == b"WEBP")


def decode(content: bytes, name: str, limits: Settings) -> Picture:
    """Return the image upright, in sRGB, free of EXIF, GPS, comments and tails; raise InvalidInput naming the file.

    What is see-through lies on white, or on grey where it would vanish; what is too long is scaled down.
    """
    if not content:
        raise _refused(name, "is empty", "empty")
    if len(content) > limits.max_image_bytes:
        raise TooLarge(
            f"{name} has more than {limits.max_image_bytes:,} bytes; save it smaller.",
            code="image_too_large",
            param="file",
        )
    if not looks_like_image(content[:12]):
        raise unread(content[:4096], name)
    try:
        with Image.open(io.BytesIO(content), formats=formats.PICTURES) as opened:
            _check_header(opened, name, limits)
            if opened.format == "PNG":
                _check_sums(content)
            return _decoded(opened, content, name, limits)
    except (InvalidInput, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels(name, limits) from error
    except Exception as error:  # Pillow raises whatever its parsers meet: OSError, SyntaxError, struct.error, ...
        raise _refused(name, "is damaged or cut short", "corrupt") from error


def item(picture: Picture, name: str, caption: str | None, mask: bytes | None = None) -> ImageItem:
    """Return a picture with its name, caption and mask as something to learn from."""
    digest = hashlib.sha256(picture.png).hexdigest()
    changes = tuple(replace(change, place=name) for change in picture.changes)
    size = picture.width, picture.height
    return ImageItem(name, caption or None, picture.png, *size, digest, mask, picture.alpha, changes)


def too_much(limits: Settings) -> TooLarge:
    """Say that the references take too much room once they are kept as PNG or JSONL."""
    message = f"Kept as PNG, the pictures take more than {limits.max_file_bytes:,} bytes; send fewer or smaller ones."
    return TooLarge(message, code="file_too_large", param="file")


def unread(head: bytes, name: str) -> InvalidInput:
    """Say what a picture is that is none of the formats which are read, and how to save it."""
    found = formats.of(head)
    message = f"{name} is not a JPEG, PNG or WebP image; save it as PNG or JPEG."
    if found and found.of_class in ("image", "drawing", "pointer"):
        message = found.sentence(name)
    elif found:
        message = f"{name} looks like {found.name}, which is no picture; send the picture itself as PNG or JPEG."
    return InvalidInput(message, code="not_an_image", param="file")


def decode_packed(png: bytes, name: str, mode: Literal["RGB", "L"] = "RGB") -> Image.Image:
    """Return a picture that was packed as PNG, in RGB, or its mask in greys; raise InvalidInput that names it.

    That is where it is none after all.
    """
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            if image.width * image.height > PILLOWS_PIXELS:
                raise ValueError("more pixels than a picture that was packed")
            return image.convert(mode)
    except MemoryError:
        raise
    except Exception as error:  # as in `decode`
        raise _refused(name, "is damaged or cut short", "corrupt") from error


def _check_header(image: Image.Image, name: str, limits: Settings) -> None:
    width, height = image.size
    # A phone's JPEG may carry a second picture for depth or preview (MPO); the first is the photo.
    if image.format in {"PNG", "WEBP"} and getattr(image, "n_frames", 1) > 1:
        raise _refused(name, "is animated; send single pictures", "animated")
    if _reduction(image, limits) is None:
        raise _too_many_pixels(name, limits)
    if min(_bounded(width, height, limits)) < limits.min_image_side:
        raise _refused(
            name,
            f"is {width} x {height}; sides of {limits.min_image_side} to {limits.max_image_side} pixels are taken, and "
            "larger pictures where they can be scaled down to that",
            "image_side",
        )


def _reduction(image: Image.Image, limits: Settings) -> int | None:
    """Return by what a picture must be divided while it is decoded; None where nothing helps."""
    width, height = image.size
    scalable = image.format not in {"PNG", "WEBP"} and width * height <= MAX_PHOTO_PIXELS
    for reduction in REDUCTIONS if scalable else (1,):
        if -(-width // reduction) * -(-height // reduction) <= limits.max_image_pixels:
            return reduction
    return None


def _bounded(width: int, height: int, limits: Settings) -> tuple[int, int]:
    """Return the size in which the longer side is within its limit."""
    longer = max(width, height)
    if longer <= limits.max_image_side:
        return width, height
    return width * limits.max_image_side // longer, height * limits.max_image_side // longer


def _check_sums(content: bytes) -> None:
    """Check every chunk of a PNG; loading alone passes over the checksums of pixel data."""
    with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
        image.verify()


def _decoded(opened: Image.Image, content: bytes, name: str, limits: Settings) -> Picture:
    """Decode, and change in place as far as that goes: each copy of 40 megapixels takes 160 MB."""
    given = opened.size
    if (reduction := _reduction(opened, limits) or 1) > 1:
        opened.draft(None, (given[0] // reduction, given[1] // reduction))
    opened.load()
    changes, lying = Notices(), opened.size
    if _turn_upright(opened):
        changes.add("turned_upright", name)
    width, height = given if opened.size == lying else given[::-1]
    converted = to_srgb(opened, content)
    if converted.source:
        changes.add("converted_to_srgb", name, f"from {converted.source}")
    if converted.trouble:
        changes.add("colours_uncertain", name, converted.trouble)
    alpha = _alpha(converted.image)
    image = _on_ground(converted.image, name, changes)
    if image.size != (bounded := _bounded(*image.size, limits)):
        image = image.resize(bounded, Image.Resampling.LANCZOS)
        alpha = alpha.resize(bounded, Image.Resampling.BILINEAR) if alpha else None
    if image.size != (width, height):
        changes.add("scaled_down", name, f"{width} x {height} to {image.width} x {image.height}")
    return Picture(as_png(image), *image.size, tuple(changes), as_png(alpha) if alpha else None)


def _turn_upright(image: Image.Image) -> bool:
    """Turn a picture in place, and tell whether its EXIF orientation said so."""
    turned = False
    with suppress(Exception):  # a broken EXIF block says nothing about the pixels
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
        ImageOps.exif_transpose(image, in_place=True)
    return turned


def _on_ground(image: Image.Image, name: str, changes: Notices) -> Image.Image:
    """Return RGB: what is see-through lies on white, or on grey where it would vanish."""
    if image.mode != "RGBA":
        return image if image.mode == "RGB" else image.convert("RGB")
    alpha = image.getchannel("A")
    span = alpha.getextrema()
    if span == (255, 255):
        return image.convert("RGB")
    ground, called = (GREY, "grey") if _vanishes(image, alpha) else (WHITE, "white")
    flat = Image.new("RGB", image.size, ground)
    flat.paste(image, mask=alpha)
    if span == (0, 0):
        changes.add("nothing_visible", name)
    else:
        changes.add("see_through", name, called)
    return flat


def _vanishes(image: Image.Image, alpha: Image.Image) -> bool:
    """Tell whether nearly all that can be seen, weighted by how much it covers, is as good as white."""
    darkest = ImageChops.darker(image.getchannel("R"), image.getchannel("G"))
    darkest = ImageChops.darker(darkest, image.getchannel("B"))
    faint = darkest.point(lambda level: 255 if level >= FAINT else 0)
    covered = ImageStat.Stat(alpha).mean[0]
    return covered > 0 and ImageStat.Stat(ImageChops.multiply(alpha, faint)).mean[0] >= VANISHING * covered


def _alpha(image: Image.Image) -> Image.Image | None:
    """Return how opaque a picture is, in greys; None where it is that wholly."""
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    return None if alpha is None or alpha.getextrema() == (255, 255) else alpha


def as_png(image: Image.Image) -> bytes:
    """Return a picture as PNG with nothing but its pixels."""
    image.info = {}  # all that PNG's writer would write beside the pixels
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=PNG_EFFORT)
    return buffer.getvalue()


def _refused(name: str, what: str, code: str) -> InvalidInput:
    return InvalidInput(f"{name} {what}.", code=code, param="file")


def _too_many_pixels(name: str, limits: Settings) -> TooLarge:
    most = f"{limits.max_image_pixels / 1e6:.0f} megapixels"
    return TooLarge(f"{name} has more than {most}; make it smaller.", code="too_many_pixels", param="file")
