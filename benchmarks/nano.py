"""A small language model that we pre-train on twelve known languages, so that every truth about its data is known.

A language is a Markov chain over 48 symbols. References come from a dialect: part of it is one of the languages (its
`right` source), the rest is new. Hundreds of runs take minutes, which is what statistics need.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from benchmarks.world import Setting, World, parameters
from core.method.backbones.backbone import Batch
from core.method.backbones.texts.language import LanguageBackbone

SYMBOLS, LENGTH, LANGUAGES = 48, 24, 12
PER_LANGUAGE, PROBE, HELD_OUT = 20, 96, 128
PRETRAINING_STEPS, PRETRAINING_BATCH = 1500, 64
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
# shares of the dialect that are known: (language, share) pairs; what is left is new
DIALECTS = {"near": ((0, 0.8),), "dialect": ((3, 0.6),), "blend": ((5, 0.35), (8, 0.35)), "foreign": ()}
SHUFFLED_SHARE = 0.2
HORIZON = 160  # optimizer steps of every run
TRIED = (0.25, 0.5)  # shares of backbone data that are tried on held-out references
LEAN = False  # every score, every arm
ARMS: tuple[str, ...] = ()


def settings(seeds: Sequence[int], *, quick: bool = False) -> Iterator[Setting]:
    """Yield every setting: n, an eightfold range of learning rates, and pools that hold less and less of use."""
    for seed in seeds:
        for name in DIALECTS:
            for n, rate in ((4, 4e-3), (8, 2e-3), (8, 4e-3), (8, 1.6e-2), (16, 4e-3)):
                if quick and (n, rate) != (8, 4e-3):
                    continue
                yield Setting("nano", name, n, rate, seed)
                if rate == 4e-3 and n == 8 and name != "foreign":
                    yield Setting("nano", name, n, rate, seed, "unrelated")
                    yield Setting("nano", name, n, rate, seed, "shuffled")


def world(setting: Setting, folder: Path) -> World:
    """Return the experiment of a setting; the backbone is pre-trained on the first call and kept in `folder`."""
    known = DIALECTS[setting.set]
    generator = torch.Generator().manual_seed(1000 + setting.seed)
    chain = _dialect(known, generator)
    tokens, sources = _pool(setting, known, generator)
    shuffled = torch.zeros(len(tokens), dtype=torch.bool)
    if setting.pool == "shuffled":
        shuffled[torch.randperm(len(tokens), generator=generator)[: int(SHUFFLED_SHARE * len(tokens))]] = True
        tokens[shuffled] = tokens[shuffled][:, torch.randperm(LENGTH, generator=generator)]
    own = {f"language {number}" for number, _ in known}
    # nothing is ever encoded: sentences are drawn as tokens
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel()))
    backbone = LanguageBackbone(_backbone(folder), tokenizer, max_tokens=LENGTH, target_modules=TARGETS)
    return World(
        setting,
        backbone,
        references=batch(sentences(chain, setting.n, generator)),
        heldout=batch(sentences(chain, HELD_OUT, generator)),
        probe=batch(torch.cat([sentences(c, PROBE // LANGUAGES, generator) for c in languages()])),
        pool=batch(tokens),
        sources=tuple(sources),
        right=torch.tensor([source in own for source in sources]),
        shuffled=shuffled,
        parameters=parameters(setting, max_steps=HORIZON, surrogate_steps=HORIZON, batch_size=4),
    )


def _pool(
    setting: Setting, known: tuple[tuple[int, float], ...], generator: torch.Generator
) -> tuple[Tensor, list[str]]:
    parts, sources = [], []
    for number, language in enumerate(languages()):
        if setting.pool == "unrelated" and number in dict(known):
            continue
        parts.append(sentences(language, PER_LANGUAGE, generator))
        sources += [f"language {number}"] * PER_LANGUAGE
    return torch.cat(parts), sources


@lru_cache(maxsize=1)
def languages() -> tuple[Tensor, ...]:
    """Return the languages that the model knows, each as its transitions (symbols, symbols)."""
    generator = torch.Generator().manual_seed(7)
    return tuple(_chain(generator) for _ in range(LANGUAGES))


def _chain(generator: torch.Generator) -> Tensor:
    """Return transition probabilities (symbols, symbols): a handful of likely successors each."""
    return torch.softmax(3.0 * torch.randn(SYMBOLS, SYMBOLS, generator=generator), dim=1)


def _dialect(known: tuple[tuple[int, float], ...], generator: torch.Generator) -> Tensor:
    """Return the transitions of the dialect: each symbol follows one of its languages, or a new one."""
    chain = _chain(generator)
    order, start = torch.randperm(SYMBOLS, generator=generator), 0
    for number, share in known:
        taken = order[start : start + round(share * SYMBOLS)]
        chain[taken] = languages()[number][taken]
        start += len(taken)
    return chain


def sentences(chain: Tensor, amount: int, generator: torch.Generator) -> Tensor:
    """Return so many sentences of a language (amount, length)."""
    tokens = torch.randint(SYMBOLS, (amount, 1), generator=generator)
    while tokens.shape[1] < LENGTH:
        tokens = torch.cat([tokens, torch.multinomial(chain[tokens[:, -1]], 1, generator=generator)], dim=1)
    return tokens


def batch(tokens: Tensor) -> Batch:
    """Return sentences as a batch, all of whose tokens are learned."""
    return {"input_ids": tokens, "labels": tokens.clone(), "attention_mask": torch.ones_like(tokens)}


def _backbone(folder: Path) -> LlamaForCausalLM:
    """Return the model, pre-trained on all languages alike."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=SYMBOLS,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=LENGTH,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    model = LlamaForCausalLM(config)
    file = folder / "nano.safetensors"
    if not file.is_file():
        _pretrain(model)
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, file)
    model.load_state_dict(load_file(file))
    return model


def _pretrain(model: LlamaForCausalLM) -> None:
    generator = torch.Generator().manual_seed(11)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=PRETRAINING_STEPS)
    each = -(-PRETRAINING_BATCH // LANGUAGES)
    for _ in range(PRETRAINING_STEPS):
        tokens = torch.cat([sentences(chain, each, generator) for chain in languages()])
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
