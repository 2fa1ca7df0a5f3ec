"""One tiny backbone of every family, as `albatross backbones add` takes it and as stages load it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.backbones.families import family
from core.backbones.record import BackboneRecord, describe
from tests.families.images import IMAGES, SIDE, write_images
from tests.families.texts import TEXTS, write_texts

if TYPE_CHECKING:
    from core.method.backbones.images.diffusion import DiffusionBackbone
    from core.method.backbones.texts.language import LanguageBackbone

NAMES = (*IMAGES, *TEXTS)
Folder = Callable[[str], Path]


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Give the folder of a family, written when it is first asked for."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            place = tmp_path_factory.mktemp(name)
            made[name] = write_images(name, place) if name in IMAGES else write_texts(name, place)
        return made[name]

    return folder


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def record(name: str, folder_of: Folder) -> BackboneRecord:
    return describe(name, folder_of(name), licence="CC0")


@pytest.fixture(scope="module")
def backbone(record: BackboneRecord) -> DiffusionBackbone | LanguageBackbone:
    from core.method.backbones.images.diffusion import DiffusionBackbone
    from core.method.backbones.texts.language import LanguageBackbone

    if record.kind == "texts":
        return LanguageBackbone.load(record.path, max_tokens=128, target_modules=record.target_modules)
    form = family(record.family).form
    return DiffusionBackbone.load(record.path, form=form, resolution=SIDE, target_modules=record.target_modules)
