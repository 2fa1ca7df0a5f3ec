"""A transformers folder: its class, its files and weights, its places for tokens, and what its tokenizer lacks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.backbones.families import Family, text_family
from core.backbones.folders.files import all_files, check_configs, json_object, opened, passed_over, weight_files
from core.backbones.folders.other_models import adapter_beside, embedding_folder, other_architecture, quantised
from core.backbones.folders.refusal import refused
from core.backbones.folders.weights import Weight, check_indexed, check_plain, weights_of

TEMPLATES = "additional_chat_templates"
SPECIAL = "special_tokens_map.json"
EMBEDDING = re.compile(r"(^|\.)embed_tokens\.weight$")
NO_TEMPLATE = (
    'It has no chat template, as base models have none: messages are written as "role: content" lines, and a prompt '
    "and its completion follow each other."
)
TEMPLATE_ELSEWHERE = (
    "Its chat template stands in chat_template.json alone, where tokenizers do not look: messages are written as "
    '"role: content" lines. Write the template itself into chat_template.jinja beside it, and add it again.'
)
LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


@dataclass(frozen=True)
class LanguageFolder:
    """What is loaded of a transformers folder, sorted, and its weights."""

    family: Family
    root: str
    files: tuple[str, ...]
    weights: Mapping[str, Weight]
    config: Mapping[str, object]
    context_tokens: int | None
    notes: tuple[str, ...]


def read_language(folder: Path) -> LanguageFolder:
    """Read a folder with a config.json; raise InvalidInput that names the file and the reason."""
    everything = all_files(folder)
    family, root, config = check_language(folder, everything)
    files = [name for name in opened(folder, everything, ("", TEMPLATES)) if ".index." not in name]
    if "tokenizer.json" not in files:
        raise refused("tokenizer.json is missing; save the tokenizer in the fast format")
    files += weight_files(folder, "model")
    check_configs(folder, files)
    weights = weights_of(folder, files)
    check_indexed(folder, files, weights)
    check_plain(weights)
    text = text_config(config)
    _check_sizes(text, weights)
    notes = [*_passed(everything, files), *family.notes, *_tower(family, root), *_tokenizer(folder, files)]
    return LanguageFolder(family, root, tuple(sorted(files)), weights, text, _places(text), tuple(notes))


def check_language(folder: Path, everything: Sequence[str]) -> tuple[Family, str, Mapping[str, object]]:
    """Return the family, the class and config.json; raise InvalidInput where they are none that is taken."""
    config = json_object(folder, "config.json")
    family, root = _family(config)
    if words := quantised(config) or embedding_folder(everything) or adapter_beside(everything):
        raise refused(words)
    _check_code(config, root)
    return family, root, config


def text_config(config: Mapping[str, object]) -> Mapping[str, object]:
    """Return what a config.json says of the language model, which a multimodal one has inside."""
    inner = config.get("text_config")
    return inner if isinstance(inner, dict) else config


def _family(config: Mapping[str, object]) -> tuple[Family, str]:
    named = config.get("architectures")
    root = named[0] if isinstance(named, list) and named and isinstance(named[0], str) else ""
    family = text_family(root)
    if family is None:
        raise refused(other_architecture(named, config))
    kind = config.get("model_type")
    if kind not in family.model_types:  # transformers loads what this says, whatever the class
        fitting = " or ".join(family.model_types)
        raise refused(f"config.json says the model_type {kind!r}, and {root} is of {fitting}; fetch it again")
    return family, root


def _check_code(config: Mapping[str, object], root: str) -> None:
    if "auto_map" in config:
        raise refused(
            "config.json asks for code of its own (auto_map), which is never run; take that entry out: "
            f"{root} is known here without it"
        )


def _places(text: Mapping[str, object]) -> int | None:
    """Return how many tokens the model has places for, None where it does not say."""
    places = text.get("max_position_embeddings")
    return places if type(places) is int and places > 0 else None


def _check_sizes(text: Mapping[str, object], weights: Mapping[str, Weight]) -> None:
    """Compare the embedding's sides and the number of layers with what config.json says, where it says it."""
    embedding = next((name for name in weights if EMBEDDING.search(name)), None)
    if embedding is None:
        raise refused("the weights have no embed_tokens; they are not those of the model that config.json names")
    sides = (text.get("vocab_size"), text.get("hidden_size"))
    there = weights[embedding].shape
    if any(isinstance(said, int) and said != side for said, side in zip(sides, there, strict=False)):
        words = f"{embedding} is {' x '.join(map(str, there))}, which is not what config.json says"
        raise refused(f"{words}; fetch both again")
    prefix = embedding.removesuffix("embed_tokens.weight")
    layers = {int(found[1]) for name in weights if name.startswith(prefix) and (found := LAYER.search(name))}
    said = text.get("num_hidden_layers")
    if isinstance(said, int) and layers != set(range(said)):
        raise refused(f"the weights have {len(layers)} layers, and config.json says {said}; fetch both again")


def _passed(everything: Sequence[str], files: Sequence[str]) -> list[str]:
    ignored = passed_over(everything, files)
    return [ignored] if ignored else []


def _tower(family: Family, root: str) -> list[str]:
    if root not in family.towers:
        return []
    return ["It reads pictures too: its language part alone is adapted, and jobs train on texts."]


def _tokenizer(folder: Path, files: Sequence[str]) -> list[str]:
    """Say what a tokenizer lacks that jobs would use."""
    config = json_object(folder, "tokenizer_config.json") if "tokenizer_config.json" in files else {}
    notes = []
    if not config.get("chat_template") and "chat_template.jinja" not in files:
        notes.append(TEMPLATE_ELSEWHERE if "chat_template.json" in files else NO_TEMPLATE)
    special = json_object(folder, SPECIAL) if SPECIAL in files else {}
    if not config.get("pad_token") and not special.get("pad_token"):
        notes.append("It has no padding token: another token fills up shorter texts of a batch, and is never learned.")
    return notes
