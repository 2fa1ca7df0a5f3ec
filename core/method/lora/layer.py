"""A frozen module with a LoRA branch. Shapes: R runs, r rank, N = R b samples, run-major."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from core.errors import InvalidInput


class LoraLayer(nn.Module):
    """A frozen Linear or Conv2d with a LoRA branch that is there only while an adapter is in use.

    Of a convolution A sees the patches under the kernel, in x k x k numbers each, and B makes the outputs of them, as
    peft's convolutions do. `path` is where the module stands in its network, for errors.
    """

    def __init__(self, base: nn.Linear | nn.Conv2d, path: str = "") -> None:
        super().__init__()
        self.base, self.path = base, path
        self.convolution = isinstance(base, nn.Conv2d)
        self.scale = 1.0
        self.down: Tensor | None = None
        self.up: Tensor | None = None
        self.samples: int | None = None  # N, where it is known
        self.tangent: tuple[Tensor, Tensor, Tensor] | None = None  # U_down, U_up, epsilon (N,)

    @property
    def weight(self) -> Tensor:
        """The frozen weight, which library code asks for its dtype; of a quantised base it is made anew each time."""
        return self.base.weight

    @property
    def bias(self) -> Tensor | None:
        """The frozen bias."""
        return self.base.bias

    @property
    def inputs(self) -> tuple[int, ...]:
        """The shape of what A sees at once: (in,), or (in, height, width) of a convolution's patch."""
        if isinstance(self.base, nn.Conv2d):
            return self.base.in_channels, *self.base.kernel_size
        return (self.base.in_features,)

    @property
    def outputs(self) -> int:
        """The width of what B makes."""
        return self.base.out_channels if isinstance(self.base, nn.Conv2d) else self.base.out_features

    @property
    def dtype(self) -> torch.dtype:
        """The floats of the frozen weight, or those that a quantised base makes it in."""
        like: Tensor | None = getattr(self.base, "like", None)
        return self.base.weight.dtype if like is None else like.dtype

    @property
    def device(self) -> torch.device:
        """Where the frozen weight lies."""
        like: Tensor | None = getattr(self.base, "like", None)
        return self.base.weight.device if like is None else like.device

    def matrix(self) -> Tensor:
        """The frozen weight as a matrix W (out, in), or (out, in k k); of a quantised base what it computes with."""
        return self.weight.detach().flatten(1)

    def forward(self, inputs: Tensor) -> Tensor:
        """W x + s B A x, and with a tangent also epsilon_i s (U_B A x + B U_A x) for sample i."""
        outputs = self.base(inputs)
        if self.down is None or self.up is None:
            return outputs
        self._check_samples(inputs, len(self.down))
        rows = self._patches(inputs)
        # As autocast would have it: what a bf16 network computes with is not copied to A's and B's own float32.
        dtype = rows.dtype if rows.dtype == torch.bfloat16 else torch.promote_types(self.down.dtype, torch.float32)
        rows = rows.to(dtype).reshape(self.down.shape[0], -1, rows.shape[-1])
        up = self.up.to(dtype)
        inner = torch.bmm(rows, self.down.to(dtype).transpose(1, 2))
        branch = torch.bmm(inner, up.transpose(1, 2))
        if self.tangent is not None:
            branch = branch + _tangent_branch(rows, inner, up, self.tangent)
        if branch.dtype == outputs.dtype == torch.bfloat16:
            return torch.add(outputs, self._shaped(branch, outputs), alpha=self.scale)  # rounded once
        return outputs + self._shaped((self.scale * branch).to(outputs.dtype), outputs)

    def _shaped(self, branch: Tensor, outputs: Tensor) -> Tensor:
        """Return the branch in the shape of what the frozen module made."""
        if not self.convolution:
            return branch.reshape(outputs.shape)
        samples, channels, height, width = outputs.shape
        return branch.reshape(samples, height * width, channels).transpose(1, 2).reshape(outputs.shape)

    def _patches(self, inputs: Tensor) -> Tensor:
        """Return what A sees: the inputs, or a convolution's patches (N, places, in k k)."""
        base = self.base
        if not isinstance(base, nn.Conv2d):
            return inputs
        if base.kernel_size == base.stride == (1, 1) and base.padding == (0, 0):
            return inputs.flatten(2).transpose(1, 2)
        assert not isinstance(base.padding, str)
        patches = nn.functional.unfold(inputs, base.kernel_size, padding=base.padding, stride=base.stride)
        return patches.transpose(1, 2)

    def _check_samples(self, inputs: Tensor, runs: int) -> None:
        """Raise InvalidInput where samples can't be told apart: joined rows of unequal length would be cut anywhere."""
        wanted = len(self.tangent[2]) if self.tangent is not None else self.samples if runs > 1 else None
        if wanted is not None and (inputs.dim() < 2 or inputs.shape[0] != wanted):
            raise InvalidInput(
                f"The module {self.path} sees {inputs.shape[0]} rows of {wanted} samples joined together, so stacked "
                "adapters can't tell whose they are; leave it out of the backbone's target modules.",
                code="unsupported_target_module",
                param="target_modules",
            )


def _tangent_branch(rows: Tensor, inner: Tensor, up: Tensor, tangent: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Return what each sample's epsilon moves the branch by; in float32, as epsilon's gradient is a long sum."""
    u_down, u_up, epsilon = tangent
    moved = torch.bmm(inner, u_up.to(rows.dtype).transpose(1, 2)) + torch.bmm(
        torch.bmm(rows, u_down.to(rows.dtype).transpose(1, 2)), up.transpose(1, 2)
    )
    by_sample = moved.reshape(len(epsilon), -1, moved.shape[-1]) * epsilon.view(-1, 1, 1)
    return by_sample.reshape(moved.shape)
