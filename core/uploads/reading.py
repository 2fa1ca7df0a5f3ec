"""Parse an upload and judge it: references, findings, and the prints that tell copies apart."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageStat

from core import text_safety
from core.errors import InvalidInput
from core.findings import fingerprints, uploads
from core.findings.finding import Finding
from core.findings.fingerprints import TextPrint
from core.findings.notices import of_notices
from core.findings.pictures import SENTENCES
from core.findings.uploads import Seen
from core.references import masks
from core.references.files.parsing import Parsed, parse
from core.references.items import LAYERS, ImageItem, References, TextItem, without_copies
from core.references.notices import Notice, Notices
from core.settings import Settings

GREY_SIDE, COLOUR_SIDE = 16, 8
LEVELS_A_DEVIATION = 40  # a picture's own contrast becomes this many levels of 256
MIN_DEVIATION = 8.0  # below it a picture is nearly flat, and contrast would be made of noise


def fingerprint(image: Image.Image) -> bytes:
    """Return what a picture is compared by: see core.findings.fingerprints."""
    small = image.convert("L").resize((GREY_SIDE, GREY_SIDE), Image.Resampling.BOX)
    statistics = ImageStat.Stat(small)
    scale = LEVELS_A_DEVIATION / max(statistics.stddev[0], MIN_DEVIATION)
    mean = statistics.mean[0]
    greys = bytes(min(255, max(0, round(128 + scale * (level - mean)))) for level in small.tobytes())
    cells = image.convert("RGB").resize((COLOUR_SIDE, COLOUR_SIDE), Image.Resampling.BOX).convert("YCbCr")
    _, blue, red = cells.split()
    return greys + blue.tobytes() + red.tobytes() + bytes([round(mean)])


@dataclass(frozen=True)
class JudgedReferences(References):
    """The references of one upload, with what its owner should know, and the prints that copies are known by."""

    findings: tuple[Finding, ...] = ()
    prints: tuple[bytes | None, ...] = ()  # of images, in their order, None for one flat colour
    text_prints: tuple[TextPrint, ...] = ()  # of texts
    blank: Mapping[str, Sequence[int]] = field(
        default_factory=dict
    )  # layer: places of images that it leaves nothing of


def read(path: Path, filename: str, limits: Settings, *, strict: bool = False) -> JudgedReferences:
    """Read an upload by its content and judge it; raises as parsing.parse, and where it is empty."""
    parsed = parse(path, filename, limits, strict=strict)
    found = told_of(parsed, filename)
    copies = Notices()
    items = without_copies(parsed.items, copies, limits.max_caption_characters)
    found += of_notices([*changes_of(parsed.items), *copies], SENTENCES)
    if parsed.kind == "texts" and len(items) < len(parsed.items):
        found.append(uploads.copies_left_out(len(parsed.items) - len(items)))
    return judged(References(parsed.kind, tuple(items)), found)


def told_of(parsed: Parsed, filename: str) -> list[Finding]:
    """Return what was noticed while a file was read; raise InvalidInput where there is nothing in it to learn from."""
    found = of_notices(parsed.notices)
    if not parsed.items:
        why = next((finding.message for finding in found if finding.code != "read_as"), "no image and no text.")
        name = text_safety.display_name(filename)
        raise InvalidInput(f"{name} holds no references: {why}", code="no_items", param="file")
    return found


def judged(
    references: References, found: Sequence[Finding], known: Mapping[str, bytes | None] | None = None
) -> JudgedReferences:
    """Judge references, of which some was found already; `known` are prints of pictures, by the hash of their bytes."""
    pictures = [item for item in references.items if isinstance(item, ImageItem)]
    said = [item for item in references.items if isinstance(item, TextItem)]
    known = known or {}
    prints = tuple(known[item.sha256] if item.sha256 in known else _print(item) for item in pictures)
    text_prints = tuple(map(fingerprints.text_print, said))
    seen = [_seen(item, print) for item, print in zip(pictures, prints, strict=True)]
    found = (*found, *uploads.of_images(seen), *uploads.of_texts(said, text_prints))
    return JudgedReferences(references.kind, references.items, found, prints, text_prints, _blank(pictures))


def _blank(pictures: Sequence[ImageItem]) -> dict[str, list[int]]:
    """Return the places of images whose mask, or whose alpha, is black throughout."""
    layers = {layer: [getattr(picture, layer) for picture in pictures] for layer in LAYERS}
    return {
        layer: [place for place, content in enumerate(contents) if content is not None and masks.is_blank(content)]
        for layer, contents in layers.items()
    }


def _seen(item: ImageItem, print: bytes | None) -> Seen:
    empty = any(change.code == "nothing_visible" for change in item.changes)
    return Seen(item.name, item.width, item.height, item.caption, print, empty)


def changes_of(items: Sequence[ImageItem | TextItem]) -> list[Notice]:
    """Return what was done to pictures while they were decoded."""
    return [change for item in items if isinstance(item, ImageItem) for change in item.changes]


def _print(item: ImageItem) -> bytes | None:
    with Image.open(io.BytesIO(item.png)) as image:
        return None if image.getcolors(maxcolors=1) else fingerprint(image)
