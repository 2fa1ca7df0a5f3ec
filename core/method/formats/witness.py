"""What the trained adapter does on a few examples: what each written file has to do too."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from core.errors import JobFailure
from core.method.backbone import Batch, Draw, count, take
from core.method.diffusion import DiffusionBackbone
from core.method.language import LanguageBackbone
from core.method.lora import Adapter, LoraLayer, LoraModel

TOLERANCE = 1e-3  # relative to the effect of the adapter
ROUNDING = 1e-5  # relative to the outputs: where an adapter is nearly zero, float32 itself is the limit
EXAMPLES = 2
AnyBackbone = DiffusionBackbone | LanguageBackbone


class Witness:
    """Remembers the outputs of a backbone with one adapter, and compares those of a loaded file with them.

    Everything is in float32 on every device: the rounding of bf16 weights alone is larger than what is looked for.
    Raises JobFailure "export_verification_failed" where the adapter is not finite, not uniform, or does nothing.
    """

    def __init__(self, backbone: AnyBackbone, adapter: Adapter, batch: Batch, draw: Draw) -> None:
        self.backbone, self.adapter = backbone, adapter
        _check(adapter)
        few = torch.arange(min(EXAMPLES, count(batch)))
        self._batch = take(batch, few)
        self._draw = Draw(**{name: None if part is None else part[few] for name, part in vars(draw).items()})
        ours = LoraModel(self.fresh(), backbone.lora.target_modules)
        with ours.use(None):
            bare = self._outputs(ours.model)
        with ours.use(adapter.to(backbone.device)):
            self._wanted = self._outputs(ours.model)
        self.effect = (self._wanted - bare).norm().item()
        if not self.effect > 0:
            raise failure("any", "the adapter changes nothing")

    @property
    def modules(self) -> int:
        """How many modules the adapter changes."""
        return len(self.backbone.lora.layers)

    def fresh(self) -> nn.Module:
        """A copy of the frozen network with plain layers, as a stranger's process would load it."""
        backbone = self.backbone
        network = copy.deepcopy(backbone.unet if isinstance(backbone, DiffusionBackbone) else backbone.model)
        for path in backbone.lora.layers:
            parent, _, name = path.rpartition(".")
            layer = network.get_submodule(path)
            assert isinstance(layer, LoraLayer)
            setattr(network.get_submodule(parent), name, layer.base)
        return network.float().eval()

    def compare(self, network: nn.Module, form: str) -> float:
        """Return the error of a network's outputs relative to the adapter's effect; raises JobFailure beyond 1e-3."""
        error = (self._outputs(network) - self._wanted).norm().item()
        if not error <= max(TOLERANCE * self.effect, ROUNDING * self._wanted.norm().item()):
            raise failure(form, f"its outputs differ by {error / self.effect:.1%} of the adapter's effect")
        return error / self.effect

    @torch.no_grad()
    def _outputs(self, network: nn.Module) -> Tensor:
        """The network's raw outputs in float32: predicted noise, or logits."""
        backbone, batch, draw = self.backbone, self._batch, self._draw
        if isinstance(backbone, LanguageBackbone):
            ids, mask = batch["input_ids"].to(backbone.device), batch["attention_mask"].to(backbone.device)
            return network(input_ids=ids, attention_mask=mask, use_cache=False).logits[mask.bool()].float()
        assert draw.timestep is not None
        assert draw.noise is not None
        noisy = backbone.noising.add_noise(batch["mean"], draw.noise, draw.timestep).to(backbone.device)
        return network(noisy, draw.timestep.to(backbone.device), batch["text"].to(backbone.device)).sample.float()


def folded(adapter: Adapter) -> Adapter:
    """Return the same branch with scale 1: B' = s B and alpha = r."""
    up = {path: matrix.detach() * adapter.scale for path, matrix in adapter.up.items()}
    return replace(adapter, alpha=float(adapter.rank), up=up)


def merge(network: nn.Module, changes: dict[str, Tensor]) -> None:
    """Add each change (out, in) to the weight of its module, in place."""
    with torch.no_grad():
        for path, change in changes.items():
            weight = network.get_submodule(path).weight
            assert isinstance(weight, Tensor)
            weight += change.to(weight.device, weight.dtype).reshape(weight.shape)


@contextmanager
def loading(form: str, consumer: str) -> Iterator[None]:
    """Turn whatever a consumer raises about a file into that format's failure; want of memory or disk stays itself."""
    try:
        yield
    except (JobFailure, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if "can't allocate memory" in str(error) or (isinstance(error, OSError) and error.errno):
            raise
        raise failure(form, f"{consumer} does not load it ({type(error).__name__})") from error


def failure(form: str, why: str) -> JobFailure:
    """Make the failure of a format: which one, and why."""
    return JobFailure(
        f"The adapter in {form} format did not pass its check: {why}. Nothing was published; please report this job.",
        code="export_verification_failed",
    )


def _check(adapter: Adapter) -> None:
    if not adapter.finite():
        raise failure("any", "it holds numbers that are not finite")
    ranks = {matrix.shape[1] for matrix in adapter.down.values()} | {matrix.shape[2] for matrix in adapter.up.values()}
    if ranks != {adapter.rank}:
        raise failure("any", f"its modules have different ranks ({', '.join(map(str, sorted(ranks)))})")
