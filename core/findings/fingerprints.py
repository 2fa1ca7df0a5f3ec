"""What two pictures or two texts are compared by: small enough to keep beside an upload, and alike where they are."""

from __future__ import annotations

import hashlib
import itertools
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from core.references import chats, phrases
from core.references.items import TextItem

# A picture's print: 16 x 16 levels of grey with its brightness and contrast taken out, Cb and Cr of 8 x 8 cells, and
# its mean level of grey.
GREY_CELLS, COLOUR_CELLS = 256, 64
PRINT_BYTES = GREY_CELLS + 2 * COLOUR_CELLS + 1
# All measured on the demo's emoji: copies of 300 of them at 128 pixels, and all pairs of the 450.
# Mean difference of grey: copies of half the size, darker by 20 %, in 15 % more or less contrast or as JPEG of quality
# 60 differ by 1.6 at most, copies of 70 pixels by 1.9 (95 % of them), one cat with two expressions by 3.2 at least, a
# crop of one pixel in 32 by about 6.
SAME_PICTURE_LEVELS = 2.0
# Largest difference of Cb or Cr in a cell: those copies differ by 8 at most, with contrast or saturation changed by 15
# to 20 % by 22; hearts of two colours, of which greys tell nothing, by 51 at least, pictures with hues turned by 90
# degrees by 61 (median).
SAME_COLOUR_LEVELS = 24
# A picture is another one, as by night, where it is this much darker both in levels and in share.
OTHER_LIGHT_LEVELS, OTHER_LIGHT = 24, 0.75
HASH_BITS = 64
# Of 64 bits. Another word in 20 to 40 changes 7 of them (median), in 40 to 80 it changes 5; of 543 texts of the demo's
# pool no two differ in fewer than 15.
SAME_TEXT_BITS = 7
MIN_WORDS = 12  # in fewer words one other word is another text
MAX_READ_WORDS = 400  # of a text are looked at
CLOSING = ".!?"  # of a line: who leaves them out says the same
LANE_BITS = 16
# each bit of each of 8 bytes as a lane of its own, so that one addition counts 8 bits
_LANES = [
    [sum(1 << LANE_BITS * (8 * place + bit) for bit in range(8) if byte >> bit & 1) for byte in range(256)]
    for place in range(HASH_BITS // 8)
]


def same_picture(first: bytes, second: bytes) -> bool:
    """Tell whether two pictures are the same but for size, packing, and a little light, contrast or saturation."""
    dark, bright = sorted((first[-1], second[-1]))
    if bright - dark > OTHER_LIGHT_LEVELS and dark < OTHER_LIGHT * bright:
        return False
    greys = zip(first[:GREY_CELLS], second[:GREY_CELLS], strict=True)
    if sum(abs(a - b) for a, b in greys) >= SAME_PICTURE_LEVELS * GREY_CELLS:
        return False
    light = (first[-1] + 1) / (second[-1] + 1)  # colours fade with it
    colours = zip(first[GREY_CELLS:-1], second[GREY_CELLS:-1], strict=True)
    return all(abs((a - 128) - light * (b - 128)) < SAME_COLOUR_LEVELS for a, b in colours)


@dataclass(frozen=True)
class TextPrint:
    """What a text is known again by: `exact` is shared by copies only, `near` differs little for like texts."""

    exact: str
    near: int | None


def text_print(item: TextItem) -> TextPrint:
    """Return what a text is known again by.

    `near` leaves system messages out: all texts of a set may share a long one, and still differ. The same words are
    another text where other messages of them are learned.
    """
    own = [chats.said(message) for message in item.messages or () if message["role"] != "system"]
    said = phrases.words("\n".join(own) or item.words())
    masked = [place for place, message in enumerate(item.messages or ()) if message.get("weight") == 0]
    return TextPrint(text_exact(f"{item.words()}\n{masked}" if masked else item.words()), text_near(said))


def text_exact(text: str) -> str:
    """Return a hash that only texts share which are the same but for the size of letters, blanks and closing marks.

    Other signs count: `12 + 4` is not `12 - 4`, and C is not C++.
    """
    lines = unicodedata.normalize("NFKC", text).lower().splitlines()
    plain = " ".join(" ".join(line.split()).rstrip(CLOSING) for line in lines)
    return hashlib.blake2b(plain.encode(), digest_size=8).hexdigest()


def text_near(said: Sequence[str]) -> int | None:
    """Return 64 bits of which like texts share most (a simhash of word pairs); None for a text of few words."""
    if len(said) < MIN_WORDS:
        return None
    pairs = {f"{first} {second}" for first, second in itertools.pairwise(said[:MAX_READ_WORDS])}
    lanes = 0
    for pair in pairs:
        digest = hashlib.blake2b(pair.encode(), digest_size=HASH_BITS // 8).digest()
        for place, byte in enumerate(digest):
            lanes += _LANES[place][byte]
    half, mask = len(pairs) // 2, (1 << LANE_BITS) - 1
    return sum(1 << place for place in range(HASH_BITS) if (lanes >> LANE_BITS * place & mask) > half)


class NearTexts:
    """Finds, among texts seen before, one that is nearly the same, without looking at each of them."""

    BANDS = SAME_TEXT_BITS + 1  # so many differing bits leave at least one band alike
    WIDTH = HASH_BITS // BANDS

    def __init__(self, seen: Iterable[tuple[int, int | None]] = ()) -> None:
        self._bands: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for place, near in seen:
            self.add(place, near)

    def add(self, place: int, near: int | None) -> None:
        """Remember the text at a place."""
        if near is not None:
            for band in self._split(near):
                self._bands.setdefault(band, []).append((place, near))

    def find(self, near: int | None) -> int | None:
        """Return the place of a text that is nearly this one; None where there is none."""
        for band in self._split(near) if near is not None else ():
            for place, known in self._bands.get(band, [])[:1000]:
                if near is not None and (near ^ known).bit_count() <= SAME_TEXT_BITS:
                    return place
        return None

    def _split(self, near: int) -> Iterator[tuple[int, int]]:
        mask = (1 << self.WIDTH) - 1
        return ((band, near >> band * self.WIDTH & mask) for band in range(self.BANDS))
