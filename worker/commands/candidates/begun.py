"""Candidates that are being made: each round is kept at once, so that whoever stops it goes on with it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from core.disk import write_json, write_whole
from worker.commands.candidates.order import Order, Round

ORDER, ROUND = "order.json", "round-"


@dataclass(frozen=True)
class Begun:
    """A folder of rounds, a file each and so whole or not there, with their pictures beside them."""

    folder: Path

    def rounds(self, order: Order) -> list[Round]:
        """Return the whole rounds that were kept for an order; none where they are of another one."""
        try:
            if json.loads((self.folder / ORDER).read_text()) != order.told:
                return []
            return [self._round(file) for file in self._files()]
        except (OSError, ValueError, KeyError):
            return []

    def begin(self, order: Order) -> None:
        """Make the folder, empty."""
        self.forget()
        write_json(self.folder / ORDER, order.told)

    def keep(self, made: Round) -> None:
        """Keep one more round, its pictures before the file that names them."""
        for name, content in made.pictures.items():
            write_whole(self.folder / name, content)
        told = json.dumps({"tried": made.tried, "rows": made.rows})  # in the order that an index has them in
        write_whole(self.folder / f"{ROUND}{len(self._files()):05}.json", told.encode())

    def forget(self) -> None:
        """Remove it, and the folder around it where nothing else is there."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.folder.parent.is_dir() and not any(self.folder.parent.iterdir()):
            self.folder.parent.rmdir()

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob(f"{ROUND}*.json"))

    def _round(self, file: Path) -> Round:
        told = json.loads(file.read_text())
        pictures = {row["file"]: (self.folder / row["file"]).read_bytes() for row in told["rows"] if "file" in row}
        return Round(int(told["tried"]), tuple(told["rows"]), pictures)
