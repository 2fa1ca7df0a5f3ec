"""What is passed over in people's folders."""

from __future__ import annotations

import pytest

from core.references.files import litter

LITTER = """
.DS_Store|a/.DS_Store|__MACOSX/a/._1.png|._1.png|Thumbs.db|a/ehthumbs.db|Desktop.ini|Icon\r|.directory|.nomedia
@eaDir/1.png/SYNOPHOTO_THUMB_XL.jpg|.thumbnails/1.png|.@__thumb/1.jpg|.git/objects/ab/cd|.gitattributes|.cache/x.png
.ipynb_checkpoints/1-checkpoint.png|_latent_cache/1_x.safetensors|#recycle/1.png|$RECYCLE.BIN/1.png|1.txt~|~$notes.txt
#1.txt#|System Volume Information/x|.Trash-1000/files/1.png|.picasaoriginals/1.jpg|__pycache__/a.pyc
"""
DATA = "1.png|img/10_sks cat/1.png|a~b.png|icon.png|thumbs/1.png|cache.png|desktop.png|mac.osx/1.png|#1 cat.png"


@pytest.mark.parametrize("path", LITTER.strip(" \n").replace("\n", "|").split("|"))
def test_leavings_of_systems_and_editors_are_litter(path: str) -> None:
    assert litter.is_litter(path)


@pytest.mark.parametrize("path", DATA.split("|"))
def test_what_people_made_is_none(path: str) -> None:
    assert not litter.is_litter(path)


@pytest.mark.parametrize(
    "path", ["README.md", "a/LICENSE", "license.txt", "README_en.txt", "LICENSE-MIT", "requirements.txt"]
)
def test_notes_to_people_are_known_by_their_names(path: str) -> None:
    assert litter.is_note(path)


@pytest.mark.parametrize(
    "path", ["license plate of a car.txt", "readmeter.txt", "noticeboard.txt", "install the sink.txt"]
)
def test_a_longer_name_is_no_note(path: str) -> None:
    assert not litter.is_note(path)


STEERS = "a picture that steers"


@pytest.mark.parametrize(
    ("paths", "about"),
    [
        (["1.png", "1-masklabel.png"], {"1-masklabel.png": "a mask"}),
        (["a/1.png", "a/1_mask.png"], {"a/1_mask.png": "a mask"}),
        (["images/1.png", "masks/1.png"], {"masks/1.png": "a mask"}),
        (["1.jpg", "mask/1.png"], {"mask/1.png": "a mask"}),
        (["1.png", "mask_1.png"], {"mask_1.png": "a mask"}),
        (["1.png", "1_thumb.jpg"], {"1_thumb.jpg": "a thumbnail"}),
        (["1.png", "thumbs/1.jpg"], {"thumbs/1.jpg": "a thumbnail"}),
        (["1.png", "control/1.png"], {"control/1.png": "a picture that steers"}),
        (["1.png", "1.png.mask.png"], {"1.png.mask.png": "a mask"}),
        (["1.png", "1_mask_0.png"], {"1_mask_0.png": "a mask"}),
        (["1.png", "1_openpose.png", "2.png"], {"1_openpose.png": "a picture that steers"}),
        (["1.png", "1_lineart.png"], {"1_lineart.png": "a picture that steers"}),
        (["venetian_mask.png", "african_mask.png"], {}),
        (["mask/1.png", "mask/2.png"], {}),
        (["mask.png", "cat.png"], {}),
        (["a/1.png", "b/1_mask.png"], {}),
        (["anna.png", "anna_pose.png", "ben.png", "cleo.png"], {}),
        (["1.png", "1_pose.png", "2.png", "2_pose.png"], {"1_pose.png": STEERS, "2_pose.png": STEERS}),
        (["wolf.png", "wolf alpha.png", "elk.png", "owl.png"], {}),
    ],
)
def test_a_mask_or_thumbnail_is_one_where_its_picture_is_there_too(paths: list[str], about: dict[str, str]) -> None:
    assert litter.about_others(paths) == about


@pytest.mark.parametrize(
    ("paths", "apart"),
    [
        (["img/1_a/1.png", "reg/1_b/1.png"], {"reg/1_b/1.png": "regularisation"}),
        (["x/train/1.png", "x/test/1.png"], {"x/test/1.png": "validation"}),
        (["train_images/1.png", "val_images/2.png"], {"val_images/2.png": "validation"}),
        (["train2017/1.png", "val2017/2.png"], {"val2017/2.png": "validation"}),
        (["10_sks cat/1.png", "reg/1_cat/2.png"], {"reg/1_cat/2.png": "regularisation"}),
        (["img/1.png", "reg_images/2.png"], {"reg_images/2.png": "regularisation"}),
        (["my cat/1.png", "Regularization Images/2.png"], {"Regularization Images/2.png": "regularisation"}),
        (["instance_data/1.png", "class_data/2.png"], {"class_data/2.png": "regularisation"}),
        (["images/img_1.png", "masks/7.png"], {"masks/7.png": "a mask"}),
        (["costumes/1.png", "masks/7.png"], {}),
        (["my cat/1.png", "reg/2.png"], {}),
        (["images/1.png", "class 2023/2.png"], {}),
        (["train/1.png", "other/1.png"], {}),
        (["reg/1.png", "2.png"], {}),
        (["train.png", "test.png"], {}),
    ],
)
def test_what_lies_there_for_another_purpose_is_told_by_its_folder(paths: list[str], apart: dict[str, str]) -> None:
    assert litter.not_for_training(paths, files=False) == apart


def test_files_of_texts_are_told_by_their_own_names_too() -> None:
    paths = ["train.jsonl", "validation.jsonl", "story.txt"]
    assert litter.not_for_training(paths, files=True) == {"validation.jsonl": "validation"}
    paths = ["data/train-00000-of-00001.jsonl", "data/test-00000-of-00001.jsonl"]
    assert litter.not_for_training(paths, files=True) == {paths[1]: "validation"}
