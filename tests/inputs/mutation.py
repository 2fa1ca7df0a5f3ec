"""Damage real files in the ways that parsers stumble over; the same seed does the same damage."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from random import Random

from tests.api.server import chats, pictures, png
from tests.inputs.files import chunk, frames, jpeg_with_exif, saved, zipped

SAMPLES: dict[str, bytes] = {
    "PNG": png(),
    "PNG with a palette": saved("PNG", "P"),
    "PNG of 16 bits": saved("PNG", "I;16"),
    "PNG that moves": frames("PNG", 3),
    "JPEG": saved("JPEG"),
    "JPEG in steps": saved("JPEG", progressive=True),
    "JPEG of four inks": saved("JPEG", "CMYK"),
    "JPEG with EXIF": jpeg_with_exif(b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"),
    "WebP": saved("WEBP", "RGBA"),
    "WebP without loss": saved("WEBP", lossless=True),
    "WebP that moves": frames("WEBP", 3),
    "zip": pictures(2),
    "zip with a table": zipped({"a.png": png(), "metadata.jsonl": b'{"file_name": "a.png", "text": "a cat"}\n'}),
    "zip that is packed": zipped({"a.png": png(), "a.txt": b"a cat " * 99}, zipfile.ZIP_DEFLATED),
    "chats": chats(4),
    "pairs": b'{"prompt": "Where?", "completion": "West."}\n{"text": "e\\u0301"}\n',
    "an array": b'[{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},\n'
    b' {"text": "c"}]',
    "masks": b'# mine\n{"id": 1, "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}, '
    b'{"role": "assistant", "content": "b", "train": false}, {"role": "user", "content": "c"}, '
    b'{"role": "assistant", "content": "d\\r\\n\\u001b[0m"}]}\n{"text": "e", "weight": 0}\n',
    "table": 'prompt,completion\n"Where, ""there""?",West.\n"Käse\n\u202bא\u202c?",No.\n'.encode(),
    "wide text": "One.\n\nTwo \u202b\u05d0\u202c\x85".encode("utf-16"),
    "request": b'{"model": "tiny-images", "training_file": "file-x", "seed": 7, "bat": {"gamma": 0.5, "rank": null}}',
    "text": "Arr, westwards.\n\nThe sea is käse.\r\n\r\n\ufeffEnd.\n".encode(),
}
NASTY = [
    b"",
    b"\0",
    b"\xff" * 4,
    b"\x7f\xff\xff\xff",
    b"\x80\0\0\0",
    b"\n",
    b"\r\n",
    b'"',
    b"{",
    b"[]",
    b"[" * 2000,
    b"{}",
    b"null",
    b"1e999",
    b"NaN",
    b"9" * 5000,
    b"\\ud800",
    b"\\u0000",
    "\u0301\u0316".encode() * 40,
    "\u202e".encode(),
    "\u202b\u05d0\u202c".encode(),
    b"\x1b[31m",
    b"\x1b]",
    b"\x08",
    "\x91\x85".encode(),
    b"\xff\xfe",
    b"# ",
    b",",
    b";",
    b"\t",
    b"<",
    b"---\n",
    b'"weight": 0, ',
    b"PK\x01\x02",
    b"PK\x05\x06",
    b"PK\x06\x06",
    b"acTL",
    b"tEXt",
    b"zTXt",
    b"iCCP",
    b"eXIf",
    b"../",
    b"/",
    b".",
]


def mutate(content: bytes, random: Random) -> bytes:
    """Return `content` with a few things wrong."""
    inner = random.choice([_pixels, _entry, None, None])
    damaged = inner(content, random) if inner is not None else content
    if damaged is content or random.random() < 0.3:
        for _ in range(random.choice([1, 1, 2, 4, 16])):
            damaged = random.choice(EDITS)(damaged, random)
    return damaged


def _place(content: bytes, random: Random) -> tuple[int, int]:
    start = random.randrange(len(content) + 1)
    return start, min(len(content), start + random.choice([1, 1, 2, 4, 8, 64, 4096]))


def _flip(content: bytes, random: Random) -> bytes:
    start, end = _place(content, random)
    return content[:start] + random.randbytes(end - start) + content[end:]


def _cut(content: bytes, random: Random) -> bytes:
    start, end = _place(content, random)
    return content[:start] + content[end:]


def _end(content: bytes, random: Random) -> bytes:
    return content[: _place(content, random)[0]]


def _repeat(content: bytes, random: Random) -> bytes:
    start, end = _place(content, random)
    return content[:end] + content[start:end] * random.choice([1, 2, 50]) + content[end:]


def _insert(content: bytes, random: Random) -> bytes:
    start, _ = _place(content, random)
    return content[:start] + random.choice(NASTY) + content[start:]


def _overwrite(content: bytes, random: Random) -> bytes:
    start, _ = _place(content, random)
    nasty = random.choice(NASTY)
    return content[:start] + nasty + content[start + len(nasty) :]


def _number(content: bytes, random: Random) -> bytes:
    """Change a binary number a little, or to an extreme."""
    start = random.randrange(max(1, len(content) - 4))
    form = random.choice(["<I", ">I", "<H", ">H"])
    size = struct.calcsize(form)
    if len(content) < start + size:
        return content
    (value,) = struct.unpack_from(form, content, start)
    value = random.choice([value + 1, value - 1, 2 * value, 0, -1, 1 << (8 * size - 1)]) % (1 << (8 * size))
    return content[:start] + struct.pack(form, value) + content[start + size :]


def _splice(content: bytes, random: Random) -> bytes:
    other = random.choice(list(SAMPLES.values()))
    return content[: _place(content, random)[0]] + other[_place(other, random)[0] :]


EDITS: list[Callable[[bytes, Random], bytes]] = [_flip, _cut, _end, _repeat, _insert, _overwrite, _number, _splice]


def _pixels(content: bytes, random: Random) -> bytes:
    """Damage the inside of a PNG's chunks and mend their sums, so that the damage is read."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return content
    parts, at = [content[:8]], 8
    while at + 12 <= len(content):
        (size,) = struct.unpack_from(">I", content, at)
        kind, inside = content[at + 4 : at + 8], content[at + 8 : at + 8 + size]
        if random.random() < 0.4:
            if kind == b"IDAT" and random.random() < 0.5:
                inside = zlib.compress(random.choice(EDITS)(zlib.decompress(inside), random))
            else:
                inside = random.choice(EDITS)(inside, random)
        parts += [chunk(kind, inside)] * random.choice([1, 1, 1, 1, 0, 2])
        at += size + 12
    return b"".join(parts)


def _entry(content: bytes, random: Random) -> bytes:
    """Damage the files of a zip, or what they are called, and pack them anew."""
    if not content.startswith(b"PK"):
        return content
    entries = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for info in archive.infolist():
            inside = archive.read(info)
            name = info.filename
            if random.random() < 0.3:
                name = _flip(name.encode(), random).decode("latin-1").replace("\0", "0") or "."
            entries[name] = mutate(inside, random) if random.random() < 0.5 else inside
    return zipped(entries, random.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
