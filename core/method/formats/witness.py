"""Outputs of the trained adapter on a few examples, with which every written file, loaded back, is compared."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from core.errors import JobFailure
from core.method.backbones.backbone import Batch, Draw, count, take
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.texts.language import LanguageBackbone
from core.method.lora.adapter import Adapter
from core.method.lora.layer import LoraLayer
from core.method.lora.model import LoraModel

TOLERANCE = 1e-3  # relative to the effect of the adapter
ROUNDING = 1e-5  # relative to the outputs: where an adapter is nearly zero, float32 itself is the limit
EXAMPLES = 2
COPY_ROOM = 1.5  # room that a float32 copy of a network needs, in its own size
AnyBackbone = DiffusionBackbone | LanguageBackbone


class Witness:
    """Remembers the outputs of a backbone with one adapter, and compares those of a loaded file with them.

    Everything is in float32 on every device: the rounding of bf16 weights alone is larger than what is looked for.
    `device` is where all of it is computed: the backbone's, or the CPU where a GPU has no room for a float32 copy.
    Raises JobFailure "export_verification_failed" where the adapter is not finite, not uniform, or does nothing.
    """

    def __init__(self, backbone: AnyBackbone, adapter: Adapter, batch: Batch, draw: Draw) -> None:
        self.backbone, self.adapter = backbone, adapter
        self.device = device_with_room(self._network, backbone.device)
        _check(adapter)
        few = torch.arange(min(EXAMPLES, count(batch)))
        self._batch = take(batch, few)
        self._draw = Draw(**{name: None if part is None else part[few] for name, part in vars(draw).items()})
        ours = LoraModel(self.fresh(), backbone.lora.target_modules)
        with ours.use(None):
            bare = self._outputs(ours.model)
        with ours.use(adapter.to(self.device)):
            self._wanted = self._outputs(ours.model)
        self.effect = (self._wanted - bare).norm().item()
        if not self.effect > ROUNDING * self._wanted.norm().item():  # a file that changes nothing would pass the check
            raise failure("any", "the adapter changes nothing that float32 can tell from its own rounding")

    @property
    def modules(self) -> int:
        """How many modules the adapter changes."""
        return len(self.backbone.lora.layers)

    @property
    def _network(self) -> nn.Module:
        return self.backbone.network if isinstance(self.backbone, DiffusionBackbone) else self.backbone.model

    def fresh(self) -> nn.Module:
        """A copy of the frozen network with plain layers in float32, as a stranger's process would load it."""
        network = in_float32(self._network, self.device)
        for path in self.backbone.lora.layers:
            parent, _, name = path.rpartition(".")
            layer = network.get_submodule(path)
            assert isinstance(layer, LoraLayer)
            setattr(network.get_submodule(parent), name, layer.base)
        return network.eval()

    def compare(self, network: nn.Module, form: str) -> float:
        """Return the error of a network's outputs relative to the adapter's effect.

        Raises JobFailure beyond 1e-3, or beyond 1e-5 of the outputs where the adapter does so little that this is more.
        """
        error = (self._outputs(network) - self._wanted).norm().item()
        if not error <= max(TOLERANCE * self.effect, ROUNDING * self._wanted.norm().item()):
            raise failure(form, f"its outputs differ by {error / self.effect:.1%} of the adapter's effect")
        return error / self.effect

    @torch.no_grad()
    def _outputs(self, network: nn.Module) -> Tensor:
        """The network's raw outputs in float32: predicted noise, or logits."""
        backbone, batch, draw = self.backbone, self._batch, self._draw
        if isinstance(backbone, LanguageBackbone):
            ids, mask = batch["input_ids"].to(self.device), batch["attention_mask"].to(self.device)
            with whole_float32():
                return network(input_ids=ids, attention_mask=mask, use_cache=False).logits[mask.bool()].float()
        with whole_float32():
            return backbone.prediction(network, batch, draw, self.device)


@contextmanager
def whole_float32() -> Iterator[None]:
    """Keep GPUs from rounding float32 to TF32, as convolutions do by default: as coarse as what is looked for."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


def device_with_room(network: nn.Module, device: torch.device) -> torch.device:
    """Return where a float32 copy of a network fits: the device, or the CPU, whose memory is larger."""
    if device.type != "cuda":
        return device
    free, _ = torch.cuda.mem_get_info(device)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    needed = 4 * COPY_ROOM * sum(tensor.numel() for tensor in network.parameters())
    return device if free + unused > needed else torch.device("cpu")


def in_float32(network: nn.Module, device: torch.device) -> nn.Module:
    """Return a copy of a network on a device, each tensor straight there and in float32, nothing ever twice."""
    copies: dict[int, object] = {}
    for tensor in itertools.chain(network.parameters(), network.buffers()):
        kind = torch.float32 if tensor.is_floating_point() else tensor.dtype
        moved = tensor.detach().to(device, kind, copy=True)
        copies[id(tensor)] = nn.Parameter(moved, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else moved
    return copy.deepcopy(network, copies)


def folded(adapter: Adapter) -> Adapter:
    """Return the same branch with scale 1: B' = s B and alpha = r."""
    up = {path: matrix.detach() * adapter.scale for path, matrix in adapter.up.items()}
    return replace(adapter, alpha=float(adapter.rank), up=up)


def merge(network: nn.Module, changes: Iterable[tuple[str, Tensor]]) -> None:
    """Add each change (out, in) to the weight of its module, in place; made one by one, they take no more memory."""
    with torch.no_grad():
        for path, change in changes:
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
