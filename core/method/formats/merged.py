"""The whole network with the adapter in its weights: a folder that transformers or diffusers loads by itself.

Its files are those of the backbone, in their own names, types and order, with the adapted weights changed: W + s B A in
float32, rounded once. They are written tensor by tensor, so the network is not in memory for it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.images.forms import FORMS
from core.method.backbones.texts.language import LanguageBackbone
from core.method.formats.weight_files import FLOATS, StoredTensor, stored_tensors, write_tensors
from core.method.formats.witness import Witness, device_with_room, failure, loading
from core.method.lora.adapter import Adapter

FILE = "merged.zip"
PRIVATE = ("_name_or_path",)  # where the backbone lies on this machine
PARTS = ("weight", "bias")
STEMS = {"texts": "model", "images": "diffusion_pytorch_model"}
# beside the weights and config.json, where the backbone has them; a tokenizer is written by its own class
CARRIED = ("generation_config.json", "preprocessor_config.json", "processor_config.json")


def write(witness: Witness, backbone: Path, folder: Path) -> None:
    """Write the folder from the files in the folder `backbone`; it becomes as large as these."""
    source = network_folder(witness, backbone)
    stored = _stored(witness, backbone)
    paths = adapted(witness, stored)

    def change(tensor: StoredTensor) -> Tensor | None:
        return merged_weight(tensor, witness.adapter, paths[tensor.name]) if tensor.name in paths else None

    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(stored, change, folder, STEMS[witness.backbone.kind])
    _write_configuration(source / "config.json", folder / "config.json")
    for name in CARRIED:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    if isinstance(witness.backbone, LanguageBackbone):
        witness.backbone.tokenizer.save_pretrained(folder)
    for file in folder.rglob("*"):  # a tokenizer may keep templates in a folder of their own
        if file.is_file():
            file.chmod(0o600)


def network_folder(witness: Witness, backbone: Path) -> Path:
    """Return where the files of the adapted network lie within a backbone's folder."""
    ours = witness.backbone
    return backbone / FORMS[ours.form].part if isinstance(ours, DiffusionBackbone) else backbone


def adapted(witness: Witness, stored: Iterable[StoredTensor]) -> Mapping[str, str]:
    """Return the module path of every stored tensor that is the weight of an adapted module.

    Raises JobFailure where the files do not hold the weight of an adapted module as it is.
    """
    wanted = {f"{path}.weight": path for path in witness.adapter.down}
    names = {tensor.name: tensor.name for tensor in stored}
    if isinstance(witness.network, PreTrainedModel):
        names = _as_loaded(witness.network, names, wanted)
    found = {name: wanted[renamed] for name, renamed in names.items() if renamed in wanted}
    if missing := sorted(set(wanted.values()) - set(found.values())):
        raise failure("merged", f"the backbone's files don't hold the weight of {missing[0]} by itself")
    return found


def _as_loaded(network: PreTrainedModel, names: Iterable[str], wanted: Collection[str]) -> dict[str, str]:
    """Return what transformers calls stored tensors in the network, of those that it takes as they are."""
    rules = get_model_conversion_mapping(network)
    renamings = [rule for rule in rules if isinstance(rule, WeightRenaming)]
    converters = [rule for rule in rules if isinstance(rule, WeightConverter)]
    prefix, known, found = network.base_model_prefix, dict.fromkeys(wanted, True), dict[str, str]()
    for name in names:
        renamed, converted = rename_source_key(name, renamings, converters, prefix, known)
        if renamed not in known:  # as transformers does: it may already have its name, but for the prefix
            renamed, converted = rename_source_key(name, [], [], prefix, known)
        if not converted:
            found[name] = renamed
    return found


def merged_weight(tensor: StoredTensor, adapter: Adapter, path: str) -> Tensor:
    """Return W + s B A of a module in the type in which W is stored, computed in float32 and rounded once."""
    weight = tensor.read()
    down, up = (half[path][0].detach().cpu().float() for half in (adapter.down, adapter.up))
    whole = weight.float().flatten(1).addmm_(up, down, alpha=adapter.scale)
    return whole.reshape(weight.shape).to(weight.dtype)


def verify(witness: Witness, backbone: Path, folder: Path) -> float:
    """Load the folder as a stranger would; returns the error of its outputs relative to the adapter's effect.

    Every adapted weight has to be the backbone's own, changed and rounded once, and every other one as it was; then a
    pass through it is held against ours. Where ours is held in few bits, that pass only has to end in numbers, and 0
    is returned. Its files are mapped into memory and not copied there.
    Raises JobFailure "export_verification_failed" where any of it is not so.
    """
    stored = {tensor.name: tensor for tensor in _stored(witness, backbone)}
    paths = adapted(witness, stored.values())
    dtype, text = FLOATS[stored[next(iter(paths))].kind], witness.backbone.kind == "texts"
    options = {"local_files_only": True, "use_safetensors": True, "output_loading_info": True}
    with loading("merged", "transformers" if text else "diffusers"):
        network = cast(Any, type(witness.network))
        loaded, told = network.from_pretrained(folder, **options, **{"dtype" if text else "torch_dtype": dtype})
    for problem in ("missing_keys", "mismatched_keys"):
        if told.get(problem):
            raise failure("merged", f"it has {problem.replace('_', ' ')}: {min(map(str, told[problem]))}")
    coded = _compare_weights(witness, loaded, {path: stored[name] for name, path in paths.items()})
    loaded = loaded.to(device_with_room(loaded, witness.device)).eval()
    if coded:  # what it computes differs by what the codes of ours round, and that is more than the adapter does
        witness.check_finite(loaded, "merged")
        return 0.0
    return witness.compare_outputs(loaded, "merged")


def _stored(witness: Witness, backbone: Path) -> list[StoredTensor]:
    kind = witness.backbone.kind
    return stored_tensors(network_folder(witness, backbone), STEMS[kind])


@torch.no_grad()
def _compare_weights(witness: Witness, loaded: nn.Module, stored: Mapping[str, StoredTensor]) -> bool:
    """Hold every parameter of a loaded network against what it has to be; raises JobFailure at the first other one.

    Returns whether our network holds any of them as codes of few bits, which say nothing of how it was stored.
    """
    plain = {f"{path}.base.{part}": f"{path}.{part}" for path in witness.backbone.lora.layers for part in PARTS}
    ours = {plain.get(name, name): part for name, part in witness.network.named_parameters()}
    names = dict(loaded.named_parameters())
    for name, weight in names.items():
        path = name.removesuffix(".weight")
        if path in stored:
            wanted = merged_weight(stored[path], witness.adapter, path)
        elif name in ours:
            wanted = ours[name].detach().cpu()
        else:
            continue
        coarse = min(weight.dtype, wanted.dtype, key=lambda one: one.itemsize)
        if not torch.equal(weight.to(coarse), wanted.to(coarse)):
            raise failure("merged", f"{name} is not what it should be")
    return not names.keys() <= ours.keys()


def _write_configuration(source: Path, target: Path) -> None:
    config = json.loads(source.read_text())
    kept = {name: value for name, value in config.items() if name not in PRIVATE}
    target.write_text(json.dumps(kept, indent=2) + "\n")
