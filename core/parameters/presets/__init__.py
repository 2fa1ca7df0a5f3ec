"""Presets: what is to be learned from references, and what that changes, as versioned files that a person can read.

Each is one TOML file. The built-in ones stand beside this module; an operator adds others in a folder. A preset may be
an alias: another name for one whose values it takes.
"""

from __future__ import annotations

import logging
import math
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.backbones.families import Kind, Number
from core.errors import InvalidInput
from core.parameters.protection.means import LEAST_WEIGHT, MOST_WEIGHT, WITHOUT_DATA, Ground, Means
from core.parameters.request import StopName
from core.runtime.complaints import complaints

log = logging.getLogger(__name__)
FOLDER = Path(__file__).parent
MAX_FILE_BYTES = 100_000  # bytes of a file
# What a preset may change, between which values, and whether in whole numbers; `alpha` is alpha / rank.
RANGES: Mapping[str, tuple[float, float, bool]] = {
    "rank": (1, 256, True),
    "alpha": (0.01, 16, False),
    "learning_rate": (1e-7, 1e-1, False),
    "batch_size": (1, 256, True),
    "folds": (2, 8, True),
    "surrogate_steps": (1, 20_000, True),
    "max_steps": (1, 20_000, True),
    "interval": (1, 1000, True),
    "window": (2, 1000, True),
    "sample_ratio": (0.01, 1, False),
    "selected_count": (1, 4096, True),
    "dropout_caption": (0, 0.5, False),
}
MIN_FACTOR, MAX_FACTOR = 0.1, 10.0
MOST_PASSES = 1000  # as many epochs as a request may ask for
BY_PASSES = ("max_steps", "window")  # what may follow how many references there are
_TAKEN_BY_ALIASES = ("add_trigger", "gamma", "protect", "stop", "values")
Sentence = Annotated[str, Field(min_length=1, max_length=500)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Change(_Strict):
    """One changed value; why, and whether we have measured it.

    It is a `value`, or so many `times` the usual one, or as long as so many `passes` over the references take.
    """

    value: Number | None = None
    times: Annotated[float, Field(ge=MIN_FACTOR, le=MAX_FACTOR)] | None = None
    passes: Annotated[int, Field(ge=1, le=MOST_PASSES)] | None = None
    why: Sentence
    measured: bool = False

    @model_validator(mode="after")
    def _one_of_them(self) -> Change:
        if [self.value, self.times, self.passes].count(None) != 2:
            raise ValueError("give value, times or passes, and one of them alone")
        return self


class Gamma(_Strict):
    """The share of backbone data that an automatic gamma starts with, or stays at where it is not to be tried."""

    start: Annotated[float, Field(ge=0, le=0.95)]
    tried: bool = True
    why: Sentence
    measured: bool = False


class Protect(_Strict):
    """By what means an automatic protection works, how much it counts, and on what: core.parameters.protection."""

    means: Means
    weight: Annotated[float, Field(ge=LEAST_WEIGHT, le=MOST_WEIGHT)] = 1.0
    on: Ground = "pool"
    why: Sentence
    measured: bool = False

    @model_validator(mode="after")
    def _captions_bring_no_data(self) -> Protect:
        if self.on == "captions" and self.means not in WITHOUT_DATA:
            raise ValueError(f"captions bring nothing that {self.means} could use; say distil, or pool or own")
        return self


class Stop(_Strict):
    """What ends a run and names its adapter, where the request says nothing of it."""

    rule: StopName
    why: Sentence
    measured: bool = False


class Preset(_Strict):
    """What is learned from the references, and what that changes."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
    version: Annotated[int, Field(ge=1, le=1_000_000)]
    kind: Kind
    description: Annotated[str, Field(min_length=1, max_length=100)]
    learns: Sentence
    add_trigger: bool = True
    gamma: Gamma | None = None
    protect: Protect | None = None
    stop: Stop | None = None
    advanced: bool = False  # whether it is kept from where people choose who need not know what it is
    values: dict[str, Change] = Field(default_factory=dict)
    source: Literal["built-in", "operator"] = "built-in"
    alias_of: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")] | None = None

    @property
    def named(self) -> str:
        """The preset with its version, in the words of a reason."""
        alias = f" (an alias of {self.alias_of})" if self.alias_of else ""
        return f"the preset {self.name} {self.version}{alias}"

    @property
    def is_style(self) -> bool:
        """Whether it is the preset style, by this name or another."""
        return "style" in (self.name, self.alias_of)

    def changed(self, table: Mapping[str, int | float]) -> dict[str, int | float]:
        """Return the usual values as the preset changes them; what follows passes is not among the changes."""
        result = dict(table)
        for name, change in self.values.items():
            low, high, whole = RANGES[name]
            if change.value is not None:
                result[name] = change.value
            elif change.times is not None:
                result[name] = min(high, max(low, table[name] * change.times))
            if whole and name in result:
                result[name] = math.ceil(result[name])
        return result

    @model_validator(mode="after")
    def _an_alias_says_nothing_of_its_own(self) -> Preset:
        told = [name for name in _TAKEN_BY_ALIASES if name in self.model_fields_set]
        if self.alias_of is not None and told:
            raise ValueError(f"{told[0]} is that of {self.alias_of}; leave it out, or alias_of")
        return self

    @model_validator(mode="after")
    def _protects_what_there_is(self) -> Preset:
        if self.protect is None:
            return self
        if self.kind == "texts" and self.protect.on == "captions":
            raise ValueError("protect.on is captions, and texts have none; say pool or own")
        if self.protect.means == "none" and self.gamma is not None and self.gamma.start > 0:
            raise ValueError("protect.means is none, and gamma starts above 0; say 0, or how to protect")
        return self

    @model_validator(mode="after")
    def _values_in_range(self) -> Preset:
        for name, change in self.values.items():
            if name not in RANGES:
                raise ValueError(f"values.{name} is not known; a preset may change {', '.join(RANGES)}")
            if change.passes is not None and name not in BY_PASSES:
                raise ValueError(f"values.{name} can't follow passes; {' and '.join(BY_PASSES)} can")
            if change.times is not None and name == "window":
                raise ValueError("values.window has no usual value; give value or passes")
            low, high, whole = RANGES[name]
            if change.value is not None and not low <= change.value <= high:
                raise ValueError(f"values.{name} is {change.value:g}; {low:g} to {high:g} is taken")
            if change.value is not None and whole and change.value != int(change.value):
                raise ValueError(f"values.{name} is {change.value:g}; only whole numbers are taken")
        return self


Presets = Mapping[str, Preset]


@cache
def built_in() -> Presets:
    """Return the presets that belong to this version, by name."""
    return _with_aliases(FOLDER, _read_folder(FOLDER, "built-in"))


def load(folder: Path) -> Presets:
    """Return the built-in presets and those of an operator's folder; raise InvalidInput that names file and field."""
    own = _read_folder(folder, "operator") if folder.is_dir() else {}
    for name in own:
        if name in built_in():
            raise _refused(folder, f"the preset {name} is built in; give yours another name")
    return _with_aliases(folder, {**built_in(), **own})


def _with_aliases(folder: Path, presets: Mapping[str, Preset]) -> dict[str, Preset]:
    """Return the presets with the values that aliases take; raise InvalidInput for one that names none."""
    return {name: _resolved(folder, preset, presets) for name, preset in presets.items()}


def _resolved(folder: Path, preset: Preset, presets: Mapping[str, Preset]) -> Preset:
    if preset.alias_of is None:
        return preset
    meant = presets.get(preset.alias_of)
    if meant is None or meant.alias_of is not None:
        raise _refused(folder / f"{preset.name}.toml", f"alias_of: {preset.alias_of} is no preset with values")
    if meant.kind != preset.kind:
        raise _refused(folder / f"{preset.name}.toml", f"alias_of: {meant.name} is for {meant.kind}")
    return preset.model_copy(update={name: getattr(meant, name) for name in _TAKEN_BY_ALIASES})


class LivePresets:
    """The presets of now: an operator's folder is read again when a file in it has changed.

    Where that can't be used, the last that could are kept: a slip of the operator's must not refuse everybody's jobs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known = _signature(folder), load(folder)

    def now(self) -> Presets:
        """Return the presets by name."""
        seen, presets = _signature(self._folder), self._known[1]
        if seen == self._known[0]:
            return presets
        try:
            presets = load(self._folder)
        except InvalidInput as error:
            log.warning("%s Until it is mended the presets from before are kept.", error.message)
        self._known = seen, presets
        return presets


def _signature(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Return what changes when a file in the folder does."""
    try:
        files = sorted((path.name, path.stat()) for path in folder.glob("*.toml"))
    except OSError:  # one has just gone: then it is looked at again
        return ()
    return tuple((name, facts.st_mtime_ns, facts.st_size) for name, facts in files)


def _read_folder(folder: Path, source: str) -> dict[str, Preset]:
    presets: dict[str, Preset] = {}
    for path in sorted(folder.glob("*.toml")):
        preset = _read(path, source)
        if preset.name in presets:
            raise _refused(path, f"another file is named {preset.name} too")
        presets[preset.name] = preset
    return presets


def _read(path: Path, source: str) -> Preset:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise _refused(path, f"it has more than {MAX_FILE_BYTES:,} bytes")
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        preset = Preset.model_validate({**content, "source": source})
    except tomllib.TOMLDecodeError as error:
        raise _refused(path, f"it is not TOML ({error})") from None
    except UnicodeDecodeError:
        raise _refused(path, "it is not UTF-8") from None
    except OSError as error:
        raise _refused(path, f"it can't be read ({error.strerror})") from None
    except ValidationError as error:
        found = complaints(error.errors(include_url=False), Preset)
        told = (f"{one.path}: {one.sentence}" if one.path else one.sentence for one in found)
        raise _refused(path, "; ".join(told)) from None
    if preset.name != path.stem:
        raise _refused(path, f"it is named {preset.name}; name the file {preset.name}.toml")
    return preset


def _refused(path: Path, what: str) -> InvalidInput:
    return InvalidInput(f"The preset {path} can't be used: {what}.", code="invalid_preset", param="presets")
