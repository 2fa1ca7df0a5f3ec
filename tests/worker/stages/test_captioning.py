"""Captions that a job makes where its owner wrote none, and what it says of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file

from core.backbones.record import read_record
from core.backbones.registry import BUILT_IN
from core.backbones.taggers import Taggers
from core.method.backbones.images import trigger_words
from core.parameters.request import BatRequest
from core.parameters.service_defaults import ServiceDefaults
from core.parameters.summary import summarise
from core.references.items import ImageItem, References
from core.references.packing import read_folder, write_folder
from core.settings import Settings
from core.uploads.reading import read
from tests.core.findings.test_uploads import zipped
from tests.worker.stages.conftest import QUICK, MakeJob, image_record, picture
from tests.worker.stages.test_taggers import blip
from worker.job_folder import JobFolder
from worker.protocol import Line, Message
from worker.stages import captioning
from worker.stages.context import Context
from worker.stages.prepare import prepare
from worker.stages.taggers import NAMED_COLOURS
from worker.supervision import inputs

Prepared = Callable[..., tuple[JobFolder, list[Line]]]


@pytest.fixture
def prepared(tiny_diffusion_folder: Path, tmp_path: Path) -> Prepared:
    """Three images, the second of which has a caption, through the first stage."""
    record = image_record(tiny_diffusion_folder, tmp_path)
    settings = Settings(data=tmp_path / "data", min_image_side=8)
    files = {f"{number}.png": picture(number) for number in range(3)} | {"1.txt": b"a sks dog"}
    (tmp_path / "a.zip").write_bytes(zipped(files))

    def run(tagger: Path | None = None, **bat: object) -> tuple[JobFolder, list[Line]]:
        if tagger is not None:
            Taggers.load(settings).add("tiny-blip", tagger, licence="CC0", max_tokens=5)
        given = read(tmp_path / "a.zip", "a.zip", settings)
        request = BatRequest.model_validate(QUICK | bat)
        defaults = ServiceDefaults.load(settings, "cpu")
        parameters = defaults.resolve(request, None, backbone=record, summary=summarise(given), seed=3)
        folder = JobFolder(tmp_path / "job")
        folder.write_spec(inputs.specification(record, parameters, settings, None))
        write_folder(inputs.caption_references(given, record, parameters), folder.references)
        return folder, list(prepare(Context(folder)))

    return run


def told(lines: list[Line], key: str) -> list[Message]:
    return [line for line in lines if isinstance(line, Message) and line.data and key in line.data]


def words(folder: JobFolder) -> dict[str, str]:
    rows = json.loads((folder.stage("prepare") / "references.json").read_text())
    return {row["name"]: row["words"] for row in rows}


def lined(folder: JobFolder, captions: list[str | None]) -> list[Line]:
    """Write other captions into a job's folder, as they are trained on, and prepare it."""
    read = read_folder(folder.references)
    items = (replace(item, caption=words) for item, words in zip(read.items, captions, strict=True))
    write_folder(References("images", tuple(items)), folder.references)
    return list(prepare(Context(folder)))


def test_every_line_is_encoded_and_files_of_before_hold_none(prepared: Prepared) -> None:
    folder, _ = prepared()
    file = folder.stage("prepare") / "references.safetensors"
    assert set(load_file(file)) == {"mean", "std", "text"}  # as before there were lines
    lined(folder, ["a cat, sks\na red cat, sks\ncat, sks", "a sks dog", "bird, sks\na bird, sks"])
    batch = load_file(file)
    assert batch["lines"].tolist() == [3, 1, 2]
    assert batch["others"].shape[:2] == (3, 2)
    assert words(folder)["2.png"] == "bird, sks\na bird, sks"


def test_a_line_that_is_too_long_is_told_and_one_that_only_all_lines_make_is_not(prepared: Prepared) -> None:
    folder, _ = prepared()
    long, short = "a cat that has more letters than are taken", "a small cat"
    assert told(lined(folder, [f"{short}\n{long}", short, short]), "finding")
    assert not told(lined(folder, ["\n".join([short] * 4), short, short]), "finding")


def test_images_without_a_caption_get_one_and_their_owner_is_told(prepared: Prepared) -> None:
    folder, lines = prepared(caption="colours")
    found = words(folder)
    assert found["1.png"] == "a sks dog"
    assert found["0.png"].startswith("a ")
    assert found["0.png"].endswith(" picture, sks")
    (message,) = told(lines, "captions")
    assert message.data == {"captions": {name: found[name] for name in ("0.png", "2.png")}, "tagger": "colours"}
    assert message.text.startswith("colours captioned 2 images that had no caption. 0.png: a ")


def test_images_of_one_name_each_get_their_own_caption(make_image_job: MakeJob) -> None:
    folder = make_image_job(caption="colours")
    rows = [json.loads(line) for line in (folder.references / "items.jsonl").read_text().splitlines()]
    for row, colour in zip(rows, ("red", "blue", "green", "yellow"), strict=True):
        row |= {"name": "cat.png", "caption": "sks"}
        Image.new("RGB", (32, 32), NAMED_COLOURS[colour]).save(folder.references / row["file"])
    (folder.references / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (message,) = told(list(prepare(Context(folder))), "captions")
    made = [row["words"] for row in json.loads((folder.stage("prepare") / "references.json").read_text())]
    assert made == [f"a {colour} picture, sks" for colour in ("red", "blue", "green", "yellow")]
    assert message.text.startswith("colours captioned 4 images")
    assert message.data is not None
    assert list(message.data["captions"]) == ["cat.png", "cat.png (2)", "cat.png (3)", "cat.png (4)"]
    assert list(message.data["captions"].values()) == made


def test_a_registered_model_captions_by_itself(prepared: Prepared, tmp_path: Path) -> None:
    folder, lines = prepared(blip(tmp_path / "blip"))
    spec = folder.spec()
    assert spec["parameters"]["caption"] == "tiny-blip"
    assert "2 images have no caption" in spec["parameters"]["reasons"]["caption"]
    (message,) = told(lines, "captions")
    assert message.data is not None
    assert set(message.data["captions"]) == {"0.png", "2.png"}
    assert all(caption.endswith("sks") for caption in message.data["captions"].values())
    assert words(folder)["1.png"] == "a sks dog"


def test_none_makes_none(prepared: Prepared, tmp_path: Path) -> None:
    folder, lines = prepared(blip(tmp_path / "blip"), caption="none")
    assert told(lines, "captions") == []
    assert words(folder) == {"0.png": "sks", "1.png": "a sks dog", "2.png": "sks"}


def test_a_caption_beyond_the_backbones_context_is_told_by_its_own_tokenizer(make_image_job: MakeJob) -> None:
    folder = make_image_job()
    rows = [json.loads(line) for line in (folder.references / "items.jsonl").read_text().splitlines()]
    rows[2]["caption"] = "sks " + "word " * 30
    (folder.references / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = told(list(prepare(Context(folder))), "finding")
    (message,) = [each for each in found if each.data and each.data.get("finding", {}).get("code") == "too_long"]
    assert message.level == "warn"
    assert message.data is not None
    finding = message.data["finding"]
    assert finding["item"] == "2.png"
    assert "1 of 4 captions have more than the 24 tokens" in finding["message"]


def emoji_job(folder: JobFolder, captions: list[str], **bat: object) -> tuple[Context, References]:
    """A job on the emoji backbone, whose trigger in front of captions is known to erase them."""
    record = read_record(BUILT_IN["emoji-ldm"]).model_copy(update={"pool": None})
    given = References("images", tuple(ImageItem(f"{n}.png", words, b"", 8, 8, "") for n, words in enumerate(captions)))
    defaults = ServiceDefaults.load(Settings(data=folder.path / "data"), "cpu")
    request = BatRequest.model_validate(bat)
    parameters = defaults.resolve(request, None, backbone=record, summary=summarise(given), seed=3)
    folder.write_spec(inputs.specification(record, parameters, Settings(data=folder.path / "data"), None))
    return Context(folder), inputs.caption_references(given, record, parameters)


FACES = ("bear face", "monkey face", "red apple")


def test_a_trigger_in_front_that_erases_what_captions_say_is_told_with_a_better_place(tmp_path: Path) -> None:
    context, given = emoji_job(JobFolder(tmp_path / "job"), [f"sks {words}" for words in FACES])
    (message,) = told(list(captioning.check_trigger(context, given)), "finding")
    assert message.level == "warn"
    assert message.data is not None
    finding = message.data["finding"]
    assert finding["code"] == "trigger_erases"
    said = re.fullmatch(
        r"Where it stands, the trigger 'sks' erases .* over 3 of them .* by (\d+)% of all .*", finding["message"]
    )
    assert said is not None
    assert int(said[1]) > 60
    better = re.fullmatch(
        r"Move it to the end of the captions, behind a comma: there it changes (.+)%\.", finding["fix"]
    )
    assert better is not None
    assert float(better[1]) < 5


def test_a_trigger_at_the_end_and_one_that_nobody_holds_are_not_told(tmp_path: Path) -> None:
    for number, (captions, bat) in enumerate(
        [
            (list(FACES), {}),
            ([f"{words}, zwx" for words in FACES], {"trigger": "zwx"}),
            (["", "sks"], {}),  # they say nothing else
            (list(FACES), {"preset": "style", "style_always": True}),
        ]
    ):
        context, given = emoji_job(JobFolder(tmp_path / f"job-{number}"), captions, **bat)
        assert list(captioning.check_trigger(context, given)) == []


def test_what_to_do_about_a_trigger_that_erases_follows_from_what_was_measured() -> None:
    better = trigger_words.Word("mjq", trigger_words.Change(0.004, 0.01))
    assert captioning.instead("sks", better) == (
        "Take 'mjq' for it, at the end of the captions and in bat.trigger: there it changes 0.4%."
    )
    assert "Move it to the end" in captioning.instead("mjq", better)
    assert captioning.instead("sks", None).startswith("No word that was tried at the end of the captions leaves them")


def test_captions_of_a_style_that_comes_always_get_no_trigger(prepared: Prepared) -> None:
    folder, lines = prepared(preset="style", style_always=True, caption="colours")
    found = words(folder)
    assert found["1.png"] == "a sks dog"
    assert found["0.png"].endswith(" picture")
    assert told(lines, "captions")


def test_a_text_beyond_the_backbones_context_is_told(make_text_job: MakeJob) -> None:
    assert told(list(prepare(Context(make_text_job("short")))), "finding") == []
    folder = make_text_job()
    rows = [json.loads(line) for line in (folder.references / "items.jsonl").read_text().splitlines()]
    rows[1]["completion"] = "arr " * 30
    (folder.references / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    messages = told(list(prepare(Context(folder))), "finding")
    assert [each.data["finding"]["item"] for each in messages if each.data] == ["text 2", "text 2"]
    assert "more than the 40 tokens" in messages[0].text
    assert "1 answer does not fit into the 40 tokens" in messages[1].text
