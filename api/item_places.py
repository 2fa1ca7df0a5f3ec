"""Which item of an upload a caller means: by its id, which is its place, or by the name of its file."""

import re
from collections.abc import Sequence
from pathlib import Path

from api.dependencies import Services
from core.database.tables import File
from core.errors import InvalidInput
from core.references.files import names
from core.references.files.names import Index

ITEM = re.compile(r"item-([1-9]\d{0,8})")


class ItemPlaces:
    """The places of a file's items; the names of its images are read only where one is asked for by its name."""

    def __init__(self, services: Services, path: Path, file: File) -> None:
        self._services, self._path, self._file = services, path, file
        self._known: tuple[Sequence[str], Index] | None = None

    def of_id(self, item_id: str) -> int | None:
        """Return the place of an item, counted from 0; None where there is no such item."""
        found = ITEM.fullmatch(item_id)
        place = int(found[1]) - 1 if found else self._file.items
        return place if place < self._file.items else None

    def of_name(self, filename: str, param: str) -> int | None:
        """Return the place of the image that a name means, whole or shortened as long names are kept.

        Raises InvalidInput where it may mean several.
        """
        named, index = self._names()
        found = index.find(filename) or index.find(names.kept(names.canonical(filename)), as_it_is=True)
        if len(found) > 1 or (found and named.count(found[0]) > 1):
            message = "Several images have this name; name the folder too, or use id."
            raise InvalidInput(message, code="ambiguous_filename", param=param)
        return named.index(found[0]) if found else None

    def _names(self) -> tuple[Sequence[str], Index]:
        if self._known is None:
            images = self._file.kind == "images"
            shown = self._services.reader.show(self._path, 0, self._file.items, thumbnails=False) if images else []
            named = [item.filename or "" for item in shown]
            self._known = named, Index(named)
        return self._known
