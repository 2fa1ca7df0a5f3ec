"""Print what pyproject.toml says that the code needs, a requirement a line, before there is any code.

`python requirements.py PYPROJECT [EXTRA ...]`: images install these in a layer that a change of the code leaves alone.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path


def requirements(file: Path, extras: Sequence[str]) -> list[str]:
    """Return what building, the package itself and these extras of it need."""
    told = tomllib.loads(file.read_text())
    project = told["project"]
    more = [each for extra in extras for each in project["optional-dependencies"][extra]]
    return [*told["build-system"]["requires"], *project["dependencies"], *more]


if __name__ == "__main__":
    print("\n".join(requirements(Path(sys.argv[1]), sys.argv[2:])))
