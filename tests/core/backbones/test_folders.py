"""Folders of models as people have them: what is read of each, what is passed over, what is refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from core.backbones.facts import facts
from core.backbones.families import FAMILIES
from core.backbones.folders.inspecting import inspect_folder
from core.backbones.licences import read_licence
from core.backbones.record import describe
from core.errors import InvalidInput
from tests.core.backbones.headers import HIDDEN, PROJECTIONS, decoder, write_texts, write_weights
from tests.other_user import unprivileged

Edit = Callable[[Path], object]
PHI = {
    "self_attn.qkv_proj": (3 * HIDDEN, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_up_proj": (32, HIDDEN),
    "mlp.down_proj": (HIDDEN, 16),
}
ATTENTION = {name: shape for name, shape in PROJECTIONS.items() if "attn" in name}
EXPERTS = {f"mlp.experts.{n}.gate_proj": (16, HIDDEN) for n in range(3)}


@pytest.fixture
def images(tiny_diffusion_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_diffusion_folder, tmp_path / "sd"))


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("family", "root", "model_type", "projections", "modules"),
    [
        ("llama", "LlamaForCausalLM", "llama", PROJECTIONS, 14),
        ("qwen3", "Qwen3ForCausalLM", "qwen3", PROJECTIONS, 14),
        ("phi3", "Phi3ForCausalLM", "phi3", PHI, 8),
        ("qwen3-moe", "Qwen3MoeForCausalLM", "qwen3_moe", ATTENTION | EXPERTS, 8),
        ("gpt-oss", "GptOssForCausalLM", "gpt_oss", ATTENTION, 8),
    ],
)
def test_the_family_of_texts_is_read_and_its_modules_counted(
    tmp_path: Path, family: str, root: str, model_type: str, projections: dict[str, tuple[int, int]], modules: int
) -> None:
    folder = write_texts(tmp_path / "x", root, model_type, decoder(projections=projections))
    record = describe("x", folder, licence="CC0")
    assert (record.family, record.adapted_modules) == (family, modules)
    assert record.target_modules == FAMILIES[family].targets
    mixture = any("experts" in note for note in record.notes)
    assert mixture is (family in {"qwen3-moe", "gpt-oss"})


def test_of_a_model_that_reads_pictures_the_language_part_is_adapted_and_that_is_said(tmp_path: Path) -> None:
    shapes = decoder("language_model.model.") | {"vision_tower.encoder.layers.0.self_attn.q_proj.weight": (8, 8)}
    inner = {"vocab_size": 32, "hidden_size": HIDDEN, "num_hidden_layers": 2, "max_position_embeddings": 64}
    folder = write_texts(tmp_path / "x", "Gemma3ForConditionalGeneration", "gemma3", shapes, text_config=inner)
    record = describe("x", folder, licence="CC0")
    assert (record.family, record.adapted_modules, record.context_tokens) == ("gemma3", 14, 64)
    assert any("language part alone" in note for note in record.notes)
    assert describe("x", folder, licence="CC0", target_modules=("q_proj",)).adapted_modules == 2
    with pytest.raises(InvalidInput, match=r"is meant by the target \*\*\.vision_tower\.\*\*"):
        describe("x", folder, licence="CC0", target_modules=("**.vision_tower.**",))
    plain = describe("y", write_texts(tmp_path / "y", "Gemma3ForCausalLM", "gemma3_text"), licence="CC0")
    assert plain.notes == ()


def test_keys_and_values_that_later_layers_share_are_not_counted(tmp_path: Path) -> None:
    folder = write_texts(tmp_path / "x", "Gemma4ForCausalLM", "gemma4_text", num_kv_shared_layers=1)
    assert describe("x", folder, licence="CC0").adapted_modules == 12
    folder = write_texts(tmp_path / "y", "Gemma4ForCausalLM", "gemma4_text", num_kv_shared_layers=0)
    assert describe("x", folder, licence="CC0").adapted_modules == 14


def test_what_a_tokenizer_lacks_is_said_and_what_it_has_is_not(tmp_path: Path) -> None:
    folder = write_texts(tmp_path / "x")
    assert describe("x", folder, licence="CC0").notes == ()
    (folder / "tokenizer_config.json").write_text("{}")
    template, padding = describe("x", folder, licence="CC0").notes
    assert "no chat template" in template
    assert "no padding token" in padding
    (folder / "chat_template.jinja").write_text("{{ x }}")
    (folder / "special_tokens_map.json").write_text('{"pad_token": "<pad>"}')
    assert describe("x", folder, licence="CC0").notes == ()


def test_a_network_that_is_there_in_half_precision_alone_is_taken_so(images: Path) -> None:
    plain = describe("x", images, licence="CC0")
    unet = images / "unet/diffusion_pytorch_model.safetensors"
    shutil.copy(unet, unet.with_suffix(".fp16.safetensors"))
    both = describe("x", images, licence="CC0")
    assert (both.sha256, both.variant) == (plain.sha256, None)
    assert "fp16.safetensors" in both.notes[0]  # passed over
    unet.unlink()
    half = describe("x", images, licence="CC0")
    assert half.variant == "fp16"
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in half.sha256
    assert "vae/diffusion_pytorch_model.safetensors" in half.sha256
    assert any("*.fp16.safetensors" in note for note in half.notes)


@pytest.mark.slow
def test_weights_in_half_precision_are_what_the_stages_load(images: Path) -> None:
    from core.method.backbones.images.diffusion import DiffusionBackbone

    unet = images / "unet/diffusion_pytorch_model.safetensors"
    unet.rename(unet.with_suffix(".fp16.safetensors"))
    record = describe("x", images, licence="CC0")
    loaded = DiffusionBackbone.load(
        images, form=record.form, resolution=16, target_modules=record.target_modules, variant=record.variant
    )
    assert len(loaded.lora.layers) == record.adapted_modules
    assert sum(each.numel() for each in loaded.network.parameters()) == record.parameters


def test_a_distilled_model_is_told_and_another_is_not(images: Path) -> None:
    assert describe("x", images, licence="CC0").notes == ()
    assert "distilled" in describe("x", images, licence="CC0", called="stabilityai/sd-turbo").notes[0]
    turbo = images.rename(images.parent / "sd-turbo")
    assert "distilled" in describe("x", turbo, licence="CC0").notes[0]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("sdxl-turbo", True),
        ("models--stabilityai--sdxl-turbo/snapshots/71153311d3dbb46851df1931d3ca6e939de83304", True),
        ("juggernautXL_v10Hyper", True),
        ("Hyper-SD15-8steps", True),
        ("hyperrealism_v3", False),
        ("models--org--plain/snapshots/71153311d3dbb46851df1931d3ca6e939de83304", False),
    ],
)
def test_a_distilled_model_is_known_by_what_it_is_called(images: Path, tmp_path: Path, name: str, told: bool) -> None:
    folder = Path(shutil.copytree(images, tmp_path / "models" / name))
    assert any("distilled" in note for note in inspect_folder(folder).notes) is told


def test_what_a_unet_predicts_is_read_and_other_aims_are_refused(images: Path) -> None:
    scheduler = images / "scheduler/scheduler_config.json"
    change(scheduler, prediction_type="v_prediction")
    assert describe("x", images, licence="CC0").objective == "v_prediction"
    change(scheduler, prediction_type="flow_prediction")
    with pytest.raises(InvalidInput, match="flow_prediction"):
        describe("x", images, licence="CC0")


def test_a_person_is_told_family_sides_modules_memory_and_licence(images: Path, tmp_path: Path) -> None:
    told = dict(facts(describe("x", images, licence="CC0")))
    assert told["family"] == "Stable Diffusion 1.x (images)"
    assert told["side"] == "16 px; pictures of other shapes have sides that are multiples of 8"
    assert told["adapted"] == "32 modules: to_q 8, to_k 8, to_v 8, to_out.0 8"
    assert "picture of 16 px" in told["memory"]
    assert told["licence"] == "CC0"
    told = dict(facts(describe("x", write_texts(tmp_path / "x"), licence="CC0", target_modules=("q_proj",))))
    assert told["adapted"] == "2 modules: q_proj 2"
    assert "text of 1,024 tokens" in told["memory"]
    assert "predicts" not in told
    assert "side" not in told


def test_the_sides_that_a_person_is_told_are_those_of_a_networks_own_halvings(images: Path) -> None:
    channels = json.loads((images / "unet/config.json").read_text())["block_out_channels"]
    change(images / "unet/config.json", block_out_channels=[*channels, channels[-1], channels[-1]])
    assert dict(facts(describe("x", images, licence="CC0")))["side"].endswith("multiples of 16")


@pytest.mark.parametrize(
    ("root", "config", "words"),
    [
        ("BertForMaskedLM", {}, "fills gaps"),
        ("Qwen3ForSequenceClassification", {}, "classifies"),
        ("LlamaForTokenClassification", {}, "classifies"),
        ("BertModel", {}, "embeddings"),
        ("T5ForConditionalGeneration", {}, "encoder"),
        ("BartForConditionalGeneration", {"is_encoder_decoder": True}, "encoder"),
        ("LlavaForConditionalGeneration", {"vision_config": {}}, "multimodal"),
        ("EvilForCausalLM", {}, "only Gemma2ForCausalLM"),
        ("LlamaForCausalLM", {"model_type": "evil"}, "model_type"),
        ("LlamaForCausalLM", {"auto_map": {"AutoModel": "x.Y"}}, "take that entry out"),
        ("LlamaForCausalLM", {"quantization_config": {"quant_method": "gptq"}}, "gptq.*original"),
        ("LlamaForCausalLM", {"quantization_config": {"quant_method": "bitsandbytes"}}, "bitsandbytes"),
        ("LlamaForCausalLM", {"num_hidden_layers": 3}, "2 layers, and config.json says 3"),
        ("LlamaForCausalLM", {"vocab_size": 33}, "32 x 8, which is not what config.json says"),
    ],
)
def test_another_model_of_texts_is_refused_by_name(
    tmp_path: Path, root: str, config: dict[str, object], words: str
) -> None:
    folder = write_texts(tmp_path / "x", root, **config)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=words):
        inspect_folder(folder)


def test_gpt_oss_as_it_comes_is_told_how_to_be_unpacked(tmp_path: Path) -> None:
    packed = {"quantization_config": {"quant_method": "mxfp4"}}
    folder = write_texts(tmp_path / "x", "GptOssForCausalLM", "gpt_oss", decoder(projections=ATTENTION), **packed)
    with pytest.raises(InvalidInput, match=r"Mxfp4Config\(dequantize=True\)"):
        inspect_folder(folder)


@pytest.mark.parametrize(("name", "type"), [("qweight", "I32"), ("weight", "U8"), ("weight", "F8_E4M3")])
def test_packed_weights_are_refused_where_the_configuration_is_silent(tmp_path: Path, name: str, type: str) -> None:
    folder = write_texts(tmp_path / "x")
    packed = f"model.layers.0.self_attn.q_proj.{name}"
    write_weights(folder / "model.safetensors", decoder() | {packed: (8, 8)}, **{packed: type})
    with pytest.raises(InvalidInput, match=f"quantised .*{type}"):
        inspect_folder(folder)


def other(*files: str) -> Edit:
    def write(folder: Path) -> None:
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"x")

    return write


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (other(), "empty"),
        (other("adapter_config.json", "adapter_model.safetensors"), "an adapter"),
        (other("model.Q4_K_M.gguf"), "GGUF"),
        (other("onnx/model.onnx"), "ONNX"),
        (other("model.ckpt"), "may run code"),
        (other("some.safetensors"), "that .safetensors file itself"),
        (other("params.json", "consolidated.safetensors"), "Mistral's own files"),
        (other("notes.txt"), "neither model_index.json"),
    ],
)
def test_a_folder_that_is_no_model_is_refused_by_what_it_is(tmp_path: Path, edit: Edit, words: str) -> None:
    edit(tmp_path)
    with pytest.raises(InvalidInput, match=words):
        inspect_folder(tmp_path)


def test_an_adapter_beside_a_model_is_refused_for_loaders_take_it_too(tmp_path: Path) -> None:
    folder = write_texts(tmp_path / "x")
    inspect_folder(folder)
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(InvalidInput, match=r"adapter_config\.json lies beside the model"):
        inspect_folder(folder)


def test_a_template_where_tokenizers_do_not_look_is_told(tmp_path: Path) -> None:
    folder = write_texts(tmp_path / "x")
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": "{{ x }}"}))
    assert not any("template" in note for note in inspect_folder(folder).notes)
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": "<pad>"}))
    [note] = inspect_folder(folder).notes
    assert note.startswith("Its chat template stands in chat_template.json alone")
    (folder / "chat_template.jinja").write_text("{{ x }}")
    assert inspect_folder(folder).notes == ()


def test_a_part_that_is_a_link_to_a_folder_is_hashed_as_others_are(images: Path, tmp_path: Path) -> None:
    whole = inspect_folder(images).files
    shutil.move(images / "vae", tmp_path / "shared-vae")
    (images / "vae").symlink_to(tmp_path / "shared-vae")
    (images / "loop").symlink_to(images)
    assert inspect_folder(images).files == whole
    assert "vae/config.json" in whole


def test_a_folder_that_can_not_be_read_is_not_called_empty() -> None:
    with unprivileged() as place:
        folder = write_texts(place / "x")
        folder.chmod(0)
        with pytest.raises(PermissionError):
            inspect_folder(folder)
        folder.chmod(0o700)


def test_an_index_that_names_more_than_its_parts_have_is_refused(tmp_path: Path) -> None:
    folder = write_texts(tmp_path / "x")
    part = "model-00001-of-00001.safetensors"
    shutil.move(folder / "model.safetensors", folder / part)
    index, named = folder / "model.safetensors.index.json", dict.fromkeys(decoder(), part)
    index.write_text(json.dumps({"weight_map": named}))
    assert part in inspect_folder(folder).files
    index.write_text(json.dumps({"weight_map": named | {"lm_head.weight": part}}))
    with pytest.raises(InvalidInput, match=r"names lm_head\.weight, which none of its parts has"):
        inspect_folder(folder)


def test_a_model_further_in_is_pointed_at(images: Path, tmp_path: Path) -> None:
    cache = tmp_path / "models--a--b"
    write_texts(cache / "snapshots" / "abc")
    (cache / "refs").mkdir()
    with pytest.raises(InvalidInput, match="it is in snapshots/abc: give that folder"):
        inspect_folder(cache)
    (images / "model_index.json").unlink()
    with pytest.raises(InvalidInput, match=r"parts of a pipeline are; fetch its model_index\.json again"):
        inspect_folder(images)


def test_a_tokenizer_of_words_is_needed_in_either_format(images: Path) -> None:
    fast = images / "tokenizer/tokenizer.json"
    content = json.loads(fast.read_text())["model"]
    fast.unlink()
    with pytest.raises(InvalidInput, match="tokenizer has neither"):
        inspect_folder(images)
    (images / "tokenizer/vocab.json").write_text(json.dumps(content["vocab"]))
    (images / "tokenizer/merges.txt").write_text("#version: 0.2\n")
    assert {"tokenizer/vocab.json", "tokenizer/merges.txt"} <= set(inspect_folder(images).files)


@pytest.mark.parametrize(
    ("scheduler", "words"),
    [
        (["diffusers", "LCMScheduler"], "draws in few steps: train on the model that it was distilled from"),
        (["diffusers", "EDMDPMSolverMultistepScheduler"], "what such models predict is not trained here"),
        (["mine", "Scheduler"], "only DDIMScheduler, "),
        ([], "only DDIMScheduler, "),
    ],
)
def test_another_scheduler_is_refused_by_name(images: Path, scheduler: list[str], words: str) -> None:
    change(images / "model_index.json", scheduler=scheduler)
    with pytest.raises(InvalidInput, match=words):
        inspect_folder(images)


def test_a_model_for_embeddings_is_refused_though_its_class_writes(tmp_path: Path) -> None:
    folder = write_texts(tmp_path / "x", "Qwen3ForCausalLM", "qwen3")
    (folder / "modules.json").write_text("[]")
    with pytest.raises(InvalidInput, match="embeddings"):
        inspect_folder(folder)


def test_a_network_for_other_channels_and_one_of_other_sides_are_refused(images: Path) -> None:
    change(images / "unet/config.json", in_channels=9)
    with pytest.raises(InvalidInput, match="9 channels"):
        inspect_folder(images)
    change(images / "unet/config.json", in_channels=4, block_out_channels=[32, 64])
    with pytest.raises(InvalidInput, match=r"unet/config\.json says"):
        inspect_folder(images)


@pytest.mark.parametrize(
    ("name", "text", "licence"),
    [
        ("README.md", "---\nlicense: apache-2.0\ntags:\n- x\n---\n# Model", "apache-2.0"),
        ("README.md", "---\nlicense:\n- mit\n---\n", "mit"),
        ("README.md", "---\nlicense: other\nlicense_name: flux-1-dev\n---\n", "flux-1-dev"),
        ("README.md", "---\nlicense: other\n---\n", None),
        ("README.md", "# Model\nlicense: mit\n", None),
        ("LICENSE", "Apache License\nVersion 2.0, January 2004", "apache-2.0"),
        ("LICENSE.md", "CreativeML Open RAIL-M\ndated August 22, 2022", "creativeml-openrail-m"),
        ("LICENSE", "All rights reserved.", None),
        ("other.txt", "MIT License", None),
    ],
)
def test_the_licence_is_what_the_folders_files_name(tmp_path: Path, name: str, text: str, licence: str | None) -> None:
    (tmp_path / name).write_text(text)
    assert read_licence(tmp_path) == licence


def test_a_licence_is_asked_for_where_no_file_names_one(tmp_path: Path) -> None:
    folder = write_texts(tmp_path / "x")
    with pytest.raises(InvalidInput, match="--licence"):
        describe("x", folder, licence=None)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    assert describe("x", folder, licence=None).licence == "mit"
    assert describe("x", folder, licence="CC0").licence == "CC0"
