"""What a stranger may ask of a job: OpenAI's hyperparameters and our `bat` object, checked field by field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from core import text_safety
from core.backbones.record import MAX_TOKENS, MIN_TOKENS
from core.parameters.memory import GradientStore, Precision
from core.parameters.protection.means import LEAST_WEIGHT, MOST_WEIGHT, Ground, Means
from core.parameters.schedule import MAX_SHARE
from core.parameters.unsupported import SUFFIX, no_integrations, plain_suffix, supervised_only
from core.references.captions import CaptionLines
from core.references.picture_shapes import MOST_SHAPES
from core.runtime.complaints import Written

Auto = Literal["auto"]
ScoreName = Literal["influence", "fisher_full", "datainf", "kolossov_bartlett", "cosine", "random"]
StopName = Literal["auto", "cs_fluctuation", "matched_loss", "max_steps"]
Clean = Annotated[str, AfterValidator(text_safety.clean)]
Prompt = Annotated[Clean, Field(min_length=1, max_length=2000)]
LINE = Written(r"^\S.*\S$|^\S$", "one line that neither begins nor ends with a space")
Trigger = Annotated[Clean, Field(min_length=1, max_length=40), LINE, AfterValidator(lambda word: visible(word))]
PresetName = Annotated[
    str, Written(r"^[a-z][a-z0-9-]{0,39}$", "the name of a preset: 1 to 40 of a-z 0-9 -, a letter first")
]
Captioner = Annotated[
    str,
    Written(r"^[a-z0-9][a-z0-9._-]{0,63}$", "the id of a tagger: 1 to 64 of a-z 0-9 . _ -, a letter or digit first"),
]
MAX_RUN_STEPS = 20_000
Share = Annotated[float, Field(ge=0, le=MAX_SHARE)]


def visible(word: str) -> str:
    """Return a word that can be seen, or raise ValueError."""
    if not any(character.isprintable() and not character.isspace() for character in word):
        raise ValueError("must hold something that can be seen")
    return word


def without_nulls(value: object) -> object:
    """Take null for what is left out."""
    return {name: one for name, one in value.items() if one is not None} if isinstance(value, dict) else value


class Request(BaseModel):
    """Anything that a stranger sends: unknown keys, NaN, true for 1 and "7" for 7 are errors; null is left out."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    telling_nulls: ClassVar[frozenset[str]] = frozenset()  # fields for which null says something

    @model_validator(mode="before")
    @classmethod
    def _known_nulls_left_out(cls, value: object) -> object:
        """A key that is not known is refused, whatever it holds."""
        if not isinstance(value, dict):
            return value
        optional = cls.model_fields.keys() - cls.telling_nulls
        return {name: one for name, one in value.items() if one is not None or name not in optional}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Say in the schema that null may stand for what can be left out."""
        described = handler(schema)
        shape = handler.resolve_ref_schema(described)
        for name, part in shape.get("properties", {}).items():
            if name not in shape.get("required", ()):
                shape["properties"][name] = _nullable(part)
        return described


def _nullable(part: JsonSchemaValue) -> JsonSchemaValue:
    choices = part.get("anyOf")
    if choices is None:
        kept = {name: value for name, value in part.items() if name in ("title", "description", "default")}
        choices = [{name: value for name, value in part.items() if name not in kept}]
        part = kept
    null = {"type": "null"}
    return {**part, "anyOf": choices if null in choices else [*choices, null]}


class Hyperparameters(Request):
    """OpenAI's three knobs."""

    n_epochs: Auto | Annotated[int, Field(ge=1, le=1000)] = "auto"
    batch_size: Auto | Annotated[int, Field(ge=1, le=256)] = "auto"
    learning_rate_multiplier: Auto | Annotated[float, Field(ge=1e-6, le=100)] = "auto"


class BatRequest(Request):
    """The wire's `bat` object. Everything is optional; "auto" follows the references, the backbone and the device."""

    training_files: Annotated[list[str], Field(max_length=100)] = Field(
        default_factory=list, description="more uploaded files, used together with training_file"
    )
    preset: PresetName = Field("auto", description="what the references teach: one of GET /v1/presets, or auto")
    trigger: Trigger | None = Field(
        None, description="the rare word that stands for what is taught; it is put at the end of captions without it"
    )
    style_always: Auto | bool = Field(
        "auto", description="with preset style: it comes without being asked for, and captions get no trigger"
    )
    caption: Captioner = Field(
        "auto", description="what captions images that have no caption: a tagger's id, colours, none, or auto"
    )
    caption_lines: Auto | CaptionLines = Field(
        "auto", description="of a caption of several lines: draw one each time, join all to one, or the first only"
    )
    augment: Auto | bool = Field("auto", description="protect what the backbone knows; false is protect none")
    protect: Auto | Means = Field(
        "auto",
        description="replay: train on what the backbone knows; distil: keep to what the frozen backbone says; or both",
    )
    protect_weight: Auto | Annotated[float, Field(ge=LEAST_WEIGHT, le=MOST_WEIGHT)] = Field(
        "auto", description="what an example that protects counts in the loss; one of the references counts 1"
    )
    protect_on: Auto | Ground = Field(
        "auto",
        description="pool: selected candidates; own: what the backbone makes itself; captions: references under others",
    )
    gamma: Auto | Literal["natural"] | Share = Field(
        "auto", description="share of a batch that protects; natural: all examples are drawn alike, whatever they are"
    )
    selected_count: Auto | Annotated[int, Field(ge=1, le=4096)] = Field("auto", description="candidates to select")
    pool: Clean = Field(
        "auto", max_length=64, description="the backbone's pool of candidates; generate: one that it makes itself"
    )
    score: ScoreName = Field("influence", description="how candidates are scored")
    sample_ratio: Auto | Annotated[float, Field(gt=0, le=1)] = Field(
        "auto", description="share of the pool to score; left to us, it ends early where scores don't repeat"
    )
    folds: Auto | Annotated[int, Field(ge=2, le=8)] = Field("auto", description="surrogates, each blind to one fold")
    rank: Auto | Annotated[int, Field(ge=1, le=256)] = "auto"
    alpha: Auto | Annotated[float, Field(gt=0, le=1024)] = "auto"
    learning_rate: Auto | Annotated[float, Field(ge=1e-7, le=1e-1)] = "auto"
    batch_size: Auto | Annotated[int, Field(ge=1, le=256)] = "auto"
    max_steps: Auto | Annotated[int, Field(ge=1, le=MAX_RUN_STEPS)] = "auto"
    surrogate_steps: Auto | Annotated[int, Field(ge=1, le=MAX_RUN_STEPS)] = "auto"
    window: Auto | Annotated[int, Field(ge=2, le=1000)] = Field("auto", description="M, in evaluations")
    interval: Auto | Annotated[int, Field(ge=1, le=1000)] = Field("auto", description="steps between evaluations")
    cs_semantics: Literal["paper", "released"] = Field("paper", description="released: an initial rise is a valley")
    stop: StopName = Field(
        "auto",
        description="what ends the run and names the adapter to publish; auto: held-out references name it, and "
        "CS-Fluctuation ends the run where it stands clear of its noise; cs_fluctuation: the paper's rule does both",
    )
    past_best: bool = Field(
        True,
        description="train on past the best step: pictures and voices are chosen there; samples show what too late is",
    )
    resolution: Auto | Annotated[int, Field(ge=16, le=2048, multiple_of=8)] = Field("auto", description="pixels a side")
    shapes: Auto | Annotated[int, Field(ge=1, le=MOST_SHAPES)] = Field(
        "auto", description="shapes of pictures at most, those that cut off least; 1: the middle square of each"
    )
    masks: bool | Literal["alpha"] = Field(
        False,
        description="learn what is white in the mask of each picture and nothing else; alpha: what is not see-through",
    )
    max_tokens: Auto | Annotated[int, Field(ge=MIN_TOKENS, le=MAX_TOKENS)] = Field(
        "auto", description="tokens of one text that are taken; of a longer one the middle or older turns are left out"
    )
    sample_prompts: Annotated[list[Prompt], Field(max_length=8)] = Field(
        default_factory=list, description="prompts to sample at the kept checkpoints, each once"
    )
    dropout_caption: Auto | Annotated[float, Field(ge=0, le=0.5)] = Field(
        "auto", description="share of captions left empty in training"
    )
    min_snr: Auto | Annotated[float, Field(ge=0.1, le=100)] = Field(
        "auto", description="the gamma of min-SNR weighting, which lets nearly clean timesteps count less; auto: none"
    )
    precision: Auto | Precision = Field("auto", description="how the backbone's frozen weights are held in memory")
    checkpointing: Auto | bool = Field(
        "auto", description="compute a forward pass again in its backward pass: less memory, more time, same numbers"
    )
    gradients: Auto | GradientStore = Field(
        "auto", description="the references' gradients, held whole or by groups of modules"
    )
    merged: bool = Field(False, description="also publish the whole network with the adapter in its weights")


MetadataKey = Annotated[str, Field(min_length=1, max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]
MAX_METADATA = 16  # pairs of a job
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=MAX_METADATA)]
Identifier = Annotated[str, Field(min_length=1, max_length=200)]
Suffix = Annotated[str, Field(pattern=SUFFIX)]
NoIntegrations = Annotated[list[Any], Field(max_length=0)]


class Supervised(Request):
    """The only method there is."""

    hyperparameters: Hyperparameters | None = None


class Method(Request):
    """How to train; wins over the older `hyperparameters`."""

    type: Literal["supervised"]
    supervised: Supervised | None = None

    _supervised_only = model_validator(mode="before")(supervised_only)


class JobRequest(Request):
    """The body of POST /v1/fine_tuning/jobs."""

    model: Identifier
    training_file: Identifier
    validation_file: Identifier | None = None
    suffix: Annotated[Suffix | None, BeforeValidator(plain_suffix)] = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    metadata: Annotated[Metadata | None, BeforeValidator(without_nulls)] = None
    method: Method | None = None
    hyperparameters: Hyperparameters | None = None
    integrations: Annotated[NoIntegrations | None, BeforeValidator(no_integrations)] = None
    bat: BatRequest | None = None

    def chosen(self) -> Hyperparameters:
        """Return the hyperparameters in force; those of `method` win where it holds any."""
        of_method = self.method and self.method.supervised and self.method.supervised.hyperparameters
        if of_method and of_method.model_fields_set:
            return of_method
        return self.hyperparameters or Hyperparameters()

    def bat_or_defaults(self) -> BatRequest:
        """Return the `bat` object, with everything "auto" where none was sent."""
        return self.bat or BatRequest()


_OBJECTS: Mapping[str, type[Request]] = {
    "method": Method,
    "supervised": Supervised,
    "hyperparameters": Hyperparameters,
    "bat": BatRequest,
}


def stored_request(content: Mapping[str, Any]) -> JobRequest:
    """Read the request that a job was created with, as its row holds it.

    It was checked when it came in, and is not checked again: a version with narrower limits must not refuse what an
    older one has promised. Keys that this version does not know are passed over.
    """
    return JobRequest.model_construct(None, **_unchecked(content))


def _unchecked(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an object, and those of the objects in it."""
    return {
        name: _OBJECTS[name].model_construct(None, **_unchecked(value))
        if name in _OBJECTS and isinstance(value, Mapping)
        else value
        for name, value in content.items()
    }
