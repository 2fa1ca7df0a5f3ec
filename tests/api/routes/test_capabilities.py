"""What a service says of itself before anybody has a key is what it does."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import httpx
from PIL import Image

from core.backbones.taggers import BUILT_IN
from core.settings import Settings
from core.version import VERSION
from tests.api.server import Service, chats, pictures, png, refused, serving

SENTENCES = ["The sea is wide.", "A gull sat on the mast.", "Nobody spoke of it."]


def told(service: Service, **headers: str) -> dict:
    return httpx.get(f"{service.address}/v1/capabilities", headers=headers).raise_for_status().json()


def picture(form: str) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png())).save(buffer, form)
    return buffer.getvalue()


def subtitles(mark: str, head: str = "") -> bytes:
    blocks = (f"{n}\n00:00:0{n}{mark}000 --> 00:00:0{n}{mark}900\n{said}\n" for n, said in enumerate(SENTENCES, 1))
    return (head + "\n".join(blocks)).encode()


def table(between: str) -> bytes:
    return "\n".join(
        between.join(row) for row in [("prompt", "completion"), *zip(SENTENCES, "abc", strict=True)]
    ).encode()


TEXTS = {
    "jsonl": chats(),
    "json": json.dumps([{"text": said} for said in SENTENCES]).encode(),
    "csv": table(","),
    "tsv": table("\t"),
    "srt": subtitles(","),
    "vtt": subtitles(".", "WEBVTT\n\n"),
    "txt": "\n\n".join(SENTENCES).encode(),
}


def test_every_format_that_is_named_is_taken(service: Service, http: httpx.Client) -> None:
    kinds = told(service)["kinds"]
    assert set(kinds["texts"]["formats"]) == set(TEXTS)
    sent = [("images", f"a.{name}", picture(name)) for name in kinds["images"]["formats"]]
    sent += [("texts", f"a.{name}", TEXTS[name]) for name in kinds["texts"]["formats"]]
    sent += [("images", f"a.{name}", pictures()) for name in kinds["images"]["archives"]]
    for kind, name, content in sent:
        answer = http.post("/v1/files", files={"file": (name, content)}, data={"purpose": "fine-tune"})
        assert answer.status_code == 200, (name, answer.text)
        assert answer.json()["bat"]["kind"] == kind, name


def test_texts_are_taken_in_every_archive_that_is_named(service: Service, http: httpx.Client) -> None:
    assert told(service)["kinds"]["texts"]["archives"] == ["zip"]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", TEXTS["txt"])
    answer = http.post("/v1/files", files={"file": ("a.zip", buffer.getvalue())}, data={"purpose": "fine-tune"})
    assert answer.json()["bat"]["kind"] == "texts"


def test_the_limits_are_those_that_are_held(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, max_file_bytes=3_000, max_images=5)
    with serving(settings) as service, service.http() as http:
        found = told(service)
        assert found["limits"]["file_bytes"] == 3_000
        assert found["kinds"]["images"]["items"]["most"] == 5
        content = b"x" * (found["limits"]["file_bytes"] + 1)
        refused(http.post("/v1/files", files={"file": ("a.txt", content)}, data={"purpose": "fine-tune"}), 413)


def test_it_says_which_version_runs_what_stages_jobs_have_and_what_describes_pictures(service: Service) -> None:
    found = told(service)
    assert (found["object"], found["version"]) == ("capabilities", VERSION)
    assert found["stages"] == ["prepare", "surrogate", "score", "trial", "train", "export"]
    assert [tagger["id"] for tagger in found["taggers"]] == list(BUILT_IN)
    record = {"id": "words", "path": "/x", "revision": "1", "sha256": {}, "licence": "MIT"}
    service.settings.taggers_file.write_text(json.dumps({"version": 1, "taggers": {"words": record}}))
    assert told(service)["taggers"][0] == {"id": "words", "licence": "MIT"}
    service.settings.taggers_file.unlink()


def test_a_start_link_is_offered_where_it_can_be_opened(service: Service) -> None:
    assert told(service)["start_link"]
    assert not told(service, Host="albatross.example")["start_link"]
    assert not told(service, **{"X-Forwarded-For": "192.0.2.1"})["start_link"]
