"""Sentence encoders: the pooling that their folder asks for, against the sum written out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from core.errors import InvalidInput
from worker.comparison.encoder import Encoder

WORDS = ("[PAD]", "[UNK]", "arr", "west", "is", "there", "east", "matey")
TEXTS = ["arr west", "west is there", "matey"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(tmp_path)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(tmp_path)
    return tmp_path


def states(folder: Path, text: str) -> torch.Tensor:
    model = BertModel.from_pretrained(folder).eval()
    ids = torch.tensor([[WORDS.index(word) for word in text.split()]])
    with torch.no_grad():
        return model(input_ids=ids).last_hidden_state[0]


@pytest.mark.parametrize("first", [False, True])
def test_vectors_are_the_mean_or_the_first_token_as_the_folder_says(folder: Path, first: bool) -> None:
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode_cls_token": first}))
    for vector, text in zip(Encoder(folder).vectors(TEXTS), TEXTS, strict=True):
        wanted = states(folder, text)[0] if first else states(folder, text).mean(0)
        assert torch.allclose(vector, wanted / wanted.norm(), atol=1e-5)


def test_the_nearest_answer_counts_and_a_text_is_as_near_as_can_be_to_itself(folder: Path) -> None:
    near, far = Encoder(folder).nearest(["arr west", "matey"], ["east is", "arr west"])
    assert near == pytest.approx(1, abs=1e-5)
    assert far < near


def test_a_folder_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is no sentence encoder"):
        Encoder(tmp_path)
