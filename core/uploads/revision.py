"""A stored upload with an item less, with more items, or with another in the place of one, judged anew.

It is done where uploads are decoded. Pictures that stay are not decoded again: what is known of them stands in the
profile of the upload.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from core.errors import InvalidInput, TooLarge
from core.findings import profiles, uploads
from core.findings.finding import Finding
from core.findings.notices import of_notices
from core.findings.pictures import CHANGES, SENTENCES
from core.findings.profiles import PictureProfile
from core.references import packing
from core.references.files import images, names
from core.references.files.parsing import Parsed, parse_several
from core.references.items import ImageItem, Kind, References, TextItem, without_copies
from core.references.notices import Notices
from core.settings import Settings
from core.uploads import reading
from core.uploads.changes import Change
from core.uploads.reading import JudgedReferences

OF_MASKS = frozenset({"masks_kept", "mask_scaled", "mask_stretched", "mask_empty"})  # that are kept
Item = ImageItem | TextItem
Items = Sequence[Item]


def revised(path: Path, asked: Change, limits: Settings) -> JudgedReferences:
    """Return a packed file's references as they are then; raises as reading.read, and where they can't be so."""
    sent, found = _sent(asked, limits)
    _check_amount(path, asked, sent.items, limits)
    packed = packing.read_packed(path, "the file", limits)
    if sent.items and sent.kind != packed.kind:
        message = f"The file holds {packed.kind}, and what was sent {sent.kind}; upload those as a file of their own."
        raise InvalidInput(message, code="mixed_kinds", param="file")
    known = _known(packed.items, asked.profile)
    before = [_restored(item, known) for item in packed.items]
    copies = Notices()
    if asked.place is None:
        items: Items = without_copies([*before, *sent.items], copies, limits.max_caption_characters)
    else:
        items = _replaced(before, asked, sent.items)
    items = list(_apart(items))
    _check_count(packed.kind, len(items), limits)
    found += of_notices(copies, SENTENCES)
    if packed.kind == "texts" and (left_out := len(before) + len(sent.items) - len(items)) and asked.place is None:
        found.append(uploads.copies_left_out(left_out))
    found = list(_of_what_was_sent(asked, before, items, found, bool(known)))
    found += of_notices(reading.changes_of(items), SENTENCES)
    prints = {digest: picture.print for digest, picture in known.items()}
    return reading.judged(References(packed.kind, tuple(items)), found, prints)


def _sent(asked: Change, limits: Settings) -> tuple[Parsed, list[Finding]]:
    """Read all files that came, and say what was noticed in them."""
    if not asked.sent:
        return Parsed("images", ()), []
    parts = parse_several([(file.path, file.filename) for file in asked.sent], limits, strict=asked.strict)
    kinds = {part.kind for part in parts}
    if len(kinds) > 1:
        message = "Images and texts were sent together; a file holds one of the two."
        raise InvalidInput(message, code="mixed_kinds", param="file")
    whole = Parsed(
        kinds.pop(),
        [item for part in parts for item in part.items],
        [notice for part in parts for notice in part.notices],
    )
    return whole, reading.told_of(whole, asked.sent[0].filename)


def _check_amount(path: Path, asked: Change, sent: Items, limits: Settings) -> None:
    """Refuse what is too much before what is stored is in memory beside it."""
    if asked.place is not None and asked.sent and len(sent) != 1:
        message = f"What was sent holds {len(sent)} items; send the one that shall stand in the place of this one."
        raise InvalidInput(message, code="several_items", param="file")
    size = path.stat().st_size + sum(len(item.png) for item in sent if isinstance(item, ImageItem))
    if asked.place is None and size > limits.max_file_bytes:
        raise images.too_much(limits)


def _known(items: Items, profile: Mapping[str, Any] | None) -> dict[str, PictureProfile]:
    """Return what is known of pictures, by the hash of their bytes; nothing where it is not known of all."""
    parsed = profiles.parse(dict(profile)) if profile else None
    known = {picture.digest: picture for picture in parsed.pictures} if parsed else {}
    if any(picture.changes is None for picture in known.values()):
        return {}
    return known if {item.sha256 for item in items if isinstance(item, ImageItem)} <= known.keys() else {}


def _restored(item: Item, known: Mapping[str, PictureProfile]) -> Item:
    """Return a packed picture under the name that its owner gave it, with what was done to it when it was read."""
    if isinstance(item, TextItem) or item.sha256 not in known:
        return item
    picture = known[item.sha256]
    return replace(item, name=picture.name, changes=picture.changes or ())


def _replaced(before: Items, asked: Change, sent: Items) -> Items:
    """Return the items without the one at the place, or with the one that was sent there."""
    place = asked.place or 0
    if not 0 <= place < len(before):
        raise InvalidInput("There is no such item.", code="item_not_found", param="item_id")
    others = [*before[:place], *before[place + 1 :]]
    if not asked.sent:
        return others
    (item,), old = sent, before[place]
    if isinstance(item, ImageItem) and isinstance(old, ImageItem):
        caption = item.caption or old.caption if asked.caption is None else asked.caption
        item = replace(item, caption=caption or None)
    if _what(item) in map(_what, others):
        message = "Another item of the file is the same already; delete one of the two instead."
        raise InvalidInput(message, code="duplicate_item", param="file")
    return [*before[:place], item, *before[place + 1 :]]


def _what(item: Item) -> str:
    """Return what only copies share."""
    return item.sha256 if isinstance(item, ImageItem) else item.structure()


def _apart(items: Items) -> Iterator[Item]:
    """Yield the items, pictures under names that tell them apart: a second cat.png becomes cat-2.png."""
    taken: set[str] = set()
    for item in items:
        if isinstance(item, TextItem):
            yield item
            continue
        name, number = item.name, 1
        while _key(name) in taken:
            number += 1
            name = _numbered(item.name, number)
        taken.add(_key(name))
        changes = tuple(replace(change, place=name) for change in item.changes)
        yield item if name == item.name else replace(item, name=name, changes=changes)


def _key(name: str) -> str:
    return names.key(names.kept(name))


def _numbered(name: str, number: int) -> str:
    path = PurePosixPath(name)
    return str(path.with_name(f"{path.stem}-{number}{path.suffix}"))


def _check_count(kind: Kind, count: int, limits: Settings) -> None:
    most, code = (limits.max_images, "too_many_images") if kind == "images" else (limits.max_items, "too_many_items")
    if count > most:
        message = f"With these the file would hold {count:,} {kind}; at most {most:,} are taken."
        raise TooLarge(message, code=code, param="file")


def _of_what_was_sent(
    asked: Change, before: Items, items: Items, found: Sequence[Finding], known: bool
) -> Iterator[Finding]:
    """Yield what was told of the files that came before and come now, without what is only about items that are gone.

    What was done to pictures is told anew, where it is known of each of them.
    """
    staying = {item.name for item in items if isinstance(item, ImageItem)}
    gone = {item.name for item in before if isinstance(item, ImageItem)} - staying
    anew = uploads.JUDGED | (CHANGES if known else frozenset())
    anew |= frozenset() if any(isinstance(item, ImageItem) and item.mask for item in items) else OF_MASKS
    earlier = [Finding(**row) for row in asked.findings if row["code"] not in anew]
    kept: dict[str, list[Finding]] = {}
    for finding in (*(finding for one in earlier for finding in _without(one, gone)), *found):
        alike = kept.setdefault(finding.code, [])
        if finding not in alike:
            alike.append(finding)
    for alike in kept.values():
        yield from alike[-uploads.MAX_FINDINGS_OF_A_CODE :]


def _without(finding: Finding, gone: set[str]) -> Iterator[Finding]:
    about = finding.items or ([finding.item] if finding.item else [])
    left = [name for name in about if name not in gone]
    if left or not about:
        yield replace(finding, item=left[0], items=left) if len(left) < len(about) else finding
