"""`albatross pools build --generate` writes texts with any text backbone, or says why it can't."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from core.backbones.record import BackboneRecord, describe
from core.errors import InvalidInput
from worker.commands.generation import FEWEST_WORDS, OPENINGS
from worker.commands.pools import write_generated


def backbone_of_words(folder: Path, ends: str = ".!?") -> BackboneRecord:
    """Write a random model whose tokens are whole words and ends of sentences, without a token for padding."""
    words = sorted({word for opening in OPENINGS for word in opening.split()})
    tokens = ["</s>", "<unk>", *words, *ends]
    core = Tokenizer(models.WordLevel({token: at for at, token in enumerate(tokens)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", unk_token="<unk>").save_pretrained(folder)
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
    return describe("words", folder, licence="CC0")


def test_a_backbone_without_a_token_for_padding_writes_candidates(tmp_path: Path) -> None:
    pool = write_generated(backbone_of_words(tmp_path / "words"), 20, 7, tmp_path / "pool")
    rows = [json.loads(line) for line in (pool / "index.jsonl").read_text().splitlines()]
    assert len(rows) == 20
    assert all(len(row["text"].split()) >= FEWEST_WORDS and row["text"][-1] in ".!?" for row in rows)
    assert all(any(row["text"].startswith(opening) for opening in OPENINGS) for row in rows)
    again = write_generated(backbone_of_words(tmp_path / "again"), 20, 7, tmp_path / "other")
    assert [json.loads(line)["text"] for line in (again / "index.jsonl").read_text().splitlines()] == [
        row["text"] for row in rows
    ]


def test_a_backbone_that_ends_no_sentence_is_told_of_instead_of_waiting_for_ever(tmp_path: Path) -> None:
    record = backbone_of_words(tmp_path / "endless", ends="")
    with pytest.raises(InvalidInput, match=r"no full sentence of 12 words; 0 of 5 were written before\."):
        write_generated(record, 5, 7, tmp_path / "pool")
    assert not (tmp_path / "pool").exists()
