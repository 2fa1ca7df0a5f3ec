"""What was done to pictures, which of them are alike, and what became of the captions of copies."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageEnhance

from core.findings import fingerprints, profiles
from core.findings.finding import Finding
from core.findings.jobs import Data, of
from core.findings.pictures import cut_off
from core.findings.profiles import Profile
from core.parameters.request import BatRequest
from core.references import items
from core.references.items import ImageItem
from core.settings import Settings
from core.uploads import reading
from core.uploads.reading import JudgedReferences
from tests.core.parameters.test_resolving import EMOJI
from tests.core.references.files.icc import P3

Read = Callable[[Mapping[str, bytes]], JudgedReferences]
WHITE, RED, BLUE, GREEN, BLACK = (255, 255, 255), (210, 30, 30), (30, 60, 200), (20, 140, 40), (0, 0, 0)


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def reader(files: Mapping[str, bytes]) -> JudgedReferences:
        with zipfile.ZipFile(tmp_path / "upload", "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return reading.read(tmp_path / "upload", "upload", Settings(data=tmp_path, max_caption_characters=60))

    return reader


def packed(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def shape(colour: tuple[int, ...], ground: tuple[int, ...] = WHITE, mode: str = "RGB") -> Image.Image:
    image = Image.new(mode, (96, 96), ground)
    ImageDraw.Draw(image).ellipse((20, 20, 70, 76), fill=colour)
    return image


def landscape(number: int = 0) -> Image.Image:
    """A picture that differs with its number."""
    image = Image.new("RGB", (96, 96), (90, 160, 230))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 50 + 7 * number, 96, 96), fill=(60, 140, 50))
    draw.ellipse((10 + 20 * number, 8, 34 + 20 * number, 32), fill=(250, 230, 90))
    return image


def four() -> dict[str, bytes]:
    return {f"{n}.png": packed(landscape(n)) for n in range(4)}


def codes(judged: JudgedReferences) -> dict[str, Finding]:
    return {finding.code: finding for finding in judged.findings if finding.code != "empty_caption"}


def captions(judged: items.References) -> dict[str, str | None]:
    return {item.name: item.caption for item in judged.items if isinstance(item, ImageItem)}


def test_colours_that_were_converted_are_told_once_with_where_from(read: Read) -> None:
    more = {f"p{n}.png": packed(shape((9, 70 * n, 200)), icc_profile=P3.profile()) for n in range(2)}
    finding = codes(read(four() | more))["converted_to_srgb"]
    assert finding.message == ("2 pictures were converted to sRGB: p0.png (from Display P3), p1.png (from Display P3).")
    assert finding.severity == "info"
    assert codes(read(four())) == {}


def test_colours_that_are_not_known_are_told_with_the_reason(read: Read) -> None:
    inks = shape(RED).convert("CMYK")
    finding = codes(read(four() | {"x.jpg": packed(inks, "JPEG"), "y.png": packed(shape(BLUE), icc_profile=b"noise")}))
    assert "x.jpg (it is in CMYK without a colour profile)" in finding["colours_uncertain"].message
    assert "y.png (its colour profile is damaged)" in finding["colours_uncertain"].message
    assert finding["colours_uncertain"].severity == "warn"


def test_what_transparency_became_is_told_of_each(read: Read) -> None:
    clear = (0, 0, 0, 0)
    more = {"w.png": packed(shape((*WHITE, 255), clear, "RGBA")), "b.png": packed(shape((*BLACK, 255), clear, "RGBA"))}
    given = codes(read(four() | more))
    assert set(given) == {"transparency_filled"}
    assert "2 pictures" in given["transparency_filled"].message
    assert "w.png (grey), b.png (white)" in given["transparency_filled"].message


def test_a_picture_of_which_nothing_can_be_seen_is_named_once(read: Read) -> None:
    given = codes(read(four() | {"gone.png": packed(Image.new("RGBA", (90, 90)))}))
    assert set(given) == {"nothing_visible"}
    assert given["nothing_visible"].item == "gone.png"
    flat = codes(read(four() | {"flat.png": packed(Image.new("RGB", (90, 90), "white"))}))
    assert set(flat) == {"single_colour"}


@pytest.mark.slow
def test_what_was_scaled_down_is_told_with_both_sizes(read: Read) -> None:
    wide = packed(landscape().resize((9000, 5)).resize((9000, 4400), Image.Resampling.NEAREST), "JPEG")
    given = codes(read(four() | {"wide.jpg": wide}))
    assert "wide.jpg (9000 x 4400 to 8192 x 4004)" in given["scaled_down"].message


def test_other_colours_are_other_pictures(read: Read) -> None:
    shapes = {f"{n}.png": packed(shape(colour)) for n, colour in enumerate((RED, BLUE, GREEN, BLACK))}
    assert codes(read(shapes)) == {}


def test_day_and_night_are_two_pictures(read: Read) -> None:
    day = landscape()
    night = Image.merge(
        "RGB",
        [
            band.point(lambda level, share=share: int(share * level))
            for band, share in zip(day.split(), (0.35, 0.35, 0.5), strict=True)
        ],
    )  # type: ignore[misc]
    dim = day.point(lambda level: int(0.45 * level))
    assert codes(read(four() | {"night.png": packed(night)})) == {}
    assert codes(read(four() | {"dim.png": packed(dim)})) == {}


COPIES = {
    "half as large": packed(landscape().resize((48, 48)).resize((64, 64))),
    "a JPEG": packed(landscape(), "JPEG", quality=60),
    "a WebP": packed(landscape(), "WEBP", quality=50),
    "a little darker": packed(landscape().point(lambda level: int(0.85 * level))),
    "a little lighter": packed(landscape().point(lambda level: level + 5)),
    "of less contrast": packed(ImageEnhance.Contrast(landscape()).enhance(0.85)),
    "paler": packed(ImageEnhance.Color(landscape()).enhance(0.85)),
}


@pytest.mark.parametrize("what", COPIES)
def test_a_copy_is_still_found(read: Read, what: str) -> None:
    finding = codes(read(four() | {"copy.png": COPIES[what]}))["near_duplicate"]
    assert (finding.item, finding.other) == ("copy.png", "0.png")


def test_a_small_part_of_another_colour_is_seen() -> None:
    first, second = landscape(), landscape()
    ImageDraw.Draw(second).rectangle((60, 70, 72, 82), fill=(200, 70, 60))
    ImageDraw.Draw(first).rectangle((60, 70, 72, 82), fill=(70, 90, 250))
    prints = [reading.fingerprint(image) for image in (first, second)]
    assert [len(print) for print in prints] == [fingerprints.PRINT_BYTES] * 2
    assert not fingerprints.same_picture(*prints)
    assert fingerprints.same_picture(prints[0], prints[0])


@pytest.mark.parametrize(
    ("first", "second", "kept", "copy"),
    [
        (None, "a cat", "a cat", "a.png (as b.png)"),
        ("a cat", None, "a cat", "b.png (as a.png)"),
        ("a cat", "a cat", "a cat", "b.png (as a.png)"),
        (None, None, None, "b.png (as a.png)"),
        ("a cat", "a cat in the sun", "a cat\na cat in the sun", "b.png (as a.png)"),
    ],
)
def test_of_copies_what_their_captions_say_is_kept_under_the_name_of_one_that_has_a_caption(
    read: Read, first: str | None, second: str | None, kept: str | None, copy: str
) -> None:
    files = {"a.png": packed(landscape()), "b.png": packed(landscape())}
    files |= {f"{n}.png": content for n, content in enumerate(four().values()) if n}
    files |= {f"{name}.txt": words.encode() for name, words in (("a", first), ("b", second)) if words}
    given = read(files)
    assert next(iter(captions(given).items())) == ("b.png" if copy.startswith("a") else "a.png", kept)
    told = codes(given)
    assert copy in told["duplicate_item"].message
    assert ("captions_joined" in told) == (kept is not None and "\n" in kept)


def test_of_two_alike_the_one_without_a_caption_is_called_the_copy(read: Read) -> None:
    wide = {"wide.png": packed(landscape().resize((90, 90)))}
    said = codes(read(four() | wide | {"wide.txt": b"a hill"}))["near_duplicate"]
    assert (said.item, said.other) == ("0.png", "wide.png")
    for captions in ({}, {"0.txt": b"a hill"}, {"0.txt": b"a hill", "wide.txt": b"a field"}):
        said = codes(read(four() | wide | captions))["near_duplicate"]
        assert (said.item, said.other) == ("wide.png", "0.png")


def test_of_two_files_with_one_picture_the_copy_is_the_one_without_a_caption(read: Read) -> None:
    bare, full = (
        profile(read({"x.png": packed(landscape())})),
        profile(read({"y.png": packed(landscape()), "y.txt": b"a"})),
    )
    for files in ((bare, full), (full, bare)):
        (finding,) = of(Data(files), EMOJI, BatRequest())
        assert (finding.code, finding.item, finding.other) == ("duplicate_item", "x.png", "y.png")


def test_a_finding_names_all_that_it_is_about_and_its_sentence_the_first_few(read: Read) -> None:
    more = {f"p{n}.png": packed(shape((9, 30 * n, 200)), icc_profile=P3.profile()) for n in range(7)}
    finding = codes(read(four() | more))["converted_to_srgb"]
    assert "and 2 more" in finding.message
    assert finding.items == [f"p{n}.png" for n in range(7)]
    bare = {finding.code: finding for finding in read(four() | {"2.txt": b"a"}).findings}["empty_caption"]
    assert bare.items == ["0.png", "1.png", "3.png"]
    assert "/v1/" not in bare.fix


def test_captions_that_are_too_long_together_are_not_joined(read: Read) -> None:
    files = four() | {"copy.png": packed(landscape()), "0.txt": b"a cat " * 6, "copy.txt": b"a dog " * 6}
    given = read(files)
    assert captions(given)["0.png"] == ("a cat " * 6).strip()
    told = codes(given)
    assert "copy.png (a copy of 0.png)" in told["caption_left_out"].message
    assert "captions_joined" not in told


def test_no_copy_no_word_of_it(read: Read) -> None:
    assert not {"duplicate_item", "captions_joined", "caption_left_out"} & set(codes(read(four())))


def profile(given: JudgedReferences) -> Profile:
    kept = profiles.parse(json.loads(json.dumps(profiles.of(given.items, given.prints, given.text_prints))))
    assert kept is not None
    return kept


def captioned(**words: str) -> dict[str, bytes]:
    return four() | {f"{name.removeprefix('p')}.txt": said.encode() for name, said in words.items()}


def test_captions_of_a_second_file_reach_the_bare_pictures_of_a_first(read: Read) -> None:
    bare, full = (
        read(four()),
        read({f"x{name}": content for name, content in captioned(p0="a cat", p1="a dog").items()}),
    )
    merged = captions(items.merge([bare, full]))
    assert merged == {"x0.png": "a cat", "x1.png": "a dog", "2.png": None, "3.png": None}


def test_copies_in_two_files_of_a_job_are_named_and_what_becomes_of_their_captions(read: Read) -> None:
    first, second = read(captioned(p0="a cat")), read(captioned(p0="a tom", p1="a dog"))
    assert captions(items.merge([first, second]))["0.png"] == "a cat\na tom"
    (finding,) = of(Data((profile(first), profile(second))), EMOJI, BatRequest())
    assert finding.code == "duplicate_item"
    assert finding.message.startswith(
        "4 pictures are in another file of this job too, and count once: 0.png (as 0.png)"
    )
    assert "of 1 of them the captions differ" in finding.message
    (finding,) = of(Data((profile(read(four())), profile(first))), EMOJI, BatRequest())
    assert "differ" not in finding.message
    other = read({"z.png": packed(shape(RED))})
    assert of(Data((profile(first), profile(other))), EMOJI, BatRequest()) == []


def test_new_captions_leave_the_rest_of_a_profile_as_it_is(read: Read) -> None:
    given = read(captioned(p0="a cat"))
    made = profiles.of(given.items, given.prints, given.text_prints)
    changed = profiles.parse(profiles.with_captions(made, ["a tom", None, None, None]))
    kept = profiles.parse(made)
    assert kept is not None
    assert changed is not None
    first = changed.pictures[0]
    assert first.words == tuple(profiles.checksums("a tom"))
    assert dataclasses.replace(first, words=kept.pictures[0].words) == kept.pictures[0]


@pytest.mark.parametrize("print", ["", "AAAA", "no base 64!"])
def test_a_profile_with_a_print_of_another_making_is_none(read: Read, print: str) -> None:
    given = read(four())
    made = profiles.of(given.items, given.prints, given.text_prints)
    made["images"][0][3] = print
    assert profiles.parse(made) is None
    assert profiles.parse({**made, "version": profiles.VERSION - 1}) is None


def test_what_is_cut_off_is_told_with_the_worst_first_and_nothing_where_little_is() -> None:
    sized = [("a.png", (500, 500)), ("b.png", (360, 640)), ("c.png", (300, 400)), ("d.png", (500, 470))]
    found = cut_off(sized, [(512, 512)])
    assert found is not None
    assert (found.code, found.item) == ("cut_off", "b.png")
    assert found.message == (
        "Pictures are trained in the shape 512 x 512: 2 of 4 lose more than 10% of their area, the most b.png (44%), "
        "c.png (25%)."
    )
    some = cut_off(sized, [(384, 704), (512, 512)])
    assert some is not None
    assert some.message == (
        "Pictures are trained in the shapes 384 x 704 and 512 x 512: 1 of 4 loses more than 10% of its area, the most "
        "c.png (25%)."
    )
    assert cut_off(sized, [(384, 704), (448, 576), (512, 512)]) is None
    many = cut_off([(f"{number}.png", (100, 200)) for number in range(9)], [(512, 512)])
    assert many is not None
    assert many.message.endswith("4.png (50%) and 4 more.")
