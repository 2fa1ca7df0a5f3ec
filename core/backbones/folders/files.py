"""Which files of a folder a loader opens: those are checked and hashed, and all others are passed over."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from core.backbones.folders.refusal import Use, refused

LOADED = frozenset({".json", ".txt", ".model", ".jinja"})  # what a loader may open beside weights
CODE = frozenset({".py", ".pyc", ".so", ".dll", ".ipynb"})
PICKLES = frozenset(
    {".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle", ".joblib", ".h5", ".keras", ".msgpack", ".npy", ".npz"}
)
OTHER_WEIGHTS = frozenset({".gguf", ".ggml", ".onnx", ".tflite", ".safetensors"})
WEIGHTS = ".safetensors"
MAX_JSON_BYTES = 64_000_000
NAMED = 3  # of the files that are passed over


def all_files(folder: Path) -> tuple[str, ...]:
    """List every file relative to `folder`, but for hidden ones; a folder that is none is refused.

    A folder right inside may be a link, as people share a VAE; what lies below it is listed, its own folders are not.
    """
    if not folder.is_dir():
        raise refused(f"{folder} is not a folder")
    found = []
    for place, folders, names in os.walk(folder, onerror=_raised):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [(Path(place) / name).relative_to(folder).as_posix() for name in names if not name.startswith(".")]
    for linked in (each for each in folder.iterdir() if each.is_symlink() and each.is_dir()):
        found += [f"{linked.name}/{each.name}" for each in linked.iterdir() if each.is_file()]
    return tuple(sorted(name for name in found if not name.startswith(".")))


def _raised(error: OSError) -> None:
    """Let a folder that can't be read be told so, and not as empty."""
    raise error


def opened(folder: Path, files: Sequence[str], places: Iterable[str]) -> list[str]:
    """Return the files, less weights, that a loader may open right inside these places; "" is the folder itself."""
    inside = set(places)
    found = [name for name in files if os.path.splitext(name)[1].lower() in LOADED and os.path.dirname(name) in inside]
    for name in found:
        # A link to a file is taken: model caches keep their files as links into a store beside the folder.
        if not (folder / name).is_file():
            raise refused(f"{name} is not a regular file")
    return found


def passed_over(files: Iterable[str], taken: Iterable[str]) -> str | None:
    """Say which code, pickles and other weights are never loaded; None where there are none."""
    ignored = CODE | PICKLES | OTHER_WEIGHTS
    left = sorted(name for name in set(files) - set(taken) if os.path.splitext(name)[1].lower() in ignored)
    if not left:
        return None
    more = f" and {len(left) - NAMED} more" if len(left) > NAMED else ""
    return f"Passed over, and never loaded: {', '.join(left[:NAMED])}{more}."


def weight_files(folder: Path, stem: str, variant: str | None = None, use: Use = "backbone") -> list[str]:
    """Return the safetensors files of one network: a whole one, or the parts that its index names and the index."""
    middle = f".{variant}" if variant else ""
    whole = f"{stem}{middle}{WEIGHTS}"
    if (folder / whole).is_file():
        return [whole]
    for index in (f"{stem}{WEIGHTS}.index{middle}.json", f"{stem}{middle}{WEIGHTS}.index.json"):
        if (folder / index).is_file():
            return [index, *_parts(folder, index, use)]
    raise refused(_missing(folder, stem, whole), use)


def has_weights(folder: Path, stem: str, variant: str | None = None) -> bool:
    """Tell whether a network's weights are there, whole or in parts."""
    middle = f".{variant}" if variant else ""
    names = (f"{stem}{middle}{WEIGHTS}", f"{stem}{WEIGHTS}.index{middle}.json", f"{stem}{middle}{WEIGHTS}.index.json")
    return any((folder / name).is_file() for name in names)


def json_object(folder: Path, name: str, use: Use = "backbone") -> dict[str, object]:
    """Read a JSON file that must be there; what is no object reads as an empty one."""
    path = folder / name
    if not path.is_file():
        raise refused(f"{name} is missing", use)
    if path.stat().st_size > MAX_JSON_BYTES:
        raise refused(f"{name} is larger than any configuration; remove it", use)
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise refused(f"{name} is not valid JSON; fetch it again", use) from None
    return value if isinstance(value, dict) else {}


def check_configs(folder: Path, files: Iterable[str], use: Use = "backbone") -> None:
    """Raise InvalidInput where a JSON file can't be read, or asks for code of its own."""
    for name in files:
        if name.endswith(".json") and "auto_map" in json_object(folder, name, use):
            raise refused(
                f"{name} asks for code of its own (auto_map), which is never run; take a model without it", use
            )


def _parts(folder: Path, index: str, use: Use) -> list[str]:
    place = os.path.dirname(index)
    named = json_object(folder, index, use).get("weight_map")
    parts = sorted({str(part) for part in named.values()}) if isinstance(named, dict) else ["the list of its parts"]
    for part in parts:
        if "/" in part or not part.endswith(WEIGHTS) or not (folder / place / part).is_file():
            raise refused(f"{index} names {part}, which is missing", use)
    return [os.path.join(place, part) for part in parts]


def _missing(folder: Path, stem: str, whole: str) -> str:
    place = folder / os.path.dirname(stem)
    beside = sorted(each.name for each in place.iterdir()) if place.is_dir() else []
    pickles = [name for name in beside if os.path.splitext(name)[1].lower() in PICKLES]
    if pickles:
        return (
            f"{whole} is missing, and {pickles[0]} may run code when loaded; take the .safetensors files of the model"
        )
    return f"{whole} is missing"
