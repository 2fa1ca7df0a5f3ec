"""A causal language model backbone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from core.method.backbones.backbone import IGNORED, Batch, Draw, Item
from core.method.backbones.lora import LoraModel
from core.method.backbones.profiler import Profiler

ANSWERED_AT_ONCE = 8
# A model's folder may ask for other ways to draw; steps, and runs before and after training, are compared without them.
PLAIN = {"num_beams": 1, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "typical_p": 1.0, "min_p": 0.0}
MOST_LIKELY_SHARE = 0.9  # of the probability, from which a token is drawn where answers are drawn (top-p)
ASKED_TOKENS = 1024  # of a question; a whole document in each would take minutes on a CPU, at every kept step


class LanguageBackbone:
    """A frozen causal LM; the loss of an example is the mean cross-entropy of its answer's tokens."""

    kind = "texts"

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_tokens: int,
        target_modules: Sequence[str],
        profiler: Profiler | None = None,
    ) -> None:
        self.model, self.tokenizer, self.profiler = model, tokenizer, profiler or Profiler()
        self.lora = LoraModel(model, target_modules)
        self.max_tokens = max_tokens

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        max_tokens: int,
        target_modules: Sequence[str],
        device: str = "cpu",
        profiler: Profiler | None = None,
    ) -> LanguageBackbone:
        """Load a transformers-format folder, offline, from safetensors only; bf16 on CUDA, float32 elsewhere."""
        dtype = torch.bfloat16 if torch.device(device).type == "cuda" else torch.float32
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=dtype)
        return cls(model.to(device), tokenizer, max_tokens=max_tokens, target_modules=target_modules, profiler=profiler)

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self.model.device

    @property
    def chat_tokens(self) -> int:
        """How many tokens the chat template adds to a question and its answer."""
        word = "a"
        alone = len(self.tokenizer(word, add_special_tokens=False).input_ids)
        return max(0, len(self._tokens({"prompt": word, "completion": word})[0]) - 2 * alone)

    def encode(self, items: Sequence[Item]) -> Batch:
        """Return input_ids, labels (-100 where not learned) and attention_mask (n, T), padded on the right."""
        with self.profiler.timed("encode", len(items)):
            rows = [self._tokens(item) for item in items]
        width = max(len(ids) for ids, _ in rows)
        pad = (
            self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.tokenizer.eos_token_id or 0
        )
        return {
            "input_ids": torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in rows]),
            "labels": torch.tensor([labels + [IGNORED] * (width - len(ids)) for ids, labels in rows]),
            "attention_mask": torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in rows]),
        }

    def loss(self, batch: Batch, draw: Draw) -> Tensor:
        """Return the mean cross-entropy over the learned tokens of every sample, (N,)."""
        ids, labels, mask = (batch[name].to(self.device) for name in ("input_ids", "labels", "attention_mask"))
        width = int(mask.sum(1).max())  # padding that nobody in this batch needs
        ids, labels, mask = ids[:, :width], labels[:, :width], mask[:, :width]
        logits = self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        targets = labels[:, 1:]
        losses = torch.nn.functional.cross_entropy(
            logits[:, :-1].float().transpose(1, 2), targets, ignore_index=IGNORED, reduction="none"
        )
        learned = targets != IGNORED
        return losses.sum(1) / learned.sum(1).clamp_min(1)

    def random_draw(self, examples: int, generator: torch.Generator) -> Draw:
        """Return nothing: a causal LM's loss has no randomness."""
        return Draw()

    def fixed_draws(self, count: int, examples: int, seed: int) -> list[Draw]:
        """Return one empty draw: more would repeat the same numbers."""
        return [Draw()]

    def sample(self, prompts: Sequence[str], *, seed: int, max_new_tokens: int = 48) -> list[str]:
        """Return the most likely completion of every prompt (greedy, so the seed changes nothing)."""
        return self.answer([{"prompt": prompt} for prompt in prompts], max_new_tokens=max_new_tokens)

    def answer(
        self, asked: Sequence[Item], *, max_new_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[str]:
        """Return an answer to each item, which holds a prompt, or messages without the last.

        The most likely one at temperature 0 (greedy); above it tokens are drawn, the same ones for the same seed. An
        item is asked as `encode` reads it for training, but that a question which is too long for that loses its
        beginning only where it is longer than ASKED_TOKENS too.
        """
        answers: list[str] = []
        devices = [self.device] if self.device.type == "cuda" else []
        with self.profiler.timed("sample", len(asked)), torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            for start in range(0, len(asked), ANSWERED_AT_ONCE):
                texts = [self._question(item) for item in asked[start : start + ANSWERED_AT_ONCE]]
                answers += self._complete(texts, max_new_tokens, max(ASKED_TOKENS, self.max_tokens), temperature)
        return answers

    def reply(self, chats: Sequence[Sequence[Item]], *, max_new_tokens: int) -> list[str]:
        """Return the most likely answer (greedy) to each list of messages, computed side by side."""
        return self._complete([self._chat(list(messages), answer=True) for messages in chats], max_new_tokens)

    def _question(self, item: Item) -> str:
        if item.get("messages") is not None:
            return self._chat(list(item["messages"]), answer=True)
        if self.tokenizer.chat_template is None:
            return str(item["prompt"])
        return self._chat([{"role": "user", "content": item["prompt"]}], answer=True)

    @torch.no_grad()
    def _complete(
        self, texts: Sequence[str], max_new_tokens: int, most: int = 1 << 20, temperature: float = 0.0
    ) -> list[str]:
        """Complete texts, of which the last `most` tokens are looked at, and no more than the model has places for."""
        end = self.tokenizer.eos_token_id or 0
        places = getattr(self.model.config, "max_position_embeddings", 1 << 20)
        max_new_tokens = min(max_new_tokens, max(1, places // 2))  # a model of few places ends with an error there
        room = min(most, max(1, places - max_new_tokens))
        asked = [self.tokenizer(text, add_special_tokens=False).input_ids[-room:] for text in texts]
        width = max(map(len, asked))
        ids = torch.tensor([[end] * (width - len(row)) + row for row in asked], device=self.device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in asked], device=self.device)
        drawing = {"do_sample": True, "temperature": temperature, "top_p": MOST_LIKELY_SHARE, "top_k": 0}
        answers = self.model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=max_new_tokens,
            pad_token_id=end,
            remove_invalid_values=True,  # a kept step that ran away is heard as noise, and ends no job
            **PLAIN,
            **(drawing if temperature > 0 else {"do_sample": False}),
        )
        said = self.tokenizer.batch_decode(answers[:, width:], skip_special_tokens=True)
        return [str(text).strip() for text in said]

    def _tokens(self, item: Item) -> tuple[list[int], list[int]]:
        """Token ids and labels; a question too long for its answer to fit loses its beginning, not the answer."""
        parts = [
            (self.tokenizer(text, add_special_tokens=False).input_ids, learned) for text, learned in self._parts(item)
        ]
        if item.get("text") is not None and self.tokenizer.eos_token_id is not None:
            parts.append(([self.tokenizer.eos_token_id], True))
        ids = [token for tokens, _ in parts for token in tokens]
        labels = [token if learned else IGNORED for tokens, learned in parts for token in tokens]
        asked = next((place for place, label in enumerate(labels) if label != IGNORED), 0)
        start = max(0, min(asked - 1, len(ids) - self.max_tokens)) if asked >= self.max_tokens // 2 else 0
        return ids[start : start + self.max_tokens], labels[start : start + self.max_tokens]

    @property
    def most_tokens(self) -> int:
        """How many tokens of an item are looked at."""
        return self.max_tokens

    def tokens(self, item: Item) -> int:
        """Count the tokens of an item before it is cut."""
        return sum(len(self.tokenizer(text, add_special_tokens=False).input_ids) for text, _ in self._parts(item))

    def _parts(self, item: Item) -> list[tuple[str, bool]]:
        """Cut an item into texts and whether they are learned: answers are, questions and roles are not."""
        if item.get("text") is not None:
            return [(str(item["text"]), True)]
        messages = item.get("messages")
        if messages is None and self.tokenizer.chat_template is None:
            end = self.tokenizer.eos_token or ""
            return [(str(item["prompt"]), False), (str(item["completion"]) + end, True)]
        if messages is None:
            messages = [
                {"role": "user", "content": item["prompt"]},
                {"role": "assistant", "content": item["completion"]},
            ]
        return self._turns(list(messages))

    def _turns(self, messages: list[Item]) -> list[tuple[str, bool]]:
        parts, done = [], ""
        for place, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before = self._chat(messages[:place], answer=True)
            after = self._chat(messages[: place + 1], answer=False)
            parts += [(before[len(done) :], False), (after[len(before) :], message.get("weight", 1) != 0)]
            done = after
        return parts

    def _chat(self, messages: list[Item], *, answer: bool) -> str:
        if self.tokenizer.chat_template is None:
            return "".join(f"{message['role']}: {message['content']}\n" for message in messages) + (
                "assistant: " if answer else ""
            )
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=answer))
