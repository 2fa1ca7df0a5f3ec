"""Tiny text encoders of the families that learn by flow matching, and their tokenizers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.families.texts import CHATML, SEEING, TextFamily, tokens
from tests.families.texts import tokenizer as tokenizer_of
from tests.tiny_backbones import LETTERS, spelling_vocabulary, text_encoder_configuration

if TYPE_CHECKING:
    from transformers import (
        CLIPTextModelWithProjection,
        CLIPTokenizer,
        Mistral3ForConditionalGeneration,
        PreTrainedTokenizerFast,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2Tokenizer,
        Qwen3Config,
        Qwen3Model,
        T5EncoderModel,
        T5TokenizerFast,
    )

MISTRAL_PARTS = (
    "{{ bos_token }}{% for message in messages %}"
    "{% set mark = 'SYSTEM_PROMPT' if message.role == 'system' else 'INST' %}"
    "{{ '[' + mark + ']' }}{% for part in message.content %}{{ part.text }}{% endfor %}"
    "{{ '[/' + mark + ']' }}{% endfor %}"
)


def qwen_vision() -> Qwen2_5_VLForConditionalGeneration:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10_000.0}
    sides = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    text = {"vocab_size": len(tokens()), **sides, **heads, "rope_parameters": rope}
    eyes = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 32}
    marks = dict.fromkeys(("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"), 0)
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=eyes, **marks))


def mistral_vision() -> Mistral3ForConditionalGeneration:
    """As deep as it is read, and one layer more, as the true one has more."""
    from transformers import Mistral3Config, Mistral3ForConditionalGeneration

    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    sides = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 31}
    text = {"model_type": "mistral", "vocab_size": len(tokens()), **sides, **heads}
    return Mistral3ForConditionalGeneration(Mistral3Config(text_config=text, vision_config=SEEING))


def mistral_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of bytes that begins every text, fills up on the left and writes chats of parts as Mistral's does."""
    from tokenizers import processors

    made: PreTrainedTokenizerFast = tokenizer_of(TextFamily("mistral3", MISTRAL_PARTS))
    made.bos_token = "<bos>"
    made.padding_side = made.init_kwargs["padding_side"] = "left"  # an attribute alone is not written
    beginning = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", tokens().index("<bos>"))])
    made.backend_tokenizer.post_processor = beginning
    return made


def qwen3() -> Qwen3Model:
    from transformers import Qwen3Model

    return Qwen3Model(qwen3_config(hidden_size=32, intermediate_size=48, num_hidden_layers=2))


def qwen3_config(**sides: int) -> Qwen3Config:
    from transformers import Qwen3Config

    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    return Qwen3Config(vocab_size=len(tokens()), **sides, **heads)


def qwen_tokenizer() -> Qwen2Tokenizer:
    """A tokenizer of bytes that writes a chat as Qwen's do, with a thought where none is asked for."""
    from transformers import Qwen2Tokenizer

    marks = {"eos_token": "<|im_end|>", "pad_token": "<pad>", "unk_token": "<pad>"}
    vocabulary = {token: number for number, token in enumerate(tokens())}
    made = Qwen2Tokenizer(vocab=vocabulary, merges=[], additional_special_tokens=["<|im_start|>"], **marks)
    made.chat_template = CHATML + "{% if enable_thinking is false %}{{ '<think></think>' }}{% endif %}"
    return made


def clip(width: int) -> CLIPTextModelWithProjection:
    from transformers import CLIPTextModelWithProjection

    configuration = text_encoder_configuration(spelling_vocabulary())
    configuration.hidden_size = width
    return CLIPTextModelWithProjection(configuration)


def clip_tokenizer(**options: Any) -> CLIPTokenizer:
    from transformers import CLIPTokenizer

    return CLIPTokenizer(vocab=spelling_vocabulary(), merges=[], model_max_length=24, **options)


def t5_encoder(width: int) -> T5EncoderModel:
    from transformers import T5Config, T5EncoderModel

    words = len(LETTERS) + 4
    sides = {"d_model": width, "d_kv": 8, "d_ff": 48, "num_heads": 2, "num_layers": 2}
    return T5EncoderModel(T5Config(vocab_size=words, feed_forward_proj="gated-gelu", **sides))


def t5_tokenizer() -> T5TokenizerFast:
    """A tokenizer of letters, as T5 has one of pieces."""
    from transformers import T5TokenizerFast

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0), *((letter, -3.0) for letter in LETTERS)]
    return T5TokenizerFast(vocab=pieces, extra_ids=0)
