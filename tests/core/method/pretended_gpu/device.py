"""A device that does not exist, to see without a GPU which calls a GPU would refuse and where the host waits for it.

A `Pretend` tensor computes on the CPU and says that it lies on the device "gpu" (PyTorch's place for private backends).
An operation whose operands lie on different devices raises, as CUDA's would; and what makes the host wait for CUDA is
counted with the line of ours that asked for it. Torch >= 2.10. A process that has registered the device keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils import _pytree
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from tests.core.method.pretended_gpu.counting import COUNT

NAME = "gpu"
aten = torch.ops.aten
_setup_privateuseone_for_python_backend(NAME)
DEVICE = torch.device(NAME, 0)

# what may have operands on both sides
MOVES = {aten._to_copy.default, aten.copy_.default, aten._local_scalar_dense.default}
INDEXED = {
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._unsafe_index.Tensor,
    aten._index_put_impl_.default,
    aten._unsafe_index_put.default,
}
# what CUDA answers only after the host has waited, since the size or the number has to be known
WAITING = {
    aten._local_scalar_dense.default: "item",
    aten.nonzero.default: "nonzero",
    aten.masked_select.default: "nonzero",
    aten.equal.default: "item",
    aten.unique_consecutive.default: "nonzero",
    aten._unique2.default: "nonzero",
    aten._linalg_check_errors.default: "item",
    aten.is_nonzero.default: "item",
    aten.repeat_interleave.Tensor: "nonzero",
    aten.bincount.default: "nonzero",
}
# what takes a number on the CPU beside tensors on the device, without being pointwise
LENIENT = {
    "aten::fill_",
    "aten::fill",
    "aten::lift_fresh",
    "aten::where",
    "aten::masked_fill_",
    "aten::masked_fill",
    "aten::_foreach_add_",
    "aten::_foreach_mul_",
    "aten::_foreach_div_",
    "aten::index_fill_",
}


class MixedDevices(RuntimeError):
    """Operands on different devices."""


class Pretend(torch.Tensor):
    """A CPU tensor that says it lies on the pretended device."""

    inner: Tensor
    __slots__ = ("inner",)

    @staticmethod
    def __new__(cls, inner: Tensor) -> Pretend:
        return torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device=DEVICE,
            requires_grad=False,
        )

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner

    __torch_function__ = torch._C._disabled_torch_function_impl

    def tolist(self) -> Any:
        COUNT.moved(self, into=False)
        return self.inner.tolist()

    def numpy(self, *args: object, **kwargs: object) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")

    def __repr__(self) -> str:
        return f"Pretend({self.inner!r})"

    @classmethod
    def __torch_dispatch__(
        cls, func: OpOverload, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _dispatch(func, args, kwargs or {})


def _dispatch(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Compute on the CPU what the operands hold, after the checks that CUDA would make."""
    if func not in MOVES:
        _check(func, args, kwargs)
    if func is aten._fused_sdp_choice.default:
        return 0  # the plain kernel; which one CUDA takes does not matter here
    to_cpu = kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cpu"
    _note(func, args, kwargs, to_cpu)
    plain, more = _pytree.tree_map_only(Pretend, lambda part: part.inner, (args, kwargs))
    if "device" in more:
        more["device"] = None if more["device"] is None else torch.device("cpu")
    out = func(*plain, **more)
    if to_cpu:
        return out.clone() if func is aten._to_copy.default and out is plain[0] else out
    return return_and_correct_aliasing(func, args, kwargs, _pytree.tree_map_only(Tensor, Pretend, out))


def _note(func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any], to_cpu: bool) -> None:
    """Count the operation, and what it makes the host wait for."""
    if func is aten.copy_.default and isinstance(args[0], Pretend) != isinstance(args[1], Pretend):
        _moved(args[1], args[0], non_blocking=bool(args[2:] and args[2]) or bool(kwargs.get("non_blocking")))
    if func is aten._to_copy.default and to_cpu and isinstance(args[0], Pretend):
        COUNT.moved(args[0], into=False, waits=not kwargs.get("non_blocking"))  # then into memory that is pinned
    if func in WAITING:
        COUNT.waited(WAITING[func])
    if func in INDEXED:
        for index in (index for index in args[1] if isinstance(index, Tensor)):
            if index.dtype == torch.bool:  # a mask is turned into positions first
                COUNT.waited("nonzero")
            elif not isinstance(index, Pretend):
                COUNT.waited("to device")  # CUDA copies a CPU index over
    COUNT.launch(func._schema.name)


def _moved(source: Tensor, target: Tensor, *, non_blocking: bool) -> None:
    """Count a copy. CUDA does not wait for one from pinned memory that goes as it is; what pins is tested apart."""
    into = isinstance(target, Pretend)
    as_it_is = source.is_contiguous() and source.dtype == target.dtype
    COUNT.moved(source, into=into, waits=not (into and non_blocking and as_it_is))


def _check(func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Raise MixedDevices where CUDA would refuse the operands."""
    if func in INDEXED:
        _check_index(func, args)
        return
    tensors = [part for part in _pytree.tree_leaves((args, kwargs)) if isinstance(part, Tensor)]
    ours = [tuple(part.shape) for part in tensors if isinstance(part, Pretend)]
    others = [part for part in tensors if not isinstance(part, Pretend)]
    large = [tuple(part.shape) for part in others if part.dim()]
    if ours and large:
        raise MixedDevices(f"{func}: found two devices, {NAME}:0 {ours} and cpu {large}")
    if ours and others and torch.Tag.pointwise not in func.tags and func._schema.name not in LENIENT:
        raise MixedDevices(
            f"{func}: a number on the CPU beside tensors on {NAME}:0, which only pointwise operations take"
        )


def _check_index(func: OpOverload, args: tuple[Any, ...]) -> None:
    target, indices = args[0], args[1]
    if not isinstance(target, Pretend) and any(isinstance(index, Pretend) for index in indices):
        raise MixedDevices(f"{func}: indices should be either on cpu or on the device of the indexed tensor (cpu)")
    values = args[2] if len(args) > 2 and isinstance(args[2], Tensor) else None
    if values is not None and values.dim() and isinstance(values, Pretend) != isinstance(target, Pretend):
        raise MixedDevices(f"{func}: values on another device than what they are put into")


def _empty(
    size: list[int],
    dtype: torch.dtype | None = None,
    layout: object = None,
    device: object = None,
    pin_memory: object = None,
    memory_format: torch.memory_format | None = None,
) -> Tensor:
    form = memory_format or torch.contiguous_format
    return Pretend(torch.empty([int(side) for side in size], dtype=dtype, memory_format=form))


def _empty_strided(size: list[int], stride: list[int], dtype: torch.dtype | None = None, **_: object) -> Tensor:
    return Pretend(torch.empty_strided([int(side) for side in size], [int(step) for step in stride], dtype=dtype))


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    """What `tensor[[0, 1]]` calls, below all that could be caught above: a list becomes a tensor on the device."""
    _moved(source, target, non_blocking=non_blocking)
    inner = target.inner if isinstance(target, Pretend) else target
    inner.copy_(source.inner if isinstance(source, Pretend) else source)
    return target


def _zero_tensor(size: list[int], dtype: torch.dtype | None = None, **_: object) -> Tensor:
    """The zero that forward mode begins with; CUDA has one that takes no memory."""
    return Pretend(torch.zeros([int(side) for side in size], dtype=dtype))


_library = torch.library.Library("aten", "IMPL")
_library.impl("empty.memory_format", _empty, "PrivateUse1")
_library.impl("empty_strided", _empty_strided, "PrivateUse1")
_library.impl("_copy_from", _copy_from, "PrivateUse1")
_library.impl("_efficientzerotensor", _zero_tensor, "PrivateUse1")
