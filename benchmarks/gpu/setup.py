"""What every part of the check is given: device, sizes, a folder, the time that is left, and what was found so far."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from benchmarks.gpu.measuring import Facts, cuda
from core.settings import Settings

Size = TypeVar("Size")


@dataclass
class Setup:
    """One run of the check."""

    device: str
    tiny: bool  # the same on toy sizes, which shows only that the check has no error
    folder: Path  # of files that go away with the run
    ends_at: float  # of time.monotonic()
    found: dict[str, Facts] = field(default_factory=dict)  # what each part has returned
    jobs: dict[str, tuple[subprocess.Popen[bytes], float]] = field(default_factory=dict)  # that run, and since when

    def size(self, full: Size, tiny: Size) -> Size:
        """Choose by the size of this run."""
        return tiny if self.tiny else full

    @property
    def seconds_left(self) -> float:
        """How long parts may still take."""
        return self.ends_at - time.monotonic()

    @property
    def data(self) -> Path:
        """The data folder of the jobs and trainers that are started."""
        return self.folder / "data"

    def settings(self, sandbox: Literal["auto", "off", "require"] = "auto") -> Settings:
        """Return the settings of a worker on this device."""
        return Settings(data=self.data, device="cuda" if cuda() else "cpu", sandbox=sandbox)


Part = Callable[[Setup], Facts]
