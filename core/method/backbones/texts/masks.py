"""Causal attention over texts that are padded on the right, without a look at the padding.

What comes before a token never is padding, so a causal mask alone hides it. transformers does not know on which side
texts are padded: it reads the mask back from the device to find out whether there is any padding, and where there is it
makes a mask of every pair of tokens, which the fast kernels of attention do not take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from torch import Tensor
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

KIND = "sdpa"  # the attention that has to be told; others get what transformers gives them
Mask = Callable[..., Tensor | None]


@contextmanager
def padded_on_the_right() -> Iterator[None]:
    """Let models leave padding out of their causal masks until the block ends."""
    usual = ALL_MASK_ATTENTION_FUNCTIONS[KIND]
    ALL_MASK_ATTENTION_FUNCTIONS[KIND] = _without_padding(usual)
    try:
        yield
    finally:
        ALL_MASK_ATTENTION_FUNCTIONS[KIND] = usual


def _without_padding(usual: Mask) -> Mask:
    @wraps(usual)
    def mask(*places: Any, allow_is_causal_skip: bool = True, **told: Any) -> Tensor | None:
        if allow_is_causal_skip:  # else something is seen that comes later, and that may be padding
            told["attention_mask"] = None
        return usual(*places, allow_is_causal_skip=allow_is_causal_skip, **told)

    return mask
