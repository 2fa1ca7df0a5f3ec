"""A diffusers folder, read offline: its networks and what goes with them, part by part."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import transformers
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler, ModelMixin
from torch import nn
from transformers import CLIPTokenizer, PreTrainedModel, PreTrainedTokenizerBase, TokenizersBackend

from core.errors import JobFailure
from core.method.backbones.images.conditioners.encoders import TextEncoders
from core.method.backbones.precision import float_type, prepare_network
from core.parameters.memory import Precision

SOLVERS = ("dpmsolver++", "sde-dpmsolver++")  # that end without noise
Network = TypeVar("Network", bound=ModelMixin)
EncoderClasses = Mapping[str, type[PreTrainedModel]]


@dataclass(frozen=True)
class Folder:
    """A diffusers folder, read offline and from safetensors only.

    `variant` is what stands before ".safetensors" in the names of weights, "fp16" say; parts without are read too.
    """

    path: Path
    device: torch.device
    variant: str | None = None
    precision: Precision | None = None
    checkpointing: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights: as float_type says."""
        return float_type(self.precision, self.device)

    def network(self, part: str, made: type[Network]) -> Network:
        """Read the network that is adapted."""
        read = _whole(part, made.from_pretrained(self.path, torch_dtype=self.dtype, **self._options(part)))
        return prepare_network(read, self.precision, checkpointing=self.checkpointing, device=self.device)

    def vae(self, dtype: torch.dtype, made: type[Any] = AutoencoderKL) -> Any:
        """Read the VAE."""
        return _whole("vae", made.from_pretrained(self.path, torch_dtype=dtype, **self._options("vae")))

    def tokenizer(self, part: str) -> CLIPTokenizer:
        """Read a tokenizer of CLIP's."""
        return CLIPTokenizer.from_pretrained(self.path, subfolder=part, local_files_only=True)

    def other_tokenizer(self, part: str) -> PreTrainedTokenizerBase:
        """Read a tokenizer of another kind, as model_index.json names it; of a processor of words and pictures its own.

        What such a processor does to words its tokenizer does alone, and only it needs torchvision. It is read as
        PixtralProcessor reads it: from tokenizer.json whatever class is named beside it, and with the template of
        chat_template.json where that is there.
        """
        processor = self.index()[part][1].endswith("Processor")
        made = TokenizersBackend if processor else self.named(part)
        read: PreTrainedTokenizerBase = made.from_pretrained(self.path, subfolder=part, local_files_only=True)
        template = self.path / part / "chat_template.json"
        if processor and template.is_file():
            read.chat_template = json.loads(template.read_text(encoding="utf-8"))["chat_template"]
        return read

    def named(self, part: str) -> Any:
        """Return the class of transformers that model_index.json names for a part; only known ones are registered."""
        return getattr(transformers, self.index()[part][1])

    def flow(self) -> FlowMatchEulerDiscreteScheduler:
        """Return the sampler of a flow, as the folder has it."""
        return FlowMatchEulerDiscreteScheduler.from_pretrained(self.path, subfolder="scheduler", local_files_only=True)

    def encoders(self, classes: EncoderClasses) -> TextEncoders:
        """Return text encoders that are read when they are needed."""

        def load() -> tuple[nn.Module, ...]:
            return tuple(
                _whole(part, each.from_pretrained(self.path, dtype=self.dtype, **self._options(part))).to(self.device)
                for part, each in classes.items()
            )

        return TextEncoders(load)

    def scheduler(self) -> DPMSolverMultistepScheduler:
        """Return the sampler with the folder's own noise; where that leaves no signal, it must begin there.

        With the usual spacing of timesteps it would begin a little later, where the network expects some signal (Lin
        et al. 2305.08891). What solvers of other names call their algorithm, DEIS say, this one refuses.
        """
        options: dict[str, Any] = {"subfolder": "scheduler", "local_files_only": True}
        said = json.loads((self.path / "scheduler/scheduler_config.json").read_text(encoding="utf-8"))
        if said.get("algorithm_type", SOLVERS[0]) not in SOLVERS:
            options["algorithm_type"] = SOLVERS[0]
        scheduler = DPMSolverMultistepScheduler.from_pretrained(self.path, **options)
        if scheduler.config.rescale_betas_zero_snr:
            return DPMSolverMultistepScheduler.from_config(scheduler.config, timestep_spacing="trailing")
        return scheduler

    def index(self) -> Mapping[str, Any]:
        """Read what the folder says about its pipeline; nothing where it says nothing."""
        file = self.path / "model_index.json"
        return json.loads(file.read_text()) if file.is_file() else {}

    def has(self, part: str) -> bool:
        """Tell whether the folder has a part that others of its family may leave out."""
        return self.index().get(part) not in (None, [None, None])

    def _options(self, part: str) -> dict[str, Any]:
        has = self.variant is not None and any((self.path / part).glob(f"*.{self.variant}*.safetensors"))
        variant = self.variant if has else None
        options = {"subfolder": part, "use_safetensors": True, "local_files_only": True, "variant": variant}
        return options | {"output_loading_info": True}


def _whole(part: str, loaded: tuple[Any, Mapping[str, Any]]) -> Any:
    """Return a network as it was loaded; raise JobFailure where its files lack a weight, which is then drawn anew."""
    network, told = loaded
    if told["missing_keys"]:
        words = (
            f"The {part} of this backbone lacks {min(told['missing_keys'])}; fetch its files again, and add it again."
        )
        raise JobFailure(words, code="backbone_unavailable")
    return network
