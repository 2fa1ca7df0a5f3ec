"""What callers are told where something is wrong: plain words that name the place and never repeat a value."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable

import httpx
import openai
import pytest

from tests.api.server import Service, png, refused

# What is checked here never reaches a database, so one is enough.
pytestmark = pytest.mark.parametrize("service", ["sqlite"], indirect=True, scope="module")
JOBS = "/v1/fine_tuning/jobs"
SECRET = "do-not-repeat-me"
EPOCHS = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": -1}}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"bat": {"trigger": "x" * 41}}, "bat.trigger: must be at most 40 characters long."),
        ({"bat": {"trigger": ""}}, "bat.trigger: must not be empty."),
        ({"bat": {"trigger": " x"}}, "bat.trigger: must be one line that neither begins nor ends with a space."),
        ({"bat": {"trigger": "\u200b"}}, "bat.trigger: must hold something that can be seen."),
        ({"bat": {"sample_prompts": ["x" * 2001]}}, "bat.sample_prompts.0: must be at most 2000 characters long."),
        ({"bat": {"sample_prompts": ["x"] * 9}}, "bat.sample_prompts: must be a list of at most 8 entries."),
        ({"bat": {"pool": "x" * 65}}, "bat.pool: must be at most 64 characters long."),
        ({"bat": {"rank": 257}}, 'bat.rank: must be "auto" or a number of at most 256.'),
        ({"bat": {"gamma": SECRET}}, 'bat.gamma: must be "auto", "natural" or a number.'),
        ({"bat": {"preset": "A"}}, "bat.preset: must be the name of a preset: 1 to 40 of a-z 0-9 -, a letter first."),
        (
            {"suffix": "x" * 65},
            "suffix: must be 1 to 64 of A-Z a-z 0-9 . _ -, a letter or digit first: change the suffix or leave it out.",
        ),
        ({"metadata": {"k": "x" * 513}}, "metadata.k: must be at most 512 characters long."),
        (
            {"metadata": {"k" * 65: "x"}},
            "metadata.(a key of 65 characters): the key must be at most 64 characters long.",
        ),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata: must be an object of at most 16 entries."),
        ({"hyperparameters": {"n_epochs": SECRET}}, 'hyperparameters.n_epochs: must be "auto" or a whole number.'),
        (
            {"hyperparameters": {"n_epochs": -1}},
            'hyperparameters.n_epochs: must be "auto" or a number of at least 1 ("auto" leaves it to the service; -1 '
            "does not).",
        ),
        (
            {"method": EPOCHS},
            'method.supervised.hyperparameters.n_epochs: must be "auto" or a number of at least 1 ("auto" leaves it '
            "to the service; -1 does not).",
        ),
        ({"n_epochs": 3}, "n_epochs: this parameter is not known (did you mean hyperparameters.n_epochs?)."),
        ({"bat": {"n_epoch": 3}}, "bat.n_epoch: this parameter is not known (did you mean hyperparameters.n_epochs?)."),
        ({"rank": 3}, "rank: this parameter is not known (did you mean bat.rank?)."),
        ({"trust_remote_code": True}, "trust_remote_code: this parameter is not known."),
        ({SECRET * 2: True}, "(a key of 32 characters): this parameter is not known."),
        ({"model": None}, "model: this parameter is required."),
        ({"bat": 7}, "bat: must be a JSON object."),
    ],
)
def test_what_is_wrong_is_said_in_plain_words(http: httpx.Client, content: dict[str, object], message: str) -> None:
    answer = http.post(JOBS, json={"model": "tiny-images", "training_file": "file-x", **content})
    assert refused(answer, 400, "invalid_parameter")["message"] == message


def test_a_body_that_is_no_object_is_said_to_be_none(http: httpx.Client) -> None:
    error = refused(http.post(JOBS, json=[]), 400, "invalid_parameter")
    assert (error["message"], error["param"]) == ("The body must be a JSON object.", None)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=0", "limit: must be a number of at least 1."),
        ("limit=ten", "limit: must be a whole number."),
        ("order=up", 'order: must be "asc" or "desc".'),
        ("after=%00", "after: must be an id, which is ASCII without spaces."),
        ("after=", "after: must be an id, which is ASCII without spaces."),
        (f"purpose={'x' * 65}", "purpose: must be at most 64 characters long."),
    ],
)
def test_a_query_is_answered_in_the_same_words(http: httpx.Client, query: str, message: str) -> None:
    assert refused(http.get(f"/v1/files?{query}"), 400, "invalid_parameter")["message"] == message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"model": "a", "seed": 1, "model": "b"}', "an object in it has the same key twice: model."),
        (b'{"bat": {"sample_prompts": ["a", "b\\u0007"]}}', "bat.sample_prompts.1 holds control characters"),
        (b'{"metadata": {"a\\u0000": "b"}}', "a key in metadata holds control characters"),
        (b'{"a\\u0000": "b"}', "a key in it holds control characters"),
        (b'"\\u0000"', ": it holds control characters"),
    ],
)
def test_json_that_is_not_taken_says_where(http: httpx.Client, body: bytes, words: str) -> None:
    answer = http.post(JOBS, content=body, headers={"Content-Type": "application/json"})
    assert words in refused(answer, 400, "invalid_json")["message"]


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, "Send your API key as `Authorization: Bearer alb_...`."),
        ({"api-key": SECRET}, "the header api-key is not read"),
        ({"X-API-Key": SECRET}, "the header x-api-key is not read"),
        ({"Authorization": SECRET}, "without the word Bearer and a key behind it"),
        ({"Authorization": "Bearer"}, "without the word Bearer and a key behind it"),
        ({"Authorization": f"Basic {SECRET}", "api-key": SECRET}, "without the word Bearer"),
    ],
)
def test_a_key_in_another_place_is_told_where_it_belongs(service: Service, headers: dict[str, str], words: str) -> None:
    answer = httpx.get(f"{service.address}/v1/files", headers=headers)
    message = refused(answer, 401, "missing_api_key")["message"]
    assert words in message
    assert "Authorization: Bearer" in message
    assert SECRET not in answer.text
    assert ("not read" in message) == (words.endswith("not read"))


def test_a_fine_tuned_model_is_no_backbone_and_that_is_said_of_no_other_name(
    create: Callable[..., httpx.Response],
) -> None:
    error = refused(create(model="ft:gpt-4o-mini-2024-07-18:acme::abc"), 400, "model_not_found")
    assert "training starts from a backbone, never from one of them" in error["message"]
    assert "Known: emoji-flow, emoji-ldm, tiny-images, tiny-texts" in error["message"]
    assert "fine-tuned" not in refused(create(model="gpt-4o-mini"), 400, "model_not_found")["message"]


@pytest.mark.parametrize("purpose", ["assistants", "batch", "vision", "user_data"])
def test_another_purpose_is_told_the_one_that_is_served(http: httpx.Client, purpose: str) -> None:
    answer = http.post("/v1/files", files={"file": ("a.png", png())}, data={"purpose": purpose})
    message = refused(answer, 400, "invalid_purpose")["message"]
    assert message == "Send the form field purpose with the value fine-tune, the only one that is served."


@pytest.mark.parametrize(
    ("name", "words", "param"),
    [
        ("purpos", "The form field purpos is not known (did you mean purpose?); send file, purpose", "purpos"),
        ("expires_after", "The form field expires_after is not known", "expires_after"),
        ("trust", "The form field trust is not known; send file", "trust"),
        ("x" * 40, "A form field is not known; send file", None),
        (SECRET, "A form field is not known; send file", None),
    ],
)
def test_a_form_field_that_is_not_known_is_named(http: httpx.Client, name: str, words: str, param: str | None) -> None:
    answer = http.post("/v1/files", files={"file": ("a.png", png())}, data={name: "1", "purpose": "fine-tune"})
    error = refused(answer, 400, "unknown_parameter")
    assert error["message"].startswith(words)
    assert error["param"] == param


def test_a_form_field_that_comes_twice_or_is_too_long_is_named(http: httpx.Client) -> None:
    twice = http.post("/v1/files", files={"file": ("a.png", png())}, data={"purpose": ["fine-tune"] * 2})
    assert refused(twice, 400, "repeated_parameter")["message"] == "The form field purpose was sent twice."
    long = http.post("/v1/files", files={"file": ("a.png", png())}, data={"purpose": "x" * 1001})
    assert refused(long, 400, "invalid_form")["message"] == "The form field purpose has more than 1,000 bytes."


def huge_png() -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def zipped(**entries: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name.replace("_", "."), content)
    return buffer.getvalue()


CONTENTS = {
    "too many pixels": huge_png(),
    "too many entries": zipped(**{f"{n}_txt": b"" for n in range(500)}),
    "an archive that inflates too far": zipped(a_png=b"\0" * 50_000_000),
    "a line that is too long": b'{"text": "' + b"a" * 1_500_000 + b'"}\n',
    "no kind that is taken": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "nothing": b"",
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_what_was_read_and_can_not_be_used_is_what_scripts_except(client: openai.OpenAI, content: bytes) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.files.create(file=("a.bin", content), purpose="fine-tune")
    assert caught.value.status_code == 400


def test_what_was_not_read_at_all_keeps_the_status_of_its_transport(http: httpx.Client, client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.files.create(file=("a.bin", b"\0" * 3_000_000), purpose="fine-tune")
    assert caught.value.status_code == 413
    refused(http.post("/v1/files", content=b"a", headers={"Content-Type": "text/csv"}), 415, "unsupported_media")
    kind = {"Content-Type": "multipart/form-data; boundary=x", "Content-Encoding": "gzip"}
    refused(http.post("/v1/files", content=b"a", headers=kind), 415, "unsupported_encoding")


def test_null_makes_no_other_request_of_it(create: Callable[..., httpx.Response]) -> None:
    key = {"Idempotency-Key": "with-and-without-null"}
    nulls = {"hyperparameters": {"batch_size": None}, "bat": {"rank": None}, "suffix": None, "seed": None}
    first = create(key, hyperparameters={}, bat={}, metadata={"a": "b"}).json()
    again = create(key, **nulls, metadata={"a": "b", "c": None}).json()
    assert again["id"] == first["id"]
    assert (again["metadata"], again["bat"]["request"]) == ({"a": "b"}, {})


def test_a_file_that_is_not_there_or_is_named_twice_is_called_by_its_place(
    create: Callable[..., httpx.Response], image_file: str
) -> None:
    words = "names no file of this account; upload the file first."
    assert refused(create(training_file="file-x"), 400)["message"] == f"training_file {words}"
    assert refused(create(validation_file="file-x"), 400)["message"] == f"validation_file {words}"
    assert refused(create(bat={"training_files": ["file-x"]}), 400)["message"] == f"bat.training_files {words}"
    twice = refused(create(bat={"training_files": [image_file]}), 400, "repeated_file")
    assert twice["message"] == "training_file and bat.training_files name the same file twice; name each once."


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([{"id": "item-1", "caption": "x"}, {"id": "item-99", "caption": "x"}], "items.1 names no image of this file."),
        (
            [{"id": "item-1", "caption": "x"}, {"id": "item-1", "caption": "y"}],
            "items.1 names an image that an earlier entry of items names too.",
        ),
        ([{"caption": "x"}], "items.0: name the image by id or by filename."),
        ([{"id": None, "filename": None, "caption": "x"}], "items.0: name the image by id or by filename."),
        (
            [{"id": "item-1", "captions": "x"}],
            "items.0.captions: this parameter is not known (did you mean items.0.caption?)",
        ),
        ([], "items: must not be empty."),
    ],
)
def test_new_captions_that_are_not_taken_are_called_by_their_place(
    http: httpx.Client, image_file: str, items: list[dict[str, str]], message: str
) -> None:
    assert message in refused(http.post(f"/v1/files/{image_file}/items", json={"items": items}), 400)["message"]


@pytest.mark.parametrize(
    ("bat", "message"),
    [
        ({"resolution": 512}, "Texts have no resolution; leave bat.resolution out."),
        ({"dropout_caption": 0.1}, "Texts have no captions; leave bat.dropout_caption out."),
        ({"min_snr": 5}, "Texts are learned without noise; leave bat.min_snr out."),
        ({"caption": "colours"}, "Texts have no captions; leave bat.caption out."),
        (
            {"pool": "emoji"},
            "The backbone tiny-texts has no such candidate pool; leave bat.pool out, or say auto or generate.",
        ),
    ],
)
def test_what_texts_do_not_have_is_named(
    create: Callable[..., httpx.Response], text_file: str, bat: dict[str, object], message: str
) -> None:
    answer = create(model="tiny-texts", training_file=text_file, bat=bat)
    assert refused(answer, 400, "contradiction")["message"] == message
