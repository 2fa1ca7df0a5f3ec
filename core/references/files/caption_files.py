"""Captions of images as people write them: in a file beside each image, or in a table."""

from __future__ import annotations

import re
from collections.abc import Sequence

from core import text_safety
from core.errors import InvalidInput, TooLarge
from core.references.faults import Faults
from core.references.files import caption_tables, litter, names
from core.references.files.names import Index
from core.references.notices import Notices
from core.references.rows import hygiene
from core.settings import Settings

ENDINGS = frozenset({".txt", ".caption", ".captions", ".cap", ".tags", ".prompt", ".text"})  # of a file beside an image
TABLES = re.compile(r"_?(metadata|meta_cap|meta_clean|captions?|prompts?|labels|annotations|dataset)")
# what programs that draw pictures write behind the prompt: what was not wanted, and settings
_GENERATED = re.compile(r"^(?:Negative prompt: |Steps: \d+, )", re.MULTILINE)
MAX_ROWS_LOOKED_AT = 100  # of a table without captions, to tell whether it is about the images
MAX_BYTES = 2_000_000  # of one file with captions


class Captions:
    """The captions of a set of images; what can't be read goes to `faults`, and what is of no use to `notices`."""

    def __init__(self, images: Sequence[str], limits: Settings, faults: Faults, notices: Notices) -> None:
        self._images, self._limits, self._faults, self._notices = Index(images), limits, faults, notices
        self._folders = {names.key(names.parts(path)[0]) for path in images}
        self._words: dict[str, list[str]] = {}

    def get(self, image: str) -> str | None:
        """Return the caption of an image: all that were written of it, a line each."""
        return "\n".join(self._words.get(image, ())) or None

    def is_beside(self, path: str) -> bool:
        """Tell whether a file has the name of an image."""
        return self._is_clear(self._beside(path))

    def read(self, path: str, content: bytes) -> None:
        """Take the captions of a file beside an image or of a table."""
        with self._faults.kept():
            text, encoding = _decoded(content, names.label(path))
            if encoding is not None:
                self._notices.add("read_as", names.label(path), f"captions in {encoding}")
            if names.parts(path)[2] in caption_tables.ENDINGS and not self._read_object(path, text):
                self._read_table(path, text)
            elif names.parts(path)[2] in ENDINGS:
                self._read_beside(path, text)

    def _read_beside(self, path: str, text: str) -> None:
        images = self._beside(path)
        if self._is_clear(images):
            label = names.label(path)
            if drawn := _GENERATED.search(text):
                text = text[: drawn.start()]
                self._notices.add("settings_of_pictures", label)
            self._add(images, caption(self._cleaned(text, label), label, self._limits), label)
        elif litter.is_note(path):
            self._notices.add("passed_over", names.label(path))
        elif text.strip():
            self._notices.add(_homeless(images), names.label(path))

    def _read_object(self, path: str, text: str) -> bool:
        """Take the caption out of a JSON file beside an image; returns whether it is one."""
        images = self._beside(path) if names.parts(path)[2] == ".json" else []
        if not self._is_clear(images):
            return False
        label = names.label(path)
        if (found := caption_tables.caption_of(text)) is None:
            self._notices.add("caption_not_found", label)
            return True
        words, others = found
        self._pass_over_columns(label, others)
        self._add(images, caption(self._cleaned(words, label), label, self._limits), label)
        return True

    def _read_table(self, path: str, text: str) -> None:
        label = names.label(path)
        try:
            table = caption_tables.read(path, text, lambda name: bool(self._images.find(name)))
        except InvalidInput:
            if self._is_table(path):
                raise
            table = None
        for fault in table.faults if table and self._is_table(path) else ():
            self._faults.add(fault)
        if table is None or not table.has_captions or (table.faults and not self._is_table(path)):
            named = table is not None and any(self._images.find(row.file) for row in table.rows[:MAX_ROWS_LOOKED_AT])
            self._notices.add("table_not_read", label, _columns(table) if table and named else "")
            return
        self._pass_over_columns(label, list(table.passed_over))
        folder = names.parts(path)[0]
        for row in table.rows:
            with self._faults.kept():
                words = caption(self._cleaned(row.words, row.place), row.place, self._limits)
                images = self._near(self._images.find(row.file, folder), folder if "/" not in row.file else "")
                if self._is_clear(images):
                    self._add(images, words, row.place)
                elif words:
                    self._notices.add(_homeless(images), names.label(row.file), row.place if images else "")

    @staticmethod
    def _is_table(path: str) -> bool:
        """Tell by its name whether a file is surely meant as a table of captions."""
        return TABLES.fullmatch(names.parts(path)[1].lower()) is not None

    def _cleaned(self, text: str, place: str) -> str:
        """Return a caption without what is no text; raise InvalidInput where it can't be stored."""
        try:
            # a caption is a list of words to most backbones; it is shown in more places than a text
            plain, counts = hygiene.cleaned(text, directions=False)
        except hygiene.UncleanText as error:
            message = f"{caption_tables.begun(place)} is not clean text: {error}."
            raise InvalidInput(message, code="encoding", param="file") from error
        for what, count in counts.items():
            self._notices.add("cleaned", place, f"{count:,} {what[count > 1]}")
        return plain

    def _pass_over_columns(self, label: str, columns: Sequence[str]) -> None:
        if columns:
            self._notices.add("columns_passed_over", label, _listed(columns))

    def _beside(self, path: str) -> list[str]:
        folder, stem, ending = names.parts(path)
        if found := self._images.find(stem, folder, as_it_is=True):
            return self._near(found, folder)
        # Google Takeout's IMG_1.jpg.supplemental-metadata.json, cut anywhere where the name is long
        image, _, rest = stem.rpartition(".")
        takeout = ending == ".json" and rest and "supplemental-metadata".startswith(rest.lower())
        return self._near(self._images.find(image, folder, as_it_is=True), folder) if takeout else []

    def _near(self, found: list[str], folder: str) -> list[str]:
        """Return what was found of a folder with images, in which captions of others are stale; else all of it."""
        if not folder or names.key(folder) not in self._folders:
            return found
        return [path for path in found if names.key(names.parts(path)[0]) == names.key(folder)]

    @staticmethod
    def _is_clear(found: Sequence[str]) -> bool:
        """Tell whether what was found differs in its endings only: of others it is not clear which is meant."""
        return len({names.key(names.without_ending(path)) for path in found}) == 1

    def _add(self, images: Sequence[str], words: str, place: str) -> None:
        for image in images if words else ():
            known = self._words.setdefault(image, [])
            if words in known:
                continue
            if len("\n".join([*known, words])) > self._limits.max_caption_characters:
                self._notices.add("caption_no_room", names.label(image), place)
                continue
            if known:
                self._notices.add("several_captions", names.label(image), place)
            known.append(words)


def _homeless(images: Sequence[str]) -> str:
    """Say why a caption goes to no image: there are several that it may mean, or none."""
    return "caption_unclear" if images else "caption_without_image"


def _columns(table: caption_tables.Table) -> str:
    others = _listed(list(table.passed_over))
    return f"it names images, and beside them has only {others}" if others else "it only names images"


def _listed(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - 5} more" if len(columns) > 5 else ""
    return ", ".join(text_safety.shown(column) for column in columns[:5]) + more


def is_words(path: str) -> bool:
    """Tell by its ending whether a file of a set may hold captions, or texts."""
    return names.parts(path)[2] in ENDINGS | caption_tables.ENDINGS


def stored(content: bytes, name: str, limits: Settings) -> str:
    """Return a caption that was read, and is kept in a file of its own, again."""
    label = names.label(name)
    try:
        return caption(_decoded(content, label)[0], label, limits)
    except text_safety.UncleanText as error:
        raise InvalidInput(f"{label} is not clean text: {error}.", code="encoding", param="file") from error


def caption(text: str, place: str, limits: Settings) -> str:
    """Return the clean lines of a caption; raise InvalidInput that names the place where it is too long as a whole."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    text = text_safety.clean("\n".join(line for line in lines if line))
    if len(text) > limits.max_caption_characters:
        raise InvalidInput(
            f"A caption in {place} has {len(text)} characters; at most {limits.max_caption_characters} are taken.",
            code="caption_too_long",
            param="file",
        )
    return text


def _decoded(content: bytes, name: str) -> tuple[str, str | None]:
    if len(content) > MAX_BYTES:
        raise TooLarge(f"{name} has more than {MAX_BYTES:,} bytes.", code="text_too_large", param="file")
    try:
        return hygiene.decoded(content)
    except hygiene.UncleanText as error:
        raise InvalidInput(f"{name} is not clean text: {error}.", code="encoding", param="file") from error
