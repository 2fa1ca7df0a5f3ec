"""What reading an upload passed over, cleaned or changed: facts, of which core.findings.notices makes sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Notice:
    """One thing that was noticed: `place` is a file of the upload or one of its lines, `detail` what about it."""

    code: str
    place: str = ""
    detail: str = ""


@dataclass
class Notices:
    """Collects what is noticed, in the order in which it is met."""

    _found: list[Notice] = field(default_factory=list)

    def add(self, code: str, place: str = "", detail: str = "") -> None:
        """Remember one thing."""
        self._found.append(Notice(code, place, detail))

    def __iter__(self) -> Iterator[Notice]:
        return iter(self._found)
