"""Folders of pictures whose captions a language model reads: what its parts have to say to be taken."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from core.backbones.folders.inspecting import check_class
from core.backbones.record import describe
from core.errors import InvalidInput
from core.method.backbones.images.conditioners.chat import Reasoned
from core.method.backbones.images.conditioners.encoders import TextEncoders
from core.method.backbones.images.folder import Folder
from tests.core.backbones.test_folders import change
from tests.families.images import write_images

pytestmark = pytest.mark.slow
NAMES = ("flux2", "flux2-klein", "z-image")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("written")
    for name in NAMES:
        write_images(name, place / name)
    return place


def without_template(written: Path, name: str, place: Path) -> tuple[Path, str]:
    """Return a folder without its chat template, and the template."""
    folder = Path(shutil.copytree(written / name, place))
    file = folder / "tokenizer/chat_template.jinja"
    template = file.read_text()
    file.unlink()
    return folder, template


@pytest.mark.parametrize("name", NAMES)
def test_a_tokenizer_without_a_chat_template_is_refused(written: Path, tmp_path: Path, name: str) -> None:
    folder, template = without_template(written, name, tmp_path / name)
    with pytest.raises(InvalidInput, match=r"no chat template.*; fetch tokenizer/chat_template\.jinja too"):
        describe("x", folder, licence="CC0")
    change(folder / "tokenizer/tokenizer_config.json", chat_template=template)
    assert describe("x", folder, licence="CC0").family == name


def test_what_is_missing_beside_weights_is_said_before_they_are_there(written: Path, tmp_path: Path) -> None:
    folder, _ = without_template(written, "z-image", tmp_path / "z-image")
    for weights in folder.rglob("*.safetensors"):
        weights.unlink()
    with pytest.raises(InvalidInput, match="no chat template"):
        check_class(folder)
    (folder / "tokenizer/tokenizer.json").unlink()
    with pytest.raises(InvalidInput, match=r"tokenizer has neither tokenizer\.json, nor"):
        check_class(folder)


def test_a_template_that_only_processors_read_is_one_of_a_processor_alone(written: Path, tmp_path: Path) -> None:
    for name in ("flux2", "flux2-klein"):
        folder, template = without_template(written, name, tmp_path / name)
        (folder / "tokenizer/chat_template.json").write_text(json.dumps({"chat_template": template}))
    assert "tokenizer/chat_template.json" in describe("x", tmp_path / "flux2", licence="CC0").sha256
    with pytest.raises(InvalidInput, match="no chat template"):
        describe("x", tmp_path / "flux2-klein", licence="CC0")
    (tmp_path / "flux2/tokenizer/chat_template.json").write_text("{}")
    with pytest.raises(InvalidInput, match=r"chat_template\.json holds no template; fetch it again"):
        describe("x", tmp_path / "flux2", licence="CC0")


def test_a_language_model_that_sees_is_of_the_size_that_its_configuration_says(written: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(written / "flux2", tmp_path / "flux2"))
    config = folder / "text_encoder/config.json"
    change(config, text_config=json.loads(config.read_text())["text_config"] | {"hidden_size": 24})
    with pytest.raises(InvalidInput, match=r"embed_tokens.weight of text_encoder is \d+ x 16, which is not what"):
        describe("x", folder, licence="CC0")


@pytest.mark.parametrize("its_class", ["LlamaTokenizerFast", "MistralCommonBackend"])
def test_a_prompt_is_read_alike_whatever_class_is_named_and_wherever_the_template_stands(
    written: Path, tmp_path: Path, its_class: str
) -> None:
    folder, template = without_template(written, "flux2", tmp_path / "flux2")
    change(folder / "tokenizer/tokenizer_config.json", tokenizer_class=its_class, chat_template="{{ 'another' }}")
    (folder / "tokenizer/chat_template.json").write_text(json.dumps({"chat_template": template}))
    usual, found = (
        Folder(place, torch.device("cpu")).other_tokenizer("tokenizer") for place in (written / "flux2", folder)
    )
    assert found.padding_side == usual.padding_side == "left"
    one, other = (Reasoned(tokenizer, TextEncoders(tuple)).tokens("a cat") for tokenizer in (usual, found))
    assert one == other > len("a cat")
