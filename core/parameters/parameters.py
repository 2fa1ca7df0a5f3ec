"""The parameters of one job: every value settled, each with its reason."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from core.backbones.families import DeviceClass, Kind
from core.backbones.taggers import NONE
from core.parameters.memory import GradientStore, Precision, usual_precision
from core.parameters.protection.means import GENERATE, Ground, Means
from core.parameters.request import Auto, ScoreName, StopName
from core.references.captions import CaptionLines


class Parameters(BaseModel):
    """What every stage works with. `window`, `gamma` and `gradients` may still be "auto": the run itself measures them.

    `alpha` is the LoRA alpha itself; steps are optimizer steps; `reasons` holds why of everything that was "auto".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str
    kind: Kind
    seed: int
    device_class: DeviceClass
    preset: str
    preset_version: int = 1
    preset_basis: str | None = None  # the preset that this one is an alias of
    trigger: str | None
    add_trigger: bool = True  # to captions that do not hold it
    style_always: bool = False  # whether the style is to come without being asked for; then there is no trigger
    caption: str = NONE  # the tagger that captions images without a caption
    caption_lines: CaptionLines = "draw"  # what becomes of a caption of several lines: core.references.captions.taken
    augment: bool  # whether protect is not none
    protect: Means = "replay"  # the defaults are what jobs of older versions did
    protect_weight: float = 1.0  # what an example that protects counts in the loss
    protect_on: Ground = "pool"
    gamma: float | Literal["natural", "auto"]
    gamma_start: float | None = None  # where an automatic gamma begins; None: schedule.usual_share
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
    past_best: bool = True  # whether the run goes on past the step where it could stop
    resolution: int | None
    max_tokens: int | None
    shapes: int = 1  # of pictures, at most; 1: the middle square of each
    masks: bool | Literal["alpha"] = False  # whether the mask of a picture says what of it is learned, or its alpha
    sample_prompts: tuple[str, ...]
    unrelated_prompts: tuple[str, ...]
    dropout_caption: float
    min_snr: float | None = None  # gamma of min-SNR weighting; None: all timesteps count alike
    draws_score: int
    draws_eval: int
    precision: Precision  # of the frozen network; in jobs of older versions what their device had then
    checkpointing: bool = False  # whether a backward pass computes its forward pass again
    gradients: Auto | GradientStore = "whole"  # of the references, while scores are made
    merged: bool = False  # whether the whole network is published too
    calmed: bool = False  # whether the learning rate was halved, since the loss was no longer a number
    accumulation: int = 1  # pieces that a batch is computed in at least; from versions that found sizes in no other way
    reasons: dict[str, str]

    @model_validator(mode="before")
    @classmethod
    def _precision_of_old(cls, values: Any) -> Any:
        if isinstance(values, dict) and "precision" not in values and "device_class" in values:
            return values | {"precision": usual_precision(values["device_class"])}
        return values

    @model_validator(mode="before")
    @classmethod
    def _protection_of_old(cls, values: Any) -> Any:
        if isinstance(values, dict) and "protect" not in values and values.get("augment") is False:
            return values | {"protect": "none"}
        return values

    @property
    def selects(self) -> bool:
        """Whether candidates of the pool are scored and selected; own samples and captions are taken as they are."""
        return self.augment and self.protect_on == "pool"

    @property
    def generates(self) -> bool:
        """Whether the candidates are those that the backbone makes itself."""
        return self.selects and self.pool == GENERATE

    @property
    def learns(self) -> str:
        """The preset that says what is learned: of an alias, the one that it stands for."""
        return self.preset_basis or self.preset
