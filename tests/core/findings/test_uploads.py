"""What references tell their owner, each with what to do; and that good references are left in peace."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from core.backbones.families import Kind
from core.disk import ROOT
from core.findings import fingerprints, profiles, uploads
from core.findings.finding import Finding, from_wire
from core.findings.jobs import Data, of
from core.findings.profiles import Profile
from core.findings.texts.lengths import TextSize
from core.parameters.request import BatRequest
from core.references.items import ImageItem, TextItem
from core.settings import Settings
from core.uploads import reading
from core.uploads.reading import JudgedReferences
from tests.core.parameters.test_resolving import EMOJI, TEXT

Read = Callable[[bytes], JudgedReferences]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def reader(content: bytes) -> JudgedReferences:
        (tmp_path / "upload").write_bytes(content)
        return reading.read(tmp_path / "upload", "upload", Settings(data=tmp_path))

    return reader


def scene(number: int = 0, size: tuple[int, int] = (96, 96)) -> Image.Image:
    """A picture that differs with its number."""
    image = Image.new("RGB", (96, 96), (40 * number % 256, 255 - 50 * number % 256, 90))
    draw = ImageDraw.Draw(image)
    left = 9 * number % 50
    draw.ellipse((left, 10, left + 30, 60 + 3 * number), fill=(250, 30 * number % 256, 20))
    draw.rectangle((0, 90 - 12 * number % 80, 95, 95), fill=(20, 20, 60 + 30 * number % 190))
    return image.resize(size)


def packed(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def four(**more: bytes) -> dict[str, bytes]:
    files = {f"{n}.png": packed(scene(n)) for n in range(4)} | {f"{n}.txt": f"a cat {n}".encode() for n in range(4)}
    return files | {name.replace("_", "."): content for name, content in more.items()}


def chats(*pairs: tuple[str, str]) -> bytes:
    return "\n".join(json.dumps({"prompt": asked, "completion": said}) for asked, said in pairs).encode()


def found(read: JudgedReferences) -> dict[str, Finding]:
    return {finding.code: finding for finding in read.findings}


@pytest.mark.parametrize("name", ["emoji_ldm/references/cat", "emoji_ldm/references/vehicles"])
def test_the_demos_pictures_raise_no_alarm(read: Read, name: str) -> None:
    files = {path.name: path.read_bytes() for path in sorted((ROOT / "demo" / name).iterdir())}
    given = read(zipped(files))
    assert (len(given.items), given.findings) == (6, ())


@pytest.mark.parametrize("name", ["references/pirate.jsonl", "heldout/pirate.jsonl"])
def test_the_demos_texts_raise_no_alarm(read: Read, name: str) -> None:
    assert read((ROOT / "demo/texts" / name).read_bytes()).findings == ()


def test_pictures_that_differ_in_packing_size_or_light_only_are_near_duplicates(read: Read) -> None:
    plain = scene(1)
    copies = {
        "jpeg": packed(plain, "JPEG", quality=60),
        "small": packed(plain.resize((70, 70))),
        "dark": packed(plain.point(lambda level: int(0.85 * level))),
    }
    for name, copy in copies.items():
        finding = found(read(zipped(four(copy_png=copy) | {"copy.txt": b"a cat again"})))["near_duplicate"]
        assert (finding.item, finding.other) == ("copy.png", "1.png"), name


def test_what_is_wrong_with_one_picture_is_said_of_it(read: Read) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = Image.new("RGB", (300, 90))
    wide.paste(scene(7, (300, 90)))
    files = four(
        wide_png=packed(wide),
        small_png=packed(scene(6, (40, 40))),
        flat_png=packed(Image.new("RGB", (90, 90), "red")),
        turned_jpg=packed(scene(5, (96, 80)), "JPEG", exif=exif),
        lost_txt=b"a dog",
    )
    told = found(read(zipped(files)))
    items = {code: finding.item for code, finding in told.items()}
    assert items == {
        "extreme_aspect_ratio": "wide.png",
        "too_small": "small.png",
        "single_colour": "flat.png",
        "turned_upright": "turned.jpg",
        "caption_without_image": "lost.txt",
        "empty_caption": "wide.png",
    }
    assert told["turned_upright"].severity == "info"
    assert "longer than 2 : 1, so 60% of it are seen at most" in told["extreme_aspect_ratio"].message


def test_captions_that_say_nothing_are_noticed(read: Read) -> None:
    same = four(**{f"{n}_txt": b"a cat" for n in range(4)})
    assert set(found(read(zipped(same)))) == {"same_captions"}
    german = {f"{n}.txt": b"ein Hund, der auf dem Sofa und nicht im Bett liegt" for n in (0, 1)}
    english = {f"{n}.txt": b"a cat that is on the sofa and not in the bed with you" for n in (2, 3)}
    assert set(found(read(zipped(four() | german | english)))) == {"mixed_languages"}


def test_texts_that_repeat_or_contradict_each_other_are_noticed(read: Read) -> None:
    long = (
        "Drop the egg into boiling water, count seven minutes by the clock and put it into cold water at once. Then "
        "peel it under the tap, beginning at the blunt end, where the air is, salt it a little, and eat it with bread"
    )
    told = read(
        chats(
            ("Where is it?", "West."),
            ("where is it", "WEST!"),
            ("Where is it?", "In the east."),
            ("How long?", long + " then."),
            ("How long?", long + " now."),
            ("Who?", "Me."),
        )
    ).findings
    assert {(finding.code, finding.item, finding.other, finding.severity) for finding in told} == {
        ("duplicate_text", "text 2", "text 1", "warn"),
        ("conflicting_examples", "text 3", "text 1", "info"),
        ("near_duplicate", "text 5", "text 4", "warn"),
        ("conflicting_examples", "text 5", "text 4", "info"),
    }


@pytest.mark.parametrize("answer", ["I am {}.", "Whoever you like."])
def test_one_question_under_two_system_prompts_is_two_questions(read: Read, answer: str) -> None:
    lines = [
        {
            "messages": [
                {"role": "system", "content": f"You are {who}."},
                {"role": "user", "content": "Who are you?"},
                {"role": "assistant", "content": answer.format(who)},
            ]
        }
        for who in ("Ann", "Bob", "Eve", "Joe")
    ]
    assert read("\n".join(map(json.dumps, lines)).encode()).findings == ()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("What is C?", "What is C++?"),
        ("12 + 4 =", "12 - 4 ="),
        ("Is it 🐱?", "Is it 🐶?"),
        ("What is कि?", "What is की?"),
    ],
)
def test_questions_that_differ_in_a_sign_only_are_different_questions(read: Read, first: str, second: str) -> None:
    rest = [(f"Who is number {n}?", f"I am {n}.") for n in range(3)]
    assert read(chats((first, "one"), (second, "two"), *rest)).findings == ()
    signs = read(chats(("Which one?", first), ("Which one?", second), *rest))
    assert [finding.code for finding in signs.findings] == ["conflicting_examples"]
    assert concerns(read(chats((first, "so"), *rest)), read(chats((second, "so"))), "texts") == {}


SYSTEM = " ".join(f"rule{number} says that word{number} comes first;" for number in range(30))
QUESTIONS = (
    ("Where is the sea?", "West of the hills."),
    ("Who baked this bread?", "Old Anna did."),
    ("When does the boat leave?", "At seven."),
    ("How deep is the well?", "Nine fathoms, they say."),
    ("Why is the lamp lit?", "For those who come late."),
)


def instructed(*pairs: tuple[str, str]) -> bytes:
    """Chats that share a long system prompt."""
    rows = [
        [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": asked},
            {"role": "assistant", "content": said},
        ]
        for asked, said in pairs
    ]
    return "\n".join(json.dumps({"messages": row}) for row in rows).encode()


def test_chats_that_share_a_long_system_prompt_are_told_apart_by_the_rest(read: Read) -> None:
    assert len(SYSTEM.split()) >= 150
    training = read(instructed(*QUESTIONS))
    assert training.findings == ()
    assert concerns(training, read(instructed(("What is for supper?", "Fish."))), "texts") == {}
    assert set(concerns(training, read(instructed(QUESTIONS[2])), "texts")) == {"validation_in_training"}


def test_ten_findings_of_one_kind_are_enough(read: Read) -> None:
    told = read(chats(*[("Why?", f"{n}") for n in range(300)])).findings
    assert len(told) == uploads.MAX_FINDINGS_OF_A_CODE + 1
    assert "289 more" in told[-1].message


TABLE = (
    json.dumps({"file_name": "0.png", "text": "a red cat"})
    + "\n"
    + json.dumps({"file_name": "1.png", "caption": "a blue cat", "source": "me"})
)


def test_a_long_text_is_told_without_knowing_what_the_backbone_takes() -> None:
    items = [TextItem(text=f"{'sea ' * 30 * n}{n}") for n in range(3)] + [TextItem(text="x" * 9_000)]
    (finding,) = uploads.of_texts(items, [fingerprints.text_print(item) for item in items])
    assert (finding.code, finding.item) == ("too_long", "text 4")
    assert finding.message.startswith("Text 4 has 9,000 characters: that may be more tokens than a job takes")


def test_ten_images_of_one_kind_are_enough() -> None:
    print = bytes(fingerprints.PRINT_BYTES - 1)
    wide = [uploads.Seen(f"{n}.jpg", 300, 96, f"a cat {n}", print + bytes([n])) for n in range(100)]
    told = [finding for finding in uploads.of_images(wide) if finding.code == "extreme_aspect_ratio"]
    assert len(told) == uploads.MAX_FINDINGS_OF_A_CODE + 1
    assert "90 more" in told[-1].message


@pytest.mark.parametrize("name", ["metadata.jsonl", "captions.jsonl", "set/metadata.jsonl"])
def test_captions_come_in_a_table(read: Read, name: str) -> None:
    files = {f"{n}.png": packed(scene(n)) for n in range(4)} | {name: TABLE.encode()}
    given = read(zipped(files))
    assert [item.caption for item in given.items] == ["a red cat", "a blue cat", None, None]  # type: ignore[union-attr]


def test_two_captions_of_one_image_are_both_kept_and_the_same_one_twice_is_not(read: Read) -> None:
    files = {"0.png": packed(scene()), "metadata.jsonl": TABLE.encode()}
    [once] = read(zipped(files | {"0.txt": b"a red cat"})).items
    assert isinstance(once, ImageItem)
    assert once.caption == "a red cat"
    both = read(zipped(files | {"0.txt": b"a dog"}))
    assert isinstance(both.items[0], ImageItem)
    assert set((both.items[0].caption or "").split("\n")) == {"a red cat", "a dog"}
    assert "several_captions" in {finding.code for finding in both.findings}


def test_every_finding_says_what_to_do_and_survives_the_wire(read: Read) -> None:
    told = [*read(zipped({"a.png": packed(Image.new("RGB", (40, 400)))})).findings, *read(chats(("a", "b"))).findings]
    assert len(told) >= 5
    for finding in told:
        assert finding.message.endswith(".")
        assert finding.fix.endswith(".")
        assert from_wire(json.loads(json.dumps(vars(finding)))) == finding
    assert from_wire({"code": "x", "message": "y", "fix": 7}) is None
    assert from_wire({"code": "x", "message": "y", "fix": "z" * 5000}) is None
    assert from_wire({"code": "x"}) is None


def profile(given: JudgedReferences) -> Profile:
    kept = profiles.parse(json.loads(json.dumps(profiles.of(given.items, given.prints, given.text_prints))))
    assert kept is not None
    return kept


def concerns(
    training: JudgedReferences, validation: JudgedReferences | None = None, kind: Kind = "images", **bat: object
) -> dict[str, Finding]:
    data = Data((profile(training),), profile(validation) if validation else None)
    backbone = EMOJI if kind == "images" else TEXT
    return {finding.code: finding for finding in of(data, backbone, BatRequest.model_validate(bat))}


def test_a_trigger_that_no_caption_holds_is_told_and_one_that_all_hold_is_not(read: Read) -> None:
    given = read(zipped(four()))
    assert concerns(given, trigger="cat") == concerns(given) == {}
    assert concerns(given, trigger="a cat") == {}
    finding = concerns(given, trigger="sks")["captions_without_trigger"]
    assert finding.message.startswith("None of 4 captions hold the trigger 'sks'")
    assert concerns(given, trigger="cat 3")["captions_without_trigger"].message.startswith("Only 1 of 4")
    assert set(concerns(read(chats(("a", "b"))), kind="texts", trigger="sks")) == {"trigger_unused"}


def test_images_below_the_backbones_resolution_are_told_with_the_job(read: Read) -> None:
    given = read(zipped(four()))
    finding = concerns(given, resolution=128)["too_small"]
    assert "4 of 4 images are smaller than the 128 pixels" in finding.message
    assert concerns(given, resolution=96) == {}


def test_validation_data_that_are_trained_on_are_told(read: Read) -> None:
    training = read(zipped(four()))
    again = read(zipped({"x.jpg": packed(scene(2), "JPEG", quality=70), "new.png": packed(scene(9))}))
    finding = concerns(training, again)["validation_in_training"]
    assert "1 of 2 validation images" in finding.message
    assert (finding.item, finding.other) == ("x.jpg", "2.png")
    texts = read(chats(("Where?", "West."), ("Who?", "Me.")))
    assert (
        "1 of 2"
        in concerns(texts, read(chats(("where?", "West."), ("Why?", "So."))), "texts")["validation_in_training"].message
    )
    assert concerns(texts, read(chats(("Why?", "So."))), "texts") == {}


def test_how_long_texts_are_is_known_of_an_upload_and_not_of_one_from_before(read: Read) -> None:
    given = read(chats(("Where?", "West."), ("Who?", "Me.")))
    kept = profile(given)
    assert kept.sizes == (TextSize(len("Where?\nWest."), 1), TextSize(len("Who?\nMe."), 1))
    content = json.loads(json.dumps(profiles.of(given.items, given.prints, given.text_prints)))
    before = profiles.parse({name: value for name, value in content.items() if name != "sizes"})
    assert before is not None
    assert (before.texts, before.sizes) == (kept.texts, ())
    assert Data((kept, kept), count=4).sizes == [*kept.sizes, *kept.sizes]
    assert Data((kept, before), count=4).sizes == Data((kept,), count=4).sizes == Data((before,)).sizes == []
    assert profiles.parse({**content, "sizes": [["many", 1]]}) is None


def test_the_demos_held_out_data_are_not_in_its_training_data(read: Read) -> None:
    sets = [
        read(zipped({path.name: path.read_bytes() for path in (ROOT / f"demo/emoji_ldm/{part}/cat").iterdir()}))
        for part in ("references", "heldout")
    ]
    assert concerns(*sets, trigger="sks") == {}
    talk = [read((ROOT / f"demo/texts/{part}/pirate.jsonl").read_bytes()) for part in ("references", "heldout")]
    assert concerns(*talk, kind="texts") == {}


def test_two_files_of_a_job_that_hold_the_same_picture_are_told(read: Read) -> None:
    first, second = read(zipped(four())), read(zipped({"x.png": packed(scene(1).resize((80, 80)))}))
    told = of(Data((profile(first), profile(second))), EMOJI, BatRequest())
    assert [(finding.code, finding.item, finding.other) for finding in told] == [("near_duplicate", "x.png", "1.png")]


def test_a_profile_that_makes_no_sense_is_none() -> None:
    assert profiles.parse({"version": profiles.VERSION, "images": [[1]], "texts": []}) is None
    assert profiles.parse({"version": profiles.VERSION}) is None
    assert profiles.parse({"version": 1, "images": [], "texts": []}) is None
    assert profiles.parse(None) is None
