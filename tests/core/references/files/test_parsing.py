"""Everything that strangers send as references, and what they are told."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from core.errors import InvalidInput, TooLarge
from core.references import items, packing
from core.references.items import ImageItem, TextItem
from core.settings import Settings
from core.uploads import reading
from core.uploads.reading import JudgedReferences


@pytest.fixture
def limits(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, max_file_bytes=20_000_000, max_images=5, max_items=50, max_text_bytes=1_000_000)


Read = Callable[..., JudgedReferences]


@pytest.fixture
def read(tmp_path: Path, limits: Settings) -> Read:
    def reader(content: bytes, name: str = "upload") -> JudgedReferences:
        path = tmp_path / "upload"
        path.write_bytes(content)
        return reading.read(path, name, limits)

    return reader


def picture(format: str = "PNG", size: tuple[int, int] = (80, 70), mode: str = "RGB", **options: object) -> bytes:
    image = Image.radial_gradient("L").resize(size).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def archive(files: dict[str, bytes], **info: object) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            for field, value in info.items():
                setattr(entry, field, value)
            opened.writestr(entry, content)
    return buffer.getvalue()


def huge_png(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


def animated() -> bytes:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue", "green")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def encrypted() -> bytes:
    content = bytearray(archive({"a.png": picture()}))
    content[6] |= 1  # local header's flag
    at = content.rindex(b"PK\x01\x02")
    content[at + 8] |= 1
    return bytes(content)


REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "empty"),
    "one byte": (b"\xff", "encoding"),
    "a page named png": (b"<html>", "unsupported_media"),
    "a drawing with scripts": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported_media"),
    "a document": (b"%PDF-1.7", "unsupported_media"),
    "PostScript": (b"%!PS-Adobe", "unsupported_media"),
    "binary of no known kind": (b"\x00\x01\x02" * 50, "unsupported_media"),
    "a cut PNG": (picture()[:200], "corrupt"),
    "a cut JPEG": (picture("JPEG")[:400], "corrupt"),
    "a PNG with a wrong checksum": (picture()[:40] + b"\x00\x01" + picture()[42:], "corrupt"),
    "50,000 x 50,000 in a kilobyte": (huge_png(50_000, 50_000), "too_many_pixels"),
    "104 megapixels": (huge_png(13_000, 8_000), "too_many_pixels"),
    "a line of pixels": (huge_png(1, 10_000), "image_side"),
    "4 x 4": (picture(size=(4, 4)), "image_side"),
    "an animation": (animated(), "animated"),
    "a path out of the archive": (archive({"../x.png": picture()}), "unsafe_path"),
    "an absolute path": (archive({"/etc/x.png": picture()}), "unsafe_path"),
    "a link": (archive({"x.png": b"/etc/passwd"}, external_attr=0o120777 << 16), "special_file"),
    "an archive in an archive": (archive({"x.zip": archive({"a.png": picture()})}), "nested_archive"),
    "two names that differ in case": (archive({"a.png": picture(), "A.png": picture()}), "duplicate_name"),
    "a password": (encrypted(), "encrypted"),
    "a bomb": (archive({"a.png": b"\0" * 15_000_000}), "zip_bomb"),
    "too many entries": (archive({f"{n}.txt": b"x" for n in range(500)}), "too_many_entries"),
    "too many images": (archive({f"{n}.png": picture(size=(80 + n, 70)) for n in range(6)}), "too_many_images"),
    "a page inside an archive": (archive({"a.png": b"<html>"}), "not_an_image"),
    "empty captions alone": (archive({"a.txt": b" "}), "no_items"),
    "a caption in Latin-1": (archive({"a.png": picture(), "a.txt": "Käse".encode("latin-1")}), "encoding"),
    "a caption in UTF-16 without its mark": (
        archive({"a.png": picture(), "a.txt": "a cat".encode("utf-16-le")}),
        "encoding",
    ),
    "a long caption": (archive({"a.png": picture(), "a.txt": b"a " * 2000}), "caption_too_long"),
    "a cut archive": (archive({"a.png": picture()})[:-30], "corrupt_archive"),
    "text in UTF-16 without its mark": ("hello there".encode("utf-16-le"), "encoding"),
    "text with a null character": (b"a" * 5_000 + b"\0", "encoding"),
    "blank lines": (b"\n\n  \n", "no_items"),
    "a line that is not JSON": (b'{"text": "a"}\n{"text": "b"\n{"text": "c"}\n', "invalid_line"),
    "a number that is none": (b'{"text": NaN}\n', "invalid_line"),
    "a deep line": (b'{"text": ' + b"[" * 100_000 + b"\n", "invalid_line"),
    "a lone surrogate": (b'{"text": "\\ud800"}\n', "invalid_line"),
    "a null character": (b'{"text": "a\\u0000b"}\n', "invalid_line"),
    "a key twice": (b'{"text": "a", "text": "b"}\n', "invalid_line"),
    "another shape": (b'{"question": "a"}\n', "invalid_line"),
    "an empty answer": (b'{"prompt": "a", "completion": " "}\n', "invalid_line"),
    "a user who has the last word": (b'{"messages": [{"role": "user", "content": "hi"}]}\n', "invalid_line"),
    "a role of its own": (b'{"messages": [{"role": "root", "content": "hi"}]}\n', "invalid_line"),
    "too many lines": (b'{"text": "a"}\n' * 60, "too_many_items"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_is_refused_with_a_code_and_a_sentence(read: Read, what: str) -> None:
    content, code = REFUSED[what]
    with pytest.raises(InvalidInput) as refusal:
        read(content)
    assert refusal.value.code == code
    assert refusal.value.message.endswith(".")


def test_the_bad_line_is_named(read: Read) -> None:
    good = b'{"prompt": "a", "completion": "b"}\n'
    with pytest.raises(InvalidInput, match=r"Line 3 of rows\.jsonl"):
        read(good * 2 + b"{oops\n" + good, "rows.jsonl")


def test_a_file_over_the_limit_is_too_large(read: Read) -> None:
    with pytest.raises(TooLarge):
        read(b"a" * 20_000_001)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_an_image_is_known_by_its_content_not_by_its_name(read: Read, format: str) -> None:
    (item,) = read(picture(format), "letter.docx").items
    assert isinstance(item, ImageItem)
    assert (item.width, item.height) == (80, 70)


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "I;16"])
def test_every_kind_of_pixels_becomes_rgb(read: Read, mode: str) -> None:
    buffer = io.BytesIO()
    image = Image.radial_gradient("L")
    (Image.new("I;16", (80, 70), 30_000) if mode == "I;16" else image.convert(mode)).save(buffer, "PNG")
    (item,) = read(buffer.getvalue()).items
    assert isinstance(item, ImageItem)
    assert Image.open(io.BytesIO(item.png)).mode == "RGB"


def test_a_cmyk_photo_becomes_rgb(read: Read) -> None:
    (item,) = read(picture("JPEG", mode="CMYK")).items
    assert isinstance(item, ImageItem)
    assert Image.open(io.BytesIO(item.png)).mode == "RGB"


def test_what_is_see_through_lies_on_white(read: Read) -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (32, 32), (0, 0, 0, 0)).save(buffer, "PNG")
    (item,) = read(buffer.getvalue()).items
    assert isinstance(item, ImageItem)
    assert Image.open(io.BytesIO(item.png)).getpixel((5, 5)) == (255, 255, 255)


def test_a_photo_is_turned_upright_and_loses_where_it_was_taken(read: Read) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8825)[1] = "N"
    (item,) = read(picture("JPEG", exif=exif, comment=b"home")).items
    assert isinstance(item, ImageItem)
    stored = Image.open(io.BytesIO(item.png))
    assert stored.size == (70, 80)
    assert not stored.getexif()
    assert set(stored.info) <= {"srgb", "gamma", "dpi"}


def test_a_tail_behind_an_image_is_gone(read: Read) -> None:
    (item,) = read(picture("JPEG") + b"<script>alert(1)</script>" + archive({"x": b"y"})).items
    assert isinstance(item, ImageItem)
    assert b"script" not in item.png


def test_captions_stand_beside_their_images(read: Read) -> None:
    files = {
        "set/one.png": picture(),
        "set/one.txt": "\ufeffa  red\ncat".encode(),
        "two.jpg": picture("JPEG", size=(90, 60)),
    }
    found = read(archive(files))
    assert [item.caption for item in found.items if isinstance(item, ImageItem)] == ["a red\ncat", None]
    assert "empty_caption" in {finding.code for finding in found.findings}


def test_captions_may_come_in_a_table(read: Read) -> None:
    table = json.dumps({"file_name": "one.png", "text": "a cat"}).encode()
    found = read(archive({"metadata.jsonl": table, "one.png": picture()}))
    assert [item.caption for item in found.items if isinstance(item, ImageItem)] == ["a cat"]


def test_the_same_image_twice_counts_once_and_a_near_copy_is_told(read: Read) -> None:
    files = {"a.png": picture(), "b.png": picture(), "c.jpg": picture("JPEG", quality=70)}
    found = read(archive(files))
    assert len(found.items) == 2
    assert "near_duplicate" in {finding.code for finding in found.findings}


def test_a_flat_image_is_taken_with_a_warning(read: Read) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "black").save(buffer, "PNG")
    assert "single_colour" in {finding.code for finding in read(buffer.getvalue()).findings}


def test_litter_of_operating_systems_is_passed_over(read: Read) -> None:
    found = read(archive({"a.png": picture(), "__MACOSX/._a.png": b"junk", ".DS_Store": b"junk"}))
    assert len(found.items) == 1


@pytest.mark.parametrize("text", ["{{7*7}}", "<script>alert(1)</script>", "'; DROP TABLE job; --", "=cmd()"])
def test_text_that_looks_dangerous_is_only_text(read: Read, text: str) -> None:
    (item,) = read(json.dumps({"text": text}).encode()).items
    assert item == TextItem(text=text)


def test_plain_text_is_cut_into_paragraphs(read: Read) -> None:
    assert [item.words() for item in read(b"one\ntwo\n\n\nthree").items if isinstance(item, TextItem)] == [
        "one\ntwo",
        "three",
    ]


@pytest.mark.parametrize(
    "content",
    [archive({"a.png": picture(), "a.txt": b"a cat"}), b'{"prompt": "a", "completion": "b"}\n{"text": "c"}\n'],
    ids=["images", "texts"],
)
def test_what_is_packed_or_written_is_read_back_the_same(
    read: Read, limits: Settings, tmp_path: Path, content: bytes
) -> None:
    first = read(content)
    packing.pack(first, tmp_path / "packed")
    again = packing.read_packed(tmp_path / "packed", "packed", limits)
    packing.write_folder(again, tmp_path / "folder")
    last = packing.read_folder(tmp_path / "folder")
    if first.kind == "texts":
        assert first.items == again.items == last.items
    else:
        assert [(i.png, i.caption) for i in last.items if isinstance(i, ImageItem)] == [
            (i.png, i.caption) for i in first.items if isinstance(i, ImageItem)
        ]


def test_what_was_taken_at_the_limit_is_read_again(limits: Settings, tmp_path: Path) -> None:
    noise = Image.effect_noise((600, 600), 80).convert("RGB")
    noise.save(tmp_path / "photo", "JPEG", quality=20)
    tight = limits.model_copy(update={"max_image_bytes": (tmp_path / "photo").stat().st_size})
    first = reading.read(tmp_path / "photo", "photo", tight)
    packing.pack(first, tmp_path / "packed")
    assert packing.read_packed(tmp_path / "packed", "packed", tight).items[0].png == first.items[0].png  # type: ignore[union-attr]
    (tmp_path / "text").write_bytes(b'"\n' * 40_000)
    tight = limits.model_copy(update={"max_text_bytes": 80_000})
    first = reading.read(tmp_path / "text", "text", tight)
    packing.pack(first, tmp_path / "packed")
    assert packing.read_packed(tmp_path / "packed", "packed", tight).items == first.items


def test_images_and_texts_are_not_mixed(read: Read) -> None:
    images, texts = read(picture()), read(b"hello")
    with pytest.raises(InvalidInput, match="both"):
        items.merge([images, texts])


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "C:\\x", "a\0.png", "\r\nSet-Cookie: x", "x" * 5000, ".", "‮gnp.exe"]
)
def test_a_strange_name_is_only_a_label(read: Read, name: str) -> None:
    (item,) = read(picture(), name).items
    assert isinstance(item, ImageItem)
    assert 0 < len(item.name) <= 100
    assert item.name.isprintable()
    assert not {"/", "\\"} & set(item.name)
