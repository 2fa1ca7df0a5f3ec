"""What a file looks like by its first bytes, and how to save it so that it is taken: whoever refuses it can say so."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Class = Literal["image", "drawing", "media", "archive", "document", "table", "weights", "program", "markup", "pointer"]
# What is read, by its content; whoever reads a picture opens it as one of these and as nothing else: no format that
# runs another program (EPS) or holds a document.
PICTURES = ("JPEG", "PNG", "WEBP")
TEXTS = ("JSONL", "JSON", "CSV", "TSV", "SRT", "VTT", "TXT")
ARCHIVES = ("ZIP",)
HEAD_BYTES = 4096  # as many of a file's first bytes are looked at


@dataclass(frozen=True)
class Format:
    """A kind of file that is not read: its name with an article, and how to save what it holds."""

    name: str
    save: str
    of_class: Class

    def sentence(self, label: str) -> str:
        """Say what the file with this label looks like, and what to do."""
        return f"{label} looks like {self.name}; {self.save}."


AS_PICTURE = "save it as PNG or JPEG"
AS_TEXT = "save its text as a .txt in UTF-8"
AS_ROWS = "save its rows as JSONL, or as CSV in UTF-8"
UNPACKED = "unpack it, and send the file inside, or a zip of the pictures"


def _picture(name: str) -> Format:
    return Format(name, AS_PICTURE, "image")


def _archive(name: str) -> Format:
    return Format(name, UNPACKED, "archive")


def _table(name: str) -> Format:
    return Format(name, AS_ROWS, "table")


def _document(name: str) -> Format:
    return Format(name, AS_TEXT, "document")


def _media(name: str, save: str = "save single pictures of it as PNG or JPEG") -> Format:
    return Format(name, save, "media")


def _weights(name: str) -> Format:
    return Format(name, "send references: pictures or texts", "weights")


SOUND = "sounds are not learned here; leave it out"
MOST_COMPATIBLE = "an iPhone takes JPEG by itself: Settings > Camera > Formats > Most Compatible"
_HEIF = Format("a HEIC picture (as phones save it)", f"{AS_PICTURE} ({MOST_COMPATIBLE})", "image")
_AVIF = _picture("an AVIF picture")
_PICKLE = Format("a pickle of Python, which can run code and is never opened", AS_ROWS, "table")

RTF = _document("RTF, as word processors save it")

# first bytes -> what has them; the first match counts
SIGNATURES: tuple[tuple[bytes, Format], ...] = (
    (b"GIF87a", _picture("a GIF")),
    (b"GIF89a", _picture("a GIF")),
    (b"II*\0", _picture("a TIFF or a camera's raw picture")),
    (b"MM\0*", _picture("a TIFF or a camera's raw picture")),
    (b"II+\0", _picture("a TIFF")),
    (b"MM\0+", _picture("a TIFF")),
    (b"IIU\0", _picture("a camera's raw picture")),
    (b"FUJIFILMCCD-RAW", _picture("a camera's raw picture")),
    (b"\0\0\1\0", _picture("an icon (ICO)")),
    (b"8BPS", _picture("a Photoshop document")),
    (b"gimp xcf", _picture("a GIMP document")),
    (b"\xff\x0a", _picture("a JPEG XL picture")),
    (b"\0\0\0\x0cJXL \r\n\x87\n", _picture("a JPEG XL picture")),
    (b"\0\0\0\x0cjP  \r\n\x87\n", _picture("a JPEG 2000 picture")),
    (b"\xff\x4f\xff\x51", _picture("a JPEG 2000 picture")),
    (b"v/1\x01", _picture("an OpenEXR picture")),
    (b"#?RADIANCE", _picture("a Radiance picture")),
    (b"DDS ", _picture("a DDS texture")),
    (b"qoif", _picture("a QOI picture")),
    (b"%PDF", _document("a PDF")),
    (b"%!PS", Format("a PostScript drawing", AS_PICTURE, "drawing")),
    (b"\xc5\xd0\xd3\xc6", Format("a PostScript drawing", AS_PICTURE, "drawing")),
    (b"{\\rtf", RTF),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _document("an old Office document (.doc, .xls, .ppt)")),
    (b"\x1f\x8b", _archive("a gzip archive")),
    (b"BZh", _archive("a bzip2 archive")),
    (b"\xfd7zXZ\0", _archive("an xz archive")),
    (b"\x28\xb5\x2f\xfd", _archive("a Zstandard archive")),
    (b"\x04\x22\x4d\x18", _archive("an LZ4 archive")),
    (b"7z\xbc\xaf\x27\x1c", _archive("a 7z archive")),
    (b"Rar!\x1a\x07", _archive("a RAR archive")),
    (b"PAR1", _table("Parquet")),
    (b"ARROW1", _table("an Arrow table")),
    (b"ORC", _table("an ORC table")),
    (b"Obj\x01", _table("an Avro table")),
    (b"\x89HDF\r\n\x1a\n", _table("HDF5")),
    (b"\x93NUMPY", _table("an array of NumPy")),
    (b"SQLite format 3\0", _table("an SQLite database")),
    (b"\0\1\0\0Standard ", _table("an Access database")),
    (b"GGUF", _weights("weights of a model (GGUF)")),
    (b"\x1aE\xdf\xa3", _media("a video (Matroska or WebM)")),
    (b"\0\0\1\xba", _media("a video (MPEG)")),
    (b"FLV\1", _media("a video (FLV)")),
    (b"OggS", _media("a sound (Ogg)", SOUND)),
    (b"fLaC", _media("a sound (FLAC)", SOUND)),
    (b"ID3", _media("a sound (MP3)", SOUND)),
    (b"\xff\xfb", _media("a sound (MP3)", SOUND)),
    (b"\x7fELF", Format("a program", "send references: pictures or texts", "program")),
    (b"MZ\x90", Format("a program", "send references: pictures or texts", "program")),
)
# of the box "ftyp" that ISO's containers begin with: four letters from byte 8 on
BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"), _HEIF),
    **dict.fromkeys((b"avif", b"avis"), _AVIF),
    b"crx ": _picture("a camera's raw picture"),
    b"M4A ": _media("a sound (M4A)", SOUND),
    b"qt  ": _media("a video (MOV)"),
}
# of RIFF's containers
FORMS = {b"AVI ": _media("a video (AVI)"), b"WAVE": _media("a sound (WAV)", SOUND)}
# by which a picture is known that begins like nothing here: cut short, empty, or of a rare kind
_PICTURES = """
.gif .bmp .tif .tiff .heic .heif .avif .jxl .jp2 .psd .psb .xcf .kra .svg .ico .tga .exr .hdr .raw .dng .cr2 .cr3 .nef
.arw .orf .rw2 .raf
"""
PICTURE_ENDINGS = frozenset(_PICTURES.split())
IMAGE_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".apng"})  # of those that are read
# a file in a zip -> what such a zip is
ZIPS: tuple[tuple[str, Format], ...] = (
    ("xl/", _table("an Excel workbook")),
    ("word/", _document("a Word document")),
    ("ppt/", _document("a PowerPoint presentation")),
    ("META-INF/container.xml", _document("an EPUB book")),
    ("content.xml", _document("an OpenDocument text or table")),
    ("data.pkl", _weights("weights of PyTorch")),
    ("archive/data.pkl", _weights("weights of PyTorch")),
)
ZIP_MARKS = frozenset({"[Content_Types].xml", "mimetype", "container.xml", "data.pkl"})
# signatures that a text may begin with too: an essay on ORCs is no table
WORDS = frozenset(
    {b"8BPS", b"gimp xcf", b"qoif", b"DDS ", b"BZh", b"PAR1", b"ARROW1", b"ORC", b"GGUF", b"OggS", b"fLaC", b"ID3"}
)
_PAGE = re.compile(r"<(?:!doctype\s+html|html|head|body|meta|script|div|p|table|ul|article)\b[^<]*>", re.IGNORECASE)
_XML = re.compile(r"<(?:\?xml\b|!doctype\b|!--|rss\b|feed\b|tei\b|urlset\b|\w+\s[^<>]{0,300}\bxmlns\b)", re.IGNORECASE)
_SVG = re.compile(r"<svg\b", re.IGNORECASE)
HTML = Format("a web page (HTML)", AS_TEXT, "markup")
SVG = Format("an SVG drawing", AS_PICTURE, "drawing")
POINTER = Format(
    "a pointer of Git LFS, which stands for a file and is not it",
    "fetch the file with git lfs pull, or download it from its page",
    "pointer",
)
XML = Format("XML", "save its texts as JSONL or as a .txt in UTF-8", "markup")


def of(head: bytes) -> Format | None:
    """Name a file that is not read by its first bytes; None for what is read, for text, and for what nobody knows."""
    head = head[:HEAD_BYTES]
    text = _is_text(head)
    for signature, format in SIGNATURES:
        if head.startswith(signature) and not (text and signature in WORDS):
            return format
    if head[4:8] == b"ftyp":
        return BRANDS.get(head[8:12], _media("a video (MP4)"))
    if head.startswith(b"RIFF") and head[8:12] in FORMS:
        return FORMS[head[8:12]]
    if head[257:262] == b"ustar":
        return _archive("a tar archive")
    if head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return _PICKLE
    if head[8:10] == b'{"' and head[3:8] == b"\0" * 5:
        return _weights("weights of a model (safetensors)")
    if head.startswith(b"BM") and head[6:10] == b"\0" * 4:
        return _picture("a BMP")
    return of_text(head.decode("utf-8", "replace")) if text else None


def _is_text(head: bytes) -> bool:
    """Tell whether the first bytes are UTF-8 without a null; their last letter may be cut."""
    try:
        head[:-4].decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in head


def of_text(head: str) -> Format | None:
    """Name markup by its first characters; None for a text, also for one that begins with "<", as <|im_start|> does."""
    begin = head.lstrip("\ufeff \t\r\n")
    if begin.startswith("{\\rtf"):
        return RTF
    if begin.startswith("version https://git-lfs.github.com/spec/"):
        return POINTER
    if not begin.startswith("<"):
        return None
    if _SVG.match(begin) or (_XML.match(begin) and _SVG.search(begin)):
        return SVG
    if _PAGE.match(begin) or (_XML.match(begin) and _PAGE.search(begin)):
        return HTML
    return XML if _XML.match(begin) else None


def of_zip(names: Iterable[str]) -> Format | None:
    """Name a zip that is a document, a workbook or weights by the files in it; None for an ordinary zip."""
    names = list(names)
    if not any(name.rpartition("/")[2] in ZIP_MARKS for name in names):
        return None  # a folder of pictures may be called word
    for name in names:
        for inside, format in ZIPS:
            if name == inside or (inside.endswith("/") and name.startswith(inside)) or name.endswith(f"/{inside}"):
                return format
    return None
