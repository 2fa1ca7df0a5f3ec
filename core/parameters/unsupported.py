"""What callers ask for out of habit that is not served here, and what to tell them to do instead."""

import re

SUFFIX = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
OTHER_METHODS = ("dpo", "reinforcement")
WITHOUT_VERSION = re.compile(r"/(files|fine_tuning|models)(/|$)")
INFERENCE = re.compile(r"/v1/(chat/|completions|responses|embeddings|images|audio|assistants|threads|batches)")
IN_PARTS = re.compile(r"/v1/uploads(/|$)")


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
        raise ValueError("1 to 64 of A-Z a-z 0-9 . _ - are taken, with a letter or digit first; change or leave it out")
    return value


def nothing_at(path: str) -> str:
    """Say what to do about an address that is not there."""
    if WITHOUT_VERSION.match(path):
        return "Addresses begin with /v1: end the client's base_url in /v1."
    if INFERENCE.match(path):
        return (
            "This service trains adapters and does not run them: fetch the adapter from "
            "/v1/models/{id}/download and load it where you run models; see docs/using-your-adapter.md."
        )
    if IN_PARTS.match(path):
        return "Uploads in parts are not taken: send the whole file to POST /v1/files."
    return "There is nothing at this address; see /docs for what there is."
