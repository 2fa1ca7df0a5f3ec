"""Files that are wrong, made byte by byte where no library would write them."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

from PIL import Image

from tests.api.server import png

MAGIC = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def raw_png(width: int, height: int, *extra: bytes, data: bytes = b"") -> bytes:
    """A PNG that claims a size, and holds what is given."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"".join([MAGIC, header, *extra, chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b"")])


def with_chunk(kind: bytes, content: bytes) -> bytes:
    """A whole small PNG with one more chunk behind its header."""
    small = png()
    return small[:33] + chunk(kind, content) + small[33:]


def saved(format: str, mode: str = "RGB", side: int = 64, **options: object) -> bytes:
    buffer = io.BytesIO()
    image = Image.radial_gradient("L").resize((side, side)).convert(mode)
    image.save(buffer, format, **options)
    return buffer.getvalue()


def jpeg_with_exif(exif: bytes) -> bytes:
    """A JPEG with an EXIF block as it is."""
    plain = saved("JPEG")
    block = b"Exif\0\0" + exif
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + plain[2:]


def frames(format: str, count: int) -> bytes:
    buffer = io.BytesIO()
    images = [Image.new("RGB", (32, 32), (number % 256, number // 256, 9)) for number in range(count)]
    images[0].save(buffer, format, save_all=True, append_images=images[1:])
    return buffer.getvalue()


def zipped(entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def special(mode: int) -> bytes:
    """A zip whose entry says that it is no plain file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo("a.png")
        entry.external_attr = mode << 16
        archive.writestr(entry, "/etc/passwd")
    return buffer.getvalue()


def changed(archive: bytes, offset: int, value: bytes) -> bytes:
    """Write over the first central record of a zip, `offset` bytes into it."""
    at = archive.index(b"PK\x01\x02") + offset
    return archive[:at] + value + archive[at + len(value) :]


def many_entries(count: int, name: bytes = b"a") -> bytes:
    """A zip with a directory of `count` empty entries; the end record holds their number modulo 65,536."""
    record = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", *[20, 20, 0, 0, 0, 0], 0, 0, 0, len(name), 0, 0, 0, 0, 0, 0)
    directory = (record + name) * count
    local = b"PK\x03\x04" + b"\0" * 26
    number = count % 65_536
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, number, number, len(directory), len(local), 0)
    return local + directory + end


def overlapping(count: int) -> bytes:
    """A zip whose entries all lie over the same bytes."""
    one = zipped({"a.png": png() + b"\0" * 900_000}, zipfile.ZIP_DEFLATED)
    start, end = one.index(b"PK\x01\x02"), one.index(b"PK\x05\x06")
    directory = b"".join(one[start:end].replace(b"a.png", b"%05d" % number) for number in range(count))
    return (
        one[:start] + directory + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(directory), start, 0)
    )
