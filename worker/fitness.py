"""Why a worker takes no jobs, where it does not: a note beside its other files, which its parent and its child read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from core.disk import write_whole


@dataclass(frozen=True)
class Problem:
    """What keeps a worker out of service; a `lasting` one does so until the worker is started again."""

    code: str
    message: str
    lasting: bool = False


@dataclass(frozen=True)
class Fitness:
    """The note of one worker."""

    file: Path

    def problem(self) -> Problem | None:
        """Return what keeps the worker out of service; None where nothing does."""
        try:
            return Problem(**json.loads(self.file.read_text()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError):
            return Problem("unreadable", f"The note {self.file.name} in the worker's data folder can't be read.")

    def leave(self, problem: Problem) -> None:
        """Take the worker out of service."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.file, json.dumps(asdict(problem)).encode())

    def come_back(self) -> None:
        """Put the worker into service."""
        self.file.unlink(missing_ok=True)
