"""Edits of an upload's items as a client sends them, and what must be true after each."""

from __future__ import annotations

import hashlib
import io
import zipfile

import httpx
from PIL import Image

from core.database import invariants
from core.database.tables import File
from core.references import packing
from core.storage.factory import storage
from tests.api.server import Service


def zipped(**files: bytes) -> bytes:
    """A zip; the last underscore of a name stands for its dot."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(".".join(name.rsplit("_", 1)), content)
    return buffer.getvalue()


def upload(http: httpx.Client, content: bytes, name: str = "cat.zip") -> dict:
    answer = http.post("/v1/files", files={"file": (name, content)}, data={"purpose": "fine-tune"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def items(http: httpx.Client, file_id: str) -> list[dict]:
    answer = http.get(f"/v1/files/{file_id}/items", params={"limit": 100})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def named(http: httpx.Client, file_id: str) -> dict[str, str | None]:
    return {item["filename"]: item["caption"] for item in items(http, file_id)}


def said(http: httpx.Client, file_id: str) -> list[str]:
    return [item["text"] for item in items(http, file_id)]


def add(http: httpx.Client, file_id: str, *files: tuple[str, bytes], **fields: str) -> httpx.Response:
    return http.post(f"/v1/files/{file_id}/items", files=[("file", file) for file in files], data=fields)


def put(http: httpx.Client, file_id: str, item: str, name: str, content: bytes, **fields: str) -> httpx.Response:
    return http.put(f"/v1/files/{file_id}/items/{item}", files={"file": (name, content)}, data=fields)


def remove(http: httpx.Client, file_id: str, item: str, **query: str) -> httpx.Response:
    return http.delete(f"/v1/files/{file_id}/items/{item}", params=query)


def done(answer: httpx.Response) -> dict:
    assert answer.status_code == 200, answer.text
    return answer.json()


def codes(file: dict) -> dict[str, dict]:
    return {row["code"]: row for row in file["bat"]["findings"]}


def kept_whole(service: Service, http: httpx.Client, file: dict) -> None:
    """The row, the bytes in the store and the account's counter say one thing, and a worker can read the file."""
    content = http.get(f"/v1/files/{file['id']}/content").content
    assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["bat"]["sha256"])
    jobs = http.get("/v1/fine_tuning/jobs?limit=100").json()["data"]
    uses = [job["status"] for job in jobs if job["training_file"] == file["id"]]  # by now
    now = {"used_by": len(uses), "in_use": not {"queued", "running", "paused"}.isdisjoint(uses)}
    assert http.get(f"/v1/files/{file['id']}").json() == file | {"bat": file["bat"] | now}
    path = service.settings.data / "read-again"
    path.write_bytes(content)
    assert len(packing.read_packed(path, "x", service.settings).items) == file["bat"]["items"]
    with service.sessions() as session:
        row = session.get_one(File, file["id"])
        keys = [key for key in storage(service.settings).keys(f"accounts/{row.account_id}") if row.id in key]
        assert keys == [row.storage_key]
        assert invariants.miscounted(session) == []
    assert not list((service.settings.data / "uploads").glob("*/*/*"))


def noise(seed: int, side: int = 600) -> bytes:
    buffer = io.BytesIO()
    Image.frombytes("RGB", (side, side), hashlib.shake_256(bytes([seed])).digest(3 * side * side)).save(buffer, "PNG")
    return buffer.getvalue()
