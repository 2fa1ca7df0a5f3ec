"""How many tokens of one text a job takes, told before a worker has it."""

from __future__ import annotations

from dataclasses import dataclass

from core.backbones.families import DeviceClass
from core.backbones.record import MAX_TOKENS, BackboneRecord
from core.parameters.defaults import STARTING_POINTS
from core.parameters.request import BatRequest


@dataclass(frozen=True)
class TokenLimit:
    """The limit, where it comes from (as in "128 tokens that are usual on a CPU"), and the most that may be asked."""

    tokens: int
    whence: str
    most: int

    @classmethod
    def of(cls, request: BatRequest, backbone: BackboneRecord, device_class: DeviceClass) -> TokenLimit:
        """Return what `resolve` settles for texts on such a device."""
        most = min(MAX_TOKENS, backbone.context_tokens or MAX_TOKENS)
        if request.max_tokens != "auto":
            return cls(request.max_tokens, "that bat.max_tokens asks for", most)
        usual = int({**STARTING_POINTS[backbone.kind, device_class], **backbone.defaults}["max_tokens"])
        if backbone.context_tokens is not None and backbone.context_tokens < usual:
            return cls(backbone.context_tokens, f"that {backbone.id} has places for", most)
        if "max_tokens" in backbone.defaults:
            return cls(usual, f"that are registered for {backbone.id}", most)
        return cls(usual, f"that are usual on {'a GPU' if device_class == 'cuda' else 'a CPU'}", most)
