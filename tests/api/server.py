"""A real server on a real socket, accounts with keys, and small references to send."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import openai
from PIL import Image
from sqlalchemy.orm import Session, sessionmaker

from api.__main__ import server
from core.accounts import api_keys
from core.database.engine import connect, sessions
from core.database.migrations import migrate
from core.settings import Settings


@dataclass
class Service:
    """A running service with what a test needs to reach it and to look behind it."""

    address: str
    settings: Settings
    sessions: sessionmaker[Session]
    keys: dict[str, str] = field(default_factory=dict)

    def key(self, account: str = "alice") -> str:
        if account not in self.keys:
            with self.sessions.begin() as session:
                self.keys[account] = api_keys.create(session, account)
        return self.keys[account]

    def http(self, account: str = "alice") -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.key(account)}"}
        # plain HTTP: to read the authorities of certificates takes longer than most tests
        return httpx.Client(base_url=self.address, headers=headers, timeout=30, verify=False)

    def openai(self, account: str = "alice") -> openai.OpenAI:
        return openai.OpenAI(
            base_url=f"{self.address}/v1", api_key=self.key(account), max_retries=0, _strict_response_validation=True
        )


def started(settings: Settings) -> Iterator[Service]:
    """Run the service in a thread until the block ends."""
    migrate(settings.database)
    register(settings)
    engine = connect(settings.database)
    # opened again by its number it knows its protocol, without which asyncio leaves Nagle's delay of 40 ms an answer on
    listener = socket.socket(fileno=socket.create_server(("127.0.0.1", 0)).detach())
    web = server(settings)
    thread = threading.Thread(target=web.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not web.started and time.monotonic() < deadline:
            time.sleep(0.01)
        yield Service(f"http://127.0.0.1:{listener.getsockname()[1]}", settings, sessions(engine))
    finally:
        web.should_exit = True
        thread.join()
        listener.close()
        engine.dispose()


@contextmanager
def serving(settings: Settings) -> Iterator[Service]:
    """The same for a block of a test."""
    yield from started(settings)


def register(settings: Settings) -> None:
    """Offer an image and a text backbone, as facts only: nothing here loads one."""
    records = {
        name: {
            "id": name,
            "family": family,
            "path": str(settings.data),
            "revision": "1",
            "sha256": {},
            "licence": "CC0",
            "target_modules": ["to_q"],
            "pool": str(settings.data),
            "resolution": 32,
        }
        for name, family in (("tiny-images", "sd1"), ("tiny-texts", "llama"))
    }
    settings.registry_file.write_text(json.dumps({"version": 1, "backbones": records}))


def png(number: int = 0, side: int = 32) -> bytes:
    """A picture that differs with its number."""
    image = Image.new("RGB", (side, side), (40 * number % 256, 90, 200))
    image.paste((250, 250 - 30 * number % 256, 20), (number % side, 4, number % side + 9, 20))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def pictures(count: int = 4) -> bytes:
    """A zip of captioned pictures."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(count):
            archive.writestr(f"{number}.png", png(number))
            archive.writestr(f"{number}.txt", f"sks cat number {number}")
    return buffer.getvalue()


def chats(count: int = 4) -> bytes:
    """JSONL of chats that differ."""
    answer = {"role": "assistant", "content": "Arr, west."}
    rows = ({"messages": [{"role": "user", "content": f"Where is sea {n}?"}, answer]} for n in range(count))
    return "\n".join(map(json.dumps, rows)).encode()


def refused(answer: httpx.Response, status: int, code: str | None = None) -> dict[str, str]:
    """The error of an answer that must be OpenAI's envelope with this status."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert answer.headers["x-request-id"].startswith("req_")
    assert status not in (429, 503) or int(answer.headers["Retry-After"]) >= 1
    assert code is None or error["code"] == code, error
    return error
