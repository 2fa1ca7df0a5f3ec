"""Prompts as Stable Diffusion's pipelines encode them: by one CLIP text encoder (1.x, 2.x), or by two (SDXL)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPTokenizer, PreTrainedTokenizerBase

from core.method.backbones.backbone import Batch
from core.method.backbones.images.conditioners.conditioner import Frame
from core.method.backbones.images.conditioners.encoders import Encoding, TextEncoders


class Clip(Encoding):
    """One text encoder, of which the network is told the last hidden states: `text` (n, tokens, width).

    The 2.x encoders end a layer earlier than they were trained with; their own configuration says so.
    """

    names: tuple[str, ...] = ("text",)

    def __init__(self, tokenizer: CLIPTokenizer, encoders: TextEncoders) -> None:
        self.tokenizer, self.encoders = tokenizer, encoders

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Batch:
        """Return `text`."""
        with self.encoders.held() as (encoder,):
            return {"text": encoder(token_ids(self.tokenizer, prompts, encoder))[0]}

    def asked(self, wanted: Batch, unwanted: Batch) -> dict[str, Any]:
        """Return the pipeline's arguments."""
        return {"prompt_embeds": wanted["text"], "negative_prompt_embeds": unwanted["text"]}

    @property
    def most_tokens(self) -> int:
        """How many tokens of a prompt are looked at."""
        return int(self.tokenizer.model_max_length)

    def tokens(self, prompt: str) -> int:
        """Count the tokens of a prompt before it is cut."""
        return len(self.tokenizer(prompt).input_ids)


class ClipPair(Encoding):
    """SDXL's two text encoders, told as their last hidden states but one, joined, and the second's pooled vector.

    `text` (n, tokens, both widths), `pooled` (n, width) and, of each picture, `time_ids` (n, 6): its file's size, where
    it was cut and the size it is drawn in. The pipeline steers away from zeros where `zeros` (the pipeline's
    `force_zeros_for_empty_prompt`), which is not what it makes of the empty prompt: the network learned zeros as the
    captions that were left out.
    """

    names: tuple[str, ...] = ("text", "pooled", "time_ids")

    def __init__(self, tokenizers: tuple[CLIPTokenizer, CLIPTokenizer], encoders: TextEncoders, *, zeros: bool) -> None:
        self.tokenizers, self.encoders, self.zeros = tokenizers, encoders, zeros

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Batch:
        """Return `text` and `pooled`."""
        with self.encoders.held() as encoders:
            said = [
                encoder(token_ids(tokenizer, prompts, encoder), output_hidden_states=True)
                for tokenizer, encoder in zip(self.tokenizers, encoders, strict=True)
            ]
        return {"text": torch.cat([each.hidden_states[-2] for each in said], dim=-1), "pooled": said[-1][0]}

    def nothing(self) -> Batch:
        """Return zeros, or what the empty prompt says where the pipeline takes that."""
        empty = self.encode([""])
        return {name: torch.zeros_like(tensor) for name, tensor in empty.items()} if self.zeros else empty

    def framing(self, frames: Sequence[Frame]) -> Batch:
        """Return `time_ids`."""
        rows = [(*frame.original, *frame.corner, *frame.target) for frame in frames]
        return {"time_ids": torch.tensor(rows, dtype=torch.float32)}

    def asked(self, wanted: Batch, unwanted: Batch) -> dict[str, Any]:
        """Return the pipeline's arguments."""
        return {
            "prompt_embeds": wanted["text"],
            "pooled_prompt_embeds": wanted["pooled"],
            "negative_prompt_embeds": unwanted["text"],
            "negative_pooled_prompt_embeds": unwanted["pooled"],
        }

    @property
    def most_tokens(self) -> int:
        """How many tokens of a prompt are looked at."""
        return min(int(tokenizer.model_max_length) for tokenizer in self.tokenizers)

    def tokens(self, prompt: str) -> int:
        """Count the tokens of a prompt before it is cut."""
        return max(len(tokenizer(prompt).input_ids) for tokenizer in self.tokenizers)


def token_ids(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], encoder: nn.Module, most: int | None = None
) -> Tensor:
    """Return the tokens of every prompt, cut and padded to the most that are looked at, where the encoder is."""
    tokens = tokenizer(
        list(prompts),
        padding="max_length",
        truncation=True,
        max_length=most or tokenizer.model_max_length,
        return_tensors="pt",
    )
    return tokens.input_ids.to(next(encoder.parameters()).device)
