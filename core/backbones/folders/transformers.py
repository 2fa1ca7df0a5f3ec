"""What a transformer's configuration says that its pipeline's class does not: a folder may have been renamed."""

from __future__ import annotations

import re
from collections.abc import Mapping

from core.backbones.folders.other_pipelines import CAPTIONS_ALONE, EDITED

Config = Mapping[str, object]

# Of each class: the channels that it reads where its configuration does not say, and how many latents lie side by side
# in one of its places.
CHANNELS = {
    "SD3Transformer2DModel": (16, 1),
    "FluxTransformer2DModel": (64, 4),
    "Flux2Transformer2DModel": (128, 4),
    "QwenImageTransformer2DModel": (64, 4),
    "ZImageTransformer2DModel": (16, 1),
}
LATENTS = ("latent_channels", "z_dim")  # what VAEs call the channels of a latent
LATENT_CHANNELS = 16
# By how many times the channels of what is drawn are read: beside it lie another picture, or that and what to repaint.
GIVEN = {
    2: f"it draws from edges, depths or poses that it is given{CAPTIONS_ALONE}",
    6: f"it repaints a part of pictures that it is given{CAPTIONS_ALONE}",
}
# What only transformers have that are given pictures, as their configurations say it.
MARKS = (
    ("zero_cond_t", f"it edits pictures that it is given{CAPTIONS_ALONE}"),
    ("use_layer3d_rope", f"it takes pictures apart that it is given{CAPTIONS_ALONE}"),
    ("use_additional_t_cond", f"it takes pictures apart that it is given{CAPTIONS_ALONE}"),
    ("siglip_feat_dim", f"it draws from pictures that it is given{CAPTIONS_ALONE}"),
)
CALLED = re.compile(r"kontext|(?<![a-z])(edit|fill|inpaint\w*|canny|depth|redux|layered|omni)(?![a-z])", re.IGNORECASE)


def other_transformer(transformer: Config, vae: Config) -> str | None:
    """Say what else than drawing from words a transformer was made for; None where it draws from words."""
    for mark, words in MARKS:
        if transformer.get(mark):
            return f"transformer/config.json says {mark}: {words}"
    usual, beside = CHANNELS.get(str(transformer.get("_class_name")), (None, 1))
    channels = transformer.get("in_channels", usual)
    held = next((vae[name] for name in LATENTS if name in vae), LATENT_CHANNELS)
    if usual is None or type(channels) is not int or type(held) is not int or channels == held * beside:
        return None
    words = GIVEN.get(channels // (held * beside), EDITED) if channels % (held * beside) == 0 else EDITED
    return f"its transformer reads {channels} channels instead of {held * beside}: {words}"


def named_otherwise(*names: str) -> list[str]:
    """Warn of a model that is called as one that is given pictures: some have the configuration of one that is not."""
    found = next((found for name in names if (found := CALLED.search(name))), None)
    if found is None:
        return []
    return [
        f"It is called {found[0]}, as models are that are given pictures; its configuration does not tell it. Here it "
        "is shown captions alone."
    ]
