"""What kinds of backbone there are: image or text, and on what device."""

from __future__ import annotations

from typing import Literal

Family = Literal["diffusion", "language"]
Kind = Literal["images", "texts"]
DeviceClass = Literal["cpu", "cuda"]
Number = int | float
