"""A causal language model backbone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from core.errors import JobFailure
from core.method.backbones.backbone import IGNORED, Batch, Draw, Item
from core.method.backbones.counting import counted
from core.method.backbones.precision import float_type, prepare_network
from core.method.backbones.profiler import Profiler
from core.method.backbones.texts import cutting
from core.method.backbones.texts.cutting import Cut
from core.method.backbones.texts.loading import on_device, read_model, stops_of, text_config, without_other_parts
from core.method.backbones.texts.masks import padded_on_the_right
from core.method.backbones.texts.rendering import Rendering
from core.method.backbones.texts.template import Refused
from core.method.lora.model import LoraModel
from core.method.memory.memory import Memory, weights_of
from core.method.transfers import to_device
from core.parameters.memory import Precision

ANSWERED_AT_ONCE = 8
# A model's folder may ask for other ways to draw; steps, and runs before and after training, are compared without them.
PLAIN = {"num_beams": 1, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "typical_p": 1.0, "min_p": 0.0}
ENCODED = ("input_ids", "labels", "attention_mask")
MOST_LIKELY_SHARE = 0.9  # of the probability, from which a token is drawn where answers are drawn (top-p)
ASKED_TOKENS = 1024  # of a new question; a whole document in each would take minutes on a CPU, at every kept step


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
        self.rendering = Rendering(tokenizer, stops_of(model))
        self.lora = LoraModel(model, target_modules)
        self.max_tokens = min(max_tokens, self.places)
        self.memory = Memory(self.device, weights_of(model))

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        max_tokens: int,
        target_modules: Sequence[str],
        device: str = "cpu",
        profiler: Profiler | None = None,
        precision: Precision | None = None,
        checkpointing: bool = False,
    ) -> LanguageBackbone:
        """Load a transformers-format folder, offline, from safetensors only; without `precision` as float_type says."""
        dtype = float_type(precision, device)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = read_model(folder, dtype)
        with without_other_parts(model):
            prepare_network(model, precision, checkpointing=checkpointing, device=device)
        model = on_device(model, device)
        return cls(model, tokenizer, max_tokens=max_tokens, target_modules=target_modules, profiler=profiler)

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.model.get_input_embeddings().weight.device

    @property
    def places(self) -> int:
        """How many tokens the model has places for."""
        return int(getattr(text_config(self.model), "max_position_embeddings", None) or 1 << 20)

    @property
    def chat_tokens(self) -> int:
        """How many tokens the chat template adds to a question and its answer."""
        word = "a"
        alone = len(self.rendering.ids(word))
        return max(0, self.tokens({"prompt": word, "completion": word}) - 2 * alone)

    @property
    def _padding(self) -> int:
        """A token for places that are never looked at."""
        known = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, *self.rendering.stops, 0)
        return next(token for token in known if token is not None)

    def encode(self, items: Sequence[Item]) -> Batch:
        """Return input_ids, labels (-100 where not learned) and attention_mask (n, T), padded on the right.

        Raises JobFailure that names the first text of which nothing can be learned, and says why.
        """
        with self.profiler.timed("encode", len(items)):
            rows = [cut.kept for cut in self.cuts(items)]
        width, pad = max(map(len, rows)), self._padding
        return {
            "input_ids": torch.tensor([row.ids + [pad] * (width - len(row)) for row in rows]),
            "labels": torch.tensor([row.labels + [IGNORED] * (width - len(row)) for row in rows]),
            "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows]),
        }

    def loss(self, batch: Batch, draw: Draw) -> Tensor:
        """Return the mean cross-entropy over the learned tokens of every sample, (N,).

        What protects counts as the batch says (`counted`).
        """
        ids, labels, mask = self._trimmed(batch)
        logits = self._logits(ids, mask)
        targets = labels[:, 1:]
        losses = torch.nn.functional.cross_entropy(
            logits[:, :-1].float().transpose(1, 2), targets, ignore_index=IGNORED, reduction="none"
        )
        learned = targets != IGNORED
        losses = losses.sum(1) / learned.sum(1).clamp_min(1)
        return counted(losses, batch, lambda rows: self._from_frozen(logits, batch, rows))

    def distance(self, batch: Batch, draw: Draw) -> Tensor:
        """Return KL(frozen || adapted) in nats, a mean over the learned tokens of every sample, (N,)."""
        ids, _, mask = self._trimmed(batch)
        logits = self._logits(ids, mask)
        return self._from_frozen(logits, batch, torch.arange(len(logits)))

    def _trimmed(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return tokens, labels and mask where they compute, without padding that nobody in this batch needs."""
        width = int(batch["attention_mask"].sum(1).max())  # where the batch is, so that no device is waited for
        shown = torch.stack([batch[name][:, :width] for name in ENCODED])
        ids, labels, mask = to_device(shown, self.device).unbind()
        return ids, labels, mask

    def _logits(self, ids: Tensor, mask: Tensor) -> Tensor:
        with padded_on_the_right():
            logits: Tensor = self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        return logits

    def _from_frozen(self, logits: Tensor, batch: Batch, rows: Tensor) -> Tensor:
        """Return the divergence of the samples `rows` from the model without an adapter, at their learned tokens."""
        # Runs side by side are given the same texts, and to the frozen model they are one; found on the CPU, no device
        # is waited for.
        asked = torch.stack([batch[name].cpu()[rows] for name in ENCODED], dim=1)
        texts, same = asked.unique(dim=0, return_inverse=True)
        ids, _, mask = self._trimmed(dict(zip(ENCODED, texts.unbind(1), strict=True)))
        with torch.no_grad(), self.lora.use(None):
            frozen = self._logits(ids, mask)
        # the tokens that are learned, by their number among `rows`: only of these are whole distributions compared
        sample, place = (asked[:, 1, 1:] != IGNORED).nonzero(as_tuple=True)
        places = torch.stack([rows[sample], same[sample], sample, place])
        run, text, sample, place = to_device(places, self.device).unbind()
        now = logits[run, place].float().log_softmax(-1)
        then = frozen[text, place].float().log_softmax(-1)
        far = torch.nn.functional.kl_div(now, then, log_target=True, reduction="none").sum(-1)
        total = far.new_zeros(len(rows)).index_add(0, sample, far)
        return total / total.new_zeros(len(rows)).index_add(0, sample, torch.ones_like(far)).clamp_min(1)

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
        item that also holds the `completion` which is learned for it is asked exactly as `encode` reads it; another one
        is cut in the same way, but only to ASKED_TOKENS where those are more.
        """
        devices = [self.device] if self.device.type == "cuda" else []
        max_new_tokens = self._room_to_answer(max_new_tokens)
        with self.profiler.timed("sample", len(asked)), torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            rows = [self._asked(item, max_new_tokens) for item in asked]

            def complete(some: Tensor) -> list[str]:
                return self._complete([rows[place] for place in some], max_new_tokens, temperature)

            found = self.memory.each("sample", torch.arange(len(rows)).split(ANSWERED_AT_ONCE), complete)
            return [answer for _, said in found for answer in said]

    def reply(self, chats: Sequence[Sequence[Item]], *, max_new_tokens: int) -> list[str]:
        """Return the most likely answer (greedy) to each list of messages, computed side by side.

        What the model has no places for beside an answer is cut as `encode` cuts it.
        """
        max_new_tokens = self._room_to_answer(max_new_tokens)
        room = max(1, self.places - max_new_tokens)
        rows = [cutting.asked(self.rendering, {"messages": chat}, room).kept.ids for chat in chats]
        return self._complete(rows, max_new_tokens)

    def _room_to_answer(self, asked: int) -> int:
        """Return how many tokens an answer may have: a model of few places ends with an error beyond them."""
        return min(asked, max(1, self.places // 2))

    def _asked(self, item: Item, max_new_tokens: int) -> list[int]:
        room = max(1, self.places - max_new_tokens)
        if item.get("completion") is not None:
            learned = self.cut(item).kept
            if learned.asked <= room:
                return learned.first(learned.asked).ids
            item = {name: value for name, value in item.items() if name != "completion"}
        return cutting.asked(self.rendering, item, min(max(ASKED_TOKENS, self.max_tokens), room)).kept.ids

    def _complete(self, asked: Sequence[list[int]], max_new_tokens: int, temperature: float = 0.0) -> list[str]:
        answers = self.continued(asked, max_new_tokens=max_new_tokens, temperature=temperature)
        said = self.tokenizer.batch_decode(answers, skip_special_tokens=True)
        return [str(text).strip() for text in said]

    @torch.no_grad()
    def continued(
        self,
        rows: Sequence[list[int]],
        *,
        max_new_tokens: int,
        temperature: float = 0.0,
        share: float = MOST_LIKELY_SHARE,
        most: int = 0,
    ) -> Tensor:
        """Return the tokens that follow each row, up to one at which the model stops: the most likely, or drawn.

        Drawn from the most likely tokens only, as many as have `share` of the probability, or at most `most` (0: any).
        """
        pad, width = self._padding, max(map(len, rows))
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows], device=self.device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=self.device)
        drawing = {"do_sample": True, "temperature": temperature, "top_p": share, "top_k": most}
        found = self.model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=max_new_tokens,
            pad_token_id=pad,
            eos_token_id=list(self.rendering.stops) or None,
            remove_invalid_values=True,  # a kept step that ran away is heard as noise, and ends no job
            **PLAIN,
            **(drawing if temperature > 0 else {"do_sample": False}),
        )
        assert isinstance(found, Tensor)
        return found[:, width:]

    @property
    def most_tokens(self) -> int:
        """How many tokens of an item are looked at."""
        return self.max_tokens

    def cut(self, item: Item) -> Cut:
        """Return an item as it is learned, and what it loses where it is longer than that.

        Raises Refused, which says why in a sentence, where nothing of it can be learned.
        """
        found = cutting.cut(self.rendering, item, self.max_tokens)
        if all(label == IGNORED for label in found.kept.labels):
            raise Refused(NOTHING)
        return found

    def cuts(self, items: Sequence[Item]) -> list[Cut]:
        """Return all items as they are learned; raises JobFailure that names the first of which nothing can be."""
        found = []
        for number, item in enumerate(items, 1):
            try:
                found.append(self.cut(item))
            except Refused as error:
                raise JobFailure(f"Text {number}: {error.message}", code=error.code, param=error.param) from error
        return found

    def tokens(self, item: Item) -> int:
        """Count the tokens of an item before it is cut."""
        return self.cut(item).whole

    def refuses(self, item: Item) -> str | None:
        """Say in a sentence why nothing can be learned of an item, by the words of the chat template; None: it can."""
        try:
            self.cut(item)
        except Refused as error:
            return error.message
        return None


NOTHING = (
    "Nothing of it can be learned: the chat template of this backbone writes none of its answers as they are given. It "
    "may leave out what stands between <think> and </think>, or join an answer with one that is not learned."
)
