"""All that is wrong with an upload, told at once: whoever mends one fault a try gives up at the third."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from core.errors import InvalidInput, TooLarge

MAX_TOLD = 50


def param_of(label: str) -> str:
    """Return the param of an error that is about one file of several."""
    return f"file:{label}"


@dataclass
class Faults:
    """Collects refusals of single parts of an upload. What endangers the reader itself is raised at once, not kept."""

    _found: list[InvalidInput] = field(default_factory=list)
    _about: str | None = None  # the file of a set that is read at present

    def __len__(self) -> int:
        return len(self._found)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep a refusal that is raised inside."""
        try:
            yield
        except InvalidInput as error:
            self.add(error)

    @contextmanager
    def about(self, label: str) -> Iterator[None]:
        """Let what is kept inside name the file that it is about: `file:` and its label."""
        self._about = label
        try:
            yield
        finally:
            self._about = None

    def add(self, error: InvalidInput) -> None:
        """Keep a refusal."""
        if self._about is not None and error.param == "file":
            error.param = param_of(self._about)
        self._found.append(error)

    def raise_all(self) -> None:
        """Raise all that was kept as one refusal, under the code of the first; nothing where there is none."""
        if len(self._found) == 1:
            raise self._found[0]
        if self._found:
            first = self._found[0]
            kind = TooLarge if all(isinstance(error, TooLarge) for error in self._found) else InvalidInput
            raise kind(self._sentences(), code=first.code, param=first.param)

    def _sentences(self) -> str:
        told = [f"- {error.message}" for error in self._found[:MAX_TOLD]]
        if (more := len(self._found) - MAX_TOLD) > 0:
            told.append(f"- And {more} more.")
        return "\n".join([f"There are {len(self._found)} faults:", *told])
