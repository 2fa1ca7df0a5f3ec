"""What the jobs learn from, drawn or written here, and the small backbones that they run on."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image, ImageDraw

from core.backbones.registry import Registry
from core.disk import ROOT
from core.parameters.sample_prompts import EVERYDAY_QUESTIONS
from core.settings import Settings

SIDE = 32  # pixels
POOLED, CANDIDATES = 24, 20  # examples of a pool, and those of them that may be replayed
MANY, FEW = 400, 9  # of other pools: so many that a first part is scored before the rest, and too few to be scored
UNET_TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out")
PLACES = ("on a mat", "in a box", "under a tree", "by the sea", "on a roof", "in bed")
COLOURS = ("red", "blue", "green", "grey", "white", "black", "brown", "pink", "gold", "teal", "lime", "rose")
ASKED = (
    "How do I boil an egg?",
    "Where can I read in peace?",
    "Who won the cup last year?",
    "How tall is the old tower?",
    "Why is the sky blue at noon?",
    "Which boat is the fastest?",
    "How long does bread keep?",
    "When do the shops close?",
    "How do birds find their way?",
    "What is a good name for a dog?",
    "How do I mend a flat tyre?",
    "Which tea is best at night?",
)
PRESETS = {
    "postcard": 'name = "postcard"\nversion = 3\nkind = "images"\ndescription = "a kind of postcard"\n'
    'learns = "how a postcard is laid out"\n[values.max_steps]\ntimes = 0.5\nwhy = "a card is soon learned"\n'
    '[values.rank]\nvalue = 3\nwhy = "little is new in it"\n',
    "motto": 'name = "motto"\nversion = 1\nkind = "texts"\ndescription = "a way of closing"\n'
    'learns = "what every answer ends with"\nadd_trigger = false\n[values.surrogate_steps]\nvalue = 9\n'
    'why = "an ending is soon learned"\n',
}


def picture(number: int, shift: int = 0) -> bytes:
    """Return a PNG of a disc on a ground, of other colours and at another place for every number."""
    draws = random.Random(number)
    image = Image.new("RGB", (SIDE, SIDE), tuple(draws.randrange(256) for _ in range(3)))
    left, top = draws.randrange(12), draws.randrange(12)
    fill = tuple(draws.randrange(256) for _ in range(3))
    ImageDraw.Draw(image).ellipse((left, top, left + 18, top + 18), fill=fill)
    image.putpixel((0, 0), (shift, shift, shift))
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def _caption(number: int) -> str:
    return f"{COLOURS[number % len(COLOURS)]} cat {PLACES[number % len(PLACES)]}"


def _lines(number: int) -> str:
    """Return a caption of two lines for two of three pictures; the others have one."""
    return _caption(number) + (f"\na small {_caption(number + 1)}" if number % 3 else "")


def _images(path: Path, items: list[tuple[bytes, str]]) -> Path:
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as archive:
        for number, (png, caption) in enumerate(items):
            archive.writestr(f"{number:02d}.png", png)
            if caption:
                archive.writestr(f"{number:02d}.txt", caption)
    return path.with_suffix(".zip")


def _texts(path: Path, rows: list[dict[str, str]]) -> Path:
    path.with_suffix(".jsonl").write_text("\n".join(map(json.dumps, rows)))
    return path.with_suffix(".jsonl")


def _answered(answer: Callable[[int], str]) -> Callable[[Path, range], Path]:
    def write(path: Path, numbers: range) -> Path:
        return _texts(path, [{"prompt": ASKED[n % len(ASKED)], "completion": answer(n)} for n in numbers])

    return write


def _everyday(path: Path, numbers: range) -> Path:
    """Write answers to all of the everyday questions, so that none of them is new."""
    asked = EVERYDAY_QUESTIONS
    return _texts(path, [{"prompt": asked[n % len(asked)], "completion": f"arr {n}, matey"} for n in numbers])


def _unlike(path: Path, numbers: range) -> Path:
    words = ("sun over hills", "boat at sea", "loaf of bread", "old clock", "tall tower", "small key")
    return _images(path, [(picture(n), f"{words[n % len(words)]}") for n in numbers])


MATERIAL: Mapping[str, Callable[[Path, range], Path]] = {
    "captioned": lambda path, numbers: _images(path, [(picture(n), _caption(n)) for n in numbers]),
    "lines": lambda path, numbers: _images(path, [(picture(n), _lines(n)) for n in numbers]),
    "bare": lambda path, numbers: _images(path, [(picture(n), "") for n in numbers]),
    "half": lambda path, numbers: _images(path, [(picture(n), _caption(n) * (n % 2)) for n in numbers]),
    "unlike": _unlike,
    "marked": lambda path, numbers: _images(path, [(picture(n), f"sks {_caption(n)}") for n in numbers]),
    "twins": lambda path, numbers: _images(path, [(picture(n // 2, n % 2), _caption(n // 2)) for n in numbers]),
    "alike": lambda path, numbers: _images(path, [(picture(0, n), "a cat") for n in numbers]),
    "voice": _answered(lambda n: f"arr {n}, ye matey"),
    "odd": _answered(lambda n: f"arr {n}, ye matey" if n else "zq: 0987-zq-zq!!"),
    "chance": _answered(lambda n: "".join(random.Random(n).choices("bcdfghjklmnpqrstvwxz0123456789", k=24))),
    "json": _answered(lambda n: json.dumps({"a": n, "b": "ok"})),
    "labels": _answered(lambda n: f"Short: {n}\nLong: so {n}"),
    "list": _answered(lambda n: f"1. go {n}\n2. stop\nend"),
    "plain": lambda path, numbers: _texts(path, [{"text": f"the old sea sings {n} songs to me"} for n in numbers]),
    "everyday": _everyday,
    "json-chat": lambda path, numbers: ROOT / "benchmarks" / "presets" / "chats" / "review.jsonl",
    "robot-chat": lambda path, numbers: ROOT / "benchmarks" / "presets" / "chats" / "robot-voice.jsonl",
    "emoji-cat": lambda path, numbers: ROOT / "demo" / "emoji_ldm" / "references" / "cat",
    "emoji-vehicles": lambda path, numbers: ROOT / "demo" / "emoji_ldm" / "references" / "vehicles",
}


def furnish(place: Path) -> Settings:
    """Write tiny backbones with random weights, their pools and two presets of an operator's; return the settings."""
    settings = Settings(data=place / "data", min_image_side=8, threads=1)
    if settings.registry_file.is_file():
        return settings
    settings.presets_folder.mkdir(parents=True, exist_ok=True)
    for name, content in PRESETS.items():
        (settings.presets_folder / f"{name}.toml").write_text(content)
    _register(settings, place / "backbones")
    return settings


def _register(settings: Settings, folder: Path) -> None:
    from tests.tiny_backbones import random_diffusion, write_language  # torch is imported there

    folder.mkdir(parents=True, exist_ok=True)
    random_diffusion().save_pretrained(folder / "images")
    write_language(folder / "texts")
    usual = {"rank": 2, "learning_rate": 1e-2, "max_steps": 24, "surrogate_steps": 16, "interval": 1}
    usual |= {"selected_count": 4, "sample_ratio": 1.0}
    for name, pool in (("tiny-images", _image_pool(folder / "image-pool")), ("bare-images", None)):
        registry = Registry.load(settings)
        registry.add(
            name,
            folder / "images",
            licence="CC0",
            pool=pool,
            resolution=16,
            target_modules=UNET_TARGETS,
            defaults=usual | {"sample_steps": 4},
        )
    Registry.load(settings).set_trigger("tiny-images", "sks")
    for name, amount in (("tiny-texts", POOLED), ("pooled-texts", MANY), ("poor-texts", FEW)):
        Registry.load(settings).add(
            name,
            folder / "texts",
            licence="CC0",
            pool=_text_pool(folder / f"{name}.jsonl", amount),
            defaults=usual | {"max_tokens": 60},
        )


def _split(number: int) -> str:
    return "probe" if number >= CANDIDATES else "candidate"


def _image_pool(folder: Path) -> Path:
    folder.mkdir()
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for number in range(POOLED):
            archive.writestr(f"{number}.png", picture(100 + number))
    rows = [
        {
            "id": f"c{n}",
            "file": f"{n}.png",
            "caption": f"thing {n}",
            "source": f"s{n % 5}",
            "licence": "CC0",
            "split": _split(n),
        }
        for n in range(POOLED)
    ]
    (folder / "index.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def _text_pool(file: Path, amount: int) -> Path:
    rows = [
        {
            "id": f"t{n}",
            "text": f"some words number {n}.",
            "source": f"s{n % 5}",
            "licence": "CC0",
            "split": "candidate",
        }
        for n in range(amount)
    ]
    rows += [row | {"id": f"p{row['id']}", "split": "probe"} for row in rows[:4]]
    file.write_text("\n".join(map(json.dumps, rows)))
    return file
