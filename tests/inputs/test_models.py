"""C85 to C93: backbones that are not offered, and weights, which nobody may upload."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from functools import partial

import pytest

from tests.api.server import png
from tests.inputs.catalogue import FILES, Answer, Case, Scene, job, post_job, table, upload
from tests.inputs.files import zipped

MODELS = [
    "stabilityai/stable-diffusion-xl-base-1.0",
    "/etc/passwd/of-the-service",
    "https://evil.example/model-to-take",
    "../tiny-images/../tiny-images",
    "file:///etc/passwd-of-the-service",
    "tiny-images\n",
    "TINY-IMAGES",
    "__proto__",
]


def unknown(field: str, value: str = '"do-not-repeat-me"') -> Case:
    send = post_job(f'{{"model": "tiny-images", "training_file": "file-x", "{field}": {value}}}'.encode())
    return Case("C86", field, send, 400, "invalid_parameter")


BACKBONES = [
    *(Case("C85", repr(name), job(model=name), 400, "model_not_found", secret=name) for name in MODELS[:5]),
    *(Case("C85", repr(name), job(model=name), 400, "model_not_found") for name in MODELS[5:]),
    Case("C85", "nothing", job(model=""), 400, "invalid_parameter"),
    unknown("trust_remote_code", "true"),
    unknown("custom_pipeline"),
    unknown("revision"),
    unknown("base_model"),
    unknown("bat", '{"trust_remote_code": true}'),
]
BESIDE = {"pipeline.py": b"import os", "model_index.json": b"{}", "unet/config.json": b"{}", "x.pt": b"\x80\4"}


@table(BACKBONES)
def test_backbones_that_are_not_offered(scene: Scene, case: Case) -> None:
    case.check(scene)


@pytest.mark.parametrize("name", BESIDE)
def test_c86_code_and_models_beside_images_are_passed_over_and_nothing_of_them_is_kept(scene: Scene, name: str) -> None:
    answer = Case("C86", name, upload(zipped({"a.png": png(), name: BESIDE[name]})), 200).check(scene)
    assert name in json.dumps(answer.json()["bat"]["findings"])
    kept = scene.send("GET", f"{FILES}/{answer.json()['id']}/content")
    with zipfile.ZipFile(io.BytesIO(kept.body)) as archive:
        assert archive.namelist() == ["001-a.png"]


def safetensors(header: object, tensors: bytes = b"", length: int | None = None) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + tensors


def tensor(start: int = 0, end: int = 4, **changes: object) -> dict[str, object]:
    return {"dtype": "F32", "shape": [1], "data_offsets": [start, end], **changes}


def torch_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": 1}))
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


NAME = "unet.to_q.lora_A.weight"
# made when they are sent, for some are large
WEIGHTS: list[tuple[str, str, Callable[[], bytes]]] = [
    ("C88", "a header of 2**63 bytes", lambda: safetensors({}, length=2**63)),
    ("C88", "200 MB", lambda: safetensors({NAME: tensor(0, 200_000_000)}, b"\0" * 200_000_000)),
    ("C88", "7 bytes", lambda: b"\x07\0\0\0\0\0\0"),
    ("C89", "a hole", lambda: safetensors({NAME: tensor(4, 8)}, b"\0" * 8)),
    ("C89", "an overlap", lambda: safetensors({NAME: tensor(), f"{NAME}2": tensor(2, 6)}, b"\0" * 6)),
    ("C89", "a tail", lambda: safetensors({NAME: tensor()}, b"\0" * 9)),
    ("C89", "a shape that overflows", lambda: safetensors({NAME: tensor(shape=[2**62, 2**62])}, b"\0" * 4)),
    ("C90", "500,000 tensors", lambda: safetensors({f"{n}": tensor() for n in range(500_000)}, b"\0" * 4)),
    (
        "C91",
        "names that lead elsewhere",
        lambda: safetensors({"../../etc": tensor(), "__proto__": tensor()}, b"\0" * 4),
    ),
    ("C91", "a name of 10 kB", lambda: safetensors({"x" * 10_000: tensor()}, b"\0" * 4)),
    ("C92", "weights that are no numbers", lambda: safetensors({NAME: tensor()}, struct.pack("<f", float("nan")))),
    (
        "C93",
        "1 MB about itself",
        lambda: safetensors({"__metadata__": {"a": "<b>" * 333_333}, NAME: tensor()}, b"\0" * 4),
    ),
]


def _sent(content: Callable[[], bytes], scene: Scene) -> Answer:
    return scene.upload(content(), "lora.safetensors")


ADAPTERS = [
    Case("C87", "a pickle", upload(pickle.dumps({"a": 1}), "adapter.pkl"), 400, "unsupported_media"),
    *(
        Case("C87", f"weights of torch as {kind}", upload(torch_zip(), f"adapter{kind}"), 400, "unsupported_media")
        for kind in (".pt", ".bin", ".ckpt")
    ),
    *(
        Case(
            number,
            what,
            partial(_sent, content),
            400,
            "unsupported_media",
            why="weights are never taken, whatever they hold",
        )
        for number, what, content in WEIGHTS
    ),
]


@pytest.mark.slow
@table(ADAPTERS)
def test_weights_that_are_uploaded(scene: Scene, case: Case) -> None:
    case.check(scene)
