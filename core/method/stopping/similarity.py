"""The cosine similarity between the adapter's branch and the layer it sits on (CS-Fluctuation paper, Eq. 2).

Shapes: R runs, r rank, m modules of one shape; W (out, in), A (`down`) (R, r, in), B (`up`) (R, out, r).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from core.method.lora.adapter import Adapter

CosineMode = Literal["vec", "row"]
FLOATS = 2**24  # of a weight that are copied to a wider type at once
NO_BRANCH = 1e-12  # a branch with a smaller norm is B = 0: 0/0, and counting it as 0 would fake a jump


class CosineSimilarity:
    """Measure CS, the mean over modules of cos(BA, W), without ever forming BA.

    <BA, W> = <B, W A'> and ||BA||^2 = sum((B'B) * (A A')); the scale alpha/r cancels. `vec` is the paper's cosine of
    the whole matrices; `row` averages row cosines, as the authors' released language-model code does.
    W is never stacked or kept, so a large backbone costs no extra memory; its norms are taken once.
    """

    def __init__(self, weights: Mapping[str, Tensor], mode: CosineMode = "vec") -> None:
        self.weights = weights
        self.row = mode == "row"
        self.norms: dict[str, Tensor] = {}
        self.shapes: dict[str, torch.Size] = {}
        for path, weight in weights.items():
            rows = _joined([part.double().square().sum(1) for part in _parts(weight)])
            self.norms[path], self.shapes[path] = (rows if self.row else rows.sum()).sqrt(), weight.shape

    def modules(self, adapter: Adapter) -> Tensor:
        """Return the cosine of every module, (R, modules) in float64, NaN where BA = 0."""
        groups: dict[torch.Size, list[str]] = {}
        for path in adapter.down:
            groups.setdefault(self.shapes[path], []).append(path)
        with torch.no_grad():
            return torch.cat([self._group(adapter, paths) for paths in groups.values()]).T

    def __call__(self, adapter: Adapter) -> Tensor:
        """Return CS of every run, (R,) in float64; NaN while all branches of a run are still zero."""
        return self.modules(adapter).nanmean(1).cpu()

    def _group(self, adapter: Adapter, paths: list[str]) -> Tensor:
        down = torch.stack([adapter.down[path].detach().float() for path in paths])  # (m, R, r, in)
        up = torch.stack([adapter.up[path].detach().float() for path in paths]).double()  # (m, R, out, r)
        projected = torch.stack([_project(self.weights[path], a) for path, a in zip(paths, down, strict=True)])
        inner = (up * projected.double()).sum(-1)  # (m, R, out): row inner products <(BA)_o, W_o>
        gram = (down @ down.transpose(-1, -2)).double()  # A A'
        square = ((up @ gram) * up).sum(-1).clamp_min(0)  # (m, R, out): row norms ||(BA)_o||^2
        layer = torch.stack([self.norms[path].to(inner.device) for path in paths]).unsqueeze(1)  # (m, 1) or (m, 1, out)
        if not self.row:
            inner, square = inner.sum(-1), square.sum(-1)
        branch = square.sqrt()
        cosine = torch.where(branch > NO_BRANCH, inner / (branch * layer), torch.nan)
        return cosine.nanmean(-1) if self.row else cosine


def _project(weight: Tensor, down: Tensor) -> Tensor:
    """Return W A' for every run, (R, out, r), in one matrix product."""
    runs, rank, width = down.shape
    parts = [weight] if weight.dtype == torch.float32 else _parts(weight)
    flat = _joined([part.float() @ down.reshape(runs * rank, width).T for part in parts])
    return flat.reshape(-1, runs, rank).transpose(0, 1)


def _parts(weight: Tensor) -> Sequence[Tensor]:
    """Return a weight in parts of some rows."""
    return weight.split(max(1, FLOATS // weight.shape[1]))


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
