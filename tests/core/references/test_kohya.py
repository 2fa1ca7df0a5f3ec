"""Folders that are named as kohya's scripts read them, and others that only look a little so."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.findings.notices import of_notices
from core.references.kohya import kohya_folder, notices_of
from core.settings import Settings
from core.uploads import reading
from tests.core.findings.test_uploads import packed, scene, zipped


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("10_sks cat/1.png", (10, "sks cat")),
        ("train/img/10_sks cat/1.png", (10, "sks cat")),
        ("img\\5_zwx  woman \\1.png", (5, "zwx woman")),
        ("100_my_style/a.jpg", (100, "my_style")),
        ("10_猫/1.png", (10, "猫")),
        ("1_sks/", (1, "sks")),
        ("10_sks cat/sub/1.png", None),
        ("10_sks cat.png", None),
        ("2023_holiday/1.png", None),
        ("001_cat/1.png", None),
        ("0_cat/1.png", None),
        ("10_/1.png", None),
        ("10__/1.png", None),
        ("10 sks cat/1.png", None),
        ("cats/1.png", None),
        ("1.png", None),
        ("", None),
    ],
)
def test_repeats_and_words_are_read_of_the_folder_that_an_image_lies_in(
    path: str, found: tuple[int, str] | None
) -> None:
    assert kohya_folder(path) == found


def test_a_folder_is_offered_once_as_trigger_and_class() -> None:
    (finding,) = of_notices(notices_of(["10_sks cat/1.png", "10_sks cat/2.png", "10_sks cat/2.txt"]))
    assert (finding.code, finding.severity) == ("kohya_folder", "info")
    assert finding.message == (
        "The folder 10_sks cat (10 repeats of 'sks cat') is named as kohya's scripts read it. Repeats are not used, "
        "every image counts alike, and the name is not put into captions."
    )
    assert finding.fix == (
        "If 'sks' is the trigger word, set bat.trigger to it, and if 'cat' is its class, name that in the captions; "
        "else nothing needs to be done."
    )


def test_several_folders_are_one_finding_and_one_word_is_no_class() -> None:
    (finding,) = of_notices(notices_of(["a/10_sks/1.png", "a/3_zwx dog/1.png", "cats/3.png"]))
    assert finding.message.startswith(
        "The folders 10_sks (10 repeats of 'sks'), 3_zwx dog (3 repeats of 'zwx dog') are named as kohya's scripts"
    )
    assert "names are not put into captions" in finding.message
    assert finding.fix == "If 'sks' is the trigger word, set bat.trigger to it; else nothing needs to be done."


def test_an_upload_of_a_tree_of_kohyas_offers_what_it_says_and_not_what_it_says_of_the_class(tmp_path: Path) -> None:
    files = {f"img/10_sks cat/{n}.png": packed(scene(n)) for n in range(4)}
    files |= {f"img/10_sks cat/{n}.txt": b"in bed" for n in range(4)} | {"reg/1_cat/0.png": packed(scene(9))}
    (tmp_path / "set.zip").write_bytes(zipped(files))
    found = {
        each.code: each for each in reading.read(tmp_path / "set.zip", "set.zip", Settings(data=tmp_path)).findings
    }
    assert found["kohya_folder"].message.startswith("The folder 10_sks cat (10 repeats of 'sks cat') is named as")
    assert "set_aside" in found


def test_other_folders_are_not_spoken_of() -> None:
    assert of_notices(notices_of(["cats/1.png", "1.png", "2023_holiday/1.png"])) == []
