"""One question to any OpenAI-compatible chat endpoint, through the stock client, and what its errors mean."""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import openai

from core.errors import AlbatrossError
from core.recording.answers import Answer
from core.recording.prompts import Prompt
from core.text_safety import shown

MAX_MODELS_NAMED = 8  # models that are named where one is not known
MAX_QUOTED_CHARACTERS = 300  # characters of an endpoint's own words
MIN_SECRET = 4  # characters; blanking out less would blank out everything
LATER = (408, 409, 425, 429)  # and everything from 500
FINAL_LIMITS = ("insufficient_quota", "billing_hard_limit_reached")
KEPT = ("content", "refusal", "tool_calls", "function_call")  # of an answer's message
REASONING = ("reasoning_content", "reasoning")  # what some endpoints say of how they came to it
HINT = "is the base URL right (it mostly ends in /v1)?"


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
        self._key = (os.environ.get("OPENAI_API_KEY") or "").strip()
        self.base_url = self.base_url or os.environ.get("OPENAI_BASE_URL") or None
        if not self._key and self.base_url is None:
            raise Stop(
                "OPENAI_API_KEY is not set: put your key into it, or name your own endpoint with --base-url.",
                code="no_key",
            )
        if not (self._key.isascii() and self._key.isprintable()):
            raise Stop("OPENAI_API_KEY holds characters that no key has; copy it anew.", code="no_key")
        if self.base_url is not None and not _is_address(self.base_url):
            raise Stop("That is no base URL; it looks like https://host/v1.", code="bad_address")
        try:
            # one that asks for no key gets a word; asking again is the recorder's, which knows of all calls
            self._client = openai.OpenAI(base_url=self.base_url, api_key=self._key or "none", max_retries=0)
        except Exception:  # the client's own kinds of a bad URL
            raise Stop("That is no base URL; it looks like https://host/v1.", code="bad_address") from None

    @property
    def address(self) -> str:
        """Where the questions go, without a password that may stand in it."""
        return re.sub(r"//[^/@]*@", "//", str(self._client.base_url))

    def ask(self, prompt: Prompt, sample: int) -> Answer:
        """Return the answer; raises Stop, Refused or Later."""
        began, at = time.monotonic(), datetime.now(UTC)
        given = dict(self.settings)
        if "seed" in given:
            given["seed"] += sample
        try:
            content = self._create(prompt, given)
        except openai.APIStatusError as error:
            raise self._meant(error, prompt) from None
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            why = f"{self.address} can't be reached ({type(cause).__name__}: {self._said(str(cause))})"
            raise Later(why, cut=True) from None
        except (openai.OpenAIError, ValueError) as error:  # half an answer, or none of a chat endpoint
            raise Later(f"the answer could not be read ({type(error).__name__})") from None
        return _answer(content, prompt, sample, self.model, given, at, time.monotonic() - began)

    def _create(self, prompt: Prompt, given: Mapping[str, Any]) -> str:
        """Return the body of the answer: the client's own objects warn of odd ones with what was said."""
        named = {self._limit if name == "max_tokens" else name: value for name, value in given.items()}
        body = {"model": self.model, "messages": list(prompt.messages), **prompt.settings, **named}
        try:
            return str(self._client.chat.completions.with_raw_response.create(**body).http_response.text)
        except openai.BadRequestError as error:
            if error.code != "unsupported_parameter" or error.param != "max_tokens" or "max_tokens" not in named:
                raise
            self._limit = "max_completion_tokens"
            return self._create(prompt, given)

    def _meant(self, error: openai.APIStatusError, prompt: Prompt) -> Exception:
        said, status = self._said(error.message, prompt), error.status_code
        if status == 401:
            return Stop(
                f"The key is not taken by {self.address} ({said}). Put a valid one into OPENAI_API_KEY.",
                code="wrong_key",
            )
        if status == 404 and error.code != "model_not_found" and not self.address.rstrip("/").endswith("/v1"):
            return Stop(f"{self.address} has no chat endpoint ({said}); {HINT}", code="bad_address")
        if status == 404:
            return Stop(
                f"{self.address} does not know {shown(self.model)} ({said}).{self._others()}", code="unknown_model"
            )
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
        more = f" and {len(ids) - MAX_MODELS_NAMED} more" if len(ids) > MAX_MODELS_NAMED else ""
        return f" It offers {', '.join(map(shown, ids[:MAX_MODELS_NAMED]))}{more}." if ids else ""

    def _said(self, words: str, prompt: Prompt | None = None) -> str:
        """Return an endpoint's words for a terminal: short, and without the key or the prompt that they may repeat."""
        line = " ".join(re.sub(r"^Error code: \d+ - ", "", words).split())
        told = [part for message in prompt.messages for part in _strings(message.get("content"))] if prompt else []
        for secret in sorted({self._key, *(" ".join(part.split()) for part in told)}, key=len, reverse=True):
            if len(secret) >= MIN_SECRET:
                line = line.replace(secret, "...")
        return shown(line if len(line) <= MAX_QUOTED_CHARACTERS else f"{line[:MAX_QUOTED_CHARACTERS]}...")


def _answer(
    content: str, prompt: Prompt, sample: int, model: str, given: Mapping[str, Any], at: datetime, seconds: float
) -> Answer:
    """Read the body of an answer, trusting none of it; raises Later where it is not one."""
    try:
        reply = json.loads(content, parse_constant=_refuse)
        choice = reply["choices"][0]
        said = choice["message"]
        message = {name: said[name] for name in KEPT if said.get(name) is not None}
        usage = reply.get("usage") if isinstance(reply.get("usage"), dict) else {}
        if not isinstance(message.get("content"), str | None):
            raise TypeError
        json.dumps(message)  # what is nested too deeply is found here
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        raise Later(f"the answer is none of a chat endpoint; {HINT}") from None
    return Answer(
        prompt=prompt,
        sample=sample,
        message={"role": "assistant", "content": None, **message},
        finish_reason=str(choice.get("finish_reason") or "stop")[:40],
        model=model,
        answered_by=str(reply.get("model") or "")[:200],
        tokens_in=_count(usage.get("prompt_tokens")),
        tokens_out=_count(usage.get("completion_tokens")),
        at=at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        seconds=round(seconds, 2),
        settings=given,
        reasoning=next((said[name] for name in REASONING if isinstance(said.get(name), str)), None),
    )


def _wait(error: openai.APIStatusError) -> float | None:
    """Return how long the endpoint asks to wait, in seconds."""
    headers = error.response.headers
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):  # or a date, which is rare: then waits grow as usual
            continue
        return seconds if math.isfinite(seconds) and seconds > 0 else None
    return None


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else 0


def _refuse(constant: str) -> object:
    raise ValueError(constant)


def _strings(content: object) -> list[str]:
    parts = content if isinstance(content, list) else [content]
    return [text for part in parts if isinstance(text := part.get("text") if isinstance(part, dict) else part, str)]


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        plain = text.isprintable() and not re.search(r"\s", text) and len(text) < 2_000
        return plain and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an IPv6 address that is none
        return False
