"""`albatross backbones add --base`: a transformer alone in one file, and the other parts of a known backbone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from api.cli import __main__ as cli
from core.backbones.registry import Registry
from core.settings import Settings
from tests.core.backbones.flux2_file import write_flux2
from tests.core.backbones.sd3_file import write_sd3
from tests.core.backbones.test_folders import change
from tests.core.backbones.z_image_file import write_z_image
from tests.families.images import SIDE, random_pipeline, write_images

NAMES = ("sd3", "flux1", "flux2", "flux2-klein", "qwen-image", "z-image")
PREFIX = "model.diffusion_model."


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny folders, and files of transformers that were trained on from theirs."""
    import torch
    from safetensors.torch import save_file

    place = tmp_path_factory.mktemp("made")
    for name in NAMES:
        write_images(name, place / name)
        transformer = random_pipeline(name).transformer
        with torch.no_grad():
            for number in transformer.parameters():
                number.mul_(1.25)
        transformer.save_pretrained(place / f"{name}-child")
        if name == "sd3":
            write_sd3(transformer, place / "sd3.safetensors", PREFIX, {"modelspec.license": "mit"})
        elif name.startswith("flux2"):
            write_flux2(transformer, place / f"{name}.safetensors")
        elif name == "z-image":
            write_z_image(transformer, place / "z-image.safetensors")
        else:
            save_file(transformer.state_dict(), place / f"{name}.safetensors")
    return place


def with_bases(made: Path, data: Path, *names: str) -> Path:
    """Return a data folder in which tiny folders are registered."""
    for name in names:
        assert cli.main(["backbones", "add", f"{name}-base", str(made / name), *said(data)]) == 0
    return data


def said(data: Path) -> list[str]:
    return ["--licence", "CC0", "--data", str(data)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*(pytest.param(name, marks=pytest.mark.long) for name in NAMES[:-1]), NAMES[-1]])
def test_a_transformer_alone_becomes_a_backbone_with_the_other_parts_of_its_base(
    made: Path, tmp_path: Path, name: str
) -> None:
    import torch
    from safetensors.torch import load_file

    from core.method.backbones.images.diffusion import DiffusionBackbone

    file, data = made / f"{name}.safetensors", with_bases(made, tmp_path / "data", name)
    assert cli.main(["backbones", "add", "mine", str(file), "--base", f"{name}-base", *said(data)]) == 0
    registry = Registry.load(Settings(data=data))
    record, base = registry.get("mine"), registry.get(f"{name}-base")
    assert f"Its other parts are those of {name}-base, in {made / name}." in record.notes
    weights = "transformer/diffusion_pytorch_model.safetensors"
    wanted, found = load_file(made / f"{name}-child" / Path(weights).name), load_file(record.path / weights)
    assert wanted.keys() == found.keys()
    assert all(torch.equal(wanted[key], found[key]) for key in wanted)
    assert (record.path / "vae").resolve() == base.path / "vae"
    assert record.sha256.keys() == base.sha256.keys()
    same = {key for key in record.sha256 if record.sha256[key] == base.sha256[key]}
    assert base.sha256.keys() - same <= {weights, "transformer/config.json"}
    options = {"form": record.form, "resolution": SIDE, "target_modules": record.target_modules}
    assert DiffusionBackbone.load(record.path, **options).sample(["a cat"], seed=0, steps=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("distilled", "called", "drawing"),
    [
        pytest.param(True, "flux-2-klein-base-4b", {}, marks=pytest.mark.long),
        (True, "flux2Klein_4bBase", {}),
        pytest.param(False, "flux-2-klein-4b", {"sample_steps": 4, "guidance": 1.0}, marks=pytest.mark.long),
        pytest.param(True, "cats", {"sample_steps": 4, "guidance": 1.0}, marks=pytest.mark.long),
    ],
)
def test_a_transformer_of_klein_is_distilled_or_not_whatever_lends_its_other_parts(
    made: Path, tmp_path: Path, distilled: bool, called: str, drawing: dict[str, float]
) -> None:
    base, data = Path(shutil.copytree(made / "flux2-klein", tmp_path / "base")), tmp_path / "data"
    change(base / "model_index.json", is_distilled=distilled)
    change(base / "transformer/config.json", _name_or_path=f"FLUX.2-klein-{'' if distilled else 'base-'}4B")
    assert cli.main(["backbones", "add", "base", str(base), *said(data)]) == 0
    file = Path(shutil.copy(made / "flux2-klein.safetensors", tmp_path / f"{called}.safetensors"))
    assert cli.main(["backbones", "add", "mine", str(file), "--base", "base", *said(data)]) == 0
    record = Registry.load(Settings(data=data)).get("mine")
    assert record.defaults == drawing
    assert json.loads((record.path / "model_index.json").read_text())["is_distilled"] == bool(drawing)


def refused(capsys: pytest.CaptureFixture[str], data: Path, file: Path, *more: str) -> str:
    capsys.readouterr()
    assert cli.main(["backbones", "add", "mine", str(file), *more, *said(data)]) == 2
    assert "mine" not in json.loads((data / "backbones.json").read_text())["backbones"]
    assert [path.name for path in (data / "backbones").glob("*mine*")] == []
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_what_does_not_go_together_is_refused_by_what_would(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = with_bases(made, tmp_path / "data", "sd3", "flux1")
    sd3, flux = made / "sd3.safetensors", made / "flux1.safetensors"
    assert "say with --base which backbone has its other parts (sd3-base)" in refused(capsys, data, sd3)
    told = refused(capsys, data, sd3, "--base", "flux1-base")
    assert "is the transformer of Stable Diffusion 3, and flux1-base is of the family FLUX.1" in told
    assert "no such backbone" in refused(capsys, data, sd3, "--base", "nobody")
    assert "--base is for a transformer alone" in refused(capsys, data, made / "sd3", "--base", "sd3-base")
    schnell = Path(shutil.copytree(made / "flux1", tmp_path / "schnell"))
    change(schnell / "transformer/config.json", guidance_embeds=False)
    assert cli.main(["backbones", "add", "schnell", str(schnell), *said(data)]) == 0
    assert "say with --base which backbone has its other parts (flux1-base)" in refused(capsys, data, flux)
    assert "that of schnell is not; name a base of the same kind" in refused(capsys, data, flux, "--base", "schnell")
    wider = Path(shutil.copytree(made / "sd3", tmp_path / "wider"))
    change(wider / "transformer/config.json", num_layers=3)
    assert cli.main(["backbones", "add", "wider", str(wider), *said(data)]) == 0
    told = refused(capsys, data, sd3, "--base", "wider")
    assert "do not fit the configuration of its parts" in told
    assert "name with --base one whose transformer has its size" in told
