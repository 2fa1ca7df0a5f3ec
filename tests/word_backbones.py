"""A random language model whose tokens are whole words and ends of sentences: it writes texts that have sentences."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.method.backbones.texts.language import LanguageBackbone

MORE = "user assistant system : arr say what is the word of day 0 1 2 3 4 5 6 7 8 9"


def write_word_folder(folder: Path, ends: str = ".!?", template: str | None = None) -> Path:
    """Write the model's folder, without a token for padding; `ends` are its marks, `template` its chat template."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from core.method.protection.own import OPENINGS

    words = sorted({word for opening in (*OPENINGS, MORE) for word in opening.split()})
    tokens = ["</s>", "<unk>", *words, *ends]
    core = Tokenizer(models.WordLevel({token: at for at, token in enumerate(tokens)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", unk_token="<unk>")
    if template is not None:
        tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=128,
        bos_token_id=None,
        eos_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def write_words(folder: Path, ends: str = ".!?", template: str | None = None) -> LanguageBackbone:
    """Write the model and load it."""
    from core.method.backbones.texts.language import LanguageBackbone

    write_word_folder(folder, ends, template)
    return LanguageBackbone.load(folder, max_tokens=64, target_modules=("q_proj", "v_proj"))
