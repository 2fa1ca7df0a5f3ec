"""The table of families: what it names exists, means what it should, and is told in the documents."""

from __future__ import annotations

import re
from typing import Any

import pytest

from core.backbones.families import FAMILIES, OLD_IDS, ROWS, Family, family, text_family
from core.backbones.target_paths import adapted
from core.disk import ROOT
from tests.families.images import IMAGES as IMAGE_MODELS
from tests.families.texts import TEXTS as TEXT_MODELS

TEXTS = [row for row in ROWS if row.kind == "texts"]
LAYERS = 4


def test_every_class_of_texts_belongs_to_one_family_and_every_family_is_found() -> None:
    roots = [root for row in TEXTS for root in row.roots]
    assert len(roots) == len(set(roots))
    assert all(text_family(root) is row for row in TEXTS for root in row.roots)
    assert text_family("EvilForCausalLM") is None
    assert len(FAMILIES) == len(ROWS)


def test_the_names_of_old_records_are_still_families() -> None:
    assert {old: family(old).kind for old in OLD_IDS} == {"diffusion": "images", "language": "texts"}
    with pytest.raises(ValueError, match="no family"):
        family("made-up")


def test_the_page_of_backbones_names_every_class_and_its_exports() -> None:
    page = (ROOT / "docs/backbones.md").read_text()
    for row in ROWS:
        line = next(line for line in page.splitlines() if f"`{row.roots[0]}`" in line)
        assert all(f"`{root}`" in line for root in row.roots), row.id
        told = line.rstrip(" |").rpartition("| ")[2].lower().split(", ")
        assert tuple(told) == row.exports, row.id


def test_every_family_has_a_tiny_model_that_goes_through_all_of_it() -> None:
    tried = {one.id for one in IMAGE_MODELS.values()}
    tried |= {row.id for row in TEXTS for one in TEXT_MODELS.values() if one.model_type in row.model_types}
    assert tried == FAMILIES.keys()


def linear_paths(root: str) -> list[str]:
    """Return the paths of all linear layers of a class with few layers, on the meta device."""
    import torch
    import transformers

    network_class: Any = getattr(transformers, root)
    config = network_class.config_class()
    for part in (config, *(getattr(config, name, None) for name in ("text_config", "vision_config"))):
        if hasattr(part, "num_hidden_layers"):
            part.num_hidden_layers = LAYERS
            if getattr(part, "layer_types", None):
                part.layer_types = list(part.layer_types)[:LAYERS]
    with torch.device("meta"):
        network = network_class(config)
    return [path for path, module in network.named_modules() if isinstance(module, torch.nn.Linear)]


@pytest.mark.slow
@pytest.mark.parametrize(("row", "root"), [(row, root) for row in TEXTS for root in row.roots])
def test_of_each_class_every_layer_is_adapted_and_nothing_beside_its_language_part(row: Family, root: str) -> None:
    found = adapted(linear_paths(root), row.targets_of(root))
    paths = {path for meant in found.values() for path in meant}
    place = "model.language_model.layers." if root in row.towers else "model.layers."
    assert all(path.startswith(place) for path in paths)
    assert {int(path.removeprefix(place).split(".")[0]) for path in paths} == set(range(LAYERS))
    assert not any(re.search("vision|visual|audio|lm_head|embed", path) for path in paths)
