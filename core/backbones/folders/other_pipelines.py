"""Pipelines of diffusers that are not taken: what each is made for, and which can be brought instead."""

from __future__ import annotations

import re

from core.backbones.families import ROWS

CAPTIONS_ALONE = ", and training here shows it captions alone"
EDITED = f"it repaints or edits pictures that it is given{CAPTIONS_ALONE}"
# What a pipeline is made for, by a part of its class; the first that fits is told.
PURPOSES = tuple(
    (re.compile(part), words)
    for part, words in (
        (r"Audio|Music|AceStep|Spectrogram|DanceDiffusion", "it makes sounds"),
        (
            r"Video|^Wan|^LTX|CogVideo|Mochi|AnimateDiff|^SVD|Allegro|^Latte|^Cosmos(?!2TextToImage)|Animate|ConsisID"
            r"|SkyReels|[IT]2V|^PIA|ChronoEdit|LucyEdit|Helios|AnyFlow|SanaWM|MiniMaxH",
            "it makes videos",
        ),
        (
            r"ControlNet|SparseControl|Adapter",
            f"it is steered by a second network, which is given pictures{CAPTIONS_ALONE}",
        ),
        (
            r"Control|Canny|Depth|GLIGEN",
            f"it draws from edges, depths, poses or boxes that it is given{CAPTIONS_ALONE}",
        ),
        (r"Inpaint|Fill|RePaint|PaintByExample", f"it repaints a part of pictures that it is given{CAPTIONS_ALONE}"),
        (
            r"Upscal|Upsampl|SuperResolution|Refiner|SRPipeline",
            f"it sharpens or enlarges pictures that it is given{CAPTIONS_ALONE}",
        ),
        (r"Kontext|Edit|Pix2Pix", f"it edits pictures that it is given{CAPTIONS_ALONE}"),
        (
            r"Img2Img|Image2Image|I2I|KleinKV|Redux|Variation|Emb2Emb|VisualCloze|Layered|Omni|Cycle|Marigold",
            f"it draws from pictures that it is given{CAPTIONS_ALONE}",
        ),
        (r"LatentConsistency|FluxSchnell|Sprint|Distilled", "it is distilled to few steps"),
        (
            r"Flux|StableDiffusion|ZImage|QwenImage|Lumina|Sana|AuraFlow|Chroma|HiDream|Krea|CogView|PixArt|Kandinsky"
            r"|Hunyuan|Bria|Kolors|LongCatImage|Ovis|Ideogram|GlmImage|ErnieImage|PRX|Cascade|Wuerstchen|UnCLIP|^IF"
            r"|Amused|Nucleus|Cosmos2TextToImage|DreamLite",
            "it draws from words, but its family is not taken yet",
        ),
    )
)
# Which pipelines come of the same makers, or draw what it draws: those of them are named that are taken.
RELATIVES = tuple(
    (re.compile(part), classes)
    for part, classes in (
        (r"^Flux[23]", ("Flux2Pipeline", "Flux2KleinPipeline", "FluxPipeline")),
        (r"^Flux|^Chroma", ("FluxPipeline",)),
        (r"StableDiffusion3", ("StableDiffusion3Pipeline",)),
        (r"StableDiffusionXL|SDXL", ("StableDiffusionXLPipeline",)),
        (r"StableVideo|StableCascade|StableAudio", ("StableDiffusion3Pipeline", "StableDiffusionXLPipeline")),
        (
            r"StableDiffusion|AltDiffusion|AnimateDiff|^PIA|TextToVideoZero|LatentConsistency",
            ("StableDiffusionPipeline",),
        ),
        (r"^QwenImage", ("QwenImagePipeline",)),
        (r"^ZImage", ("ZImagePipeline",)),
        (r"^Wan", ("QwenImagePipeline", "ZImagePipeline")),
    )
)
# Parts that only such pipelines have, by which a folder is known whose model_index.json names another class.
PARTS = {
    "controlnet": PURPOSES[2][1],
    "adapter": PURPOSES[2][1],
    "motion_adapter": "it makes videos",
    "transformer_2": "it makes videos, with one network for the beginning and one for the end",
    "processor": PURPOSES[6][1],
    "siglip": PURPOSES[7][1],
}


def other_pipeline(root: object) -> str:
    """Say what a pipeline of this class is made for, and what can be brought instead."""
    named = f"model_index.json names {root!r}"
    purpose = next((words for part, words in PURPOSES if part.search(str(root))), None)
    if purpose is None:
        return f"{named}; only {', '.join(taken())} is taken"
    return f"{named}: {purpose}; {instead(str(root))}"


def other_part(part: str) -> str | None:
    """Say what a pipeline with such a part is made for; None where that says nothing."""
    return PARTS.get(part)


def instead(root: str) -> str:
    """Name the pipelines that can be brought instead of one of this class."""
    classes = next((classes for part, classes in RELATIVES if part.search(root)), ())
    known = [f"{_names(each)} ({each})" for each in classes if each in taken()]
    if not known:
        return f"bring a model that draws pictures from words instead ({', '.join(taken())})"
    return f"bring {' or '.join(known)} instead"


def taken() -> tuple[str, ...]:
    """Return the classes of the pipelines that are taken."""
    return tuple(dict.fromkeys(root for row in ROWS if row.kind == "images" for root in row.roots))


def _names(root: str) -> str:
    return " or ".join(row.name for row in ROWS if root in row.roots)
