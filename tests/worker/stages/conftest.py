"""Jobs on tiny backbones of the true classes, with a pool of twenty candidates."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from core.backbones.record import BackboneRecord, describe
from core.parameters import summary
from core.parameters.request import BatRequest
from core.parameters.resolving import resolve
from core.references import captions
from core.references.packing import write_folder
from core.settings import Settings
from core.uploads.reading import read
from tests.tiny_backbones import LLAMA_TARGETS, UNET_TARGETS
from worker.job_folder import JobFolder
from worker.protocol import Line
from worker.stages import run
from worker.supervision import inputs

QUICK = {
    "max_steps": 8,
    "surrogate_steps": 6,
    "rank": 2,
    "sample_ratio": 1.0,
    "selected_count": 4,
    "window": 2,
    "interval": 1,
}
CANDIDATES, POOL = 20, 23
MakeJob = Callable[..., JobFolder]


def picture(number: int) -> bytes:
    image = Image.new("RGB", (32, 32), (20 * number % 256, 255 - 30 * number % 256, 90))
    draw = ImageDraw.Draw(image)
    draw.ellipse((number % 9, 3, 20 + number % 9, 25), fill=(250, 40 * number % 256, 10))
    draw.line((3 * number % 32, 0, 31 - 11 * number % 32, 31), "white", 4)  # so that no two are kin
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def make_image_job(tiny_diffusion_folder: Path, tmp_path: Path) -> MakeJob:
    return image_jobs(tiny_diffusion_folder, tmp_path)


@pytest.fixture(scope="module")
def finished_image_job(
    tiny_diffusion_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[JobFolder, list[Line]]:
    """A job that has run to its end, only to be read, and all that it said."""
    folder = image_jobs(tiny_diffusion_folder, tmp_path_factory.mktemp("finished"))()
    return folder, list(run(folder))


@pytest.fixture
def make_lined_job(tiny_diffusion_folder: Path, tmp_path: Path) -> MakeJob:
    """Jobs whose captions have one, two, three and four lines."""
    return image_jobs(tiny_diffusion_folder, tmp_path, lambda n: "\n".join(f"cat {n} {line}" for line in range(n + 1)))


@pytest.fixture
def make_text_job(tiny_language_folder: Path, tmp_path: Path) -> MakeJob:
    return text_jobs(tiny_language_folder, tmp_path)


def image_jobs(backbone: Path, place: Path, caption: Callable[[int], str] = "cat {}".format) -> MakeJob:
    packed = place / "cat.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(4):
            archive.writestr(f"{number}.png", picture(number))
            archive.writestr(f"{number}.txt", caption(number))
    return maker(image_record(backbone, place), packed, place)


def text_jobs(backbone: Path, place: Path, *, hub_name: str | None = None) -> MakeJob:
    rows = [
        {"id": f"t{n}", "text": f"some words number {n}.", "source": f"s{n % 2}", "licence": "CC0", "split": split(n)}
        for n in range(POOL)
    ]
    pool = place / "pool.jsonl"
    pool.write_text("\n".join(map(json.dumps, rows)))
    record = describe(
        "tiny",
        backbone,
        licence="CC0",
        pool=pool,
        target_modules=LLAMA_TARGETS,
        defaults={"learning_rate": 1e-2, "max_tokens": 40},
        hub_name=hub_name,
    )
    packed = place / "pirate.jsonl"
    packed.write_text("\n".join(json.dumps({"prompt": f"say {n}", "completion": f"arr {n}"}) for n in range(4)))
    return maker(record, packed, place)


def image_record(backbone: Path, place: Path) -> BackboneRecord:
    pool = place / "pool"
    pool.mkdir()
    with zipfile.ZipFile(pool / "images.zip", "w") as archive:
        for number in range(POOL):
            archive.writestr(f"{number}.png", picture(20 + number))
    rows = [
        {
            "id": f"c{n}",
            "file": f"{n}.png",
            "caption": f"thing {n}",
            "source": f"s{n % 2}",
            "licence": "CC0",
            "split": split(n),
        }
        for n in range(POOL)
    ]
    (pool / "index.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return describe(
        "tiny",
        backbone,
        licence="CC0",
        pool=pool,
        resolution=16,
        target_modules=UNET_TARGETS,
        defaults={"learning_rate": 1e-2, "sample_steps": 4},  # most of a tiny job's time is drawing
        trigger_hint="sks",
        unrelated_prompts=("a dog",),
    )


def split(number: int) -> str:
    return "probe" if number >= CANDIDATES else "candidate"


def maker(record: BackboneRecord, packed: Path, place: Path) -> MakeJob:
    settings = Settings(data=place / "data", min_image_side=8)

    def make(name: str = "job", **bat: object) -> JobFolder:
        request = BatRequest.model_validate(QUICK | bat)
        how: captions.CaptionLines = "draw" if request.caption_lines == "auto" else request.caption_lines
        own = read(packed, packed.name, settings)
        given = captions.captioned(own, record, request.trigger or record.trigger_hint, lines=how)
        parameters = resolve(
            request, None, backbone=record, summary=summary.summarise(given), device_class="cpu", seed=3
        )
        folder = JobFolder(place / name)
        folder.write_spec(inputs.specification(record, parameters, settings, None))
        write_folder(given, folder.references)
        return folder

    return make
