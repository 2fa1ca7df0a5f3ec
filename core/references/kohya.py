"""What kohya's scripts say with the name of a folder: 10_sks cat is read 10 times a pass and is captioned "sks cat"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from core import text_safety
from core.references.notices import Notice

# A year ("2023_holiday") or a number with zeros in front ("001_cat") counts folders, not repeats.
FOLDER = re.compile(r"([1-9]\d{0,2})_(.*\S)")


def kohya_folder(path: str) -> tuple[int, str] | None:
    """Return repeats and words of the folder that a file lies in; None where it is not named as kohya's are."""
    folders = re.split(r"[/\\]", path)[:-1]
    found = FOLDER.fullmatch(folders[-1].strip()) if folders else None
    return (int(found[1]), " ".join(found[2].split())) if found and found[2].strip("_ ") else None


def notices_of(paths: Iterable[str]) -> Iterator[Notice]:
    """Yield a notice for each folder of images that is named as kohya's are, in the order in which they come."""
    told: set[str] = set()
    for path in paths:
        if (found := kohya_folder(path)) is None:
            continue
        folder = text_safety.display_name(re.split(r"[/\\]", path)[-2])
        if folder not in told:
            told.add(folder)
            yield Notice(
                "kohya_folder",
                folder,
                f"{found[0]} {'repeat' if found[0] == 1 else 'repeats'} of {text_safety.display_name(found[1])!r}",
            )
