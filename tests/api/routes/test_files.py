"""Uploads: what is kept, what is refused, and that nothing is left behind."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator

import httpx
import openai
import pytest
from PIL import Image
from sqlalchemy import Engine, event

from tests.api.server import Service, chats, pictures, png, refused


def upload(http: httpx.Client, content: bytes, name: str = "file.bin", **fields: str) -> httpx.Response:
    return http.post("/v1/files", files={"file": (name, content)}, data={"purpose": "fine-tune", **fields})


def left_behind(service: Service) -> list[str]:
    return [str(path) for path in (service.settings.data / "uploads").glob("*/*/*")]


def huge_png() -> bytes:
    """A picture whose header says 50,000 x 50,000."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    chunks = [header, b"IDAT" + zlib.compress(b"\0" * 1000), b"IEND"]
    packed = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def zipped(**entries: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


HEIC = b"\0\0\0\x18ftypheic" + bytes(60)
BAD_FILES = {
    "empty": b"",
    "a cut picture": png()[:-40],
    "a picture of 50,000 x 50,000": huge_png(),
    "HTML": b"<html><body>hello</body></html>",
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "random bytes": bytes(range(256)) * 20,
    "a zip that climbs out": zipped(**{"../evil.png": png(), "a.png": png(1)}),
    "a zip with an absolute path": zipped(**{"/etc/evil.png": png()}),
    "a zip bomb": zipped(**{"a.png": b"\0" * 50_000_000}),
    "a zip of nothing": zipped(),
    "a zip of empty captions": zipped(**{"a.txt": b" "}),
    "a cut zip": pictures()[:-30],
    "JSONL of nothing": b"\n\n",
    "JSONL with NaN": b'{"prompt": "a", "completion": NaN}\n',
}


@pytest.mark.parametrize("content", BAD_FILES.values(), ids=BAD_FILES)
def test_a_file_that_cannot_be_used_is_refused(service: Service, http: httpx.Client, content: bytes) -> None:
    before = len(http.get("/v1/files").json()["data"])
    answer = upload(http, content)
    refused(answer, 400)
    assert len(http.get("/v1/files").json()["data"]) == before
    assert left_behind(service) == []


def test_a_set_with_one_bad_image_is_taken_unless_its_owner_is_strict(
    client: openai.OpenAI, http: httpx.Client
) -> None:
    photos = zipped(**{f"{number}.png": png(number) for number in range(4)}, **{"IMG_7.HEIC": HEIC})
    file = client.files.create(file=("cats.zip", photos), purpose="fine-tune", extra_body={"bat": {"strict": False}})
    assert file.model_extra["bat"]["items"] == 4
    assert "IMG_7.HEIC" in str(file.model_extra["bat"]["findings"])
    with pytest.raises(openai.BadRequestError, match=r"IMG_7\.HEIC looks like a HEIC picture"):
        client.files.create(file=("cats.zip", photos), purpose="fine-tune", extra_body={"bat": {"strict": True}})
    form = {"purpose": "fine-tune", "bat[strict]": "perhaps"}
    answer = http.post("/v1/files", data=form, files={"file": ("cats.zip", photos)})
    assert refused(answer, 400, "invalid_parameter")["param"] == "bat[strict]"


def test_the_room_of_an_upload_is_given_back_once_with_the_row_that_counts_it(http: httpx.Client) -> None:
    given_back: list[str] = []

    def executed(_: object, __: object, statement: str, *___: object) -> None:
        given_back.extend([statement] if statement.startswith("DELETE FROM reservation WHERE reservation.id") else [])

    event.listen(Engine, "after_cursor_execute", executed)
    assert upload(http, pictures(), "cats.zip").status_code == 200
    assert len(given_back) == 1
    assert upload(http, b"", "cats.zip").status_code == 400
    event.remove(Engine, "after_cursor_execute", executed)
    assert len(given_back) == 2


def test_the_bad_line_of_a_jsonl_is_named(http: httpx.Client) -> None:
    lines = chats(9).split(b"\n")
    lines[6] = b'{"messages": ['
    assert "7" in refused(upload(http, b"\n".join(lines), "talk.jsonl"), 400)["message"]


def test_the_stock_client_uploads_lists_reads_and_deletes(client: openai.OpenAI) -> None:
    file = client.files.create(file=("cat.zip", pictures()), purpose="fine-tune")
    assert file.filename == "cat.zip"
    assert client.files.wait_for_processing(file.id).status == "processed"
    assert file.model_extra["bat"]["kind"] == "images"
    assert file.model_extra["bat"]["items"] == 4
    assert len(client.files.content(file.id).read()) == file.bytes
    assert client.files.list(limit=1).data[0].id == file.id
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)


def test_what_is_kept_of_a_picture_holds_no_place_and_no_camera(http: httpx.Client) -> None:
    exif = Image.Exif()
    exif[0x010F] = "canary-camera"
    exif.get_ifd(0x8825)[1] = "canary-north"
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png())).save(buffer, "JPEG", exif=exif, comment=b"canary-comment")
    assert buffer.getvalue().count(b"canary") >= 2
    file = upload(http, buffer.getvalue(), "me.jpg").json()
    kept = http.get(f"/v1/files/{file['id']}/content").content
    with zipfile.ZipFile(io.BytesIO(kept)) as archive:
        contents = [archive.read(name) for name in archive.namelist()]
    assert any(Image.open(io.BytesIO(content)).size == (32, 32) for content in contents if content[:4] == b"\x89PNG")
    assert not any(b"canary" in content for content in contents)


def test_a_file_that_is_too_large_is_413_while_it_comes(service: Service, http: httpx.Client) -> None:
    refused(upload(http, b"\0" * 3_000_000), 413, "too_large")
    assert left_behind(service) == []


def test_a_file_that_is_too_large_and_says_no_length_is_413(service: Service, http: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(40):
            yield b"\0" * 65_536
        yield b"\r\n--x--\r\n"

    answer = http.post("/v1/files", content=pieces(), headers={"Content-Type": "multipart/form-data; boundary=x"})
    refused(answer, 413, "too_large")
    assert left_behind(service) == []


PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhello'
PURPOSE_PART = b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n'
BAD_FORMS = {
    "cut": PART,
    "without a file": b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n--x--\r\n',
    "with two files": PART + b"\r\n" + PART + b"\r\n--x--\r\n",
    "with an unknown field": b'--x\r\nContent-Disposition: form-data; name="evil"\r\n\r\n1\r\n--x--\r\n',
    "with a long field": PURPOSE_PART + b"p" * 50_000 + b"\r\n--x--\r\n",
    "with a long header": b"--x\r\nX-Evil: " + b"h" * 50_000 + b"\r\n\r\n\r\n--x--\r\n",
    "with many headers": b"--x\r\n" + b"X-Evil: 1\r\n" * 1000 + b"\r\n\r\n--x--\r\n",
    "with many parts": b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n\r\n' * 1000 + b"--x--\r\n",
    "of noise": b"\r\n" * 100_000,
    "empty": b"",
}


@pytest.mark.parametrize("content", BAD_FORMS.values(), ids=BAD_FORMS)
def test_a_form_that_is_broken_is_400(service: Service, http: httpx.Client, content: bytes) -> None:
    answer = http.post("/v1/files", content=content, headers={"Content-Type": "multipart/form-data; boundary=x"})
    refused(answer, 400)
    assert left_behind(service) == []


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=" + "b" * 300])
def test_a_boundary_that_is_none_is_400(http: httpx.Client, kind: str) -> None:
    refused(http.post("/v1/files", content=PART, headers={"Content-Type": kind}), 400, "invalid_form")


def test_an_upload_that_is_no_form_is_415(http: httpx.Client) -> None:
    refused(http.post("/v1/files", content=b"{}", headers={"Content-Type": "application/json"}), 415)


@pytest.mark.parametrize("purpose", ["", "assistants", "fine-tune-results"])
def test_another_purpose_is_400(http: httpx.Client, purpose: str) -> None:
    assert refused(upload(http, pictures(), purpose=purpose), 400)["param"] == "purpose"


@pytest.mark.parametrize("seconds", ["1", "3599", "2592001", "-1", "1e9", "9" * 5000, "\u0663" * 4])
def test_an_expiry_out_of_range_is_400(http: httpx.Client, seconds: str) -> None:
    fields = {"expires_after[anchor]": "created_at", "expires_after[seconds]": seconds}
    refused(upload(http, pictures(), **fields), 400)


def test_an_expiry_is_kept(client: openai.OpenAI) -> None:
    expires: openai.types.file_create_params.ExpiresAfter = {"anchor": "created_at", "seconds": 3600}
    file = client.files.create(file=("a.jsonl", chats()), purpose="fine-tune", expires_after=expires)
    assert file.expires_at == pytest.approx(file.created_at + 3600, abs=60)


NAMES = {
    "../../etc/passwd": "passwd",
    "C:\\pictures\\cat.png": "cat.png",
    "a\u202egnp.exe": "agnp.exe",
    ".": "upload",
    "x" * 5000 + ".png": "x" * 96 + ".png",
    "\U0001f600.png": "\U0001f600.png",
}


@pytest.mark.parametrize(("name", "shown"), NAMES.items())
def test_a_file_name_is_only_shown(http: httpx.Client, name: str, shown: str) -> None:
    assert upload(http, png(), name).json()["filename"] == shown


def test_lists_go_on_after_the_last_id_and_say_whether_more_follows(http: httpx.Client, client: openai.OpenAI) -> None:
    mine = {client.files.create(file=(f"{n}.jsonl", chats()), purpose="fine-tune").id for n in range(5)}
    seen: list[str] = []
    more, after = True, None
    while more:
        page = http.get("/v1/files", params={"limit": 2} | ({"after": after} if after else {})).json()
        seen += [file["id"] for file in page["data"]]
        more, after = page["has_more"], page["last_id"]
    assert len(seen) == len(set(seen))
    assert mine <= set(seen)
    assert seen == [file.id for file in client.files.list(limit=10000)]
    oldest_first = http.get("/v1/files", params={"order": "asc"}).json()["data"]
    assert [file["id"] for file in oldest_first] == seen[::-1]


def test_a_file_that_a_job_waits_for_cannot_be_deleted(http: httpx.Client, create, image_file: str) -> None:
    job = create().json()
    answer = http.delete(f"/v1/files/{image_file}")
    refused(answer, 409, "file_in_use")
    assert answer.headers["x-should-retry"] == "false"
    http.post(f"/v1/fine_tuning/jobs/{job['id']}/cancel")
    assert http.delete(f"/v1/files/{image_file}").status_code == 200
    refused(http.delete(f"/v1/files/{image_file}"), 404)
    refused(create(), 400, "file_not_found")
