"""What lies in people's folders and is not meant to be learned: leavings of systems, editors and other trainers."""

from __future__ import annotations

import re
from collections.abc import Iterable

from core.references.files import names
from core.references.files.formats import IMAGE_ENDINGS
from core.references.kohya import kohya_folder

# Folders in which nothing is anybody's data. Those that begin with a dot are all of this kind.
FOLDERS = frozenset(
    {
        "__macosx",
        "__pycache__",
        "@eadir",  # Synology, with thumbnails in it
        "#recycle",
        "@recycle",  # QNAP
        "@recently-snapshot",
        "@tmp",
        "#snapshot",
        "$recycle.bin",
        "recycler",
        "_vti_cnf",  # FrontPage
        "network trash folder",
        "temporary items",
        "system volume information",
        "lost+found",
        "node_modules",
        "_latent_cache",  # ai-toolkit
        "_clip_vision_cache",
        "_t_e_cache",
    }
)
FILES = frozenset(
    {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini", "icon\r", "sample_prompts.txt"}
)
# of programs and of notes to people; endings of data are not among them
_ENDINGS = """
.md .markdown .rst .toml .yaml .yml .ini .cfg .conf .config .log .html .htm .css .js .ts .py .pyc .ipynb .sh .bat .cmd
.ps1 .npz .npy .safetensors .ckpt .pt .pth .bin .pkl .pickle .onnx .gguf .lock .lnk .url .webloc .desktop .db .sqlite
.tmp .temp .bak .old .orig .swp .swo .part .partial .crdownload .download .xmp .aae .thm .lrcat .lrprev .cff .bib
.sha256 .md5 .torrent .arrow .tfevents
"""
ENDINGS = frozenset(_ENDINGS.split())
NOTES = re.compile(
    r"(readme|licen[cs]es?|copying|copyright|notice|changelog|authors|contributors|credits|attribution|citation"
    r"|requirements|todo|disclaimer|install)([-_.][a-z0-9-]{1,12})?"
)
# of Hugging Face's data sets, trainers and adapters, of LLaMA-Factory and of JavaScript
SETTINGS = re.compile(
    r"(dataset_infos?|dataset_dict|state|config|package(-lock)?|tokenizer(_config)?|special_tokens_map|vocab"
    r"|(generation|adapter|preprocessor)_config|trainer_state|(all|train|eval)_results)\.json"
)
EDITORS = re.compile(r"(~\$.*|.*~|#.*#)")


def is_litter(path: str) -> bool:
    """Tell by its canonical path whether a file is litter, whatever lies beside it."""
    *folders, name = path.lower().split("/")
    if any(folder.startswith(".") or folder in FOLDERS for folder in folders):
        return True
    return name.startswith(".") or name in FILES or EDITORS.fullmatch(name) is not None


def is_note(path: str) -> bool:
    """Tell whether a file is a note to people, such as a licence: litter unless an image has its name."""
    return NOTES.fullmatch(names.parts(path)[1].lower()) is not None


def is_about_texts(path: str) -> bool:
    """Tell whether a file beside texts is none of them: a note to people, or a program's settings."""
    return is_note(path) or SETTINGS.fullmatch(path.lower().split("/")[-1]) is not None


def is_program(path: str) -> bool:
    """Tell by its ending whether a file is a program's: its settings, its cache, or a page beside pictures."""
    return names.parts(path)[2] in ENDINGS


# Pictures about other pictures, known by the picture that they belong to. A picture of a carnival mask has none.
_ABOUT = {
    "a mask": r"masks?(?:[-_ ]?\d{1,3})?|masklabel|alpha|matte|trimap|segmentation",
    "a picture that steers": r"condlabel|conditioning|conditioning[-_ ]images?|controls?|canny|depth(?:[-_ ]?map)?|pose"
    r"|(?:open|dw)pose|line[-_ ]?art|scribbles?|soft[-_ ]?edges?|hed|mlsd|normal[-_ ]?map",
    "a thumbnail": r"thumbs?|thumbnails?|previews?",
}
DOUBTFUL = re.compile(r"alpha|pose|depth|controls?|previews?|matte|scribbles?|canny|hed", re.IGNORECASE)
_SUFFIX = {what: re.compile(rf"(.+)[-_. ]({words})", re.IGNORECASE) for what, words in _ABOUT.items()}
_PREFIX = {what: re.compile(rf"({words})[-_. ](.+)", re.IGNORECASE) for what, words in _ABOUT.items()}
_FOLDER = {what: re.compile(words, re.IGNORECASE) for what, words in _ABOUT.items()}


def about_others(images: Iterable[str]) -> dict[str, str]:
    """Return the images that belong to another image of the set, as its mask or thumbnail does, and what each is."""
    stems: dict[str, set[str]] = {}
    paths = list(images)
    for path in paths:
        folder, stem, _ = names.parts(path)
        stems.setdefault(names.key(stem), set()).add(folder)
    found = {path: what for path in paths if (what := _about_another(path, stems))}
    doubtful = [path for path in found if _is_doubtful(path)]
    if 2 * len(doubtful) < len(paths) - len(found):  # a tool would have made one of every picture
        found = {path: what for path, what in found.items() if path not in doubtful}
    return found if len(found) < len(paths) else {}


def _is_doubtful(path: str) -> bool:
    """Tell whether a picture is known by a word that a person may mean otherwise, as of Anna's pose."""
    folder, stem, _ = names.parts(path)
    words = re.split(r"[-_. ]", stem)
    return any(DOUBTFUL.fullmatch(word) for word in (words[0], words[-1], *folder.split("/")))


def _about_another(path: str, stems: dict[str, set[str]]) -> str | None:
    folder, stem, _ = names.parts(path)
    for what in _ABOUT:
        if any(_FOLDER[what].fullmatch(part) for part in folder.split("/")):
            others = {other for other in stems.get(names.key(stem), ()) if other != folder}
            if others or stems.keys() & _plain(what, stem):
                return what
        if any(folder in stems.get(plain, ()) for plain in _plain(what, stem)):
            return what
    return None


def pictures_called(what: str, stem: str, words: re.Pattern[str]) -> set[str]:
    """Return the names of pictures that this could be the mask of, if one of these words says that it is."""
    after, before = _SUFFIX[what].fullmatch(stem), _PREFIX[what].fullmatch(stem)
    said = (after and words.fullmatch(after[2]), before and words.fullmatch(before[1]))
    return _plain(what, stem) if any(said) else set()


def _plain(what: str, stem: str) -> set[str]:
    """Return the names of pictures that this could be the mask or thumbnail of."""
    after, before = _SUFFIX[what].fullmatch(stem), _PREFIX[what].fullmatch(stem)
    plain = [found for found in (after and after[1], before and before[2]) if found]
    whole = [names.without_ending(found) for found in plain if names.parts(found)[2] in IMAGE_ENDINGS]
    return {names.key(found) for found in (*plain, *whole)}


_OF_WHAT = r"[-_ ]?(?:images?|imgs?|pictures?|photos?|data|dataset|set)"
_NUMBER = r"[-_ ]?\d{4}|-\d{5}-of-\d{5}"  # a year, or a part of a table
SPLITS = re.compile(
    rf"(val|valid|validation|test|testing|eval|evaluation|dev|held[-_ ]?out)({_OF_WHAT}|{_NUMBER})?", re.IGNORECASE
)
TRAINING = re.compile(rf"(train|training)({_OF_WHAT}|{_NUMBER})?", re.IGNORECASE)
REGULARISATION = re.compile(rf"regulari[sz]ation({_OF_WHAT})?", re.IGNORECASE)
CLASSES = re.compile(rf"(regs?|regular|regulari[sz]ation|class|prior)({_OF_WHAT})?", re.IGNORECASE)
SUBJECTS = re.compile(rf"(images?|imgs?|instance|train|training)({_OF_WHAT})?", re.IGNORECASE)
MASK = "a mask"  # what lies in a folder of masks beside one of images, whatever its name


def not_for_training(paths: Iterable[str], *, files: bool) -> dict[str, str]:
    """Return the files that lie beside those that are to be learned, for another purpose, and for which.

    It is told by the folders that they lie in, and where `files` is true by their own names too.
    """
    paths = list(paths)
    siblings: dict[str, set[str]] = {}
    for path in paths:
        for parent, name in _steps(path, files=files):
            siblings.setdefault(parent, set()).add(name)
    return {
        path: purpose
        for path in paths
        for parent, name in _steps(path, files=files)
        if (purpose := _purpose(name, siblings[parent], files=files))
    }


def _purpose(name: str, beside: set[str], *, files: bool) -> str | None:
    """Say by its name what a folder or file is for, if that is told by those which it lies beside."""
    if SPLITS.fullmatch(name) and any(TRAINING.fullmatch(other) for other in beside):
        return "validation"
    if REGULARISATION.fullmatch(name) and len(beside) > 1:
        return "regularisation"
    if CLASSES.fullmatch(name) and any(SUBJECTS.fullmatch(other) or kohya_folder(f"{other}/") for other in beside):
        return "regularisation"
    if not files and _FOLDER[MASK].fullmatch(name) and any(SUBJECTS.fullmatch(other) for other in beside):
        return MASK
    return None


def _steps(path: str, *, files: bool) -> list[tuple[str, str]]:
    """Return each folder of a path, and its file without the ending where that is asked for, with where it lies."""
    whole = names.without_ending(path).split("/")
    return [("/".join(whole[:at]), name) for at, name in enumerate(whole if files else whole[:-1])]
