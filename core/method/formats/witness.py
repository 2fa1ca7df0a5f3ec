"""Outputs of the trained adapter on a few examples, with which every written file, loaded back, is compared."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import torch
from peft.tuners.lora import LoraLayer as PeftLayer
from torch import Tensor, nn

from core.errors import JobFailure
from core.method.backbones.backbone import Batch, Draw, count, take
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.texts.language import LanguageBackbone
from core.method.faults import device_fault, out_of_memory
from core.method.lora.adapter import PREFIX, Adapter
from core.method.lora.layer import LoraLayer
from core.method.lora.targets import set_module

TOLERANCE = 1e-3  # relative to the effect of the adapter
ROUNDING = 1e-5  # relative to the outputs: where an adapter is nearly zero, float32 itself is the limit
ROUNDED = 3.0  # times what a last digit changes, where floats have few: our choice
NOTHING_LEARNED = (
    "The step that is published changes nothing that can be told from rounding, so there is no adapter to hand out. "
    "Let the job learn faster or longer: a higher learning_rate, or more max_steps."
)
EXAMPLES = 2
COPY_ROOM = 1.5  # room that a network which was loaded to be checked needs, in its own size
AnyBackbone = DiffusionBackbone | LanguageBackbone


class Change(NamedTuple):
    """What a file adds to the weight of one module (out, in): `scaling` B A, both `rounded` to a type of floats."""

    path: str
    matrix: Tensor
    rounded: torch.dtype = torch.float32
    scaling: float = 1.0


class Witness:
    """Remembers what one adapter does to a backbone, and compares with it what loaded files do.

    Files are held against the adapter module by module: the change B'A' that the consumer makes of each against s B A,
    in float32. Then one pass through the network that the consumer has put the file into is held against ours, in the
    network's own type of floats: where that is float32, to a thousandth of the adapter's effect; else to what rounding
    the adapted modules' outputs would change. No weight of the network is ever copied.
    Raises JobFailure "export_verification_failed" where the adapter is not finite, not uniform, or does nothing.
    """

    def __init__(self, backbone: AnyBackbone, adapter: Adapter, batch: Batch, draw: Draw) -> None:
        self.backbone, self.adapter, self.device = backbone, adapter, backbone.device
        _check(adapter)
        few = torch.arange(min(EXAMPLES, count(batch)))
        self._batch = take(batch, few)
        self._draw = Draw(**{name: None if part is None else part[few] for name, part in vars(draw).items()})
        with backbone.lora.use(None):
            bare = self._outputs(self.network)
        with backbone.lora.use(adapter.to(self.device)):
            self._wanted = self._outputs(self.network)
        self.effect = (self._wanted - bare).norm().item()
        if not self.effect > ROUNDING * self._wanted.norm().item():  # a file that changes nothing would pass the check
            raise JobFailure(NOTHING_LEARNED, code="export_verification_failed")

    @property
    def modules(self) -> int:
        """How many modules the adapter changes."""
        return len(self.backbone.lora.layers)

    @property
    def network(self) -> nn.Module:
        """The frozen network with its places for adapters."""
        return self.backbone.lora.model

    def fresh(self) -> nn.Module:
        """The frozen network with plain layers, as a stranger's process would load it.

        Its modules are its own, so that a consumer may put others in their places; its tensors are ours.
        """
        network = with_same_tensors(self.network)
        for path in self.backbone.lora.layers:
            layer = network.get_submodule(path)
            assert isinstance(layer, LoraLayer)
            set_module(network, path, layer.base)
        return network.eval()

    def compare(self, network: nn.Module, form: str) -> float:
        """Hold a network into which a consumer has put a file against ours; return the error relative to the effect.

        Raises JobFailure where a module is missing or changed otherwise, or where the outputs differ.
        """
        error = self.compare_changes(consumers_changes(network), form)
        outputs = self.compare_outputs(network.eval(), form)
        return max(error, outputs) if dtype_of(network) == torch.float32 else error

    @torch.no_grad()
    def compare_changes(self, changes: Iterable[Change], form: str) -> float:
        """Hold each module's change, made one by one, against s B A; return the error relative to all of it.

        A change's matrix is overwritten. Raises JobFailure beyond 1e-3 of any module's change, and where modules are
        missing.
        """
        seen, differing, whole = set[str](), 0.0, 0.0
        for change in changes:
            path = change.path
            if path not in self.adapter.down:
                if not change.matrix.any():  # what names of kohya's join with a module that the adapter changes
                    continue
                raise failure(form, f"it changes {path}, which the adapter does not")
            error, size = self._error(change)
            if not error <= TOLERANCE * size:
                raise failure(form, f"what it changes of {path} differs by {error / size if size else error:.1%}")
            seen, differing, whole = seen | {path}, differing + error**2, whole + size**2
        if len(seen) != len(self.adapter.down):
            raise failure(form, f"only {len(seen)} of {len(self.adapter.down)} modules were loaded")
        return math.sqrt(differing / whole)

    def _error(self, change: Change) -> tuple[float, float]:
        """Return how far a change is from s B A, and how large that is; only the change itself is a whole matrix."""
        folding = self.adapter.scale / change.scaling
        halves = self.adapter.down[change.path][0], folding * self.adapter.up[change.path][0]
        down, up = (half.detach().to(change.matrix.device, change.rounded).float() for half in halves)
        products = (up.double().T @ up.double()) * (down.double() @ down.double().T)
        size = change.scaling * math.sqrt(max(0.0, products.sum().item()))
        error = change.matrix.float().flatten(1).addmm_(up, down, alpha=-change.scaling).norm().item()
        return error, size

    def compare_outputs(self, network: nn.Module, form: str) -> float:
        """Hold a network's outputs against ours; return the error relative to the effect.

        Raises JobFailure beyond 1e-3 of the adapter's effect, or beyond 1e-5 of the outputs where the adapter does so
        little that this is more; where either network has floats of fewer digits, beyond what their rounding changes.
        """
        error = (self._outputs(network) - self._wanted.to(device_of(network))).norm().item()
        allowed = max(TOLERANCE * self.effect, ROUNDING * self._wanted.norm().item())
        coarse = max(dtype_of(network), dtype_of(self.network), key=lambda one: torch.finfo(one).eps)
        if coarse != torch.float32:
            allowed = max(allowed, ROUNDED * self._rounding(coarse))
        if not error <= allowed:
            raise failure(form, f"its outputs differ by {error / self.effect:.1%} of the adapter's effect")
        return error / self.effect

    def check_finite(self, network: nn.Module, form: str) -> None:
        """Raise JobFailure where a network's outputs are not finite."""
        if not self._outputs(network).isfinite().all():
            raise failure(form, "its outputs are not finite")

    def _rounding(self, dtype: torch.dtype) -> float:
        """Return how far our outputs move where every module's last digit in `dtype` is another, by chance."""
        generator = torch.Generator().manual_seed(0)  # the same on every device
        scale = torch.finfo(dtype).eps

        def stir(_module: nn.Module, _inputs: object, output: object) -> object:
            if not isinstance(output, Tensor) or not output.is_floating_point():
                return output
            chance = torch.rand(output.shape, generator=generator).to(output.device)
            return (output.float() * (1 + scale * (2 * chance - 1))).to(output.dtype)

        leaves = [module for module in self.network.modules() if not next(module.children(), None)]
        handles = [module.register_forward_hook(stir) for module in leaves]
        try:
            with self.backbone.lora.use(self.adapter.to(self.device)):
                return (self._outputs(self.network) - self._wanted).norm().item()
        finally:
            for handle in handles:
                handle.remove()

    @torch.no_grad()
    def _outputs(self, network: nn.Module) -> Tensor:
        """The network's raw outputs in float32: predicted noise, or logits."""
        backbone, batch, device = self.backbone, self._batch, device_of(network)
        with whole_float32():
            if not isinstance(backbone, LanguageBackbone):
                return backbone.predicted_by(network, batch, self._draw, device, dtype_of(network))
            ids, mask = batch["input_ids"].to(device), batch["attention_mask"].to(device)
            return network(input_ids=ids, attention_mask=mask, use_cache=False).logits[mask.bool()].float()


def consumers_changes(network: nn.Module) -> Iterator[Change]:
    """Yield what peft, and diffusers with it, adds to the weight of each module that it has put an adapter on.

    diffusers rounds A and B to the network's type of floats; their product is made in float32 here.
    """
    for path, layer in network.named_modules():
        if isinstance(layer, PeftLayer):
            [name] = layer.active_adapters
            rounded = layer.lora_A[name].weight.dtype
            for half in (layer.lora_A[name], layer.lora_B[name]):
                half.weight = nn.Parameter(half.weight.detach().float(), requires_grad=False)
            yield Change(path.removeprefix(PREFIX), layer.get_delta_weight(name), rounded, layer.scaling[name])


def device_of(network: nn.Module) -> torch.device:
    """Return where a network is."""
    return next(network.parameters()).device


def dtype_of(network: nn.Module) -> torch.dtype:
    """Return the floats that a network computes in: those of its own parameters, of which an adapter's are none."""
    own = (part for name, part in network.named_parameters() if part.is_floating_point() and ".lora_" not in name)
    return next(own).dtype


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
    """Return where a network of a file fits beside ours: the device, or the CPU, whose memory is larger."""
    if device.type != "cuda":
        return device
    free, _ = torch.cuda.mem_get_info(device)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    needed = COPY_ROOM * sum(tensor.nbytes for tensor in network.parameters())
    return device if free + unused > needed else torch.device("cpu")


def with_same_tensors(network: nn.Module) -> nn.Module:
    """Return a copy of a network's modules around the very same tensors."""
    return copy.deepcopy(
        network, {id(tensor): tensor for tensor in itertools.chain(network.parameters(), network.buffers())}
    )


def folded(adapter: Adapter) -> Adapter:
    """Return the same branch with scale 1: B' = s B and alpha = r."""
    up = {path: matrix.detach() * adapter.scale for path, matrix in adapter.up.items()}
    return replace(adapter, alpha=float(adapter.rank), up=up)


@contextmanager
def loading(form: str, consumer: str) -> Iterator[None]:
    """Turn whatever a consumer raises about a file into that format's failure; what the machine lacks stays itself."""
    try:
        yield
    except JobFailure:
        raise
    except Exception as error:
        if out_of_memory(error) or device_fault(error) or (isinstance(error, OSError) and error.errno):
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
