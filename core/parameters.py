"""One frozen set of parameters from the request to the last stage; every "auto" becomes a value with a reason."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from core import texts
from core.backbones import BackboneRecord
from core.defaults import FEWEST_REFERENCES, PRESETS, STARTING_POINTS, USUAL_PRESET, DeviceClass, Kind, PresetName
from core.errors import InvalidInput

Auto = Literal["auto"]
ScoreName = Literal["influence", "fisher_full", "datainf", "kolossov_bartlett", "cosine", "random"]
StopName = Literal["auto", "cs_fluctuation", "matched_loss", "max_steps"]
Clean = Annotated[str, AfterValidator(texts.clean)]
Prompt = Annotated[Clean, Field(min_length=1, max_length=2000)]
Trigger = Annotated[
    Clean, Field(min_length=1, max_length=40, pattern=r"^\S.*\S$|^\S$"), AfterValidator(lambda word: _visible(word))
]
LONGEST_RUN = 20_000
Share = Annotated[float, Field(ge=0, le=0.95)]


def _visible(word: str) -> str:
    if not any(character.isprintable() and not character.isspace() for character in word):
        raise ValueError("it holds nothing that can be seen")
    return word


class Request(BaseModel):
    """Anything that a stranger sends: unknown keys, NaN, true for 1 and "7" for 7 are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Hyperparameters(Request):
    """OpenAI's three knobs."""

    n_epochs: Auto | Annotated[int, Field(ge=1, le=1000)] = "auto"
    batch_size: Auto | Annotated[int, Field(ge=1, le=256)] = "auto"
    learning_rate_multiplier: Auto | Annotated[float, Field(gt=0, le=100)] = "auto"


class BatRequest(Request):
    """The wire's `bat` object. Everything is optional; "auto" follows the references, the backbone and the device."""

    training_files: Annotated[list[str], Field(max_length=100)] = Field(
        default_factory=list, description="more uploaded files, used together with training_file"
    )
    preset: Auto | PresetName = Field("auto", description="what the references teach")
    trigger: Trigger | None = Field(None, description="the rare word that stands for the subject in captions")
    augment: Auto | bool = Field("auto", description="train on selected backbone data beside the references")
    gamma: Auto | Literal["natural"] | Share = Field("auto", description="share of a batch that is backbone data")
    selected_count: Auto | Annotated[int, Field(ge=1, le=4096)] = Field("auto", description="candidates to select")
    pool: Clean = Field("auto", max_length=64, description="id of the candidate pool")
    score: ScoreName = Field("influence", description="how candidates are scored")
    sample_ratio: Auto | Annotated[float, Field(gt=0, le=1)] = Field("auto", description="share of the pool to score")
    folds: Auto | Annotated[int, Field(ge=2, le=8)] = Field("auto", description="surrogates, each blind to one fold")
    rank: Auto | Annotated[int, Field(ge=1, le=256)] = "auto"
    alpha: Auto | Annotated[float, Field(gt=0, le=1024)] = "auto"
    learning_rate: Auto | Annotated[float, Field(ge=1e-7, le=1e-1)] = "auto"
    batch_size: Auto | Annotated[int, Field(ge=1, le=256)] = "auto"
    max_steps: Auto | Annotated[int, Field(ge=1, le=LONGEST_RUN)] = "auto"
    surrogate_steps: Auto | Annotated[int, Field(ge=1, le=LONGEST_RUN)] = "auto"
    window: Auto | Annotated[int, Field(ge=2, le=1000)] = Field("auto", description="M, in evaluations")
    interval: Auto | Annotated[int, Field(ge=1, le=1000)] = Field("auto", description="steps between evaluations")
    cs_semantics: Literal["paper", "released"] = Field("paper", description="released: an initial rise is a valley")
    stop: StopName = Field("auto", description="what ends the run and names the adapter to publish")
    resolution: Auto | Annotated[int, Field(ge=16, le=2048, multiple_of=8)] = Field("auto", description="pixels a side")
    sample_prompts: Annotated[list[Prompt], Field(max_length=8)] = Field(
        default_factory=list, description="prompts to sample at the kept checkpoints"
    )
    dropout_caption: Auto | Annotated[float, Field(ge=0, le=0.5)] = Field(
        "auto", description="share of captions left empty in training"
    )
    merged: bool = Field(False, description="also publish the whole network with the adapter in its weights")


class ReferenceSummary(BaseModel):
    """What resolving needs to know of the references; `prompts` are captions of images or prompts of texts."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    count: int
    mean_tokens: float | None = None
    prompts: tuple[str, ...] = ()


class Parameters(BaseModel):
    """What every stage works with. `window` and `gamma` may still be "auto": the run itself measures them.

    `alpha` is the LoRA alpha itself; steps are optimizer steps; `reasons` holds why of everything that was "auto".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str
    kind: Kind
    seed: int
    device_class: DeviceClass
    preset: PresetName
    trigger: str | None
    augment: bool
    gamma: float | Literal["natural", "auto"]
    selected_count: int
    pool: str | None
    score: ScoreName
    sample_ratio: float
    folds: int
    rank: int
    alpha: float
    learning_rate: float
    batch_size: int
    max_steps: int
    surrogate_steps: int
    window: int | Auto
    interval: int
    cs_semantics: Literal["paper", "released"]
    stop: StopName
    resolution: int | None
    max_tokens: int | None
    sample_prompts: tuple[str, ...]
    unrelated_prompts: tuple[str, ...]
    dropout_caption: float
    draws_score: int
    draws_eval: int
    merged: bool = False  # whether the whole network is published too
    calmed: bool = False  # whether the learning rate was halved, since the loss was no longer a number
    accumulation: int = 1  # pieces that a batch is computed in, since the whole did not fit into memory
    reasons: dict[str, str]


def check(request: BatRequest, backbone: BackboneRecord, kind: Kind, count: int) -> None:
    """Raise InvalidInput where a request contradicts its backbone, its references or itself."""
    usual = backbone.kind
    if kind != usual:
        raise _contradiction("training_file", f"{backbone.id} learns from {usual}, and these files hold {kind}")
    if count < FEWEST_REFERENCES:
        raise _contradiction("training_file", f"{count} reference is too few to hold one out; send {FEWEST_REFERENCES}")
    if request.preset != "auto" and PRESETS[request.preset].kind != kind:
        fitting = ", ".join(name for name, preset in PRESETS.items() if preset.kind == kind)
        raise _contradiction("bat.preset", f"{request.preset} is not for {kind}; choose {fitting} or auto")
    if kind == "texts" and request.resolution != "auto":
        raise _contradiction("bat.resolution", "texts have no resolution; leave it out")
    if kind == "texts" and request.dropout_caption != "auto":
        raise _contradiction("bat.dropout_caption", "texts have no captions; leave it out")
    if request.pool not in {"auto", backbone.id} or (request.pool != "auto" and backbone.pool is None):
        raise _contradiction("bat.pool", f"there is no such candidate pool for {backbone.id}; leave it out or say auto")
    if request.augment is True and backbone.pool is None:
        raise _contradiction("bat.augment", f"{backbone.id} has no candidate pool; build one or set augment to false")
    if request.augment is False and (request.gamma not in ("auto", 0) or request.selected_count != "auto"):
        raise _contradiction("bat.augment", "gamma and selected_count need augment; leave them out or turn it on")


def resolve(
    request: BatRequest,
    hyperparameters: Hyperparameters | Mapping[str, object] | None = None,
    *,
    backbone: BackboneRecord,
    summary: ReferenceSummary,
    device_class: DeviceClass,
    seed: int,
    stop_default: StopName = "auto",
) -> Parameters:
    """Turn a request into parameters, with a reason for everything that was "auto"; raise InvalidInput as `check`."""
    check(request, backbone, summary.kind, summary.count)
    if not isinstance(hyperparameters, Hyperparameters):
        hyperparameters = Hyperparameters.model_validate(hyperparameters or {})
    settling = _Settling(request, hyperparameters, backbone, summary, device_class)
    settling.settle_task()
    settling.settle_adapter()
    settling.settle_schedule()
    settling.settle_augmentation()
    settling.settle_stopping(stop_default)
    return Parameters(
        backbone=backbone.id, kind=summary.kind, seed=seed, device_class=device_class, score=request.score,
        cs_semantics=request.cs_semantics, merged=request.merged, unrelated_prompts=backbone.unrelated_prompts,
        reasons=settling.reasons, **settling.values,
    )  # fmt: skip


class _Settling:
    """Settles one value after another: what was asked for stays, "auto" becomes a value and leaves a reason."""

    def __init__(
        self, request: BatRequest, hyperparameters: Hyperparameters, backbone: BackboneRecord,
        summary: ReferenceSummary, device_class: DeviceClass,
    ) -> None:  # fmt: skip
        self.request, self.hyperparameters, self.backbone, self.summary = request, hyperparameters, backbone, summary
        self.preset_name = USUAL_PRESET[summary.kind] if request.preset == "auto" else request.preset
        self.preset = PRESETS[self.preset_name]
        self.table = {**STARTING_POINTS[backbone.family, device_class], **backbone.defaults, **self.preset.changes}
        self.device = "a GPU" if device_class == "cuda" else "a CPU"
        self.values: dict[str, Any] = {}  # checked by Parameters, which is made of them
        self.reasons: dict[str, str] = {}

    def settle(self, name: str, value: object, reason: str) -> None:
        """Keep what the request says of `name`; where that is "auto", take `value` for the reason given."""
        asked = getattr(self.request, name)
        self.values[name] = value if asked == "auto" else asked
        if asked == "auto":
            self.reasons[name] = reason

    def usual(self, name: str) -> str:
        """Say where the starting point of `name` comes from."""
        value = self.table[name]
        if name in self.preset.changes:
            return f"{value:g} is our usual value for a {self.preset_name}"
        if name in self.backbone.defaults:
            return f"{value:g} is registered for {self.backbone.id}"
        return f"{value:g} is our usual value for {self.summary.kind} on {self.device}"

    def settle_task(self) -> None:
        kind, table = self.summary.kind, self.table
        self.settle("preset", self.preset_name, f"References that are {kind} are taken as a {self.preset_name}.")
        self.values["trigger"] = self.request.trigger
        if self.request.trigger is None and kind == "images" and self.backbone.trigger_hint:
            self.values["trigger"] = self.backbone.trigger_hint
            self.reasons["trigger"] = f"{self.backbone.trigger_hint!r} is a word that {self.backbone.id} does not know."
        self.values["resolution"] = self.values["max_tokens"] = None
        if kind == "images":
            size = self.backbone.resolution or int(table["resolution"])
            self.settle("resolution", size, f"{self.backbone.id} was trained on images of {size} pixels.")
        else:
            self.values["max_tokens"] = int(table["max_tokens"])
            self.reasons["max_tokens"] = f"{self.usual('max_tokens')}; what is longer is cut there."
        dropped = table.get("dropout_caption", 0.0)
        why = f"{self.usual('dropout_caption')}." if dropped else "No caption is left out."
        self.settle("dropout_caption", dropped, why)
        self.values["sample_prompts"] = tuple(self.request.sample_prompts) or subject_prompts(self.summary.prompts)
        if not self.request.sample_prompts:
            self.reasons["sample_prompts"] = "They are what the references have in common, and two of their own."

    def settle_adapter(self) -> None:
        table, asked = self.table, self.hyperparameters
        self.settle("rank", int(table["rank"]), f"{self.usual('rank')}.")
        rank = self.values["rank"]
        self.settle("alpha", float(table["alpha"] * rank), f"Alpha is {table['alpha']:g} times the rank of {rank}.")
        rate, why = float(table["learning_rate"]), self.usual("learning_rate")
        if asked.learning_rate_multiplier != "auto":
            rate *= asked.learning_rate_multiplier
            why += f", and the request multiplies it by {asked.learning_rate_multiplier:g}"
        self.settle("learning_rate", rate, f"{why}.")

    def settle_schedule(self) -> None:
        table, asked, count = self.table, self.hyperparameters, self.summary.count
        batch = min(count, int(table["batch_size"]))
        why = f"{self.usual('batch_size')}; there are {count} references."
        if asked.batch_size != "auto":
            batch, why = asked.batch_size, "It is the batch size of the request's hyperparameters."
        self.settle("batch_size", batch, why)
        steps = math.ceil(table["max_steps"] * self.preset.more_steps)
        longer = f", times {self.preset.more_steps:g} because a {self.preset_name} arrives late"
        why = self.usual("max_steps") + (longer if self.preset.more_steps != 1 else "")
        if asked.n_epochs != "auto":
            steps = min(LONGEST_RUN, math.ceil(asked.n_epochs * count / self.values["batch_size"]))
            why = f"{asked.n_epochs} epochs of {count} references in batches of {self.values['batch_size']}"
        self.settle("max_steps", steps, f"{why}; training may stop earlier.")
        longest = min(int(table["surrogate_steps"]), self.values["max_steps"])
        self.settle("surrogate_steps", longest, f"{self.usual('surrogate_steps')}; never more than max_steps.")
        for name in ("draws_score", "draws_eval"):
            self.values[name] = int(table[name])
            self.reasons[name] = f"{self.usual(name)}; more draws of noise make a loss more exact and slower."

    def settle_augmentation(self) -> None:
        table, request, pool = self.table, self.request, self.backbone.pool
        wanted = pool is not None and request.gamma != 0
        why = "Backbone data limits forgetting and makes a late stop harmless."
        if not wanted:
            why = "gamma is 0." if pool is not None else f"{self.backbone.id} has no candidate pool."
        self.settle("augment", wanted, why)
        augment = self.values["augment"]
        self.settle(
            "gamma", "auto" if augment else 0.0, "It is chosen after scoring, by a trial on held-out references."
        )
        if not augment:
            self.reasons["gamma"] = "Without backbone data there is nothing to mix in."
        self.values["pool"] = self.backbone.id if augment else None
        if request.pool == "auto":
            self.reasons["pool"] = "The pool that belongs to the backbone." if augment else "No pool is used."
        self.settle("selected_count", int(table["selected_count"]), f"{self.usual('selected_count')}.")
        self.settle("sample_ratio", float(table["sample_ratio"]), f"{self.usual('sample_ratio')}.")

    def settle_stopping(self, stop_default: StopName) -> None:
        table, count = self.table, self.summary.count
        self.settle("folds", min(count, int(table["folds"])), f"{self.usual('folds')}; there are {count} references.")
        if self.values["folds"] > count:
            self.values["folds"] = count
            self.reasons["folds"] = f"There are only {count} references, so no more than {count} folds."
        self.settle("interval", int(table["interval"]), f"{self.usual('interval')} steps.")
        self.settle("window", "auto", "The surrogates' best step divided by 1.5 sets it, once it is known.")
        self.settle("stop", stop_default, "It is this service's stopping rule.")


def subject_prompts(prompts: tuple[str, ...]) -> tuple[str, ...]:
    """Return what to sample: the words that all prompts begin with, then the first two prompts."""
    begun = [prompt.split() for prompt in prompts if prompt.strip()]
    shared = 0
    while begun and all(len(words) > shared and words[shared] == begun[0][shared] for words in begun):
        shared += 1
    common = [" ".join(begun[0][:shared])] if shared > 1 else []
    return tuple(dict.fromkeys([*common, *(" ".join(words) for words in begun[:2])]))


def _contradiction(param: str, what: str) -> InvalidInput:
    return InvalidInput(f"{what[0].upper()}{what[1:]}.", code="contradiction", param=param)
