"""The name that others know a backbone by: what peft, transformers and diffusers load it from on any machine."""

from __future__ import annotations

import re
from pathlib import Path

from core.errors import InvalidInput
from core.text_safety import shown

# the rules of the Hugging Face hub: huggingface_hub.utils.validate_repo_id, with an organisation or a person always
PART = r"\w(?:[\w.-]{0,94}\w)?"
HUB_NAME = re.compile(rf"(?!.*(?:--|\.\.|\.git$)){PART}/{PART}", re.ASCII)
WHAT_IT_IS = (
    "A hub name is ORG/NAME, like HuggingFaceTB/SmolLM2-135M-Instruct: two parts of A-Z a-z 0-9 . _ - with a letter, "
    "a digit or _ at either end, neither -- nor .. inside, and no .git at the end. A path or an address is none."
)


def check_hub_name(name: str) -> None:
    """Raise InvalidInput `invalid_hub_name` for what is no ORG/NAME, or a path on this machine."""
    if not HUB_NAME.fullmatch(name):
        raise InvalidInput(WHAT_IT_IS, code="invalid_hub_name", param="hub_name")
    if Path(name).exists():
        raise InvalidInput(
            f"{shown(name)} is a path on this machine, and means nothing elsewhere. If it is the hub's name too, run "
            "this in another folder.",
            code="invalid_hub_name",
            param="hub_name",
        )
