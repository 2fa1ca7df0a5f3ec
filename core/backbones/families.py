"""The families of backbones: what is read, adapted and exported of each, as a table, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

Kind = Literal["images", "texts"]
Form = Literal["sd", "sdxl", "sd3", "flux", "flux2", "flux2-klein", "zimage", "qwen-image"]
Objective = Literal["epsilon", "v_prediction", "flow"]
Adapted = Literal["unet", "transformer"]
DeviceClass = Literal["cpu", "cuda"]
Number = int | float

EVERY_SCHEDULER = frozenset(
    {
        "DDPMScheduler",
        "DDIMScheduler",
        "PNDMScheduler",
        "LMSDiscreteScheduler",
        "HeunDiscreteScheduler",
        "EulerDiscreteScheduler",
        "EulerAncestralDiscreteScheduler",
        "KDPM2DiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler",
        "DEISMultistepScheduler",
        "DPMSolverSinglestepScheduler",
        "DPMSolverMultistepScheduler",
        "UniPCMultistepScheduler",
    }
)
SD_PARTS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "unet": frozenset({"UNet2DConditionModel"}),
        "vae": frozenset({"AutoencoderKL"}),
        "text_encoder": frozenset({"CLIPTextModel"}),
        "tokenizer": frozenset({"CLIPTokenizer", "CLIPTokenizerFast"}),
        "scheduler": EVERY_SCHEDULER,
    }
)
SDXL_PARTS: Mapping[str, frozenset[str]] = MappingProxyType(
    {**SD_PARTS, "text_encoder_2": frozenset({"CLIPTextModelWithProjection"}), "tokenizer_2": SD_PARTS["tokenizer"]}
)
CLIP_WITH_PROJECTION = frozenset({"CLIPTextModelWithProjection"})
T5 = frozenset({"T5EncoderModel"})
T5_TOKENIZER = frozenset({"T5Tokenizer", "T5TokenizerFast"})
FLOW_SCHEDULER = frozenset({"FlowMatchEulerDiscreteScheduler"})
SD3_PARTS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "transformer": frozenset({"SD3Transformer2DModel"}),
        "vae": SD_PARTS["vae"],
        "text_encoder": CLIP_WITH_PROJECTION,
        "tokenizer": SD_PARTS["tokenizer"],
        "text_encoder_2": CLIP_WITH_PROJECTION,
        "tokenizer_2": SD_PARTS["tokenizer"],
        "text_encoder_3": T5,
        "tokenizer_3": T5_TOKENIZER,
        "scheduler": FLOW_SCHEDULER,
    }
)
FLUX_PARTS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "transformer": frozenset({"FluxTransformer2DModel"}),
        "vae": SD_PARTS["vae"],
        "text_encoder": SD_PARTS["text_encoder"],
        "tokenizer": SD_PARTS["tokenizer"],
        "text_encoder_2": T5,
        "tokenizer_2": T5_TOKENIZER,
        "scheduler": FLOW_SCHEDULER,
    }
)
ZIMAGE_PARTS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "transformer": frozenset({"ZImageTransformer2DModel"}),
        "vae": SD_PARTS["vae"],
        "text_encoder": frozenset({"Qwen3Model", "Qwen3ForCausalLM"}),
        "tokenizer": frozenset({"Qwen2Tokenizer", "Qwen2TokenizerFast"}),
        "scheduler": FLOW_SCHEDULER,
    }
)
QWEN_IMAGE_PARTS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        **ZIMAGE_PARTS,
        "transformer": frozenset({"QwenImageTransformer2DModel"}),
        "vae": frozenset({"AutoencoderKLQwenImage"}),
        "text_encoder": frozenset({"Qwen2_5_VLForConditionalGeneration"}),
    }
)
FLUX2_KLEIN_PARTS: Mapping[str, frozenset[str]] = MappingProxyType(
    {**ZIMAGE_PARTS, "transformer": frozenset({"Flux2Transformer2DModel"}), "vae": frozenset({"AutoencoderKLFlux2"})}
)
PROCESSOR = frozenset({"PixtralProcessor"})  # of words and pictures, which has the tokenizer and needs torchvision
FLUX2_PARTS: Mapping[str, frozenset[str]] = MappingProxyType(
    {**FLUX2_KLEIN_PARTS, "text_encoder": frozenset({"Mistral3ForConditionalGeneration"}), "tokenizer": PROCESSOR}
)
UNUSED_PARTS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "safety_checker": frozenset({"StableDiffusionSafetyChecker"}),
        "feature_extractor": frozenset({"CLIPImageProcessor", "CLIPFeatureExtractor"}),
        "image_encoder": frozenset({"CLIPVisionModelWithProjection"}),
    }
)

UNET_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
# Of transformers of two streams whole paths, since ends of paths mean other layers too: FLUX.1's proj_out is also its
# last layer. What makes queries of texts in the last block of Stable Diffusion 3 is thrown away, so of texts only keys,
# values and outputs are adapted there.
PICTURE_STREAM = ("to_q", "to_k", "to_v", "to_out.0")
TEXT_STREAM = ("add_k_proj", "add_v_proj", "to_add_out")
SD3_ATTENTION = (*(f"transformer_blocks.*.*.{each}" for each in (*PICTURE_STREAM, *TEXT_STREAM)),)
# The last block of Qwen-Image throws its texts away, so of these only keys and values are adapted.
QWEN_IMAGE_ATTENTION = tuple(
    f"transformer_blocks.*.attn.{each}" for each in (*PICTURE_STREAM, "add_k_proj", "add_v_proj")
)
ZIMAGE_ATTENTION = tuple(f"layers.*.attention.{each}" for each in PICTURE_STREAM)  # what comes before joins captions
FLUX_DOUBLE = tuple(f"transformer_blocks.*.attn.{each}" for each in (*PICTURE_STREAM, "add_q_proj", *TEXT_STREAM))
FLUX_ATTENTION = (*FLUX_DOUBLE, *(f"single_transformer_blocks.*.attn.{each}" for each in ("to_q", "to_k", "to_v")))
# In FLUX.2's later blocks attention and its feed-forward layer, which see the same, have one matrix in and one out.
FLUX2_SINGLE = tuple(f"single_transformer_blocks.*.attn.{each}" for each in ("to_qkv_mlp_proj", "to_out"))
FLUX2_ATTENTION = (*FLUX_DOUBLE, *FLUX2_SINGLE)
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
GATED = ("gate_proj", "up_proj", "down_proj")
EXPORTS: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {"images": ("peft", "diffusers", "kohya", "merged"), "texts": ("peft", "gguf", "merged")}
)
WITHOUT_KOHYA = ("peft", "diffusers", "merged")  # of networks that kohya's scripts have no names for


def tower(*modules: str) -> tuple[str, ...]:
    """Return patterns of modules inside a language tower, whether its layers lie in a `model` of its own or not."""
    return tuple(f"**.language_model.**.layers.*.{module}" for module in modules)


@dataclass(frozen=True)
class Family:
    """One family of pre-trained models.

    `roots` are the pipeline classes of model_index.json, or the `architectures` of config.json; `model_types` are what
    config.json may call a model of texts; `towers` are those roots that read pictures too, of which the language part
    alone is adapted. A pattern of `targets` with a `*` is a glob over a module's whole path (`*` one part, `**` any
    number), one without is a suffix of whole parts. `form` is how the method tells an image network its caption, and
    `adapted` which of the `parts` is adapted; those in `optional` may be missing. `exported` are the files of its
    adapters, where they are not all that there are of its kind.
    """

    id: str
    name: str
    kind: Kind
    roots: tuple[str, ...]
    targets: tuple[str, ...]
    model_types: tuple[str, ...] = ()
    towers: tuple[str, ...] = ()
    tower_targets: tuple[str, ...] = ()
    parts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    form: Form | None = None
    adapted: Adapted = "unet"
    exported: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def exports(self) -> tuple[str, ...]:
        """The files that an adapter is published in, where its modules have names there."""
        return self.exported or EXPORTS[self.kind]

    def targets_of(self, root: str) -> tuple[str, ...]:
        """Return which modules of a model of this class are adapted, unless an operator names others."""
        return self.tower_targets if root in self.towers else self.targets


def _images(id: str, name: str, root: str, form: Form, parts: Mapping[str, frozenset[str]] = SD_PARTS) -> Family:
    return Family(id, name, "images", (root,), UNET_ATTENTION, parts=parts, form=form)


NO_KOHYA = "Adapters have no file of kohya's names: ComfyUI, which would read it, reads the diffusers file of these."


def _flow(
    id: str,
    name: str,
    root: str,
    form: Form,
    targets: tuple[str, ...],
    parts: Mapping[str, frozenset[str]],
    optional: tuple[str, ...] = (),
    exported: tuple[str, ...] = (),
) -> Family:
    return Family(
        id,
        name,
        "images",
        (root,),
        targets,
        parts=parts,
        optional=frozenset(optional),
        form=form,
        adapted="transformer",
        exported=exported,
        notes=(NO_KOHYA,) if exported == WITHOUT_KOHYA else (),
    )


def _texts(
    id: str,
    name: str,
    model_types: tuple[str, ...],
    *roots: str,
    attention: tuple[str, ...] = ATTENTION,
    feed_forward: tuple[str, ...] = GATED,
    towers: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> Family:
    inside = (*(f"self_attn.{each}" for each in attention), *(f"mlp.{each}" for each in feed_forward))
    targets = (*attention, *feed_forward)
    return Family(
        id,
        name,
        "texts",
        (*roots, *towers),
        targets,
        model_types=model_types,
        towers=towers,
        tower_targets=tower(*inside) if towers else (),
        notes=notes,
    )


EXPERTS = "Attention alone is adapted: its experts are no modules of their own, and stay as they are."
LINEAR_ATTENTION = ("linear_attn.in_proj_qkv", "linear_attn.in_proj_z", "linear_attn.out_proj")
QWEN35 = (*(f"self_attn.{each}" for each in ATTENTION), *LINEAR_ATTENTION, *(f"mlp.{each}" for each in GATED))
ROWS = (
    _images("sd1", "Stable Diffusion 1.x", "StableDiffusionPipeline", "sd"),
    _images("sd2", "Stable Diffusion 2.x", "StableDiffusionPipeline", "sd"),
    _images("sdxl", "Stable Diffusion XL", "StableDiffusionXLPipeline", "sdxl", SDXL_PARTS),
    _flow(
        "sd3",
        "Stable Diffusion 3 and 3.5",
        "StableDiffusion3Pipeline",
        "sd3",
        SD3_ATTENTION,
        SD3_PARTS,
        optional=("text_encoder_3", "tokenizer_3"),
        exported=WITHOUT_KOHYA,
    ),
    _flow("flux1", "FLUX.1", "FluxPipeline", "flux", FLUX_ATTENTION, FLUX_PARTS),
    _flow("flux2", "FLUX.2-dev", "Flux2Pipeline", "flux2", FLUX2_ATTENTION, FLUX2_PARTS, exported=WITHOUT_KOHYA),
    _flow(
        "flux2-klein",
        "FLUX.2 klein",
        "Flux2KleinPipeline",
        "flux2-klein",
        FLUX2_ATTENTION,
        FLUX2_KLEIN_PARTS,
        exported=WITHOUT_KOHYA,
    ),
    _flow("qwen-image", "Qwen-Image", "QwenImagePipeline", "qwen-image", QWEN_IMAGE_ATTENTION, QWEN_IMAGE_PARTS),
    _flow("z-image", "Z-Image", "ZImagePipeline", "zimage", ZIMAGE_ATTENTION, ZIMAGE_PARTS, exported=WITHOUT_KOHYA),
    _texts("llama", "Llama", ("llama",), "LlamaForCausalLM"),
    _texts("qwen2", "Qwen 2 and 2.5", ("qwen2",), "Qwen2ForCausalLM"),
    _texts("qwen3", "Qwen 3", ("qwen3",), "Qwen3ForCausalLM"),
    _texts("qwen3-moe", "Qwen 3 MoE", ("qwen3_moe",), "Qwen3MoeForCausalLM", feed_forward=(), notes=(EXPERTS,)),
    Family(
        "qwen3.5",
        "Qwen 3.5",
        "texts",
        ("Qwen3_5ForCausalLM", "Qwen3_5ForConditionalGeneration"),
        QWEN35,
        model_types=("qwen3_5", "qwen3_5_text"),
        towers=("Qwen3_5ForConditionalGeneration",),
        tower_targets=tuple(f"**.layers.*.{each}" for each in QWEN35),  # of its tower no layer is called so
    ),
    _texts("mistral", "Mistral", ("mistral",), "MistralForCausalLM"),
    _texts(
        "mistral3",
        "Mistral Small 3.1 and Ministral 3",
        ("mistral3", "ministral3"),
        "Ministral3ForCausalLM",
        towers=("Mistral3ForConditionalGeneration",),
    ),
    _texts("gemma2", "Gemma 2", ("gemma2",), "Gemma2ForCausalLM"),
    _texts(
        "gemma3", "Gemma 3", ("gemma3", "gemma3_text"), "Gemma3ForCausalLM", towers=("Gemma3ForConditionalGeneration",)
    ),
    _texts(
        "gemma4", "Gemma 4", ("gemma4", "gemma4_text"), "Gemma4ForCausalLM", towers=("Gemma4ForConditionalGeneration",)
    ),
    _texts(
        "phi3",
        "Phi-3 and Phi-4",
        ("phi3",),
        "Phi3ForCausalLM",
        attention=("qkv_proj", "o_proj"),
        feed_forward=("gate_up_proj", "down_proj"),
    ),
    _texts("olmo2", "OLMo 2", ("olmo2",), "Olmo2ForCausalLM"),
    _texts("olmo3", "OLMo 3", ("olmo3",), "Olmo3ForCausalLM"),
    _texts("smollm3", "SmolLM3", ("smollm3",), "SmolLM3ForCausalLM"),
    _texts("granite", "Granite 3", ("granite",), "GraniteForCausalLM"),
    _texts("gpt-oss", "gpt-oss", ("gpt_oss",), "GptOssForCausalLM", feed_forward=(), notes=(EXPERTS,)),
)
FAMILIES: Mapping[str, Family] = MappingProxyType({family.id: family for family in ROWS})
OLD_IDS: Mapping[str, str] = MappingProxyType({"diffusion": "sd1", "language": "llama"})  # of records before the table


def family(id: str) -> Family:
    """Return the family of a record, which may be an old one; raises ValueError for what is none."""
    found = FAMILIES.get(OLD_IDS.get(id, id))
    if found is None:
        raise ValueError(f"{id} is no family of backbones")
    return found


def text_family(root: str) -> Family | None:
    """Return the family of texts that a class of config.json's `architectures` belongs to."""
    return next((each for each in ROWS if each.kind == "texts" and root in each.roots), None)
