"""One bad input a row: what is sent, the answer that it must get, and what must hold after any of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.api.server import Service, chats, pictures
from tests.inputs.wire import FORM, PURPOSE, Answer, Body, exchange, form, head

JOBS = "/v1/fine_tuning/jobs"
FILES = "/v1/files"
SECRET = "do-not-repeat-me"
ECHO = 30  # as many characters of the input in a row are a repetition of it
NUMBERS = range(1, 107)
LEFT_OUT = (
    ("C25", "half a header and silence: uvicorn has no time limit for headers, the reverse proxy in front has"),
    ("C35", "keys have no scopes"),
    ("C40", "no limit of requests a minute"),
    ("C41", "no quota of storage; the limit of active jobs is tested with the jobs"),
    ("C42", "no quota but that of active jobs, whose races are tested with the jobs"),
    ("C43", "no cookies: nothing but the Authorization header lets anybody in"),
    ("C54", "no budget of a job"),
    ("C102", "erasing jobs is tested with the erasure"),
    ("C103", "erasing accounts is tested with the erasure"),
)


@dataclass
class Scene:
    """The service with references in it, and a way to send it anything."""

    service: Service
    files: dict[str, str] = field(default_factory=dict)

    def send(
        self,
        method: str,
        path: str,
        body: Body = b"",
        headers: Mapping[str, str | int] | None = None,
        account: str | None = "alice",
    ) -> Answer:
        given = dict(headers or {})
        if account is not None:
            given.setdefault("Authorization", f"Bearer {self.service.key(account)}")
        if isinstance(body, bytes) and body and "Transfer-Encoding" not in given:
            given.setdefault("Content-Length", len(body))
        return exchange(self.service.address, method, head(method, path, given), body)

    def upload(self, content: bytes, filename: str | bytes = "file.bin", account: str = "alice") -> Answer:
        return self.send("POST", FILES, form(content, filename, PURPOSE), {"Content-Type": FORM}, account)

    def post_job(self, body: bytes, account: str = "alice", **headers: str) -> Answer:
        given = {"Content-Type": "application/json", **headers}
        return self.send("POST", JOBS, body, given, account)

    def job(self, headers: Mapping[str, str] | None = None, account: str = "alice", **changes: object) -> Answer:
        """Create a job on the image backbone; keywords change its body."""
        body = {"model": "tiny-images", "training_file": self.file("images", account), **changes}
        return self.post_job(json.dumps(body).encode(), account, **dict(headers or {}))

    def file(self, kind: str = "images", account: str = "alice") -> str:
        """The id of an uploaded file of this kind, the same one each time."""
        if (key := f"{account} {kind}") not in self.files:
            content = pictures() if kind == "images" else chats()
            self.files[key] = str(self.upload(content, f"{kind}.bin", account).json()["id"])
        return self.files[key]

    def left_behind(self) -> list[Path]:
        return list((self.service.settings.data / "uploads").glob("*/*/*"))


Send = Callable[[Scene], Answer]


@dataclass(frozen=True)
class Case:
    """A row: `number` in the list of bad inputs, `status` 0 where the server hangs up, with a short 400 or no word.

    `why` says why the answer is not the one that a reader would expect first; `envelope` is false where HTTP itself is
    so broken that the server answers before the application does. `secret` must never come back, nor anything else of
    the input; but what an upload calls itself is `named` in the answer, shortened and cleaned.
    """

    number: str
    what: str
    send: Send
    status: int
    code: str | None = None
    why: str = ""
    envelope: bool = True
    secret: str = SECRET
    named: bool = False

    def __str__(self) -> str:
        return f"{self.number} {self.what}"

    def check(self, scene: Scene) -> Answer:
        """Send it, and check the answer and the state of the service after it."""
        answer = self.send(scene)
        assert answer.status == self.status or (self.status == 0 and answer.status == 400), answer.body[:500]
        if self.status >= 400 and self.envelope:
            assert_envelope(answer, self.code)
        if self.status >= 400:
            assert self.secret.encode("utf-8", "surrogateescape") not in answer.body
            assert self.named or repeated(answer) == []
        assert exchange(scene.service.address, "GET", head("GET", "/healthz", {})).status == 200
        assert scene.send("GET", f"{FILES}?limit=1").status == 200
        assert scene.left_behind() == []
        return answer


def table(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=str)


def assert_envelope(answer: Answer, code: str | None) -> None:
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")
    error = answer.json()["error"]
    assert isinstance(error, dict)
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert error["code"] == code, error
    if answer.status in (429, 503):
        assert int(answer.headers["Retry-After"]) > 0
    if answer.status == 401:
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def repeated(answer: Answer) -> list[str]:
    """What the answer says over again of what was sent."""
    said, sent = answer.body.decode("utf-8", "replace"), answer.sent.decode("utf-8", "replace")
    return [said[at : at + ECHO] for at in range(len(said) - ECHO) if said[at : at + ECHO] in sent]


def request(method: str, path: str, body: Body = b"", account: str | None = "alice", **headers: str | int) -> Send:
    """Send this; an underscore in a header's name stands for a hyphen."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda scene: scene.send(method, path, body, named, account)


def post_job(body: bytes, **headers: str) -> Send:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda scene: scene.post_job(body, **named)


def job(**changes: object) -> Send:
    return lambda scene: scene.job(**changes)


def upload(content: bytes, filename: str | bytes = "file.bin") -> Send:
    return lambda scene: scene.upload(content, filename)


def upload_form(body: Body, kind: str = FORM, **headers: str | int) -> Send:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda scene: scene.send("POST", FILES, body, {"Content-Type": kind, **named})


def plain(method: str, headers: list[tuple[str, str]], body: Body = b"", path: str = JOBS) -> Send:
    """Send headers that no dictionary can hold, with a valid key."""

    def send(scene: Scene) -> Answer:
        pairs = [("Authorization", f"Bearer {scene.service.key()}"), *headers]
        return exchange(scene.service.address, method, head(method, path, pairs), body)

    return send
