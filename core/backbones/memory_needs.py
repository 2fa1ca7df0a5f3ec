"""How much memory a backbone needs, estimated from the sizes in its files: a floor to compare a device with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from core.backbones.folders.inspecting import Inspected
from core.backbones.folders.weights import parameters
from core.backbones.target_paths import module_path

GIB = 2**30
BYTES = {"cuda": 2, "cpu": 4}  # of a number: bfloat16 on a GPU, float32 on a CPU
ADAPTED_BYTES = 16  # of an adapter's number: float32 itself, its gradient, and Adam's two moments
RANK, TOKENS = 16, 1024
# What a network keeps of one picture for its backward pass, in GiB (bfloat16, float32), with its side in pixels and its
# parameters: counted with saved_tensors_hooks at full size, without the attention maps that fused kernels never hold,
# with adapters of rank 16 on attention. In bfloat16 they keep what they see in float32 beside: .28 of SD 1.x's .975;
# on an H200 a picture more took 1.01 GiB of the peak of a step. Of SD 2.x that part is reckoned from its sides. Of the
# transformers of flows benchmarks/gpu/flows.py counts it.
KEPT = {
    "sd1": (0.975, 1.21, 512, 859_520_964),
    "sd2": (2.12, 2.63, 768, 865_910_724),
    "sdxl": (7.3, 9.27, 1024, 2_567_463_684),
    "sd3": (13.85, 21.45, 1024, 8_056_627_520),
    "flux1": (21.7, 37.2, 1024, 11_901_408_320),
    "flux2": (72.0, 121.7, 1024, 32_223_281_152),
    "flux2-klein": (15.9, 26.95, 1024, 3_875_544_576),
    "qwen-image": (24.8, 37.8, 1024, 20_430_401_088),
    "z-image": (28.1, 34.5, 1024, 6_154_908_736),
}
# The places of a caption beside those of a picture, of PLACE_SIDE pixels each, where they are as many for any picture.
WORDS = {"sd3": 333, "flux1": 512, "flux2": 512, "flux2-klein": 512}
PLACE_SIDE = 16
# How what is kept goes with a network's parameters: a smaller U-Net has fewer channels or layers alike; a transformer
# has its width squared in its parameters, and once in what it keeps (SD 3.5 medium keeps .52 of large, with .28 of it).
GROWTH = {"sd1": 1.0, "sd2": 1.0, "sdxl": 1.0}
TRANSFORMERS_GROWTH = 0.5
# And a decoder of one token, in bytes for each layer and each of 8 hidden + 3 feed-forward sizes: in bfloat16 counted
# the same way for LLaMAs of 135 million, 1.7 and 8 billion parameters, which lie within a tenth of it; in float32 the
# mean of Llama 3.1 8B, SmolLM2 135M, Qwen3 8B and Gemma 2 9B, which lie within a third of it.
KEPT_TEXT = {"cuda": 3.9, "cpu": 4.6}
# And of each logit: as it is computed, in float32, its log-softmax and the gradient of that.
LOGIT_BYTES = {"cuda": 14, "cpu": 12}
# What is kept beside, of each logit of a text that is held to the frozen backbone's words: both distributions and their
# divergence, in float32. Measured on a CPU as the peak of a step with them less that of one without: 16 to 20.
DISTILLED_BYTES = 18


@dataclass(frozen=True)
class Needs:
    """Bytes on one kind of device: all weights, one run's adapter of rank 16, what one example adds to a step, and what
    one more that is held to the frozen backbone's prediction adds to that.
    """

    weights: int
    adapter: int
    example: int
    distilled: int


def needs(found: Inspected, text: Mapping[str, object], device_class: str) -> Needs:
    """Estimate from parameters and sides; `text` is a language model's config.json, or what its text_config says."""
    weights = sum(parameters(network) for network in found.networks.values()) * BYTES[device_class]
    words = 0 if found.family.kind == "images" else text_sides(text)[-1]
    return Needs(weights, _adapter(found), _example(found, text, device_class), TOKENS * words * DISTILLED_BYTES)


def sentence(found: Inspected, text: Mapping[str, object]) -> str:
    """Say both devices' needs, and how they were come by."""
    gpu, cpu = (needs(found, text, each) for each in ("cuda", "cpu"))
    unit = f"picture of {found.resolution} px" if found.resolution else f"text of {TOKENS:,} tokens"
    beside = f", and {shown(cpu.distilled)} more where bat.protect is distil or both" if cpu.distilled else ""
    return (
        f"{shown(gpu.weights)} of weights on a GPU (bfloat16), {shown(cpu.weights)} on a CPU (float32); "
        f"{shown(gpu.adapter)} a run of rank {RANK}; and for each {unit} in a step about {shown(gpu.example)} on "
        f"a GPU, {shown(cpu.example)} on a CPU, less where bat.checkpointing computes it twice{beside}. Estimated from "
        "the sizes of its weights, not measured; libraries and the peaks of a backward pass come on top."
    )


def shown(size: int) -> str:
    """Write a size in GiB, or in MiB below a tenth of one."""
    return f"{size / GIB:.1f} GiB" if size >= GIB / 10 else f"{max(1, round(size / 2**20))} MiB"


def _adapter(found: Inspected) -> int:
    network = next(iter(found.networks.values()))
    sides = {module_path(name): weight for name, weight in network.items()}
    paths = {path for meant in found.adapted.values() for path in meant}
    shapes = [sides[path].shape for path in paths]
    return sum(RANK * (outputs + math.prod(inputs)) for outputs, *inputs in shapes) * ADAPTED_BYTES


def kept_of_picture(family: str, side: int | None, count: int, device_class: str) -> int:
    """Return the bytes that a network of a family keeps of one picture and its caption; `count` is its parameters.

    One that is smaller than the family's usual network keeps less.
    """
    places = ((side or KEPT[family][2]) / PLACE_SIDE) ** 2
    return int((places + WORDS.get(family, 0)) * _kept_of_place(family, count, device_class))


def kept_of_caption(family: str, count: int, device_class: str) -> int:
    """Return how many of these bytes are of the caption, where it has as many places beside any picture."""
    return int(WORDS.get(family, 0) * _kept_of_place(family, count, device_class))


def _kept_of_place(family: str, count: int, device_class: str) -> float:
    small, large, usual_side, usual_count = KEPT[family]
    smaller = (count / usual_count) ** GROWTH.get(family, TRANSFORMERS_GROWTH)
    places = (usual_side / PLACE_SIDE) ** 2 + WORDS.get(family, 0)
    return (small if device_class == "cuda" else large) * GIB * smaller / places


def kept_of_token(layers: int, hidden: int, inner: int, words: int, device_class: str) -> int:
    """Return the bytes that a decoder keeps of one token: `inner` is its feed-forward size, `words` its vocabulary."""
    return int(layers * (8 * hidden + 3 * inner) * KEPT_TEXT[device_class] + LOGIT_BYTES[device_class] * words)


def text_sides(text: Mapping[str, object]) -> tuple[int, int, int, int]:
    """Return the layers, hidden size, feed-forward size and vocabulary that a language model's configuration names."""
    inner = _number(text, "moe_intermediate_size") or _number(text, "intermediate_size")
    inner *= max(1, _number(text, "num_experts_per_tok"))
    return _number(text, "num_hidden_layers"), _number(text, "hidden_size"), inner, _number(text, "vocab_size")


def _example(found: Inspected, text: Mapping[str, object], device_class: str) -> int:
    if found.family.kind == "images":
        return kept_of_picture(found.family.id, found.resolution, found.parameters, device_class)
    return TOKENS * kept_of_token(*text_sides(text), device_class)


def _number(text: Mapping[str, object], name: str) -> int:
    value = text.get(name)
    return value if isinstance(value, int) else 0
