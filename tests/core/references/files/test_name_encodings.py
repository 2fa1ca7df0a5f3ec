"""Names whose encoding the zip does not tell."""

from __future__ import annotations

import struct
import zipfile
import zlib

import pytest

from core.references.files.name_encodings import decoded


def infos(*raw: bytes, flag: int = 0) -> list[zipfile.ZipInfo]:
    """Entries as Python's zipfile shows them: it takes every name without the flag for code page 437."""
    found = []
    for name in raw:
        info = zipfile.ZipInfo()
        info.orig_filename, info.flag_bits = name.decode("utf-8" if flag else "cp437"), flag
        found.append(info)
    return found


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("café.png", "utf-8"),
        ("日本語.txt", "utf-8"),
        ("ねこ/写真1.png", "cp932"),
        ("猫.png", "cp932"),
        ("表.png", "cp932"),  # its second byte is a backslash
        ("Käse.png", "cp437"),
        ("Köln.png", "cp437"),
        ("crème.png", "cp437"),
        ("plain.png", "ascii"),
    ],
)
def test_a_name_is_read_as_its_maker_wrote_it(name: str, codec: str) -> None:
    assert decoded(infos(name.encode(codec))) == [name]


def test_one_guess_serves_all_names_of_an_archive() -> None:
    names = ["ねこ.png", "写真.png", "a.png"]
    assert decoded(infos(*(name.encode("cp932") for name in names))) == names


def test_the_flag_is_believed() -> None:
    assert decoded(infos("ねこ.png".encode(), flag=0x800)) == ["ねこ.png"]


def test_info_zips_second_name_counts_where_it_is_of_this_name() -> None:
    raw, name = b"K\x84se.png", "Käse ☃.png"
    [info] = infos(raw)
    body = b"\x01" + struct.pack("<I", zlib.crc32(raw)) + name.encode()
    info.extra = struct.pack("<HH", 0x7075, len(body)) + body
    assert decoded([info]) == [name]
    info.extra = struct.pack("<HH", 0x7075, len(body)) + b"\x01\0\0\0\0" + name.encode()
    assert decoded([info]) == ["Käse.png"]
    for extra in (b"\x75\x70\xff\xff", b"\x75\x70\x01\x00\x01", b"\0"):
        info.extra = extra
        assert decoded([info]) == ["Käse.png"]
