"""Files as people have them: what users of other trainers sent, and what each of them must become.

The files lie in cases/; a line says what is expected and, where somebody has told it in public, where.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from core.errors import InvalidInput
from core.references.items import ImageItem, TextItem
from core.settings import Settings
from core.uploads import reading
from core.uploads.reading import JudgedReferences

CASES = Path(__file__).parent / "cases"
Check = Callable[[JudgedReferences], bool]


@dataclass(frozen=True)
class Line:
    """What a file must become: so many items and these findings, or a refusal that holds these words."""

    file: str
    expected: str
    items: int = 0  # 0: it is refused
    finds: tuple[str, ...] = ()
    says: tuple[str, ...] = ()  # patterns in the findings, or in the refusal
    silent: tuple[str, ...] = ()  # findings that would be wrong
    check: Check | None = None

    def __str__(self) -> str:
        return f"{self.file} | {self.expected}"


def read(file: Path, tmp_path: Path) -> JudgedReferences:
    return reading.read(file, file.name, Settings(data=tmp_path))


def pictures(found: JudgedReferences) -> Sequence[ImageItem]:
    return [item for item in found.items if isinstance(item, ImageItem)]


def texts(found: JudgedReferences) -> Sequence[TextItem]:
    return [item for item in found.items if isinstance(item, TextItem)]


def captioned(found: JudgedReferences) -> bool:
    return all(item.caption for item in pictures(found))


def named(*names: str) -> Check:
    return lambda found: [item.name for item in pictures(found)] == list(names)


def colour(item: ImageItem, at: tuple[float, float] = (0.5, 0.5)) -> tuple[int, ...]:
    image = Image.open(io.BytesIO(item.png)).convert("RGB")
    pixel = image.getpixel((int(at[0] * image.width), int(at[1] * image.height)))
    assert isinstance(pixel, tuple)
    return pixel


def red(found: JudgedReferences) -> bool:
    """Every picture is sRGB (200, 40, 40), to 2 levels."""
    seen = [colour(item, (0.1, 0.1)) for item in pictures(found)]
    return all(abs(a - b) <= 2 for pixel in seen for a, b in zip(pixel, (200, 40, 40), strict=True))


def shown(found: JudgedReferences) -> bool:
    """No picture is one flat colour."""
    return all(Image.open(io.BytesIO(item.png)).getcolors(maxcolors=1) is None for item in pictures(found))


def first_shown(found: JudgedReferences) -> bool:
    """The first picture is no flat colour; the other is one half-transparent white all over."""
    return Image.open(io.BytesIO(pictures(found)[0].png)).getcolors(maxcolors=1) is None


def words(pattern: str) -> Check:
    return lambda found: any(re.search(pattern, item.words()) for item in texts(found))


def no_words(pattern: str) -> Check:
    return lambda found: not words(pattern)(found)


def wrong_answer_is_masked(found: JudgedReferences) -> bool:
    """The answer that its owner has masked is read, and never learned."""
    wrong = [m for item in texts(found) for m in item.messages or () if m["content"] == "WRONG ANSWER"]
    return bool(wrong) and all(message["weight"] == 0 for message in wrong)


IMAGES = [
    Line(
        "a02_macos_100.zip",
        "100 captioned images zipped by macOS: taken, litter not counted (InvokeAI #2715)",
        100,
        ("passed_over",),
        check=captioned,
    ),
    Line(
        "a02b_99_with_npz.zip",
        "stray files passed over with a finding (sd-scripts #931)",
        80,
        ("passed_over",),
        ("npz",),
        check=captioned,
    ),
    Line("a03_caption_ext.zip", ".caption read as captions (kohya_ss #1370)", 6, check=captioned),
    Line("s04i_caption_one.zip", ".caption read as captions", 6, silent=("image_left_out",)),
    Line("a04_metadata_csv.zip", "captions read out of metadata.csv (diffusers #2099)", 6, check=captioned),
    Line("a04e_metadata_json.zip", "captions read out of metadata.json (ai-toolkit #869)", 6, check=captioned),
    Line("a05f_Metadata_upper.zip", "Metadata.jsonl is read like metadata.jsonl", 6, check=captioned),
    Line("a04c_readme.zip", "README passed over", 6, ("passed_over",), ("README",), check=captioned),
    Line("s04g_license.zip", "LICENSE passed over", 6, ("passed_over",), ("LICENSE",)),
    Line(
        "a04g_gitattributes.zip", ".gitattributes passed over", 6, ("passed_over",), ("gitattributes",), check=captioned
    ),
    Line(
        "a04h_toml.zip",
        "settings of another trainer passed over",
        6,
        ("passed_over",),
        ("dataset.toml",),
        check=captioned,
    ),
    Line("s04_icon_cr.zip", "litter of macOS passed over", 6, ("passed_over",), check=captioned),
    Line("s04c_ehthumbs.zip", "litter of Windows passed over", 6, ("passed_over",), ("ehthumbs",), check=captioned),
    Line(
        "a14_one_gif.zip",
        "one bad file of seven: left out, with what to do",
        6,
        ("image_left_out",),
        ("extra.gif", "PNG or JPEG"),
        check=captioned,
    ),
    Line(
        "a14b_one_bmp.zip",
        "one bad file of seven: left out, with what to do",
        6,
        ("image_left_out",),
        ("extra.bmp", "PNG or JPEG"),
    ),
    Line(
        "a14c_one_tiff.zip",
        "one bad file of seven: left out, with what to do",
        6,
        ("image_left_out",),
        ("extra.tif", "PNG or JPEG"),
    ),
    Line(
        "a14d_one_heic.zip",
        "one HEIC of seven: left out, with what to do (kohya_ss #1600)",
        6,
        ("image_left_out",),
        ("IMG_0001.HEIC", "PNG or JPEG"),
    ),
    Line(
        "a14h_video_livephoto.zip",
        "the video of a Live Photo is passed over",
        6,
        ("passed_over",),
        (r"IMG_0001\.MOV \(a video",),
        check=captioned,
    ),
    Line("a05e_metadata_crlf_in_text.zip", "a line end in a caption of a table is no fault", 6, check=captioned),
    Line("a06b_backslash_metadata.zip", "backslashes are folder marks (cpython #117084)", 6, check=captioned),
    Line("a06c_backslash_dir_entry.zip", "a folder's entry with a backslash is a folder", 6),
    Line("a06d_backslash_thumbs.zip", "litter behind a backslash is litter", 6, ("passed_over",), (r"Thumbs\.db",)),
    Line(
        "a07b_nfd_image_nfc_caption.zip",
        "names are compared in one form",
        6,
        check=captioned,
        silent=("caption_without_image",),
    ),
    Line(
        "a07c_nfd_image_nfc_metadata.zip",
        "names are compared in one form",
        6,
        check=captioned,
        silent=("caption_without_image",),
    ),
    Line(
        "a07d_macos_noflag_txt.zip",
        "UTF-8 names without their flag are UTF-8",
        6,
        check=lambda f: captioned(f) and pictures(f)[0].name == "café.png",
    ),
    Line("a07g_case.zip", "IMG_1.JPG and img_1.txt match", 6, check=captioned),
    Line(
        "a08_same_name_folders.zip",
        "folders keep equal names apart (SimpleTuner #1078)",
        6,
        check=lambda f: (
            captioned(f) and all(i.caption and i.name.startswith(i.caption.split()[0] + "/") for i in pictures(f))
        ),
    ),
    Line(
        "s05b_img_reg.zip",
        "kohya's img and reg: the pictures of the class are named and not learned (kohya_ss #547)",
        4,
        ("set_aside",),
        (r"reg/1_cat/1\.png",),
    ),
    Line(
        "a08b_same_stem.zip",
        "both a.png and a.jpg are named (sd-scripts #12)",
        3,
        ("same_name",),
        (r"a\.png and a\.jpg",),
    ),
    Line(
        "a10_multiline.zip",
        "lines of a caption stay lines, and the owner is told (sd-scripts #1155)",
        6,
        ("several_lines",),
        check=lambda f: all("\n" in (i.caption or "") for i in pictures(f)),
    ),
    Line(
        "a12_trigger_placeholder.zip", "[trigger] is named in a finding", 6, ("trigger_placeholder",), (r"\[trigger\]",)
    ),
    Line(
        "a18_alpha.zip",
        "white art on transparency gets a ground that shows it (sd-scripts #2393)",
        3,
        ("transparency_filled",),
        silent=("single_colour",),
        check=shown,
    ),
    Line("s03_white_sticker.zip", "a white sticker is seen", 2, ("transparency_filled",), check=first_shown),
    Line("a20_48mp.jpg", "a phone's picture of 48 megapixels is scaled down (kohya_ss #2641)", 1, ("scaled_down",)),
    Line("a20b_panorama.jpg", "a panorama is scaled down", 1, ("scaled_down",)),
    Line(
        "a21_same_picture_two_captions.zip",
        "of one picture with two captions none is lost (sd-scripts #1155)",
        3,
        says=("x1.png", "x2.png"),
        check=lambda f: pictures(f)[0].caption == "sks shape, wide tags\na drawing of a sks shape in the sun",
    ),
    Line("a22_jsonl_in_zip.zip", "JSONL in a zip is read", 1, ("texts_of_set",)),
    Line("a22b_texts_in_zip.zip", "texts in a zip are read", 5, ("texts_of_set",), check=words("lighthouse")),
    Line("a23_icc.zip", "profiles are applied: red is (200, 40, 40) in all five (sd-scripts #2179)", 5, check=red),
    Line("s02_colours.zip", "other colours are other pictures", 4, silent=("near_duplicate",)),
]
TEXTS = [
    Line("t02_escaped_crlf.jsonl", "an escaped line end is a line end (tensor2tensor #1395)", 6, check=no_words("\r")),
    Line("t02g_single_cr_one_line.jsonl", "an escaped line end is a line end", 6, check=no_words("\r")),
    Line("t02i_text_crlf.jsonl", "an escaped line end is a line end", 6, check=no_words("\r")),
    Line("s10_caption_crlf_text.jsonl", "an escaped line end is a line end", 2, check=no_words("\r")),
    Line("t02e_bidi.jsonl", "direction marks of Hebrew are kept (charmod-norm #82)", 7, check=words("\u202b")),
    Line(
        "t02f_ansi.jsonl",
        "colours of a terminal are cleaned with a finding",
        6,
        ("cleaned_text",),
        check=no_words("\x1b"),
    ),
    Line("t11d_nel.jsonl", "NEL is cleaned with a finding", 6, ("cleaned_text",), check=no_words("\x85")),
    Line(
        "t03h.csv",
        "a CSV of prompts and completions is read (openai/evals #435)",
        6,
        says=("CSV",),
        check=lambda f: all(i.prompt and i.completion for i in texts(f)),
    ),
    Line(
        "t03m_csv_with_blank_lines.csv",
        "blank lines in a CSV are nothing",
        6,
        says=("CSV",),
        check=lambda f: all(i.prompt for i in texts(f)),
    ),
    Line(
        "t03e_comment_first.jsonl",
        "JSONL under a comment is JSONL (axolotl #2020)",
        6,
        check=lambda f: all(i.messages for i in texts(f)),
    ),
    Line(
        "t03f_slashes_first.jsonl",
        "JSONL under a comment is JSONL",
        6,
        check=lambda f: all(i.messages for i in texts(f)),
    ),
    Line(
        "t03g_string_lines.jsonl",
        "lines of JSON in strings are JSON",
        6,
        check=lambda f: all(i.messages for i in texts(f)),
    ),
    Line("s01_llama2.txt", "a text that begins with < is a text (unsloth #1290)", 6, check=words("<s>")),
    Line("s01b_chatml.txt", "a text that begins with < is a text", 6, check=words("im_start")),
    Line("t01c_utf16.jsonl", "UTF-16 is told, or read (PSOpenAI #19)", 6, says=("UTF-16",)),
    Line(
        "t05_empty_system.jsonl",
        "an empty system message is passed over (open-instruct #161)",
        6,
        check=lambda f: all(m["role"] != "system" for i in texts(f) for m in i.messages or ()),
    ),
    Line("t05g_empty_list_content.jsonl", "which message is empty is named", says=("Line 6", r"message 1 \(user\)")),
    Line("t05h_one_empty_of_many.jsonl", "which message is empty is named", says=("Line 7", "message")),
    Line("t05b_empty_prompt.jsonl", "an empty prompt: the hint is {text} (azure-docs #110314)", says=(r'\{"text"',)),
    Line("t06_row_id.jsonl", "a key that is known and harmless is named once (donut #18)", 6, says=("id",)),
    Line("t07b_train_false.jsonl", "train: false is not learned (axolotl #1703)", 6, check=wrong_answer_is_masked),
    Line(
        "t07h_row_weight.jsonl",
        "the weight 0 of a row is honoured",
        3,
        ("rows_left_out",),
        ("line 1",),
        check=no_words("WRONG"),
    ),
    Line("t07i_row_weight_messages.jsonl", "the weight 0 of a row is honoured", 3, ("rows_left_out",), ("line 1",)),
    Line("s08_row_weight_text.jsonl", "the weight 0 of a row is honoured", 2, ("rows_left_out",), ("line 1",)),
    Line("s06_same_words_other_weight.jsonl", "the same words under another weight are another text", 2),
    Line(
        "t08_reasoning.jsonl",
        "reasoning beside an answer is refused by name (Automodel #2348)",
        says=("reasoning_content",),
    ),
    Line("t09f_refusal_part.jsonl", "what a part is, is said", says=("refusal",)),
    Line("t09i_string_parts.jsonl", "parts that are strings are text", 6),
    Line("t10_long_line.jsonl", "a text that is too long is named", says=("Line 7", "characters")),
    Line("t15_long_system.jsonl", "long texts are taken; what is cut is for the job to say (unsloth #2095)", 6),
]


@pytest.mark.parametrize("line", [*IMAGES, *TEXTS], ids=lambda line: line.file)
def test_a_file_becomes_what_its_line_says(line: Line, tmp_path: Path) -> None:
    print(line)
    if line.items:
        check(line, read(CASES / line.file, tmp_path))
        return
    with pytest.raises(InvalidInput) as refused:
        read(CASES / line.file, tmp_path)
    for pattern in line.says:
        assert re.search(pattern, refused.value.message), f"{line}: {refused.value.message}"


def check(line: Line, found: JudgedReferences) -> None:
    """Check that what was read is what the line says."""
    told = "\n".join(f"{each.message} {each.fix}" for each in found.findings)
    codes = {each.code for each in found.findings}
    assert len(found.items) == line.items, f"{line}: {len(found.items)} items"
    assert line.check is None or line.check(found), line
    assert set(line.finds) <= codes, f"{line}: {codes}"
    assert not set(line.silent) & codes, f"{line}: {codes}"
    for pattern in line.says:
        assert re.search(pattern, told), f"{line}: {told}"


def test_every_case_has_its_line() -> None:
    assert {path.name for path in CASES.iterdir() if path.is_file()} - {"folders.tar"} == {
        line.file for line in [*IMAGES, *TEXTS]
    }


# folders for `albatross train --references`: as the zip of each
FOLDERS = [
    Line("mixed", "subfolders are read: 6 as in the same zip", 6, check=captioned),
    Line("nested", "a folder in a folder is read", 6, check=captioned),
    Line("kohya", "kohya's tree is read, and its name offered as the trigger", 6, ("kohya_folder",), check=captioned),
    Line("capt", ".caption is read", 6, check=captioned),
    Line("old", "files of 1970 are read (cvat #1565)", 6, check=captioned),
    Line("hid", "a link to nothing is named", 6, ("not_read",), (r"link\.png",), check=captioned),
    Line("jsonl", "JSONL in a folder is read", 8, ("texts_of_set",)),
]


@pytest.mark.parametrize("line", FOLDERS, ids=lambda line: line.file)
def test_a_folder_becomes_what_its_line_says(line: Line, tmp_path: Path) -> None:
    with tarfile.open(CASES / "folders.tar") as archive:
        archive.extractall(tmp_path, filter="fully_trusted")  # one holds a link to nowhere, on purpose
    check(line, read(tmp_path / line.file, tmp_path))


# inputs that behaved well before, and still do: so many items of a kind, or the code of their refusal
KEPT = {
    "a01_macos.zip": "images 6",
    "a05_metadata.zip": "images 6",
    "a05b_train_metadata.zip": "images 6",
    "a05d_metadata_bom_crlf.zip": "images 6",
    "a06_backslash.zip": "images 6",
    "a07_nfd_both.zip": "images 6",
    "a07h_upper_txt.zip": "images 6",
    "a08d_dots.zip": "images 6",
    "a09_bom_crlf.zip": "images 6",
    "a09c_cp1252.zip": "encoding",
    "a11_booru.zip": "images 6",
    "a13_long_caption.zip": "caption_too_long",
    "a14e.heic": "unsupported_media",
    "a14f.avif": "unsupported_media",
    "a14g.gif": "unsupported_media",
    "a15_animated.webp": "animated",
    "a15b_apng.png": "animated",
    "a16_exif.zip": "images 2",
    "a17_modes.zip": "images 4",
    "a17b_rgb16.png": "images 1",
    "a19_portrait_mpo.jpg": "images 1",
    "a19b_motionphoto.jpg": "images 1",
    "ok.jsonl": "texts 6",
    "ok8.jsonl": "texts 8",
    "s04h_license_txt.zip": "images 6",
    "s07_gz.jsonl.gz": "unsupported_media",
    "s07d_parquet.parquet": "unsupported_media",
    "s11_same_template.jsonl": "texts 8",
    "t01_bom_crlf.jsonl": "texts 6",
    "t02j_plain_crlf.txt": "texts 6",
    "t03n_single_quotes.jsonl": "invalid_line",
    "t04h_batch_request.jsonl": "invalid_line",
    "t05c_empty_assistant.jsonl": "invalid_line",
    "t05d_null_content.jsonl": "invalid_line",
    "s07c_srt.srt": "texts 2",  # without its numbers and times now
    "t06d_model_dump.jsonl": "texts 6",
    "t07_weight0.jsonl": "texts 6",
    "t07e_weight_half.jsonl": "invalid_line",
    "t07f_weight_str.jsonl": "invalid_line",
    "t07g_weight_false.jsonl": "texts 6",
    "t08c_think_tags.jsonl": "texts 6",
    "t09b_empty_tools.jsonl": "texts 6",
    "t09c_name.jsonl": "texts 6",
    "t09d_parts.jsonl": "texts 6",
    "t09e_image_part.jsonl": "invalid_line",
    "t11_emoji.jsonl": "texts 6",
    "t11b_lone_surrogate.jsonl": "invalid_line",
    "t11c_u2028.jsonl": "texts 6",
    "t11e_zwsp_shy.jsonl": "texts 6",
    "t12_last_user.jsonl": "invalid_line",
    "t12b_no_assistant.jsonl": "invalid_line",
    "t13_legacy_separators.jsonl": "texts 6",
    "t14_inst_text.jsonl": "texts 6",
    "t14b_chatml_text.jsonl": "texts 6",
    "t16_repeats.jsonl": "texts 6",
}
# and those that fare better now: what they became before, and what they become
BETTER = {
    "a09b_utf16.zip": ("encoding", "images 6"),
    "s07b.rtf": ("invalid_line", "unsupported_media"),
    "s09_bare_lists.jsonl": ("invalid_line", "texts 6"),
    "s09b_input_output.jsonl": ("invalid_line", "texts 6"),
    "s09c_question_answer.jsonl": ("invalid_line", "texts 6"),
    "t01b_two_boms.jsonl": ("invalid_line", "texts 6"),
    "t03_trailing_comma.jsonl": ("invalid_line", "texts 6"),
    "t03b_array.json": ("invalid_line", "texts 6"),
    "t03c_array_one_line.json": ("invalid_line", "texts 6"),
    "t03d_pretty_objects.jsonl": ("invalid_line", "texts 6"),
    "t03l_data_key.json": ("invalid_line", "texts 6"),
    "t03o_concat_one_line.jsonl": ("invalid_line", "texts 6"),
    "t04_sharegpt.jsonl": ("invalid_line", "texts 6"),
    "t04b_alpaca.jsonl": ("invalid_line", "texts 6"),
    "t04c_sharegpt_in_messages.jsonl": ("invalid_line", "texts 6"),
    "t04d_roles_human_gpt.jsonl": ("invalid_line", "texts 6"),
    "t04e_gemini.jsonl": ("invalid_line", "texts 6"),
    "t04f_prompt_response.jsonl": ("invalid_line", "texts 6"),
    "t04g_prompt_messages_trl.jsonl": ("invalid_line", "texts 6"),
    "t09_tools.jsonl": ("invalid_line", "texts 7"),
}


@pytest.mark.parametrize("file", [*KEPT, *BETTER])
def test_what_passed_before_keeps_its_verdict_or_has_a_better_one(file: str, tmp_path: Path) -> None:
    try:
        found = read(CASES / "passing" / file, tmp_path)
        verdict = f"{found.kind} {len(found.items)}"
    except InvalidInput as refused:
        verdict = refused.code
    assert verdict == (KEPT[file] if file in KEPT else BETTER[file][1])


def test_every_input_that_passed_before_has_its_verdict() -> None:
    assert {path.name for path in (CASES / "passing").iterdir()} == KEPT.keys() | BETTER.keys()
