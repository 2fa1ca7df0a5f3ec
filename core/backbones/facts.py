"""What a person is told of a backbone: read again from its files' headers, in lines of a name and words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from core.backbones.families import family
from core.backbones.folders.files import json_object
from core.backbones.folders.inspecting import Inspected, inspect_folder
from core.backbones.folders.language import text_config
from core.backbones.folders.weights import parameters
from core.backbones.introductions import introduction
from core.backbones.memory_needs import sentence
from core.backbones.record import BackboneRecord
from core.backbones.sides import USUAL_STEP, side_step


def facts(record: BackboneRecord) -> Iterator[tuple[str, str]]:
    """Yield the lines about a backbone; raises InvalidInput where its folder is no longer what was added."""
    found = inspect_folder(record.path, record.target_modules)
    row = family(record.family)
    told = introduction(record)
    yield "title", told.title
    yield "about", told.description
    if told.good_for is not None:
        yield "good for", told.good_for
    yield "family", f"{row.name} ({record.kind})"
    if found.objective is not None:
        yield "predicts", found.objective
        step = side_step(record.path) or USUAL_STEP
        yield "side", f"{record.resolution} px; pictures of other shapes have sides that are multiples of {step}"
    if (drawn := _drawn(record.drawing)) is not None:
        yield "drawn", drawn
    if record.context_tokens is not None:
        yield "places", f"{record.context_tokens:,} tokens"
    yield "parameters", _sizes(found)
    yield "adapted", _adapted(found)
    text = {} if record.kind == "images" else text_config(json_object(record.path, "config.json"))
    yield "memory", sentence(found, text)
    yield "exports", ", ".join(row.exports)
    yield "licence", record.licence
    for note in record.notes:
        yield "note", note


def _drawn(drawing: Mapping[str, int | float]) -> str | None:
    """Say how its pictures are drawn, where that is not as its family's are."""
    said = (
        [f"in {drawing['sample_steps']} step{'s' * (drawing['sample_steps'] > 1)}"] if "sample_steps" in drawing else []
    )
    said += [f"with a guidance of {drawing['guidance']:g}"] if "guidance" in drawing else []
    return ", ".join(said) or None


def _sizes(found: Inspected) -> str:
    sizes = {part: parameters(network) for part, network in found.networks.items()}
    if len(sizes) == 1:
        return f"{found.parameters:,}"
    return ", ".join(f"{part} {size:,}" for part, size in sizes.items())


def _adapted(found: Inspected) -> str:
    by_pattern = ", ".join(f"{pattern} {len(paths)}" for pattern, paths in found.adapted.items())
    return f"{found.adapted_modules} modules: {by_pattern}"
