"""What real sizes need: saved activations and launched operations of a step, on the meta device: nothing is computed.

`python -m benchmarks.gpu.sizes [sd15|sdxl|text|kept ...]` prints a line of JSON for each case.
"""

from __future__ import annotations

import contextlib
import gc
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.gpu.backbones import SD15_UNET, TEXT_TOKENS, llama_shape
from benchmarks.gpu.measuring import Facts
from core.backbones.families import FAMILIES
from core.method.lora.adapter import Adapter
from core.method.lora.model import LoraModel

GIB = 2**30
VIEWS = """
view _unsafe_view t transpose permute expand slice select detach alias unsqueeze squeeze split split_with_sizes unbind
as_strided reshape _reshape_alias diagonal chunk empty empty_like empty_strided new_empty new_empty_strided
"""  # operations that launch no kernel
SDXL_UNET: dict[str, Any] = {
    "sample_size": 128,
    "cross_attention_dim": 2048,
    "attention_head_dim": [5, 10, 20],
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": [1, 2, 10],
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
LLAMAS: dict[str, dict[str, Any]] = {
    "135m": llama_shape(576, 1536, 30, 9, 3, 49152) | {"tie_word_embeddings": True},
    "1.7b": llama_shape(2048, 8192, 24, 32, 32, 49152) | {"tie_word_embeddings": True},
    "8b": llama_shape(4096, 14336, 32, 32, 8, 128256),
}
# for each group: of images the network, pixels a side, images, folds; of texts the model, texts, tokens; then "score"
CASES: dict[str, tuple[tuple[Any, ...], ...]] = {
    "sd15": (("sd15", 512, 1, 1), ("sd15", 512, 4, 1), ("sd15", 512, 16, 4), ("sd15", 512, 1, 1, True)),
    "sdxl": (("sdxl", 1024, 1, 1), ("sdxl", 1024, 1, 1, True)),
    "text": (
        ("135m", 1, 1024),
        ("1.7b", 1, 1024),
        ("8b", 1, 1024),
        ("8b", 2, 1024),
        ("8b", 1, 1024, True),
        ("1.7b", 1, 1024, True),
    ),
    "kept": (("sd15", 512, 1, 1), ("1.7b", 1, 1024)),  # what a test holds the table of core.backbones.memory_needs to
}
RANK = 16


class Launched(TorchDispatchMode):
    """Counts the operations that launch a kernel."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count, self._quiet = 0, frozenset(VIEWS.split())

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.count += func._schema.name.split("::")[1] not in self._quiet
        return func(*args, **(kwargs or {}))


class Saved:
    """Remembers what autograd keeps for the backward pass, but for weights, which lie there anyway."""

    def __init__(self, known: Iterator[Tensor]) -> None:
        self._known = {tensor.untyped_storage()._cdata for tensor in known}
        self._kept: dict[int, tuple[int, str, torch.UntypedStorage]] = {}

    def pack(self, tensor: Tensor) -> Tensor:
        """Note a tensor; its storage is held, so that no other gets its number."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._known:
            self._kept.setdefault(storage._cdata, (storage.nbytes(), str(tensor.dtype), storage))
        return tensor

    def facts(self) -> Facts:
        """Return GiB, altogether and by type of number."""
        by_type: dict[str, int] = {}
        for size, dtype, _ in self._kept.values():
            by_type[dtype] = by_type.get(dtype, 0) + size
        gib = {dtype: round(size / GIB, 3) for dtype, size in by_type.items()}
        return {"saved_gib": round(sum(by_type.values()) / GIB, 3), "by_dtype": gib}


def flash(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **_: object,
) -> Tensor:
    """Stand for attention by the kernel that a GPU takes, which saves no matrix of weights."""
    if key.shape[1] != query.shape[1]:
        repeats = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    attended: Tensor = torch.ops.aten._scaled_dot_product_flash_attention.default(query, key, value, 0.0, is_causal)[0]
    return attended


def measured(model: nn.Module, family: str, runs: int, examples: int, score: bool, loss: Callable[[], Tensor]) -> Facts:
    """Say what a forward and a backward pass save and launch: of a step, or of scores (`score`)."""
    lora = LoraModel(model, FAMILIES["sd1" if family == "images" else "llama"].targets)
    adapter, direction = _adapter(lora, runs, not score), _adapter(lora, 1, False)
    epsilon = torch.zeros(examples, device="meta", requires_grad=True)
    tangent = lora.tangent(direction, epsilon) if score else contextlib.nullcontext()
    known = (*model.parameters(), *model.buffers(), *adapter.parameters(), *direction.parameters())
    saved, launched = Saved(iter(known)), Launched()
    hooks = torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda tensor: tensor)
    with torch.enable_grad(), hooks, lora.use(adapter), tangent, launched:
        value = loss()
        forward = launched.count
        torch.autograd.grad(value.sum(), [epsilon] if score else adapter.parameters())
    return saved.facts() | {
        "ops_fwd": forward,
        "ops": launched.count,
        "params": sum(parameter.numel() for parameter in model.parameters()),
        "D": sum(parameter.numel() for parameter in adapter.parameters()) // runs,
        "modules": len(lora.layers),
    }


def _adapter(lora: LoraModel, runs: int, trainable: bool) -> Adapter:
    down, up = {}, {}
    for path, layer in lora.layers.items():
        outer, inner = layer.matrix().shape
        down[path] = torch.zeros(runs, RANK, inner, device="meta", requires_grad=trainable)
        up[path] = torch.zeros(runs, outer, RANK, device="meta", requires_grad=trainable)
    return Adapter(RANK, RANK, down, up)


def images(kind: str, side: int, examples: int, runs: int, score: bool = False) -> Facts:
    """Measure a UNet of Stable Diffusion 1.5's or XL's shape in bf16."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(**(SD15_UNET if kind == "sd15" else SDXL_UNET)).to(torch.bfloat16)
        clean = torch.zeros(examples, 4, side // 8, side // 8)
        times = torch.zeros(examples, dtype=torch.long)
        text = torch.zeros(examples, TEXT_TOKENS, unet.config.cross_attention_dim, dtype=torch.bfloat16)
        pooled = {"text_embeds": torch.zeros(examples, 1280), "time_ids": torch.zeros(examples, 6)}
    extra = {} if kind == "sd15" else {"added_cond_kwargs": {name: t.bfloat16() for name, t in pooled.items()}}

    def loss() -> Tensor:
        predicted = unet(clean.bfloat16(), times, text, **extra).sample.float()
        return (predicted - clean).square().flatten(1).mean(1)

    what = f"{kind} {side} n={examples} rank={RANK} runs={runs}{' score' if score else ''}"
    return {"what": what} | measured(unet, "images", runs, examples, score, loss)


def texts(size: str, examples: int, tokens: int, score: bool = False) -> Facts:
    """Measure a LLaMA in bf16."""
    from transformers import LlamaConfig, LlamaForCausalLM, masking_utils

    masking_utils.find_packed_sequence_indices = lambda *_, **__: None  # it looks at values, of which there are none
    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(max_position_embeddings=2048, **LLAMAS[size])).to(torch.bfloat16)
        ids = torch.zeros(examples, tokens, dtype=torch.long)

    def loss() -> Tensor:
        logits, targets = model(input_ids=ids, use_cache=False).logits, ids[:, 1:]
        losses = functional.cross_entropy(logits[:, :-1].float().transpose(1, 2), targets, reduction="none")
        return losses.sum(1) / (targets != -100).sum(1).clamp_min(1)

    what = f"llama {size} n={examples} T={tokens} rank={RANK}{' score' if score else ''}"
    return {"what": what} | measured(model, "texts", 1, examples, score, loss)


def main() -> None:
    functional.scaled_dot_product_attention = flash  # type: ignore[assignment]
    torch.set_num_threads(1)
    for group in sys.argv[1:] or CASES:
        for case in CASES[group]:
            print(json.dumps(texts(*case) if case[0] in LLAMAS else images(*case)), flush=True)
            gc.collect()


if __name__ == "__main__":
    main()
