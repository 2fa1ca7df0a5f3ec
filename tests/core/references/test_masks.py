"""Masks beside pictures: whose each is, in what size it is kept, and what is told of it."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from core.errors import InvalidInput
from core.findings import jobs, profiles
from core.findings.finding import Finding
from core.findings.jobs import Data
from core.parameters.request import BatRequest
from core.references import masks, packing
from core.references.items import ImageItem
from core.settings import Settings
from core.uploads import editing, reading
from core.uploads.reading import JudgedReferences

SIZE = (80, 64)


def packed(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def photo(number: int = 0, size: tuple[int, int] = SIZE) -> bytes:
    gradient = Image.radial_gradient("L").resize(size)
    return packed(gradient.point(lambda level: (level * (2 * number + 3)) % 256).convert("RGB"))


def mask(size: tuple[int, int] = SIZE, levels: tuple[int, int] = (0, 255)) -> bytes:
    """The left half has the first level, the right the second."""
    image = Image.new("L", size, levels[0])
    image.paste(levels[1], (size[0] // 2, 0, *size))
    return packed(image)


def read(folder: Path, files: dict[str, bytes]) -> JudgedReferences:
    with zipfile.ZipFile(folder / "set.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return reading.read(folder / "set.zip", "set.zip", Settings(data=folder, min_image_side=8))


def told(found: JudgedReferences) -> dict[str, Finding]:
    return {finding.code: finding for finding in found.findings}


def greys(content: bytes | None) -> Image.Image:
    assert content is not None
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == "L"
        return image.copy()


def items(found: JudgedReferences) -> dict[str, ImageItem]:
    return {item.name: item for item in found.items if isinstance(item, ImageItem)}


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("cat_mask.png", "cat.jpg"),
        ("cat-masklabel.png", "cat.jpg"),
        ("mask_cat.png", "cat.jpg"),
        ("cat.jpg.mask.png", "cat.jpg"),
        ("masks/cat.png", "cat.jpg"),
        ("masks/cat_mask.png", "cat.jpg"),
        ("one/masks/dog.png", "one/images/dog.png"),
        ("two/masks/dog.png", "two/images/dog.png"),
        ("CAT_Mask2.png", "cat.jpg"),
        ("cat_segmentation.png", None),  # a map of labels
        ("masks/dog.png", None),  # of which of the two?
        ("masks/bird.png", None),
        ("cat_pose.png", None),
    ],
)
def test_a_mask_belongs_to_the_nearest_picture_of_its_name(path: str, owner: str | None) -> None:
    pictures = ["cat.jpg", "one/images/dog.png", "two/images/dog.png"]
    assert masks.owners(path, pictures) == ([owner] if owner else [])


def test_a_mask_is_kept_in_greys_in_the_size_of_its_picture(tmp_path: Path) -> None:
    found = read(tmp_path, {"a.png": photo(1), "b.png": photo(2), "a_mask.png": mask(levels=(51, 255))})
    kept = items(found)
    assert greys(kept["a.png"].mask).getpixel((0, 0)) == 51
    assert greys(kept["a.png"].mask).getpixel((79, 63)) == 255
    assert kept["b.png"].mask is None
    assert told(found)["masks_kept"].severity == "info"
    assert (
        "a_mask.png (of a.png); a job that does not ask for masks learns the whole" in told(found)["masks_kept"].message
    )
    assert "masks_left_out" not in told(found)


def test_masks_of_other_sizes_are_scaled_or_stretched_and_told(tmp_path: Path) -> None:
    files = {f"{name}.png": photo(number) for number, name in enumerate("abc")}
    files |= {"a_mask.png": mask((40, 32)), "b_mask.png": mask((64, 64)), "c_mask.png": mask()}
    found = read(tmp_path, files)
    assert {greys(item.mask).size for item in items(found).values()} == {SIZE}
    assert "a_mask.png (40 x 32 for 80 x 64)" in told(found)["mask_scaled"].message
    assert "b_mask" not in told(found)["mask_scaled"].message
    assert "b_mask.png (64 x 64 for 80 x 64)" in told(found)["mask_stretched"].message
    assert not {"mask_scaled", "mask_stretched"} & set(
        told(read(tmp_path, {"c.png": photo(), "c_mask.png": mask(), "d.png": photo(3)}))
    )


def test_several_masks_of_a_picture_are_one_and_what_is_see_through_in_one_is_black(tmp_path: Path) -> None:
    white = Image.new("RGBA", SIZE, (255, 255, 255, 0))
    white.paste((255, 255, 255, 255), (0, 0, 10, 10))
    files = {"a.png": photo(), "b.png": photo(2), "a_mask1.png": mask(), "a_mask2.png": packed(white)}
    whole = greys(items(read(tmp_path, files))["a.png"].mask)
    assert [whole.getpixel(place) for place in ((2, 2), (20, 20), (60, 20))] == [255, 0, 255]


def test_a_mask_that_cannot_be_read_is_left_out_and_told(tmp_path: Path) -> None:
    found = read(tmp_path, {"a.png": photo(), "b.png": photo(2), "a_mask.png": mask()[:60]})
    assert items(found)["a.png"].mask is None
    assert "a_mask.png is damaged" in told(found)["masks_left_out"].message


def test_what_was_see_through_is_kept_as_alpha(tmp_path: Path) -> None:
    picture = Image.open(io.BytesIO(photo())).convert("RGBA")
    picture.putalpha(Image.open(io.BytesIO(mask())))
    found = read(tmp_path, {"a.png": packed(picture), "b.png": photo(2)})
    kept = items(found)
    assert greys(kept["a.png"].alpha).getpixel((0, 0)) == 0
    assert greys(kept["a.png"].alpha).getpixel((79, 0)) == 255
    assert kept["b.png"].alpha is None
    assert 'bat.masks "alpha"' in told(found)["transparency_filled"].fix


def test_new_captions_leave_masks_as_they_are(tmp_path: Path) -> None:
    found = read(tmp_path, {"a.png": photo(), "a_mask.png": mask(), "b.png": photo(2)})
    packing.pack(found, tmp_path / "packed")
    editing.caption(tmp_path / "packed", tmp_path / "again", {0: "a cat"})
    again = packing.read_packed(tmp_path / "again", "set.zip", Settings(data=tmp_path))
    first = again.items[0]
    assert isinstance(first, ImageItem)
    assert (first.caption, first.mask) == ("a cat", items(found)["a.png"].mask)


def data(found: JudgedReferences) -> Data:
    made = profiles.of(found.items, found.prints, found.text_prints, found.blank)
    profile = profiles.parse(json.loads(json.dumps(made)))
    assert profile is not None
    return Data((profile,))


def test_a_job_is_told_of_masks_that_it_does_not_use_and_of_pictures_that_have_none(tmp_path: Path) -> None:
    held = data(read(tmp_path, {"a.png": photo(), "a_mask.png": mask(), "b.png": photo(2)}))

    def codes(asked: object) -> list[tuple[str, str | None]]:
        request = BatRequest.model_validate({"masks": asked})
        return [(each.code, each.item) for each in jobs.of_masks(held.pictures, request)]

    assert codes(False) == [("masks_unused", "a.png")]
    assert codes(True) == [("without_mask", "b.png")]
    assert codes("alpha") == [("without_mask", "a.png")]
    bare = data(read(tmp_path, {"a.png": photo(), "b.png": photo(2)}))
    assert list(jobs.of_masks(bare.pictures, BatRequest())) == []
    [none] = jobs.of_masks(bare.pictures, BatRequest(masks=True))
    assert none.severity == "warn"
    assert "2 of 2 images have no mask" in none.message


def test_black_masks_are_told_and_a_job_that_asks_for_masks_refuses_them_by_name(tmp_path: Path) -> None:
    found = read(tmp_path, {"a.png": photo(), "a_mask.png": mask(levels=(0, 0)), "b.png": photo(2)})
    assert "1 mask is black throughout: a_mask.png" in told(found)["mask_empty"].message
    jobs.check_masks(data(found), BatRequest())
    jobs.check_masks(data(found), BatRequest(masks="alpha"))
    with pytest.raises(InvalidInput, match=r"Nothing would be learned of a\.png: such an image has a mask") as refused:
        jobs.check_masks(data(found), BatRequest(masks=True))
    assert (refused.value.code, refused.value.param) == ("empty_mask", "bat.masks")
    whole = data(read(tmp_path, {"a.png": photo(), "b.png": photo(2)}))
    with pytest.raises(InvalidInput, match=r"Nothing would be judged by the validation images a\.png: such an image"):
        jobs.check_masks(Data(whole.training, data(found).training[0]), BatRequest(masks=True))
    empty = read(tmp_path, {"a.png": packed(Image.new("RGBA", SIZE)), "b.png": photo(2)})
    with pytest.raises(InvalidInput, match="see-through all over"):
        jobs.check_masks(data(empty), BatRequest(masks="alpha"))
    jobs.check_masks(data(empty), BatRequest(masks=True))


def test_a_profile_from_before_there_were_masks_has_none(tmp_path: Path) -> None:
    found = read(tmp_path, {"a.png": photo(), "b.png": photo(2)})
    made = profiles.of(found.items, found.prints, found.text_prints)
    old = {name: value for name, value in made.items() if name not in ("layers", "blank")}
    profile = profiles.parse(old)
    assert profile is not None
    assert not any(picture.layers or picture.blank for picture in profile.pictures)
