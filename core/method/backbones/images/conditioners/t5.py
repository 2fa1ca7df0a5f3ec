"""Prompts as Stable Diffusion 3 and FLUX.1 are told them: by T5 beside one or two text encoders of CLIP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import CLIPTokenizer, PreTrainedTokenizerBase

from core.method.backbones.backbone import Batch
from core.method.backbones.images.conditioners.clip import token_ids
from core.method.backbones.images.conditioners.encoders import Encoding, TextEncoders


class ClipT5(Encoding):
    """FLUX.1's text encoders: `pooled` (n, width) is CLIP's, `text` (n, tokens, width) T5's last hidden states.

    Its guidance is distilled into the network, so that pictures are not steered away from anything.
    """

    names: tuple[str, ...] = ("text", "pooled")
    most_tokens = 512  # the pipeline's own

    def __init__(self, clip: CLIPTokenizer, t5: PreTrainedTokenizerBase, encoders: TextEncoders) -> None:
        self.clip, self.t5, self.encoders = clip, t5, encoders

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Batch:
        """Return `text` and `pooled`."""
        with self.encoders.held() as (clip, t5):
            pooled = clip(token_ids(self.clip, prompts, clip)).pooler_output
            return {"text": t5(token_ids(self.t5, prompts, t5, self.most_tokens))[0], "pooled": pooled}

    def asked(self, wanted: Batch, unwanted: Batch) -> dict[str, Any]:
        """Return the pipeline's arguments."""
        return {"prompt_embeds": wanted["text"], "pooled_prompt_embeds": wanted["pooled"]}

    def tokens(self, prompt: str) -> int:
        """Count the tokens of a prompt before it is cut."""
        return len(self.t5(prompt).input_ids)


class ClipPairT5(Encoding):
    """Stable Diffusion 3's text encoders: two of CLIP side by side, and after their tokens those of T5.

    `text` (n, tokens, T5's width) holds both, CLIP's last hidden states but one filled up with zeros; `pooled` (n, both
    widths) joins the pooled vectors. Without T5, which folders may leave out, its tokens are zeros of `width`.
    """

    names: tuple[str, ...] = ("text", "pooled")
    t5_tokens = 256  # the pipeline's own

    def __init__(
        self,
        clips: tuple[CLIPTokenizer, CLIPTokenizer],
        t5: PreTrainedTokenizerBase | None,
        encoders: TextEncoders,
        width: int,
    ) -> None:
        self.clips, self.t5, self.encoders, self.width = clips, t5, encoders, width

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Batch:
        """Return `text` and `pooled`."""
        with self.encoders.held() as encoders:
            most = int(self.clips[0].model_max_length)
            said = [
                clip(token_ids(tokenizer, prompts, clip, most), output_hidden_states=True)
                for tokenizer, clip in zip(self.clips, encoders, strict=False)
            ]
            pair = torch.cat([each.hidden_states[-2] for each in said], dim=-1)
            if self.t5 is None:
                long = pair.new_zeros(len(prompts), self.t5_tokens, self.width)
            else:
                long = encoders[2](token_ids(self.t5, prompts, encoders[2], self.t5_tokens))[0]
            wide = torch.nn.functional.pad(pair, (0, long.shape[-1] - pair.shape[-1]))
            return {"text": torch.cat([wide, long], dim=1), "pooled": torch.cat([each[0] for each in said], dim=-1)}

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
        """How many tokens of a prompt are looked at: T5 reads on where CLIP ends."""
        return int(self.clips[0].model_max_length) if self.t5 is None else self.t5_tokens

    def tokens(self, prompt: str) -> int:
        """Count the tokens of a prompt before it is cut."""
        return len((self.clips[0] if self.t5 is None else self.t5)(prompt).input_ids)
