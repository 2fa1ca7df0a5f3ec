"""Copies to a GPU come from pinned memory; on any machine they are what was copied."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from core.disk import ROOT
from core.method.transfers import _within, to_device, to_host


class Calls(TorchFunctionMode):
    """The names of what is called."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.names.append(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("device", "pins"), [("cuda", True), ("cpu", False), ("meta", False)])
def test_only_what_goes_to_cuda_is_pinned(device: str, pins: bool) -> None:
    with Calls() as calls, contextlib.suppress(RuntimeError, AssertionError):  # there may be no CUDA to go to
        to_device(torch.ones(2), device)
    assert ("pin_memory" in calls.names) is pins


def test_what_is_on_the_cpu_already_is_copied_only_when_asked() -> None:
    first: Tensor = torch.ones(2, requires_grad=True)
    (same,), (copied,) = to_host([first]), to_host([first], copy=True)
    assert same.data_ptr() == first.data_ptr()
    assert copied.data_ptr() != first.data_ptr()
    assert torch.equal(copied, first)
    assert not copied.requires_grad


def test_no_more_is_pinned_at_once_than_there_may_be() -> None:
    tensors = [torch.ones(amount) for amount in (1, 2, 1, 0, 9, 1)]
    assert list(_within(16, tensors, [0, 1, 2, 4, 5])) == [[0, 1, 2], [4], [5]]
    assert list(_within(16, tensors, [])) == []


def test_nobody_else_copies_without_waiting() -> None:
    found = [file for file in (ROOT / "core/method").rglob("*.py") if "non_blocking" in file.read_text("utf-8")]
    assert [file.name for file in found] == ["transfers.py"]
