"""One tiny backbone of every family, as `albatross backbones add` takes it and as stages load it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from core.backbones.families import family
from core.backbones.record import BackboneRecord, describe
from tests.families.images import IMAGES, SIDE, write_images
from tests.families.texts import TEXTS, write_texts

if TYPE_CHECKING:
    from core.method.backbones.backbone import Batch, Draw
    from core.method.backbones.images.diffusion import DiffusionBackbone
    from core.method.backbones.texts.language import LanguageBackbone
    from core.method.lora.adapter import Adapter

    AnyBackbone = DiffusionBackbone | LanguageBackbone

NAMES = (*IMAGES, *TEXTS)
RARE = {"sd3-without-t5"}  # whose quick tests are those of another, but for how captions are told
CHATS = [("Ahoy?", "Arr!"), ("Who goes there?", "Nobody but the tide."), ("Well", "Aye, aye, Captain")]
EXAMPLES = len(CHATS)
Folder = Callable[[str], Path]


def at_length(*sooner: str) -> list[Any]:
    """Return all families as parameters of tests that take a minute each: those named in the tail, the others later."""
    return [name if name in sooner else pytest.param(name, marks=pytest.mark.long) for name in NAMES]


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


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=pytest.mark.slow) if name in RARE else name for name in NAMES]
)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def record(name: str, folder_of: Folder) -> BackboneRecord:
    return describe(name, folder_of(name), licence="CC0")


@pytest.fixture(scope="module")
def backbone(record: BackboneRecord) -> AnyBackbone:
    from core.method.backbones.images.diffusion import DiffusionBackbone
    from core.method.backbones.texts.language import LanguageBackbone

    if record.kind == "texts":
        return LanguageBackbone.load(record.path, max_tokens=128, target_modules=record.target_modules)
    form = family(record.family).form
    return DiffusionBackbone.load(record.path, form=form, resolution=SIDE, target_modules=record.target_modules)


def drawn(backbone: AnyBackbone, seed: int) -> Adapter:
    """Return an adapter of random numbers, large enough to change what is computed."""
    import torch

    adapter = backbone.lora.new(2, 4.0, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for matrix in adapter.up.values():
        matrix.data.copy_(torch.randn(matrix.shape, generator=generator) * 0.2)
    return adapter


@pytest.fixture(scope="module")
def batch(backbone: AnyBackbone) -> Batch:
    from PIL import Image

    if backbone.kind == "texts":
        return backbone.encode([{"prompt": asked, "completion": answer} for asked, answer in CHATS])
    colours = [(200, 30, 40), (20, 160, 90), (250, 240, 80)]
    pictures = [Image.new("RGB", (SIDE, SIDE), colour) for colour in colours]
    return backbone.encode([{"image": image, "caption": f"thing {n}"} for n, image in enumerate(pictures)])


@pytest.fixture(scope="module")
def draw(backbone: AnyBackbone) -> Draw:
    import torch

    return backbone.random_draw(EXAMPLES, torch.Generator().manual_seed(3))
