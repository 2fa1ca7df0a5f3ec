"""Prompts as a language model reads them that a network was trained beside: asked as in a chat, as long as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from diffusers.pipelines.flux2.pipeline_flux2 import format_input
from torch import Tensor, nn
from transformers import BatchEncoding, PreTrainedTokenizerBase

from core.method.backbones.backbone import Batch
from core.method.backbones.images.conditioners.encoders import Encoding, TextEncoders


class Chat(Encoding):
    """Z-Image's text encoder: the last hidden states but one of Qwen 3, which is asked to think about each prompt.

    `text` (n, tokens, width) is filled up with zeros, of which nothing is told: `words` (n,) says how long each is.
    """

    names: tuple[str, ...] = ("text", "words")
    most_tokens = 512  # the pipeline's own
    thinking = True

    def __init__(self, tokenizer: PreTrainedTokenizerBase, encoders: TextEncoders) -> None:
        self.tokenizer, self.encoders = tokenizer, encoders

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Batch:
        """Return `text` and `words`."""
        with self.encoders.held() as (encoder,):
            rows = self._read(prompts, encoder)
        return {"text": torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), "words": lengths(rows)}

    def asked(self, wanted: Batch, unwanted: Batch) -> dict[str, Any]:
        """Return the pipeline's arguments."""
        return {"prompt_embeds": as_long_as_they_are(wanted), "negative_prompt_embeds": as_long_as_they_are(unwanted)}

    def tokens(self, prompt: str) -> int:
        """Count the tokens of a prompt, with all that is asked around it, before it is cut."""
        return len(self._tokenized([prompt]).input_ids[0])

    def _read(self, prompts: Sequence[str], encoder: nn.Module) -> list[Tensor]:
        """Return what is told of each prompt (tokens, width)."""
        return self._states(prompts, encoder, layer=-2, most=self.most_tokens)

    def _states(self, prompts: Sequence[str], encoder: nn.Module, *, layer: int, most: int) -> list[Tensor]:
        """Return what one layer says of each prompt (tokens, width)."""
        states, masks = self._layers(prompts, encoder, most)
        return [row[mask.bool()] for row, mask in zip(states[layer], masks, strict=True)]

    def _layers(
        self, prompts: Sequence[str], encoder: nn.Module, most: int, *, filled: bool = False
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return what each layer says (n, tokens, width), after the embeddings, and which tokens are no filling.

        As many tokens as the longest prompt has, or the most where they are to be `filled` up.
        """
        options = {
            "padding": "max_length" if filled else True,
            "truncation": True,
            "max_length": most,
            "return_tensors": "pt",
        }
        read = self._tokenized(prompts, **options)
        told = {name: read[name].to(next(encoder.parameters()).device) for name in ("input_ids", "attention_mask")}
        body = cast(Any, encoder).base_model  # without a head: nobody asks for the next word
        return body(**told, output_hidden_states=True, use_cache=False).hidden_states, told["attention_mask"]

    def _tokenized(self, prompts: Sequence[str], **options: Any) -> BatchEncoding:
        """Return the tokens of each asking; what begins as all texts do is not begun once more."""
        askings, first = [self._asking(prompt) for prompt in prompts], self.tokenizer.bos_token
        begun = first is not None and askings[0].startswith(first)
        return self.tokenizer(askings, add_special_tokens=not begun, **options)

    def _asking(self, prompt: str) -> str:
        said: Any = [{"role": "user", "content": prompt}]
        options = {"tokenize": False, "add_generation_prompt": True, "enable_thinking": self.thinking}
        return str(self.tokenizer.apply_chat_template(said, **options))


class Layered(Chat):
    """FLUX.2 klein's text encoder: hidden states of three layers of Qwen 3 side by side, which is not asked to think.

    `text` (n, most_tokens, 3 widths): what a prompt is filled up with is told too, as the network learned it.
    """

    names: tuple[str, ...] = ("text",)
    thinking = False
    LAYERS = (9, 18, 27)  # the pipeline's own

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Batch:
        """Return `text`."""
        with self.encoders.held() as (encoder,):
            return {"text": torch.cat([self._side_by_side(prompt, encoder) for prompt in prompts])}

    def _side_by_side(self, prompt: str, encoder: nn.Module) -> Tensor:
        """Return what the layers say of one prompt, (1, tokens, widths): every layer's of many would be gigabytes."""
        states, _ = self._layers([prompt], encoder, self.most_tokens, filled=True)
        return torch.cat([states[layer] for layer in self.LAYERS], dim=-1)

    def asked(self, wanted: Batch, unwanted: Batch) -> dict[str, Any]:
        """Return the pipeline's arguments."""
        return {"prompt_embeds": wanted["text"], "negative_prompt_embeds": unwanted["text"]}


class Reasoned(Layered):
    """FLUX.2-dev's text encoder: hidden states of three layers of Mistral 3, which is told to reason about words."""

    LAYERS = (10, 20, 30)  # the pipeline's own

    def asked(self, wanted: Batch, unwanted: Batch) -> dict[str, Any]:
        """Return the pipeline's arguments: its guidance is told to the network, which steers away from nothing."""
        return {"prompt_embeds": wanted["text"]}

    def _asking(self, prompt: str) -> str:
        [said] = format_input([prompt])
        return str(self.tokenizer.apply_chat_template(said, tokenize=False))


class Described(Chat):
    """Qwen-Image's text encoder: the last hidden states of Qwen 2.5 VL, which is asked to describe the picture.

    Those of the asking itself, the first `ASKED` tokens, are not told.
    """

    most_tokens = 512  # the pipeline's own, where it is called for a picture
    ASKED = 34
    TEMPLATE = (
        "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial "
        "relationships of the objects and background:<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )

    def _read(self, prompts: Sequence[str], encoder: nn.Module) -> list[Tensor]:
        return [
            row[self.ASKED :] for row in self._states(prompts, encoder, layer=-1, most=self.most_tokens + self.ASKED)
        ]

    def asked(self, wanted: Batch, unwanted: Batch) -> dict[str, Any]:
        """Return the pipeline's arguments."""
        return {
            "prompt_embeds": wanted["text"],
            "prompt_embeds_mask": told_of(wanted).long(),
            "negative_prompt_embeds": unwanted["text"],
            "negative_prompt_embeds_mask": told_of(unwanted).long(),
        }

    def tokens(self, prompt: str) -> int:
        """Count the tokens of a prompt, with what ends it, before it is cut."""
        return super().tokens(prompt) - self.ASKED

    def _asking(self, prompt: str) -> str:
        return self.TEMPLATE.format(prompt)


def told_of(told: Batch) -> Tensor:
    """Return which tokens are told (n, tokens), and not filled up."""
    places = torch.arange(told["text"].shape[1], device=told["text"].device)
    return places < told["words"].to(told["text"].device)[:, None]


def lengths(rows: Sequence[Tensor]) -> Tensor:
    """Return how many tokens each prompt has, (n,); in float32, as all that is kept."""
    return torch.tensor([float(len(row)) for row in rows])


def as_long_as_they_are(told: Batch) -> list[Tensor]:
    """Return the tokens of each prompt, without what they were filled up with."""
    return [row[: int(length)] for row, length in zip(told["text"], told["words"].tolist(), strict=True)]
