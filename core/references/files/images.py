"""Decode an untrusted image into plain RGB pixels, or say what is wrong with it."""

from __future__ import annotations

import hashlib
import io
import warnings
from contextlib import suppress
from dataclasses import dataclass

from PIL import ExifTags, Image, ImageOps

from core.errors import InvalidInput, TooLarge
from core.references.files import formats
from core.references.items import ImageItem
from core.settings import Settings

FORMATS = ("JPEG", "PNG", "WEBP")  # nothing that runs another program (EPS) or holds a document
# Pillow only warns of a decompression bomb; an error for the whole process, because threads share warning filters.
warnings.simplefilter("error", Image.DecompressionBombWarning)
PNG_EFFORT = 3  # of 9: half the time of the usual 6 for a tenth more bytes
MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")


@dataclass(frozen=True)
class Picture:
    """A decoded image without any metadata, as PNG bytes."""

    png: bytes
    width: int
    height: int
    turned: bool = False  # as its EXIF orientation said


def looks_like_image(head: bytes) -> bool:
    """Tell by the first bytes whether this claims to be one of the formats that are read."""
    return head.startswith(MAGIC[:2]) or (head.startswith(MAGIC[2]) and head[8:12] == b"WEBP")


def decode(content: bytes, name: str, limits: Settings) -> Picture:
    """Return the image upright, in RGB, free of EXIF, GPS, comments and tails; raise InvalidInput naming the file."""
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
        with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
            _check_header(opened, name, limits)
            if opened.format == "PNG":
                _check_sums(content)
            opened.load()
            return _plain(opened)
    except (InvalidInput, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels(name, limits) from error
    except Exception as error:  # Pillow raises whatever its parsers meet: OSError, SyntaxError, struct.error, ...
        raise _refused(name, "is damaged or cut short", "corrupt") from error


def item(picture: Picture, name: str, caption: str | None) -> ImageItem:
    """Return a picture with its name and caption as something to learn from."""
    digest = hashlib.sha256(picture.png).hexdigest()
    return ImageItem(name, caption or None, picture.png, picture.width, picture.height, digest, picture.turned)


def too_much(limits: Settings) -> TooLarge:
    """Say that the references take too much room once they are kept as PNG or JSONL."""
    message = f"Kept as PNG, the pictures take more than {limits.max_file_bytes:,} bytes; send fewer or smaller ones."
    return TooLarge(message, code="file_too_large", param="file")


def unread(head: bytes, name: str) -> InvalidInput:
    """Say what a picture is that is none of the formats which are read, and how to save it."""
    found = formats.of(head)
    message = found.sentence(name) if found else f"{name} is not a JPEG, PNG or WebP image; save it as PNG or JPEG."
    return InvalidInput(message, code="not_an_image", param="file")


def decode_packed(png: bytes, name: str) -> Image.Image:
    """Return a picture that was packed as PNG, in RGB; raise InvalidInput naming it where it is none after all."""
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            return image.convert("RGB")
    except MemoryError:
        raise
    except Exception as error:  # as in `decode`
        raise _refused(name, "is damaged or cut short", "corrupt") from error


def _check_header(image: Image.Image, name: str, limits: Settings) -> None:
    width, height = image.size
    # A phone's JPEG may carry a second picture for depth or preview (MPO); the first is the photo.
    if image.format in {"PNG", "WEBP"} and getattr(image, "n_frames", 1) > 1:
        raise _refused(name, "is animated; send single pictures", "animated")
    if width * height > limits.max_image_pixels:
        raise _too_many_pixels(name, limits)
    if min(width, height) < limits.min_image_side or max(width, height) > limits.max_image_side:
        raise _refused(
            name,
            f"is {width} x {height}; sides of {limits.min_image_side} to {limits.max_image_side} pixels are taken",
            "image_side",
        )


def _check_sums(content: bytes) -> None:
    """Check every chunk of a PNG; loading alone passes over the checksums of pixel data."""
    with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
        image.verify()


def _plain(image: Image.Image) -> Picture:
    """Turn the image in place: each copy of 40 megapixels takes 160 MB."""
    turned = False
    with suppress(Exception):  # a broken EXIF block says nothing about the pixels
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I;16") or image.mode == "I":
        image = image.point(lambda value: value / 256).convert("L")
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        over = image if image.mode == "RGBA" else image.convert("RGBA")
        image = Image.new("RGB", over.size, "white")
        image.paste(over, mask=over)
    plain = image if image.mode == "RGB" else image.convert("RGB")
    plain.info = {}  # all that PNG's writer would write beside the pixels
    buffer = io.BytesIO()
    plain.save(buffer, "PNG", compress_level=PNG_EFFORT)
    return Picture(buffer.getvalue(), *plain.size, turned)


def _refused(name: str, what: str, code: str) -> InvalidInput:
    return InvalidInput(f"{name} {what}.", code=code, param="file")


def _too_many_pixels(name: str, limits: Settings) -> TooLarge:
    most = f"{limits.max_image_pixels / 1e6:.0f} megapixels"
    return TooLarge(f"{name} has more than {most}; make it smaller.", code="too_many_pixels", param="file")
