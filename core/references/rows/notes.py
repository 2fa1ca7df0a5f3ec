"""What is noticed while the rows of a file are read, each kind once: how many rows, and which was first."""

from __future__ import annotations

from collections.abc import Iterator

from core.references.notices import Notice, Notices
from core.references.rows.hygiene import Washing
from core.references.rows.remarks import Remarks


class RowNotes:
    """Collects the remarks on rows. What concerns each of 10,000 rows is one notice."""

    def __init__(self) -> None:
        self.notices = Notices()
        self.washing = Washing()
        self._counts: dict[tuple[str, str], tuple[int, str]] = {}  # (code, what) -> how many rows, and the first

    def add(self, remarks: Remarks, place: str) -> None:
        """Note what was noticed of a row that was taken."""
        for key in sorted(remarks.ignored):
            self._count("keys_ignored", key, place)
        for key in sorted(remarks.masked):
            self._count("masks_honoured", key, place)
        if remarks.empty_systems:
            self._count("empty_system", "", place)
        if remarks.read_as:
            self.read_as(remarks.read_as, place)
        for form in sorted(remarks.tools_read_as):
            self.read_as(form, place)
        if remarks.undeclared:
            self._count("calls_undeclared", "", place)
        self.washing.note(remarks.cleaned, place)

    def read_as(self, what: str, place: str) -> None:
        """Note that a row was read in another form than the three."""
        self._count("rows_read_as", what, place)

    def all(self) -> Iterator[Notice]:
        """Yield all notices."""
        yield from self.notices
        for (code, what), (count, first) in self._counts.items():
            rows = "1 row" if count == 1 else f"{count:,} rows"
            yield Notice(code, first, f"{what} in {rows}".removeprefix(" in "))
        yield from self.washing.notices()

    def _count(self, code: str, what: str, place: str) -> None:
        count, first = self._counts.get((code, what), (0, place))
        self._counts[code, what] = count + 1, first
