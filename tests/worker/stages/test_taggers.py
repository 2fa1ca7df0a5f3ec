"""Taggers: tiny captioning models of the true classes, registered, checked and run by the code that users run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipTextConfig,
    BlipVisionConfig,
    GPT2Config,
    PreTrainedTokenizerFast,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTImageProcessor,
)

from api.cli.__main__ import main
from core.backbones.taggers import TaggerRecord, Taggers
from core.errors import Conflict, InvalidInput, JobFailure
from core.settings import Settings
from worker.stages import taggers
from worker.trainer import sandbox

SAID = "a picture of the red cat on some blue grass with two dogs"
WORDS = ["<pad>", "<s>", "</s>", "<unk>", *SAID.split()]
SIDE = 32


def tokenizer(folder: Path) -> None:
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)


def blip(folder: Path) -> Path:
    torch.manual_seed(0)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = BlipTextConfig(
        **small,
        vocab_size=len(WORDS),
        encoder_hidden_size=32,
        max_position_embeddings=32,
        bos_token_id=1,
        eos_token_id=2,
        sep_token_id=2,
        pad_token_id=0,
    )
    vision = BlipVisionConfig(**small, image_size=SIDE, patch_size=8)
    BlipForConditionalGeneration(
        BlipConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=32)
    ).save_pretrained(folder)
    BlipImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    tokenizer(folder)
    return folder


def encoder_decoder(folder: Path) -> Path:
    torch.manual_seed(0)
    vision = ViTConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=SIDE, patch_size=8
    )
    text = GPT2Config(
        vocab_size=len(WORDS),
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=32,
        bos_token_id=1,
        eos_token_id=2,
        is_decoder=True,
        add_cross_attention=True,
    )
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(vision, text)
    config.decoder_start_token_id, config.pad_token_id = 1, 0
    model = VisionEncoderDecoderModel(config)
    model.generation_config.decoder_start_token_id = 1
    model.generation_config.pad_token_id, model.generation_config.eos_token_id = 0, 2
    model.generation_config.suppress_tokens = [0, 1, 2, 3]  # else random weights say nothing at all
    model.save_pretrained(folder)
    ViTImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    tokenizer(folder)
    return folder


MAKERS = {"blip": blip, "vit-gpt2": encoder_decoder}
IMAGES = [Image.radial_gradient("L").convert("RGB").resize((48, 40)), Image.new("RGB", (30, 30), "red")] * 3


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."), torch.AcceleratorError("CUDA error: misaligned address")]
)
def test_what_the_machine_lacks_is_no_fault_of_a_model(
    error: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def lack(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(transformers.AutoImageProcessor, "from_pretrained", lack)
    record = TaggerRecord(id="words", path=tmp_path, revision="1", sha256={}, licence="CC0")
    with pytest.raises(type(error)):
        taggers.load("words", record, "cpu")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data")


@pytest.mark.parametrize("name", MAKERS)
def test_a_captioning_model_says_the_same_of_the_same_image(name: str, tmp_path: Path, settings: Settings) -> None:
    folder = MAKERS[name](tmp_path / name)
    Taggers.load(settings).add(name, folder, licence="CC0", max_tokens=6)
    registry = Taggers.load(settings)
    assert registry.ids == [name]
    record = registry.verified(name)
    assert record is not None
    tagger = taggers.load(name, record, "cpu")
    captions = tagger.caption(IMAGES)
    assert captions == tagger.caption(IMAGES)
    assert len(captions) == len(IMAGES)
    assert captions[0] == captions[2] == captions[4]
    known = set(WORDS)
    assert all(set(caption.split()) <= known for caption in captions)
    assert any(captions)


def test_a_prompt_begins_each_caption_of_a_model_that_wants_one(tmp_path: Path, settings: Settings) -> None:
    record = Taggers.load(settings).add("b", blip(tmp_path / "b"), licence="CC0", prompt="a picture of", max_tokens=3)
    captions = taggers.load("b", record, "cpu").caption(IMAGES[:2])
    assert all(caption.startswith("a picture of") for caption in captions)


def test_a_model_that_was_changed_is_not_used(tmp_path: Path, settings: Settings) -> None:
    folder = blip(tmp_path / "blip")
    registry = Taggers.load(settings)
    registry.add("blip", folder, licence="CC0")
    config = folder / "config.json"
    config.write_text(config.read_text().replace("0.02", "0.03") + " ")
    with pytest.raises(JobFailure, match=r"config\.json is not the file that was registered"):
        registry.verified("blip")
    (folder / "model.safetensors").unlink()
    with pytest.raises(JobFailure):
        registry.verified("blip")
    with pytest.raises(JobFailure, match="not registered"):
        registry.verified("gone")


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("modeling.py", "print()", "modeling.py is code"),
        ("pytorch_model.bin", "x", "may run code"),
        ("config.json", '{"architectures": ["LlamaForCausalLM"]}', "LlamaForCausalLM"),
        ("config.json", '{"architectures": ["BlipForConditionalGeneration"], "auto_map": {}}', "auto_map"),
        ("model.safetensors", "version https://git-lfs.example", "not a complete safetensors file"),
        ("preprocessor_config.json", None, "preprocessor_config.json is missing"),
        ("tokenizer.json", None, "tokenizer.json is missing"),
        ("model.safetensors", None, "model.safetensors is missing"),
    ],
)
def test_a_folder_that_must_not_be_loaded_is_refused(
    tmp_path: Path, settings: Settings, file: str, content: str | None, said: str
) -> None:
    folder = blip(tmp_path / "blip")
    if content is None:
        (folder / file).unlink()
        (folder / "processor_config.json").unlink(missing_ok=True)
    else:
        (folder / file).write_text(content)
    with pytest.raises(InvalidInput) as refused:
        Taggers.load(settings).add("blip", folder, licence="CC0")
    assert said in refused.value.message
    assert Taggers.load(settings).ids == []


def test_reserved_and_strange_ids_are_refused(tmp_path: Path, settings: Settings) -> None:
    for id in ("auto", "none", "colours"):
        with pytest.raises(Conflict):
            Taggers.load(settings).add(id, tmp_path, licence="CC0")
    with pytest.raises(InvalidInput):
        Taggers.load(settings).add("../x", tmp_path, licence="CC0")


def test_a_registry_that_is_broken_is_named(settings: Settings) -> None:
    settings.data.mkdir()
    settings.taggers_file.write_text('{"taggers": {"x": {}}}')
    with pytest.raises(InvalidInput, match=r"taggers\.json"):
        Taggers.load(settings)


def test_the_command_adds_and_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, data = blip(tmp_path / "blip"), ["--data", str(tmp_path / "data")]
    assert main(["taggers", "add", "mine", str(folder), "--licence", "BSD-3-Clause", *data]) == 0
    assert main(["taggers", "list", *data]) == 0
    said = capsys.readouterr().out
    assert "Added mine" in said
    assert "colours" in said
    assert "BSD-3-Clause" in said
    assert json.loads((tmp_path / "data/taggers.json").read_text())["taggers"]["mine"]["path"] == str(folder)


def test_the_sandbox_lets_the_trainer_see_the_model(tmp_path: Path, settings: Settings) -> None:
    folder = blip(tmp_path / "blip")
    Taggers.load(settings).add("blip", folder, licence="CC0")
    assert folder.resolve() in sandbox._needed(settings, [])


@pytest.mark.parametrize(
    ("image", "caption"),
    [
        (Image.new("RGB", (40, 40), (220, 30, 30)), "a red picture"),
        (
            Image.merge("RGB", [Image.linear_gradient("L").point(lambda level: 255 * (level > 150))] * 3),
            "a black and white picture",
        ),
        (Image.new("L", (9, 9), 128), "a grey picture"),
    ],
)
def test_the_built_in_tagger_names_colours_and_nothing_else(image: Image.Image, caption: str) -> None:
    assert taggers.load("colours", None, "cpu").caption([image, image]) == [caption, caption]
