"""How much memory SmolLM2-135M takes in each precision, and how far its predictions and gradients are then off."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.claims.kept import kept_bytes
from benchmarks.records import Record
from benchmarks.texts.family import loaded
from benchmarks.texts.sets import text_sets
from core.backbones.record import BackboneRecord
from core.method.backbones.backbone import Draw
from core.method.backbones.texts.language import LanguageBackbone
from core.parameters.memory import Precision
from worker.commands import smollm2

TOKENS, CHATS, RANK = 128, 2, 16
HELD: tuple[tuple[Precision, bool], ...] = (
    ("float32", False),
    ("float32", True),
    ("bfloat16", False),
    ("int8", False),
    ("nf4", False),
)


class Pass:
    """One pass forwards and backwards over two chats: what it takes and what it comes to."""

    def __init__(self, record: BackboneRecord, precision: Precision, checkpointing: bool) -> None:
        backbone = LanguageBackbone.load(
            record.path,
            max_tokens=TOKENS,
            target_modules=record.target_modules,
            precision=precision,
            checkpointing=checkpointing,
        )
        network, batch = backbone.model, backbone.encode(text_sets()["pirate"].chats()[:CHATS])
        held = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}.values()
        self.weights = sum(tensor.numel() * tensor.element_size() for tensor in held)
        adapter = backbone.lora.new(RANK, RANK, seed=0)
        generator = torch.Generator().manual_seed(1)
        for up in adapter.up.values():
            up.data.normal_(std=0.02, generator=generator)
        with backbone.lora.use(adapter):
            self.kept = kept_bytes(network, lambda: backbone.loss(batch, Draw()))
            loss = backbone.loss(batch, Draw()).mean()
            found = torch.autograd.grad(loss, adapter.parameters())
        self.gradient, self.loss = torch.cat([part.flatten() for part in found]).double(), float(loss.detach())
        ids, mask = batch["input_ids"], batch["attention_mask"]
        with torch.no_grad():
            self.logits = network(input_ids=ids, attention_mask=mask).logits.float()[mask.bool()]


def precisions(folder: Path) -> list[Record]:
    """Return a row for each way to hold the model, each beside float32."""
    record, _ = loaded(smollm2.ID, TOKENS, folder)
    exact = Pass(record, "float32", False)
    return [_row(precision, again, Pass(record, precision, again), exact) for precision, again in HELD]


def _row(precision: Precision, checkpointing: bool, found: Pass, exact: Pass) -> Record:
    off = float((found.logits - exact.logits).norm() / exact.logits.norm())
    cosine = float(torch.nn.functional.cosine_similarity(found.gradient, exact.gradient, dim=0))
    return {
        "precision": precision,
        "checkpointing": checkpointing,
        "weights": found.weights,
        "kept": found.kept,
        "off": round(off, 5),
        "loss": round(found.loss, 4),
        "cosine": round(cosine, 4),
    }
