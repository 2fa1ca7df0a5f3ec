"""Read many files that were sent together: images with captions, or texts, and all that lies between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from core.errors import InvalidInput, TooLarge
from core.references import kohya, masks
from core.references.faults import Faults
from core.references.files import caption_files, caption_tables, formats, images, litter, names, sources, texts
from core.references.files.caption_files import Captions
from core.references.files.formats import IMAGE_ENDINGS
from core.references.files.images import Picture
from core.references.files.sources import Member, Source
from core.references.items import ImageItem, Kind, TextItem
from core.references.notices import Notices
from core.settings import Settings

Use = Literal["image", "words", "unread", "passed_over"]
TEXT_ENDINGS = frozenset({".txt", ".md", ".markdown", ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".srt", ".vtt"})
WRITTEN = frozenset({".md", ".markdown", ".rst", ".yaml", ".yml"})  # beside an image they may hold its caption


@dataclass
class Bundle:
    """One set of files. `strict` refuses what would else be left out with a word about it."""

    source: Source
    limits: Settings
    strict: bool = False
    notices: Notices = field(default_factory=Notices)
    faults: Faults = field(default_factory=Faults)
    masked: dict[tuple[str, ...], list[Member]] = field(default_factory=dict)  # the masks of pictures

    def read(self) -> tuple[Kind, Sequence[ImageItem | TextItem]]:
        """Return images with captions, or texts where there is no image; raises all that is wrong with them at once."""
        for path in self.source.litter:
            self.notices.add("passed_over", names.label(path))
        uses = {member: self._use(member) for member in self.source.members}
        pictured = [member for member, use in uses.items() if use in ("image", "unread")]
        found = self._images(uses, pictured) if pictured else self._texts()
        self.faults.raise_all()
        return ("images" if pictured else "texts"), found

    def _use(self, member: Member) -> Use:
        """Say what a file is for, by its content; words have no mark of their own and are known by their ending."""
        if caption_files.is_words(member.path):
            return "words"
        if litter.is_program(member.path):
            return "passed_over"  # whatever its content: a backup or a thumbnail may be a picture
        head = self.source.head(member)
        if images.looks_like_image(head) or names.parts(member.path)[2] in IMAGE_ENDINGS:
            return "image"
        return "unread" if _is_picture(head, member.path) else "passed_over"

    def _images(self, uses: dict[Member, Use], pictured: Sequence[Member]) -> list[ImageItem]:
        wanted = self._wanted(pictured)
        pictures = self._pictures(wanted, uses)
        greys = self._masks(pictures)
        for notice in kohya.notices_of(pictures):
            self.notices.add(notice.code, notice.place, notice.detail)
        captions = Captions([member.path for member in pictured], self.limits, self.faults, self.notices)
        for member, use in uses.items():
            if use == "words":
                with self.faults.about(names.label(member.path)):
                    captions.read(member.path, self.source.read(member))
            elif use == "passed_over":
                self._pass_over(member, captions.is_beside(member.path))
        self._say_same_names(list(pictures))
        shown = names.labels(list(pictures))
        return [
            images.item(picture, shown[path], captions.get(path), greys.get(path)) for path, picture in pictures.items()
        ]

    def _wanted(self, pictured: Sequence[Member]) -> list[Member]:
        """Return the images that are to be learned: no masks, no thumbnails, nothing that is for another purpose."""
        paths = [member.path for member in pictured]
        apart = litter.not_for_training(paths, files=False)
        about = litter.about_others([path for path in paths if path not in apart])
        wanted = [member for member in pictured if member.path not in apart and member.path not in about]
        paths = [member.path for member in wanted]
        for member in pictured:
            what = apart.get(member.path) or about.get(member.path)
            if what == litter.MASK and (owners := masks.owners(member.path, paths)):
                self.masked.setdefault(tuple(owners), []).append(member)
            elif what is not None:
                code = "thumbnail" if what == "a thumbnail" else "mask" if member.path in about else "set_aside"
                self.notices.add("mask" if what == litter.MASK else code, names.label(member.path), what)
        if len(wanted) > self.limits.max_images:
            message = f"There are {len(wanted)} images; at most {self.limits.max_images} are taken, so send fewer."
            raise TooLarge(message, code="too_many_images", param="file")
        self._check_unique(wanted)
        return wanted

    def _check_unique(self, members: Iterable[Member]) -> None:
        for first, second in sources.twins(members):
            self.faults.add(sources.one_name(first, second))

    def _pictures(self, wanted: Sequence[Member], uses: dict[Member, Use]) -> dict[str, Picture]:
        """Decode what can be decoded; the rest is left out with a notice, or refused where it is most of the set."""
        pictures: dict[str, Picture] = {}
        bad: dict[str, InvalidInput] = {}
        kept_bytes = 0
        for member in wanted:
            try:
                pictures[member.path] = picture = self._picture(member, uses[member])
            except InvalidInput as error:
                if error.code in ("zip_bomb", "archive_too_large"):
                    raise
                bad[member.path] = error
                continue
            kept_bytes += len(picture.png)
            if kept_bytes > self.limits.max_file_bytes:
                raise images.too_much(self.limits)
        readable = {names.key(names.without_ending(path)) for path in pictures}
        missing = [path for path in bad if names.key(names.without_ending(path)) not in readable]  # no raw of a JPEG
        for path, why in bad.items():
            if self.strict or len(missing) > len(pictures):
                with self.faults.about(names.label(path)):
                    self.faults.add(why)
            else:
                self.notices.add("image_left_out", names.label(path), why.message.removesuffix("."))
        return pictures

    def _masks(self, pictures: Mapping[str, Picture]) -> dict[str, bytes]:
        """Return the mask of each picture that has one; a mask that can't be read is left out with a notice."""
        found: dict[str, bytes] = {}
        for owners, members in self.masked.items():
            labels = [names.label(member.path) for member in members]
            given = [(label, self.source.read(member)) for label, member in zip(labels, members, strict=True)]
            for path in (owner for owner in owners if owner in pictures):
                try:
                    found[path] = masks.fitted(given, pictures[path], self.limits, self.notices)
                except InvalidInput as error:
                    self.notices.add("mask", labels[0], error.message.removesuffix("."))
                    continue
                for label in labels:
                    self.notices.add("mask_kept", label, f"of {names.label(path)}")
        return found

    def _picture(self, member: Member, use: Use) -> Picture:
        label = names.label(member.path)
        if use == "unread":  # known by its first bytes or its ending: whatever its size, it is not inflated
            raise images.unread(self.source.head(member), label)
        return images.decode(self.source.read(member), label, self.limits)

    def _pass_over(self, member: Member, is_beside: bool = False) -> None:
        head = self.source.head(member)
        what = formats.of(head)
        written = names.parts(member.path)[2] in WRITTEN or not litter.is_program(member.path)
        if is_beside and written and what is None and head.strip() and b"\0" not in head:
            self.notices.add("beside_image", names.label(member.path))
            return
        packed = head.startswith(b"PK") or (what is not None and what.of_class == "archive")
        if packed and not litter.is_program(member.path):  # in a folder: a zip that holds archives is refused
            self.notices.add("archive_left_out", names.label(member.path))
            return
        self.notices.add("passed_over", names.label(member.path), what.name if what else "")

    def _say_same_names(self, paths: Sequence[str]) -> None:
        """Say where two images differ in their endings only."""
        first: dict[str, str] = {}
        for path in paths:
            other = first.setdefault(names.key(names.without_ending(path)), path)
            if other is not path:
                self.notices.add("same_name", f"{names.label(other)} and {names.label(path)}")

    def _texts(self) -> list[TextItem]:
        """Read every text of the set, in the order of the files."""
        paths = [member.path for member in self.source.members]
        apart = litter.not_for_training(paths, files=True)
        found: list[TextItem] = []
        for member in self.source.members:
            label = names.label(member.path)
            if names.parts(member.path)[2] not in TEXT_ENDINGS or litter.is_about_texts(member.path):
                self._pass_over(member)
            elif member.path in apart:
                self.notices.add("set_aside", label, apart[member.path])
            else:
                with self.faults.about(label), self.faults.kept():
                    found += self._text(self.source.read(member), label)
        if len(found) > self.limits.max_items:
            message = f"There are {len(found):,} texts; at most {self.limits.max_items:,} are taken, so send fewer."
            raise TooLarge(message, code="too_many_items", param="file")
        return found

    def _text(self, content: bytes, label: str) -> list[TextItem]:
        if names.parts(label)[2] in caption_tables.ENDINGS and caption_tables.names_images(
            label, content.decode("utf-8-sig", "replace")
        ):
            self.notices.add("caption_without_image", label)
            return []
        read = texts.read(content, label, self.limits)
        for notice in read.notices:
            place = notice.place or label
            self.notices.add(notice.code, place if place.endswith(label) else f"{place} of {label}", notice.detail)
        self.notices.add("text_of_set", label)
        return read.items


def _is_picture(head: bytes, path: str) -> bool:
    """Tell whether a file is a picture of a format that is not read, by its first bytes or else by its ending."""
    found = formats.of(head)
    return found.of_class in ("image", "drawing") if found else names.parts(path)[2] in formats.PICTURE_ENDINGS
