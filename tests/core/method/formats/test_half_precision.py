"""A network of fewer digits than float32 hides small changes; module by module, what a file does is told exactly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from core.errors import JobFailure
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.texts.language import LanguageBackbone
from core.method.formats import diffusers, gguf, kohya, peft
from core.method.formats.witness import Witness, consumers_changes
from core.method.lora.adapter import Adapter
from tests.core.method.formats.test_formats import (
    HEADER,
    change_the_scale,
    drawn,
    image_witness,
    lose_a_half,
    lose_a_module,
    spoil_a_number,
    text_witness,
)
from tests.core.method.peak import peak_bytes

Damage = Callable[[dict[str, Tensor]], None]


def small(backbone: DiffusionBackbone | LanguageBackbone) -> Adapter:
    """An adapter whose effect is about as large as what bfloat16 rounds away."""
    adapter = drawn(backbone)
    for matrix in adapter.up.values():
        matrix.data *= 0.02
    return adapter


@pytest.fixture(params=[drawn, small])
def texts(request: pytest.FixtureRequest, tiny_language: LanguageBackbone) -> Witness:
    tiny_language.model.to(torch.bfloat16)
    return text_witness(tiny_language, request.param(tiny_language))


@pytest.fixture(params=[drawn, small])
def images(request: pytest.FixtureRequest, tiny_diffusion: DiffusionBackbone) -> Witness:
    tiny_diffusion.network.to(torch.bfloat16)
    return image_witness(tiny_diffusion, request.param(tiny_diffusion))


def written(witness: Witness, folder: Path) -> dict[str, tuple[Path, Callable[[], float]]]:
    """Write every format; return its file and its check."""
    backbone, adapter = witness.backbone, witness.adapter
    peft.write(backbone, adapter, folder, "tiny", HEADER)
    files = {"peft": (folder / "adapter_model.safetensors", lambda: peft.verify(witness, folder))}
    if isinstance(backbone, LanguageBackbone):
        gguf.write(backbone, adapter, folder / gguf.FILE, "tiny", HEADER)
        return files | {"gguf": (folder / gguf.FILE, lambda: gguf.verify(witness, folder / gguf.FILE))}
    for form, module in (("diffusers", diffusers), ("kohya", kohya)):
        module.write(backbone, adapter, folder / module.FILE, "tiny", HEADER)
        files[form] = (folder / module.FILE, lambda module=module: module.verify(witness, folder / module.FILE))
    return files


def test_every_text_format_is_exact_in_bfloat16(texts: Witness, tmp_path: Path) -> None:
    for _, verify in written(texts, tmp_path).values():
        assert verify() < 1e-5


def test_every_image_format_is_exact_in_bfloat16(images: Witness, tmp_path: Path) -> None:
    for _, verify in written(images, tmp_path).values():
        assert verify() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("damage", [lose_a_half, lose_a_module, change_the_scale, spoil_a_number])
@pytest.mark.parametrize("form", ["peft", "diffusers", "kohya"])
def test_damage_is_caught_in_bfloat16(images: Witness, tmp_path: Path, damage: Damage, form: str) -> None:
    file, verify = written(images, tmp_path)[form]
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    tensors = load_file(file)
    damage(tensors)
    save_file(tensors, file, metadata=metadata)
    with pytest.raises(JobFailure, match=f"in {form} format"):
        verify()


def test_a_wrong_alpha_is_caught_in_bfloat16(texts: Witness, tmp_path: Path) -> None:
    _, verify = written(texts, tmp_path)["peft"]
    config = tmp_path / "adapter_config.json"
    config.write_text(config.read_text().replace('"lora_alpha": 12.0', '"lora_alpha": 4.0'))
    with pytest.raises(JobFailure, match=r"what it changes of model\.layers\.0.* differs by 66"):
        verify()


def test_a_consumer_that_computes_otherwise_than_its_matrices_say_is_caught(texts: Witness, tmp_path: Path) -> None:
    written(texts, tmp_path)
    network = PeftModel.from_pretrained(texts.fresh(), tmp_path).eval()
    texts.compare(network, "peft")
    layer = network.base_model.model.model.layers[0].mlp
    layer.register_forward_hook(lambda _module, _inputs, output: 3 * output)
    with pytest.raises(JobFailure, match="its outputs differ"):
        texts.compare(network, "peft")


def test_what_a_consumer_changes_is_read_from_its_own_modules(texts: Witness, tmp_path: Path) -> None:
    written(texts, tmp_path)
    network = PeftModel.from_pretrained(texts.fresh(), tmp_path)
    changes = list(consumers_changes(network))
    assert {change.path for change in changes} == texts.adapter.down.keys()
    for change in changes:
        ours = texts.adapter.scale * texts.adapter.up[change.path][0] @ texts.adapter.down[change.path][0]
        assert (change.matrix - ours).norm() < 1e-6 * ours.norm()


def test_checking_a_file_leaves_the_backbone_as_it_was(images: Witness, tmp_path: Path) -> None:
    network = images.network
    before = {name: (id(part), part.clone()) for name, part in network.state_dict(keep_vars=True).items()}
    classes = [type(module) for module in network.modules()]
    for _, verify in written(images, tmp_path).values():
        verify()
    after = network.state_dict(keep_vars=True)
    assert all(id(after[name]) == place and torch.equal(after[name], part) for name, (place, part) in before.items())
    assert after.keys() == before.keys()
    assert [type(module) for module in network.modules()] == classes
    assert not any(part.requires_grad for part in network.parameters())


def test_a_witness_takes_no_copy_of_the_network(tiny_language: LanguageBackbone, tmp_path: Path) -> None:
    deeper = nn.ModuleList([tiny_language.model, *(nn.Linear(512, 512) for _ in range(8))])
    tiny_language.model.add_module("beside", deeper[1:])  # eight megabytes that no pass needs
    whole = sum(part.nbytes for part in tiny_language.model.parameters())

    def checked() -> None:
        witness = text_witness(tiny_language, drawn(tiny_language))
        peft.write(tiny_language, witness.adapter, tmp_path, "tiny", HEADER)
        peft.verify(witness, tmp_path)

    assert peak_bytes(checked) < whole / 8
