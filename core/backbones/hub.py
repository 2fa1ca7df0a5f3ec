"""A model of the Hugging Face hub: which of its files are fetched, from which commit, and what stands in the way."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from core.backbones.families import ROWS
from core.backbones.folders.files import LOADED, json_object
from core.backbones.folders.inspecting import check_class
from core.backbones.folders.language import TEMPLATES
from core.backbones.folders.pipelines import STEMS
from core.backbones.licences import NAMES
from core.backbones.record import known_licence
from core.disk import write_json
from core.errors import InvalidInput
from core.text_safety import shown

CARDS = ("README.md", *NAMES)
CODE_NAMED = ("config.json", "tokenizer_config.json", "generation_config.json")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Fetched:
    """The commit that was fetched, and what there is to say of it."""

    commit: str
    notes: tuple[str, ...]


def fetch(name: str, revision: str | None, folder: Path, *, licence: str | None = None) -> Fetched:
    """Fetch what a loader opens of a model into an empty folder: first what says its class, then its weights.

    Raises InvalidInput for what is not there, asks for an agreement, is of a class that is not taken, or names no
    licence where an operator gives none.
    """
    try:
        from huggingface_hub import HfApi, snapshot_download
    except ImportError as error:
        raise _unreached(name, "huggingface_hub is not installed") from error
    info = _asked(name, lambda: HfApi().model_info(name, revision=revision))
    commit = str(info.sha)
    wanted = selected([each.rfilename for each in info.siblings or ()])

    def get(files: Sequence[str]) -> None:
        snapshot_download(name, revision=commit, local_dir=folder, allow_patterns=list(files))

    small = [file for file in wanted if not file.endswith(".safetensors")]
    _asked(name, lambda: get(small))
    notes = _without_code(folder)
    check_class(folder)
    if licence is None:
        known_licence(folder)
    _asked(name, lambda: get([file for file in wanted if file not in small]))
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    return Fetched(commit, (f"Fetched from the hub: {name} at commit {commit}.", *notes))


def selected(files: Sequence[str]) -> list[str]:
    """Return what is fetched of a model's files: configuration, cards, and one set of safetensors, never code."""
    parts = {part for row in ROWS for part in row.parts}
    places = {"", TEMPLATES} if "model_index.json" not in files else {"", *parts}
    right = [file for file in files if os.path.dirname(file) in places]
    small = [file for file in right if os.path.splitext(file)[1] in LOADED or file in CARDS]
    weights = [file for file in right if file.endswith(".safetensors")]
    if "model_index.json" not in files:
        return [*small, *(file for file in weights if file.startswith("model"))]
    stems = [stem for stem in STEMS.values() if any(file.startswith(f"{os.path.dirname(stem)}/") for file in files)]
    plain = [file for file in weights if any(_plain(file, stem) for stem in stems)]
    if all(any(_plain(file, stem) for file in plain) for stem in stems):
        return [*small, *plain]
    return [*small, *(file for file in weights if ".fp16" in file and any(file.startswith(stem) for stem in stems))]


def _plain(file: str, stem: str) -> bool:
    return file == f"{stem}.safetensors" or file.startswith(f"{stem}-0")


def _without_code(folder: Path) -> tuple[str, ...]:
    """Take out of the copy what names code of the model's own; a class that is known here needs none."""
    changed = []
    for name in CODE_NAMED:
        if (folder / name).is_file() and "auto_map" in (content := json_object(folder, name)):
            write_json(folder / name, {key: value for key, value in content.items() if key != "auto_map"})
            changed.append(name)
    if not changed:
        return ()
    return (f"auto_map, which names code of the model's own, was taken out of the copy of {', '.join(changed)}.",)


def _asked(name: str, ask: Callable[[], Result]) -> Result:
    """Return what the hub answers; raise InvalidInput with what to do where it does not."""
    from huggingface_hub import errors

    try:
        return ask()
    except errors.GatedRepoError as error:
        words = (
            f"The hub asks for an agreement before it gives {name}: accept it on the model's page, and set HF_TOKEN."
        )
        raise InvalidInput(words, code="hub_agreement", param="folder") from error
    except errors.RevisionNotFoundError as error:
        words = f"The hub has {name}, but not this revision of it."
        raise InvalidInput(words, code="hub_not_found", param="revision") from error
    except errors.RepositoryNotFoundError as error:
        words = f"The hub has no model {name}, or shows it to its owners alone; then set HF_TOKEN."
        raise InvalidInput(words, code="hub_not_found", param="folder") from error
    except Exception as error:  # what its client raises without network differs from version to version
        raise _unreached(name, str(error).strip().splitlines()[0] if str(error).strip() else "") from error


def _unreached(name: str, why: str) -> InvalidInput:
    said = f" ({shown(why)})" if why else ""
    return InvalidInput(
        f"{name} can't be fetched from the hub{said}. Fetch it where there is network, and give the folder here.",
        code="hub_unreached",
        param="folder",
    )
