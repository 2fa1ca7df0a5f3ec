"""Names in a zip whose maker did not say how they are encoded.

The format knows code page 437 and, where bit 11 of the flags is set, UTF-8. macOS writes UTF-8 without the bit,
Japanese Windows writes Shift-JIS, and Info-ZIP puts the name a second time, in UTF-8, into an extra field.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Sequence

UTF8_FLAG = 0x800
UNICODE_PATH = 0x7075  # Info-ZIP's extra field: version 1, checksum of the name, the name in UTF-8
_KANA, _KANJI = r"\u3040-\u30ff", r"\u3400-\u9fff\uf900-\ufaff"
JAPANESE = re.compile(rf"[{_KANA}{_KANJI}\u3000-\u303f\uff01-\uff60\x20-\x7e]*")
KANA = re.compile(rf"[{_KANA}]")
WITHIN_A_WORD = re.compile(rf"[A-Za-z][{_KANJI}]|[{_KANJI}][A-Za-z]")


def decoded(infos: Sequence[zipfile.ZipInfo]) -> list[str]:
    """Return the name of every entry; where it is not known how they are encoded, one guess serves all."""
    raw = [_raw(info) for info in infos]
    codec = _codec([name for info, name in zip(infos, raw, strict=True) if name is not None and not _twice(info, name)])
    return [_decoded(info, name, codec) for info, name in zip(infos, raw, strict=True)]


def _raw(info: zipfile.ZipInfo) -> bytes | None:
    """Return the bytes of a name that is not marked as UTF-8; None where it is, or holds nothing to guess at."""
    if info.flag_bits & UTF8_FLAG or info.orig_filename.isascii():
        return None
    return info.orig_filename.encode("cp437")


def _decoded(info: zipfile.ZipInfo, raw: bytes | None, codec: str) -> str:
    if raw is None:
        return info.orig_filename
    return _twice(info, raw) or raw.decode(codec)


def _codec(raw: Sequence[bytes]) -> str:
    for codec in ("utf-8", "cp932"):
        try:
            read = [name.decode(codec) for name in raw]
        except UnicodeDecodeError:
            continue
        if codec == "utf-8" or _is_japanese(read):
            return codec
    return "cp437"


def _is_japanese(read: Sequence[str]) -> bool:
    """Tell whether names make sense as Shift-JIS.

    Letters of Europe become hardly ever kana in it, and Chinese characters only in the middle of a word of ours.
    """
    if not read or not all(JAPANESE.fullmatch(name) for name in read):
        return False
    return any(map(KANA.search, read)) or not any(map(WITHIN_A_WORD.search, read))


def _twice(info: zipfile.ZipInfo, raw: bytes) -> str | None:
    """Return the name as Info-ZIP's extra field has it, if that is of this very name."""
    extra, at = info.extra, 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        body = extra[at + 4 : at + 4 + size]
        known = kind == UNICODE_PATH and len(body) > 5 and body[0] == 1
        if known and struct.unpack_from("<I", body, 1)[0] == zlib.crc32(raw):
            return body[5:].decode("utf-8", "replace")
        at += 4 + size
    return None
