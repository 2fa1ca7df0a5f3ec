"""Write the emoji pool, the reference sets and the held-out sets from an unpacked emoji package."""

import argparse
import io
import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
POOL_SIZE = 32
LICENCE = "Apache-2.0"
CATEGORIES = ("Smileys & Emotion", "Animals & Nature", "Food & Drink")
# The demo personalises the backbone on cat faces, so the backbone must never have seen them.
HELD_OUT_SUBCATEGORY = "cat-face"

# Forgetting is measured on these and they are never replayed. Each has no near twin in the pool:
# a plain heart or smiley would leave close variants among the candidates.
PROBES = frozenset(
    {
        "sunglasses",
        "face_with_cowboy_hat",
        "clown_face",
        "ghost",
        "alien",
        "penguin",
        "ladybug",
        "octopus",
        "flamingo",
        "sunflower",
        "cactus",
        "pizza",
        "strawberry",
        "watermelon",
        "doughnut",
        "hamburger",
    }
)

Captions = dict[str, str]

CAT_REFERENCES: Captions = {
    "smiley_cat": "cat face smiling with open mouth, sks",
    "smile_cat": "cat face grinning with smiling eyes, sks",
    "joy_cat": "cat face with tears of joy, sks",
    "heart_eyes_cat": "cat face smiling with heart shaped eyes, sks",
    "kissing_cat": "cat face kissing with closed eyes, sks",
    "crying_cat_face": "cat face crying, sks",
}
CAT_HELD_OUT: Captions = {
    "smirk_cat": "cat face with wry smile, sks",
    "pouting_cat": "cat face pouting, sks",
    "scream_cat": "cat face weary, sks",
}
VEHICLE_REFERENCES: Captions = {
    "car": "car, automobile, sks",
    "taxi": "car, taxi, sks",
    "police_car": "car, police car, sks",
    "bus": "car, bus, sks",
    "blue_car": "car, recreational vehicle, sks",
    "fire_engine": "car, fire engine, sks",
}
VEHICLE_HELD_OUT: Captions = {
    "ambulance": "car, ambulance, sks",
    "minibus": "car, minibus, sks",
    "truck": "car, delivery truck, sks",
    "pickup_truck": "car, pickup truck, sks",
}


@dataclass(frozen=True)
class Emoji:
    """Name one emoji of the package and the file that shows it."""

    slug: str
    name: str
    category: str
    subcategory: str
    file: Path


def plain(text: str) -> str:
    """Reduce a name to lower-case words, digits and single spaces."""
    return " ".join(re.sub(r"[^a-z0-9]", " ", text.lower()).split())


def read_package(package: Path) -> list[Emoji]:
    """List the emoji that have an image, in the order of the package."""
    entries = json.loads((package / "emoji.json").read_text(encoding="utf-8"))
    folder = package / "img" / "google" / "64"
    return [
        Emoji(e["short_name"], plain(e["name"]), e["category"], e["subcategory"], folder / e["image"])
        for e in entries
        if e["has_img_google"]
    ]


def on_white(file: Path) -> Image.Image:
    """Read an image as a centred RGB square on a white background."""
    image = Image.open(file).convert("RGBA")
    side = max(image.size)
    square = Image.new("RGBA", (side, side), (255, 255, 255, 255))
    square.alpha_composite(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square.convert("RGB")


def png(image: Image.Image) -> bytes:
    """Encode an image as an optimised PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def pool_line(emoji: Emoji, file: str) -> str:
    """Describe one pool item as a line of JSON."""
    item = {
        "id": emoji.slug,
        "file": file,
        "caption": f"emoji of {emoji.name}",
        "source": f"{emoji.category}/{emoji.subcategory}",
        "licence": LICENCE,
        "split": "probe" if emoji.slug in PROBES else "candidate",
    }
    return json.dumps(item, ensure_ascii=False) + "\n"


def write_pool(emojis: list[Emoji], folder: Path, side: int = POOL_SIZE) -> int:
    """Write the pre-training set, of squares of a side, as `images.zip` and `index.jsonl` and return its size."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [e for e in emojis if e.category in CATEGORIES and e.subcategory != HELD_OUT_SUBCATEGORY]
    lines = []
    # PNG bytes do not compress further; a fixed date keeps the archive identical between runs.
    with zipfile.ZipFile(folder / "images.zip", "w", zipfile.ZIP_STORED) as archive:
        for index, emoji in enumerate(chosen):
            file = f"{index:03d}-{emoji.slug}.png"
            small = on_white(emoji.file).resize((side, side), Image.Resampling.LANCZOS)
            archive.writestr(zipfile.ZipInfo(file, (1980, 1, 1, 0, 0, 0)), png(small))
            lines.append(pool_line(emoji, file))
    (folder / "index.jsonl").write_text("".join(lines), encoding="utf-8")
    return len(chosen)


def write_captioned(emojis: list[Emoji], captions: Captions, folder: Path) -> None:
    """Write numbered images at their original size, each with a caption file beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    by_slug = {e.slug: e for e in emojis}
    for number, (slug, caption) in enumerate(captions.items(), start=1):
        (folder / f"{number:02d}.png").write_bytes(png(on_white(by_slug[slug].file)))
        (folder / f"{number:02d}.txt").write_text(f"emoji of {caption}\n", encoding="utf-8")


def main() -> None:
    """Read the command line and write all sets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path, help="the unpacked emoji-datasource-google folder")
    parser.add_argument("--output", type=Path, default=HERE, help="where the sets are written")
    parser.add_argument("--side", type=int, default=POOL_SIZE, help="of a pool of another size, and of nothing else")
    options = parser.parse_args()
    emojis = read_package(options.package)
    size = write_pool(emojis, options.output / "pool", options.side)
    if options.side != POOL_SIZE:
        print(f"pool: {size} images of {options.side} pixels")
        return
    write_captioned(emojis, CAT_REFERENCES, options.output / "references" / "cat")
    write_captioned(emojis, CAT_HELD_OUT, options.output / "heldout" / "cat")
    write_captioned(emojis, VEHICLE_REFERENCES, options.output / "references" / "vehicles")
    write_captioned(emojis, VEHICLE_HELD_OUT, options.output / "heldout" / "vehicles")
    print(f"pool: {size} images, {len(PROBES)} of them probes")


if __name__ == "__main__":
    main()
