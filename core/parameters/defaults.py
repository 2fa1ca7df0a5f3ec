"""What "auto" means: starting points for each kind of backbone and device, as tables to read."""

from __future__ import annotations

from collections.abc import Mapping

from core.backbones.families import DeviceClass, Kind, Number

MIN_REFERENCES = 2  # one to learn from and one held out

# Figures per kind and device. `alpha` is alpha / rank; `batch_size` and `folds` are upper bounds, lowered to the
# number of references; steps are optimizer steps. CPU figures keep a job within minutes on two cores.
STARTING_POINTS: Mapping[tuple[Kind, DeviceClass], Mapping[str, Number]] = {
    ("images", "cpu"): {
        "rank": 8,
        "alpha": 1,
        "learning_rate": 1e-4,
        "batch_size": 4,
        "folds": 4,
        "surrogate_steps": 120,
        "max_steps": 300,
        "interval": 5,
        "sample_ratio": 0.5,
        "selected_count": 32,
        "draws_score": 8,
        "draws_eval": 4,
        "resolution": 512,
        "max_tokens": 0,
    },
    ("images", "cuda"): {
        "rank": 16,
        "alpha": 1,
        "learning_rate": 1e-4,
        "batch_size": 4,
        "folds": 4,
        "surrogate_steps": 400,
        "max_steps": 1200,
        "interval": 5,
        "sample_ratio": 1.0,
        "selected_count": 32,
        "draws_score": 16,
        "draws_eval": 4,
        "resolution": 512,
        "max_tokens": 0,
    },
    ("texts", "cpu"): {
        "rank": 16,
        "alpha": 2,
        "learning_rate": 2e-4,
        "batch_size": 4,
        "folds": 2,
        "surrogate_steps": 40,
        "max_steps": 80,
        "interval": 2,
        "sample_ratio": 0.34,
        "selected_count": 32,
        "draws_score": 1,
        "draws_eval": 1,
        "resolution": 0,
        "max_tokens": 128,
    },
    ("texts", "cuda"): {
        "rank": 16,
        "alpha": 2,
        "learning_rate": 2e-4,
        "batch_size": 8,
        "folds": 4,
        "surrogate_steps": 200,
        "max_steps": 400,
        "interval": 2,
        "sample_ratio": 1.0,
        "selected_count": 32,
        "draws_score": 1,
        "draws_eval": 1,
        "resolution": 0,
        "max_tokens": 1024,
    },
}

# With style_always: what a style looks like without any words is learned where words are left out. Not measured.
STYLE_ALWAYS_DROPOUT = 0.1

# What references are taken for where their owner does not say; the presets themselves are files in core/presets.
DEFAULT_PRESET: Mapping[Kind, str] = {"images": "subject", "texts": "tone"}
SHAPED_PRESET = "format"  # for texts whose answers have a shape: see core.references.answer_format
