"""Candidates that are being made: each round is kept at once, so that whoever stops it goes on with it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from core.disk import sync, write_json, write_whole
from worker.commands.candidates.order import Order, Round

ORDER, ROUNDS = "order.json", "rounds.jsonl"


@dataclass(frozen=True)
class Begun:
    """A folder of rounds, a line each, whose pictures are files beside them."""

    folder: Path

    def rounds(self, order: Order) -> list[Round]:
        """Return the whole rounds that were kept for an order; none where they are of another one."""
        try:
            if json.loads((self.folder / ORDER).read_text()) != order.told:
                return []
            lines = (self.folder / ROUNDS).read_text().split("\n")[:-1]  # the last one may not be whole
            return [self._round(line) for line in lines]
        except (OSError, ValueError, KeyError):
            return []

    def begin(self, order: Order) -> None:
        """Make the folder, empty."""
        self.forget()
        write_json(self.folder / ORDER, order.told)

    def keep(self, made: Round) -> None:
        """Keep one more round, its pictures before the line that names them."""
        for name, content in made.pictures.items():
            write_whole(self.folder / name, content)
        with (self.folder / ROUNDS).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"tried": made.tried, "rows": made.rows}) + "\n")
        sync(self.folder / ROUNDS)

    def forget(self) -> None:
        """Remove it, and the folder around it where nothing else is there."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.folder.parent.is_dir() and not any(self.folder.parent.iterdir()):
            self.folder.parent.rmdir()

    def _round(self, line: str) -> Round:
        told = json.loads(line)
        pictures = {row["file"]: (self.folder / row["file"]).read_bytes() for row in told["rows"] if "file" in row}
        return Round(int(told["tried"]), tuple(told["rows"]), pictures)
