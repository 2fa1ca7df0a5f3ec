"""One question to any OpenAI-compatible chat endpoint, through the stock client, and what its errors mean."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import openai
from openai.types.chat import ChatCompletion

from core.errors import AlbatrossError
from core.recording.answers import Answer
from core.recording.prompts import Prompt
from core.texts import shown

MOST_NAMED = 8  # models that are named where one is not known
MOST_SAID = 300  # characters of an endpoint's own words
LATER = (408, 409, 425, 429)  # and everything from 500
FINAL_LIMITS = ("insufficient_quota", "billing_hard_limit_reached")


class Stop(AlbatrossError):
    """No prompt will be answered: a wrong key, an unknown model, no more credit."""


class Refused(Exception):
    """The endpoint does not take this prompt; others may be taken."""


class Later(Exception):
    """Not now: the same call may be answered after a while."""

    def __init__(self, why: str, *, seconds: float | None = None, limited: bool = False, cut: bool = False) -> None:
        super().__init__(why)
        self.seconds = seconds  # that the endpoint asks to wait
        self.limited = limited  # there were too many calls, of any kind
        self.cut = cut  # there was no connection, or it broke


@dataclass
class Endpoint:
    """A model behind an address. `settings` are temperature, max_tokens and seed, as far as they are given."""

    model: str
    base_url: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    _limit: str = "max_tokens"  # newer models of OpenAI's know the limit by another name

    def __post_init__(self) -> None:
        key = os.environ.get("OPENAI_API_KEY")
        self.base_url = self.base_url or os.environ.get("OPENAI_BASE_URL") or None
        if not key and self.base_url is None:
            raise Stop("OPENAI_API_KEY is not set: put your key into it, or name your own endpoint with --base-url.",
                       code="no_key")  # fmt: skip
        if self.base_url is not None and not _is_address(self.base_url):
            raise Stop(f"{shown(self.base_url)} is no base URL; it looks like https://host/v1.", code="bad_address")
        # one that asks for no key gets a word; asking again is the recorder's, which knows of all calls
        self._client = openai.OpenAI(base_url=self.base_url, api_key=key or "none", max_retries=0)

    @property
    def address(self) -> str:
        """Where the questions go."""
        return str(self._client.base_url)

    def ask(self, prompt: Prompt, sample: int) -> Answer:
        """Return the answer; raises Stop, Refused or Later."""
        began, at = time.monotonic(), datetime.now(UTC)
        given = dict(self.settings)
        if "seed" in given:
            given["seed"] += sample
        try:
            reply = self._create(prompt, given)
        except openai.APIStatusError as error:
            raise self._meant(error) from None
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            why = f"{self.address} can't be reached ({type(cause).__name__}: {_said(str(cause))})"
            raise Later(why, cut=True) from None
        except (openai.OpenAIError, ValueError) as error:  # half an answer, or none of a chat endpoint
            raise Later(f"the answer could not be read ({_said(str(error))})") from None
        return _answer(reply, prompt, sample, self.model, given, at, time.monotonic() - began)

    def _create(self, prompt: Prompt, given: Mapping[str, Any]) -> object:
        named = {self._limit if name == "max_tokens" else name: value for name, value in given.items()}
        body = {"model": self.model, "messages": list(prompt.messages), **prompt.settings, **named}
        try:
            return self._client.chat.completions.create(**body)
        except openai.BadRequestError as error:
            if error.code != "unsupported_parameter" or error.param != "max_tokens" or self._limit != "max_tokens":
                raise
            self._limit = "max_completion_tokens"
            return self._create(prompt, given)

    def _meant(self, error: openai.APIStatusError) -> Exception:
        said, status = _said(error.message), error.status_code
        if status == 401:
            return Stop(f"The key is not taken by {self.address} ({said}). Put a valid one into OPENAI_API_KEY.",
                        code="wrong_key")  # fmt: skip
        if status == 403:
            return Stop(f"The key may not use {shown(self.model)} ({said}).", code="forbidden")
        if status == 404:
            return Stop(f"{self.address} does not know {shown(self.model)} ({said}).{self._others()}",
                        code="unknown_model")  # fmt: skip
        if status == 429 and error.code in FINAL_LIMITS:
            return Stop(f"The account has no credit left ({said}).", code="no_credit")
        if status in LATER or status >= 500:
            return Later(f"{status}: {said}", seconds=_wait(error), limited=status == 429)
        return Refused(f"{status}: {said}")

    def _others(self) -> str:
        """Say which models the endpoint offers, the fine-tuned ones first; nothing where it does not tell."""
        try:
            ids = [str(model.id) for model in self._client.models.list(timeout=10).data]
        except Exception:  # a hint is no reason for another error
            return ""
        ids.sort(key=lambda id: (not id.startswith("ft:"), id))
        more = f" and {len(ids) - MOST_NAMED} more" if len(ids) > MOST_NAMED else ""
        return f" It offers {', '.join(map(shown, ids[:MOST_NAMED]))}{more}." if ids else ""


def _answer(
    reply: object, prompt: Prompt, sample: int, model: str, given: Mapping[str, Any], at: datetime, seconds: float
) -> Answer:
    if not isinstance(reply, ChatCompletion) or not reply.choices or reply.choices[0].message is None:
        raise Later("the answer is none of a chat endpoint; is the base URL right (it mostly ends in /v1)?")
    choice, usage = reply.choices[0], reply.usage
    message = {name: value for name, value in choice.message.model_dump(mode="json").items() if value is not None}
    if not message.get("annotations"):
        message.pop("annotations", None)
    return Answer(
        prompt=prompt, sample=sample, message={"role": "assistant", "content": None, **message},
        finish_reason=choice.finish_reason or "stop", model=model, answered_by=str(reply.model or ""),
        tokens_in=usage.prompt_tokens if usage else 0, tokens_out=usage.completion_tokens if usage else 0,
        at=at.isoformat(timespec="seconds").replace("+00:00", "Z"), seconds=round(seconds, 2), settings=given,
    )  # fmt: skip


def _wait(error: openai.APIStatusError) -> float | None:
    """Return how long the endpoint asks to wait, in seconds."""
    headers = error.response.headers
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[name]) * unit)
        except (KeyError, ValueError):  # or a date, which is rare: then waits grow as usual
            continue
    return None


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and " " not in text
    except ValueError:  # a port or an IPv6 address that is none
        return False


def _said(words: str) -> str:
    line = " ".join(re.sub(r"^Error code: \d+ - ", "", words).split())
    return shown(line if len(line) <= MOST_SAID else f"{line[:MOST_SAID]}...")
