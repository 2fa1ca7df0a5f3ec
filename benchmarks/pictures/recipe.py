"""Draw the picture sets from icon packages as `npm pack` gives them: `python -m benchmarks.pictures.recipe FOLDER`.

FOLDER holds every package of catalogue.toml, unpacked under its own name. The same versions give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import resvg_py
from PIL import Image

from benchmarks.pictures.sets import DATA, UNRELATED
from core.disk import ROOT

CATALOGUE = Path(__file__).with_name("catalogue.toml")
POOL = ROOT / "demo" / "emoji_ldm" / "pool" / "index.jsonl"
SIDE, FINE = 32, 8  # pixels, and how many times larger an icon is drawn before it is made small
CONTENTS = 28  # of a style


@dataclass(frozen=True)
class Row:
    """Name one picture, what it shows and whose it is."""

    file: str
    set: str
    kind: str
    caption: str
    icon: str
    package: str
    author: str
    licence: str


class Package:
    """The icons of one unpacked package, and the licence that it must carry."""

    def __init__(self, folder: Path, name: str, said: dict[str, str]) -> None:
        self.name, self.said = name, said
        info = json.loads((folder / name / "info.json").read_text())
        version = json.loads((folder / name / "package.json").read_text())["version"]
        found = (version, info["license"]["spdx"])
        if found != (said["version"], said["licence"]):
            raise SystemExit(f"{name}: the catalogue says {said['version']} under {said['licence']}, found {found}")
        self.icons: dict[str, Any] = json.loads((folder / name / "icons.json").read_text())

    def __contains__(self, icon: str) -> bool:
        return icon in self.icons["icons"]

    def picture(self, icon: str) -> bytes:
        """Return an icon on white as a PNG of 32 x 32 pixels."""
        drawn = self.icons["icons"][icon]
        wide, high = (drawn.get(side, self.icons.get(side, 16)) for side in ("width", "height"))
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}">{drawn["body"]}</svg>'
        png = resvg_py.svg_to_bytes(
            svg_string=svg, width=SIDE * FINE, height=SIDE * FINE, background="white", skip_system_fonts=True
        )
        small = Image.open(io.BytesIO(png)).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        small.save(buffer, "PNG", optimize=True)
        return buffer.getvalue()

    def row(self, name: str, number: int, kind: str, icon: str, caption: str) -> Row:
        """Return what is recorded of an icon."""
        author, licence = self.said["author"], self.said["licence"]
        return Row(f"{name}-{number:02d}.png", name, kind, caption, icon, self.name, author, licence)


def rows(catalogue: dict[str, Any], packages: dict[str, Package]) -> Iterator[Row]:
    """Yield every picture of every set."""
    for name, subject in catalogue["subjects"].items():
        package = packages[subject["package"]]
        words = subject.get("words") or [_words(icon, subject["noun"]) for icon in subject["icons"]]
        for number, (icon, said) in enumerate(zip(subject["icons"], words, strict=True)):
            yield package.row(name, number, "subject", icon, f"emoji of sks {subject['noun']} {said}".strip())
    for name, package_name in catalogue["styles"].items():
        package = packages[package_name]
        for number, (icon, caption) in enumerate(_contents(name, package)):
            yield package.row(name, number, "style", icon, f"{caption} in sks style")


def _words(icon: str, noun: str) -> str:
    """Return what an icon's name says beside the noun."""
    return " ".join(word for word in icon.split("-") if word != noun)


def _contents(style: str, package: Package) -> list[tuple[str, str]]:
    """Return icons of what the backbone knows in its own drawing, with its captions, in an order of the style's own.

    What forgetting is measured on, and what the unrelated prompts ask for, is left out.
    """
    known = [json.loads(line) for line in POOL.read_text().splitlines()]
    found: dict[str, str] = {}
    for row in known:
        icon = next((icon for icon in _names(row) if icon in package), None)
        if icon and row["split"] == "candidate" and row["caption"] not in UNRELATED:
            found[icon] = row["caption"]
    ordered = sorted(found.items(), key=lambda pair: hashlib.sha256(f"{style} {pair[1]}".encode()).digest())
    return ordered[:CONTENTS]


def _names(row: dict[str, str]) -> Iterator[str]:
    """Yield the names that a package may give to a content of the pool."""
    for name in (row["caption"].removeprefix("emoji of "), row["id"].replace("_", " ")):
        yield name.replace(" ", "-")
        yield f"{name.replace(' ', '-')}-1"  # where a package draws the same twice
        yield name.replace(" ", "")


def main() -> None:
    """Read the command line and write the sets."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures.recipe", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    catalogue = tomllib.loads(CATALOGUE.read_text())
    packages = {name: Package(folder, name, said) for name, said in catalogue["packages"].items()}
    written = list(rows(catalogue, packages))
    # PNG bytes do not compress further; a fixed date keeps the archive identical between runs.
    with zipfile.ZipFile(DATA / "pictures.zip", "w", zipfile.ZIP_STORED) as archive:
        for row in written:
            drawn = packages[row.package].picture(row.icon)
            archive.writestr(zipfile.ZipInfo(row.file, (1980, 1, 1, 0, 0, 0)), drawn)
    (DATA / "pictures.jsonl").write_text("".join(f"{json.dumps(asdict(row))}\n" for row in written))
    print(f"{len(written)} pictures of {len({row.set for row in written})} sets")


if __name__ == "__main__":
    main()
