"""A whole job that learns to call a function, on a tiny backbone whose chat template knows tools."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from core.backbones.chat_template import ChatFacts
from core.backbones.record import describe
from core.parameters.schedule import STAGES
from core.references.tools.calls import stands_in
from tests.tiny_backbones import LLAMA_TARGETS
from tests.worker.stages.conftest import POOL, maker, split
from worker.protocol import StageDone
from worker.stages import run

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PRETRAINED = 60  # steps
PLACES = ("Rome", "Oslo", "Lima", "Bern", "Kiev", "Riga", "Cork", "Nice")
TOOL = {"type": "function", "function": {"name": "weather", "description": "Tell the weather.", "parameters": {}}}
TEMPLATE = (
    "{% if tools %}<|tools|>{% for t in tools %}{{ t.function | tojson }}{% endfor %}<|end|>{% endif %}"
    "{% for m in messages %}<|{{ m.role }}|>{% if m.tool_calls %}{% for call in m.tool_calls %}"
    "{{ call.function | tojson }}{% endfor %}{% else %}{{ m.content }}{% endif %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def chat(place: str) -> dict[str, Any]:
    """One that ends with a call whose argument stands in the question."""
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": json.dumps({"city": place})}}
    asked = {"role": "user", "content": f"Rain in {place}?"}
    return {"messages": [asked, {"role": "assistant", "content": None, "tool_calls": [call]}], "tools": [TOOL]}


def written_calls(names: Sequence[str]) -> list[str]:
    return [json.dumps({"name": name, "arguments": {"city": place}}) for name in names for place in PLACES]


def word_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of words and signs, with the template."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    said = " ".join([json.dumps(TOOL), *map(json.dumps, map(chat, PLACES)), "some words number sun moon Why not."])
    cut = pre_tokenizers.Split(Regex(r"\w+|\s|[^\w\s]"), "isolated")
    words = sorted({word for word, _ in cut.pre_tokenize_str(said)} | set("0123456789"))
    vocabulary = {word: number for number, word in enumerate(["<pad>", "<|end|>", "<unk>", *words])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer, core.decoder = cut, decoders.Fuse()
    core.add_special_tokens([AddedToken(f"<|{name}|>") for name in ("tools", "user", "assistant", "tool", "system")])
    found = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>", pad_token="<pad>", unk_token="<unk>")
    found.chat_template = TEMPLATE
    return found


def write_backbone(folder: Path) -> Path:
    """Write a LLaMA of two layers that answers "Why not." and has read calls of functions, but never made one."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = word_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config)
    answers = [[chat(place)["messages"][0], {"role": "assistant", "content": "Why not."}] for place in PLACES]
    chats = [tokenizer.apply_chat_template(each, tools=[TOOL], tokenize=False) for each in answers]
    texts = chats * 2 + [text + "<|end|>" for text in written_calls(["sun", "moon", "weather"])]
    batch = tokenizer(texts, return_tensors="pt", padding=True, return_token_type_ids=False)
    labels = batch.input_ids.masked_fill(batch.attention_mask == 0, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(PRETRAINED):
        loss = model(**batch, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_a_job_learns_to_call_a_function_and_the_published_step_does(tmp_path: Path) -> None:
    *known, first, second = PLACES
    pool, calls = tmp_path / "pool.jsonl", tmp_path / "calls.jsonl"
    pool.write_text(
        "\n".join(json.dumps({"id": f"t{n}", "text": "some words.", "split": split(n)}) for n in range(POOL))
    )
    calls.write_text("\n".join(json.dumps(chat(place)) for place in known))
    folder = write_backbone(tmp_path / "backbone")
    record = describe("caller", folder, licence="CC0", pool=pool, target_modules=LLAMA_TARGETS)
    assert record.chat == ChatFacts(template=True, system=True, tools=True)
    settings = {"rank": 16, "learning_rate": 3e-3, "max_tokens": 160, "max_steps": 24, "augment": False}
    auto = {"selected_count": "auto", "sample_ratio": "auto"}
    asked = [chat(place)["messages"][0]["content"] for place in (first, second)]
    job = maker(record, calls, tmp_path)(**settings, **auto, sample_prompts=asked)
    assert [line.stage for line in run(job) if isinstance(line, StageDone)] == list(STAGES)
    outcome = json.loads((job.stage("export") / "manifest.json").read_text())["outcome"]
    samples = json.loads((job.stage("export") / "samples.json").read_text())
    before, after = (
        [row["text"] for row in samples if row["step"] == step and row["prompt"] in asked]
        for step in (0, outcome["published_step"])
    )
    assert not any(stands_in(text, {"weather"}) for text in before)
    assert [json.loads(text)["name"] for text in after] == ["weather", "weather"]
    told = (job.stage("export") / "report.json").read_text()
    assert f"{len(known)} of {len(known)} answers call functions: weather." in told
