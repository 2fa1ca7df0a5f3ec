"""C56 to C76: files that are no image, or a harmful one. Damage at random places is tested with the readers."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import pytest
from PIL import Image

from tests.api.server import pictures, png
from tests.inputs.catalogue import FILES, Case, Scene, table, upload, upload_form
from tests.inputs.files import frames, jpeg_with_exif, raw_png, saved, with_chunk, zipped
from tests.inputs.wire import chunked, form

BOMB = zlib.compress(b"\0" * 100_000_000)
LOOP = b"II*\0\x08\0\0\0" + struct.pack("<HHHLLL", 1, 0x0112, 3, 1, 6, 8)  # the next directory is this one
HUGE_COUNT = b"II*\0\x08\0\0\0" + struct.pack("<HHHLLL", 1, 0x9286, 7, 0xFFFFFFFF, 8, 0)


def bad(number: str, what: str, content: bytes, code: str, status: int = 400, name: str = "cat.png") -> Case:
    return Case(number, what, upload(content, name), status, code)


def no_media(number: str, what: str, content: bytes) -> Case:
    return bad(number, what, content, "unsupported_media")


REFUSED = [
    bad("C56", "nothing", b"", "empty"),
    Case("C56", "one byte", upload(b"\x89"), 400, "encoding", why="anything that is no picture is read as text"),
    no_media("C57", "a page", b"<html><body>do-not-repeat-me</body></html>"),
    no_media("C57", "a drawing with scripts", b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
    no_media("C57", "a document", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"),
    no_media("C57", "PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) (r) file\n"),
    no_media("C57", "Photoshop", b"8BPS\0\x01" + b"\0" * 100),
    no_media("C57", "a film", b"\0\0\0 ftypisom\0\0\x02\0isomiso2avc1mp41" + b"\0" * 100),
    no_media("C57", "a GIF", saved("GIF")),
    no_media("C57", "a BMP", saved("BMP")),
    no_media("C57", "a TIFF", saved("TIFF")),
    bad("C57", "a zip of a page", zipped({"a.png": b"<html>"}), "not_an_image"),
    bad("C59", "50,000 x 50,000 in a kilobyte", raw_png(50_000, 50_000), "too_many_pixels"),
    bad("C60", "104 megapixels", raw_png(13_000, 8_000), "too_many_pixels"),
    bad("C60", "41 megapixels", raw_png(8_000, 5_125), "too_many_pixels"),
    bad("C61", "1 x 40,000,000", raw_png(1, 40_000_000), "image_side"),
    bad("C61", "4 x 4", saved("PNG", side=4), "image_side"),
    bad("C61", "0 x 0", raw_png(0, 0), "corrupt"),
    bad("C61", "2**31 - 1 on each side", raw_png(2**31 - 1, 2**31 - 1), "too_many_pixels"),
    bad("C62", "a cut JPEG", saved("JPEG")[:-200], "corrupt"),
    bad("C62", "a cut PNG", png()[:-40], "corrupt"),
    bad("C62", "a cut WebP", saved("WEBP")[:-50], "corrupt"),
    bad("C62", "a PNG with a wrong checksum", png()[:45] + b"\x01" + png()[46:], "corrupt"),
    bad("C62", "a PNG of nothing", raw_png(64, 64), "corrupt"),
    bad("C63", "100 MB of zTXt", with_chunk(b"zTXt", b"a\0\0" + BOMB), "corrupt"),
    bad("C63", "100 MB of iTXt", with_chunk(b"iTXt", b"a\0\1\0\0\0" + BOMB), "corrupt"),
    bad("C63", "a colour profile of 100 MB", with_chunk(b"iCCP", b"a\0\0" + BOMB), "corrupt"),
    bad("C64", "a PNG of 10,000 frames", with_chunk(b"acTL", struct.pack(">II", 10_000, 0)), "animated"),
    bad("C64", "a WebP of 300 frames", frames("WEBP", 300), "animated"),
    no_media("C64", "a GIF of 300 frames", frames("GIF", 300)),
    bad("C71", "16 MB of picture", png() + b"\0" * 16_000_000, "file_too_large"),
    bad("C72", "101 images", zipped({f"{n}.png": png(n, 32 + n % 60) for n in range(101)}), "too_many_images"),
    bad("C68", "2 GB of grey in a kilobyte", raw_png(8192, 8192), "too_many_pixels"),
]


@table(REFUSED)
def test_images_that_are_refused(scene: Scene, case: Case) -> None:
    case.check(scene)


def test_c71_more_than_the_limit_of_unknown_length_is_413_while_it_comes(scene: Scene) -> None:
    start = form(b"")[: form(b"").rindex(b"\r\n--")]
    pieces = chunked([start, *([b"\0" * 1_000_000] * 501)])
    send = upload_form(pieces, Transfer_Encoding="chunked")
    Case("C71", "501 MB of unknown length", send, 413, "too_large").check(scene)


def taken(number: str, what: str, content: bytes, finding: str | None = None, name: str = "cat.png") -> object:
    return pytest.param(Case(number, what, upload(content, name), 200), finding, id=f"{number} {what}")


def exif(**tags: int) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = tags.get("orientation", 1)
    made[0x010F] = "canary-camera"
    made.get_ifd(0x8825)[1] = "canary-north"
    return made


def hidden() -> bytes:
    """A JPEG with all that a camera and an editor leave in it."""
    buffer = io.BytesIO()
    xmp = b"<x:xmpmeta>canary-xmp</x:xmpmeta>"
    Image.open(io.BytesIO(saved("JPEG"))).save(buffer, "JPEG", exif=exif(), comment=b"canary-comment", xmp=xmp)
    return buffer.getvalue()


TAKEN = [
    taken("C58", "a JPEG named png", saved("JPEG")),
    taken("C58", "a PNG named docx", png(), name="letter.docx"),
    *(taken("C65", f"orientation {way}", saved("JPEG", exif=exif(orientation=way))) for way in range(2, 9)),
    taken("C66", "a photo that tells where it was taken", hidden()),
    taken("C67", "EXIF that goes round in circles", jpeg_with_exif(LOOP)),
    taken("C67", "EXIF with 4 billion values", jpeg_with_exif(HUGE_COUNT)),
    taken("C67", "EXIF of noise", jpeg_with_exif(bytes(range(256)) * 20)),
    *(taken("C68", f"{mode} pixels", saved("PNG", mode)) for mode in ("1", "L", "LA", "P", "RGBA", "I;16")),
    taken("C68", "CMYK", saved("JPEG", "CMYK")),
    taken("C69", "a colour profile of noise", saved("JPEG", icc_profile=b"noise" * 99)),
    taken("C70", "a picture that is a zip and a page too", saved("JPEG") + b"<script>alert(1)</script>" + pictures()),
    taken("C73", "the same image twice", zipped({"a.png": png(), "b.png": png()}), "duplicate_item"),
    taken("C74", "black", raw_png(64, 64, data=(b"\0" * 193) * 64), "single_colour"),
]


@pytest.mark.parametrize(("case", "finding"), TAKEN)
def test_images_that_are_taken_and_cleaned(scene: Scene, case: Case, finding: str | None) -> None:
    file = case.check(scene).json()
    if finding is not None:
        assert finding in str(file["bat"])
    answer = scene.send("GET", f"{FILES}/{file['id']}/content")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        kept = [archive.read(name) for name in archive.namelist()]
    for content in kept:
        with Image.open(io.BytesIO(content)) as image:
            assert (image.format, image.mode, image.info) == ("PNG", "RGB", {})
        assert not [word for word in (b"canary", b"script", b"PK\x03\x04") if word in content]


NAMES: dict[str | bytes, str] = {
    "../../etc/passwd": "passwd",
    "C:\\x": "x",
    b"a\0.png": "a.png",
    "x" * 5000 + ".png": "x" * 96 + ".png",
    ".": "upload",
    "\U0001f600.png": "\U0001f600.png",
    "a\u202egnp.exe": "agnp.exe",
    b"\xff\xfe.png": "\ufffd\ufffd.png",
    "%0d%0aSet-Cookie: a=b.png": "%0d%0aSet-Cookie: a=b.png",
    "a" + "\u0301\u0316" * 2000 + ".png": "",
}


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:30])
def test_c75_a_file_name_is_only_shown(scene: Scene, name: str | bytes) -> None:
    answer = Case("C75", "a name", upload(png(), name), 200).check(scene)
    shown = str(answer.json()["filename"])
    assert shown == NAMES[name] if NAMES[name] else len(shown) <= 100
    assert answer.headers["Set-Cookie"] is None


def test_c75_a_line_end_in_a_file_name_ends_the_header(scene: Scene) -> None:
    answer = Case("C75", "a line end", upload(png(), b"a\r\nSet-Cookie: a=b"), 200).check(scene)
    assert answer.headers["Set-Cookie"] is None
