"""What OpenAI's API takes and this service does not, and what to tell callers to do instead."""

import re

SUFFIX = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
OTHER_METHODS = ("dpo", "reinforcement")


def supervised_only(value: object) -> object:
    """Refuse OpenAI's other methods by name, before their own parameters are refused one by one."""
    if isinstance(value, dict) and isinstance(kind := value.get("type"), str) and kind in OTHER_METHODS:
        raise ValueError(
            f"{kind} is not served: send type supervised, with a file of examples whose last message is the answer"
        )
    return value


def no_integrations(value: object) -> object:
    """Refuse integrations, which would send what is private to others."""
    if value:
        raise ValueError(
            "there are none, Weights & Biases included: leave this parameter out. The curves are in the first of "
            "the job's result_files, and at /v1/fine_tuning/jobs/{id}/metrics while it runs"
        )
    return value


def plain_suffix(value: object) -> object:
    """Refuse what cannot stand in a model's name."""
    if isinstance(value, str) and re.fullmatch(SUFFIX[1:-1], value) is None:
        raise ValueError(
            "must be 1 to 64 of A-Z a-z 0-9 . _ -, a letter or digit first: change the suffix or leave it out"
        )
    return value
