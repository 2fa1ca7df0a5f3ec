"""Models of true classes with random weights: what of them is loaded, where they stop, what they are padded with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, Gemma3Config, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from core.errors import JobFailure
from core.method.backbones.backbone import IGNORED, Draw
from core.method.backbones.texts.language import LanguageBackbone
from core.method.backbones.texts.loading import without_other_parts
from tests.core.method.backbones.texts.templates import tokenizer

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
SEEING = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
LAYER = "language_model.layers.0.self_attn"


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Llama 3 as it is published: no token for padding, and two ends in generation_config.json."""
    folder, tokens = tmp_path_factory.mktemp("llama"), tokenizer("llama3")
    ends = [int(tokens.convert_tokens_to_ids(mark)) for mark in ("<|end_of_text|>", "<|eot_id|>")]
    config = LlamaConfig(**SMALL, vocab_size=len(tokens), max_position_embeddings=512, eos_token_id=ends)
    write(LlamaForCausalLM(config), folder, "llama3")
    return folder


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gemma 3 with its tower of pictures."""
    folder, tokens = tmp_path_factory.mktemp("gemma"), tokenizer("gemma3")
    text = {**SMALL, "head_dim": 16, "vocab_size": len(tokens), "max_position_embeddings": 300}
    config = Gemma3Config(text_config=text, vision_config=SEEING, mm_tokens_per_image=4)
    write(AutoModelForImageTextToText.from_config(config), folder, "gemma3")
    return folder


def write(model: PreTrainedModel, folder: Path, name: str) -> None:
    torch.manual_seed(0)
    model.save_pretrained(folder)
    tokenizer(name).save_pretrained(folder)


def load(folder: Path, *targets: str) -> LanguageBackbone:
    return LanguageBackbone.load(folder, max_tokens=128, target_modules=targets)


def test_a_tokenizer_without_a_token_for_padding_pads_and_answers(llama: Path) -> None:
    backbone = load(llama, "q_proj")
    assert backbone.tokenizer.pad_token_id is None
    batch = backbone.encode([{"prompt": "Who?", "completion": "The cat."}, {"prompt": "A?", "completion": "B"}])
    assert batch["attention_mask"].sum(1).tolist()[0] > batch["attention_mask"].sum(1).tolist()[1]
    assert torch.isfinite(backbone.loss(batch, Draw())).all()
    assert len(backbone.answer([{"prompt": "Who?"}, {"prompt": "A longer one?"}], max_new_tokens=3)) == 2


def test_an_answer_ends_at_each_of_the_ends_that_a_model_has(llama: Path) -> None:
    backbone = load(llama, "q_proj")
    ends = backbone.tokenizer.convert_tokens_to_ids(["<|end_of_text|>", "<|eot_id|>"])
    assert list(backbone.rendering.stops) == sorted(ends)
    for end in ends:  # whatever was read, this end is by far the most likely
        likely = backbone.model.get_output_embeddings().register_forward_hook(
            lambda _module, _inputs, logits, end=end: logits.index_fill(-1, torch.tensor([end]), 100.0)
        )
        assert backbone.continued([[5, 6, 7]], max_new_tokens=9).tolist() == [[end]]
        likely.remove()


def test_of_a_model_that_sees_the_language_tower_alone_is_adapted_and_learns(gemma: Path) -> None:
    backbone = load(gemma, f"{LAYER}.q_proj", f"{LAYER}.o_proj")
    assert list(backbone.lora.layers) == [
        "model.language_model.layers.0.self_attn.q_proj",
        "model.language_model.layers.0.self_attn.o_proj",
    ]
    assert backbone.places == 300
    batch = backbone.encode([{"prompt": "Who?", "completion": "The cat."}])
    adapter = backbone.lora.new(2, 4.0)
    with backbone.lora.use(adapter):
        backbone.loss(batch, Draw()).sum().backward()
    assert all(bool(matrix.grad is not None and matrix.grad.any()) for matrix in adapter.up.values())


def test_what_sees_can_be_taken_out_and_comes_back_where_it_was(gemma: Path) -> None:
    model = load(gemma, f"{LAYER}.q_proj").model
    before = [name for name, _ in model.named_parameters()]
    with without_other_parts(model):
        assert all("language_model" in name or name.startswith("lm_head") for name, _ in model.named_parameters())
    assert [name for name, _ in model.named_parameters()] == before


def test_the_first_text_that_a_template_does_not_take_is_named(gemma: Path) -> None:
    backbone = load(gemma, f"{LAYER}.q_proj")
    turn = {"role": "assistant", "content": "The cat."}
    wrong = {"messages": [turn, {"role": "user", "content": "Who?"}, turn]}
    told = "The chat template of this backbone does not take it: Conversation roles must alternate."
    assert backbone.refuses(wrong) == told
    assert backbone.refuses({"prompt": "Who?", "completion": "The cat."}) is None
    with pytest.raises(JobFailure, match=r"^Text 2: The chat template"):
        backbone.encode([{"prompt": "Who?", "completion": "The cat."}, wrong])


def test_a_text_of_which_nothing_can_be_learned_is_told_of(gemma: Path) -> None:
    backbone = load(gemma, f"{LAYER}.q_proj")
    question, answer = {"role": "user", "content": "Who?"}, {"role": "assistant", "content": "The cat."}
    joined = {"messages": [question, {**answer, "weight": 0}, answer]}
    assert str(backbone.refuses(joined)).startswith("Nothing of it can be learned: the chat template")
    apart = {"messages": [question, {**answer, "weight": 0}, question, answer]}
    assert backbone.refuses(apart) is None


def test_a_plain_text_begins_with_the_models_token_of_a_beginning(gemma: Path) -> None:
    backbone = load(gemma, f"{LAYER}.q_proj")
    batch = backbone.encode([{"text": "the cat"}])
    assert int(batch["input_ids"][0, 0]) == backbone.tokenizer.bos_token_id
    assert int(batch["labels"][0, 0]) == IGNORED


def test_a_model_whose_files_lack_a_weight_is_not_drawn_anew(tiny_language_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_language_folder, tmp_path / "llama"))
    weights = load_file(folder / "model.safetensors")
    weights.pop("model.layers.1.self_attn.q_proj.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(JobFailure, match=r"files lack model\.layers\.1\.self_attn\.q_proj\.weight") as failed:
        LanguageBackbone.load(folder, max_tokens=32, target_modules=("v_proj",))
    assert failed.value.code == "backbone_unavailable"
