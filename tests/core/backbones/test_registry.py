"""Which folders become a backbone: true classes at reduced size are taken, code and pickles are not."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from hypothesis import given, strategies

from core.backbones.folders.weights import check_safetensors
from core.backbones.hub_name import HUB_NAME
from core.backbones.record import BackboneRecord, check_id, describe, read_record, write_record
from core.backbones.registry import BUILT_IN, Registry
from core.disk import hash_file
from core.errors import Conflict, InvalidInput, JobFailure, NotFound
from core.settings import Settings

Edit = Callable[[Path], object]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data")


@pytest.fixture
def diffusion(tiny_diffusion_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_diffusion_folder, tmp_path / "diffusion"))


@pytest.fixture
def language(tiny_language_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_language_folder, tmp_path / "language"))


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def swap(path: Path) -> None:
    """Flip the last byte and keep the size: a header check can't see it."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_diffusion_folder_is_described_by_its_own_files(diffusion: Path, settings: Settings) -> None:
    record = Registry.load(settings).add("tiny-sd", diffusion, licence="CC0-1.0")
    assert (record.kind, record.resolution, record.target_modules) == (
        "images",
        16,
        ("to_q", "to_k", "to_v", "to_out.0"),
    )
    weights = "unet/diffusion_pytorch_model.safetensors"
    assert record.sha256[weights] == hash_file(diffusion / weights)
    assert {"model_index.json", "scheduler/scheduler_config.json", "tokenizer/tokenizer.json"} <= set(record.sha256)


def test_a_language_folder_is_described_by_its_own_files(language: Path, settings: Settings) -> None:
    record = Registry.load(settings).add("tiny-llama", language, licence="Apache-2.0")
    assert (record.kind, record.resolution) == ("texts", None)
    assert {"model.safetensors", "tokenizer.json", "config.json"} <= set(record.sha256)


def test_how_many_tokens_a_text_may_have_is_registered_within_what_the_model_says(
    language: Path, diffusion: Path, settings: Settings
) -> None:
    registry = Registry.load(settings)
    added = registry.add("tiny", language, licence="CC0", defaults={"max_tokens": 128})
    assert (added.context_tokens, added.defaults) == (128, {"max_tokens": 128})
    for tokens in (31, 129):
        with pytest.raises(InvalidInput) as refused:
            registry.add("more", language, licence="CC0", defaults={"max_tokens": tokens})
        assert (refused.value.code, refused.value.param) == ("invalid_max_tokens", "max_tokens")
    with pytest.raises(InvalidInput, match="leave --max-tokens out"):
        registry.add("images", diffusion, licence="CC0", defaults={"max_tokens": 64})
    change(language / "config.json", max_position_embeddings=None)
    unknown = registry.add("unknown", language, licence="CC0", defaults={"max_tokens": 4096})
    assert (unknown.context_tokens, unknown.defaults) == (None, {"max_tokens": 4096})
    assert Registry.load(settings).get("unknown") == unknown


def test_an_added_backbone_is_there_for_the_next_process(language: Path, settings: Settings) -> None:
    added = Registry.load(settings).add("tiny", language, licence="CC0", defaults={"rank": 2})
    again = Registry.load(settings)
    assert again.get("tiny") == added
    assert "tiny" in [record.id for record in again]


def test_a_backbone_is_known_elsewhere_by_its_hub_name_or_else_only_by_its_id(
    language: Path, settings: Settings
) -> None:
    Registry.load(settings).add("tiny", language, licence="CC0")
    assert Registry.load(settings).get("tiny").public_name == "tiny"
    Registry.load(settings).add("tiny", language, licence="CC0", hub_name="my-org/Tiny_1.5B-it")
    assert Registry.load(settings).get("tiny").public_name == "my-org/Tiny_1.5B-it"
    assert Registry.load(settings).get("emoji-ldm").public_name == "emoji-ldm"


def test_an_entry_that_an_older_version_wrote_has_no_hub_name(language: Path, settings: Settings) -> None:
    Registry.load(settings).add("tiny", language, licence="CC0", hub_name="my-org/tiny")
    stored = json.loads(settings.registry_file.read_text())
    del stored["backbones"]["tiny"]["hub_name"]
    settings.registry_file.write_text(json.dumps(stored))
    assert Registry.load(settings).get("tiny").hub_name is None


@pytest.mark.parametrize(
    "name",
    [
        *("tiny", "", "/", "org/", "/name", "a/b/c", "org/name/", "org\\name", "my org/name", "org/näme", "org/name\n"),
        *("/models/sd15", "./models", "../sd15/x", "~/models", "C:/models", "https://huggingface.co/org/name"),
        *("org/.name", "org/name-", "org/a--b", "org/a..b", "org/name.git", "org/" + "x" * 97, "hf:org/name"),
    ],
)
def test_what_is_no_hub_name_is_refused_in_a_sentence(name: str, language: Path, settings: Settings) -> None:
    with pytest.raises(InvalidInput, match="A hub name is ORG/NAME, like HuggingFaceTB") as refusal:
        Registry.load(settings).add("tiny", language, licence="CC0", hub_name=name)
    assert (refusal.value.code, refusal.value.param) == ("invalid_hub_name", "hub_name")
    assert not settings.registry_file.exists()


@given(
    name=strategies.from_regex(
        r"[\w.-]{1,9}/[\w.-]{1,9}", fullmatch=True, alphabet=strategies.characters(codec="ascii")
    )
)
def test_a_hub_name_is_taken_as_the_hubs_own_client_takes_it(name: str) -> None:
    try:
        validate_repo_id(name)
        taken = True
    except HFValidationError:
        taken = False
    assert bool(HUB_NAME.fullmatch(name)) == taken


def test_a_path_on_this_machine_is_no_hub_name(
    language: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models/sd15").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput, match=r"models/sd15 is a path on this machine, and means nothing elsewhere"):
        Registry.load(settings).add("tiny", language, licence="CC0", hub_name="models/sd15")
    monkeypatch.chdir(tmp_path / "models")  # as the sentence says, where it is the hub's name too
    Registry.load(settings).add("tiny", language, licence="CC0", hub_name="models/sd15")


def test_what_an_operator_has_added_is_offered_before_what_comes_with_the_service(
    settings: Settings, language: Path
) -> None:
    registry = Registry.load(settings)
    registry.add("zebra", language, licence="CC0")
    assert [record.id for record in registry] == ["zebra", "emoji-ldm", "emoji-flow"]


@pytest.mark.parametrize("id", sorted(BUILT_IN))
def test_the_demo_backbones_are_what_their_records_say(settings: Settings, id: str) -> None:
    registry = Registry.load(settings)
    record = registry.get(id)
    registry.verify(record)
    assert record.pool is not None
    assert (record.pool / "index.jsonl").is_file()


def test_an_unknown_id_is_answered_with_the_known_ones(settings: Settings) -> None:
    for id in ("stabilityai/sd", "../emoji-ldm", "file:///etc/passwd", ""):
        with pytest.raises(NotFound, match="emoji-ldm") as refusal:
            Registry.load(settings).get(id)
        assert refusal.value.code == "model_not_found"
    with pytest.raises(NotFound, match="backbones prepare smollm2-135m"):
        Registry.load(settings).get("smollm2-135m")


def test_a_built_in_id_or_a_strange_one_can_not_be_taken(language: Path, settings: Settings) -> None:
    with pytest.raises(Conflict):
        Registry.load(settings).add("emoji-ldm", language, licence="CC0")
    for id in ("Tiny", "a:b", "a/b", "", "x" * 65):
        with pytest.raises(InvalidInput):
            Registry.load(settings).add(id, language, licence="CC0")
    assert not settings.registry_file.exists()


def test_a_file_that_changed_after_registering_is_noticed(language: Path, settings: Settings) -> None:
    registry = Registry.load(settings)
    record = registry.add("tiny", language, licence="CC0")
    registry.verify(record)
    swap(language / "model.safetensors")
    with pytest.raises(JobFailure, match=r"model\.safetensors is not the file") as failure:
        registry.verify(record)
    assert failure.value.code == "backbone_unavailable"


def test_a_file_that_is_gone_is_noticed(language: Path, settings: Settings) -> None:
    registry = Registry.load(settings)
    record = registry.add("tiny", language, licence="CC0")
    (language / "tokenizer.json").unlink()
    with pytest.raises(JobFailure, match="can't be read"):
        registry.verify(record)


def test_a_folder_that_describes_itself_may_be_moved(language: Path, tmp_path: Path) -> None:
    write_record(describe("tiny", language, licence="CC0"))
    moved = language.rename(tmp_path / "elsewhere")
    record = read_record(moved)
    assert record.path == moved
    assert "albatross.json" not in record.sha256


def test_a_registry_file_that_is_no_registry_is_named(settings: Settings) -> None:
    settings.data.mkdir()
    for content in ("{", "[]", '{"backbones": {"x": {}}}'):
        settings.registry_file.write_text(content)
        with pytest.raises(InvalidInput, match=r"backbones\.json"):
            Registry.load(settings)


def borrowed(folder: Path, part: str) -> None:
    """Let a part be a link to that of a backbone which is gone."""
    shutil.rmtree(folder / part)
    (folder / part).symlink_to(f"/gone/{part}")


DIFFUSION_FAULTS: dict[str, tuple[Edit, str]] = {
    "weights as pickles alone": (
        lambda f: (f / "unet/diffusion_pytorch_model.safetensors").rename(f / "unet/diffusion_pytorch_model.bin"),
        "may run code",
    ),
    "code that a part asks for": (lambda f: change(f / "unet/config.json", auto_map={"a": "b"}), "auto_map"),
    "another pipeline": (lambda f: change(f / "model_index.json", _class_name="ChromaPipeline"), "ChromaPipeline"),
    "another class of a part": (lambda f: change(f / "model_index.json", unet=["diffusers", "Evil"]), "Evil"),
    "a part from another library": (lambda f: change(f / "model_index.json", extra=["os", "system"]), "extra"),
    "a part that lies about its class": (lambda f: change(f / "vae/config.json", _class_name="Other"), "vae"),
    "no weights": (lambda f: (f / "unet/diffusion_pytorch_model.safetensors").unlink(), "is missing"),
    "no part any more": (lambda f: borrowed(f, "vae"), "its vae is /gone/vae, which is not there any more; put that"),
    "no tokenizer": (lambda f: shutil.rmtree(f / "tokenizer"), "tokenizer is missing"),
    "no index": (lambda f: (f / "model_index.json").unlink(), "model_index"),
    "an index that is no JSON": (lambda f: (f / "model_index.json").write_text("{"), "not valid JSON"),
}
LANGUAGE_FAULTS: dict[str, tuple[Edit, str]] = {
    "weights as pickles alone": (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "may run code"),
    "code that it asks for": (lambda f: change(f / "config.json", auto_map={"AutoModel": "x.Y"}), "auto_map"),
    "code for its tokenizer": (lambda f: change(f / "tokenizer_config.json", auto_map={"a": "b"}), "auto_map"),
    "another architecture": (lambda f: change(f / "config.json", architectures=["EvilForCausalLM"]), "Evil"),
    "no architecture": (lambda f: change(f / "config.json", architectures=None), "names no class"),
    "quantised weights": (lambda f: change(f / "config.json", quantization_config={"bits": 4}), "quantised"),
    "no fast tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "tokenizer.json"),
    "a pointer instead of weights": (
        lambda f: (f / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n"),
        "Git LFS",
    ),
    "weights that are cut": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-8]),
        "cut short",
    ),
}


def refused(settings: Settings, folder: Path, fault: tuple[Callable[[Path], object], str]) -> None:
    edit, words = fault
    edit(folder)
    with pytest.raises(InvalidInput, match=words):
        Registry.load(settings).add("x", folder, licence="CC0")
    assert not settings.registry_file.exists()


@pytest.mark.parametrize("fault", DIFFUSION_FAULTS)
def test_a_diffusion_folder_is_refused_for(diffusion: Path, settings: Settings, fault: str) -> None:
    refused(settings, diffusion, DIFFUSION_FAULTS[fault])


@pytest.mark.parametrize("fault", LANGUAGE_FAULTS)
def test_a_language_folder_is_refused_for(language: Path, settings: Settings, fault: str) -> None:
    refused(settings, language, LANGUAGE_FAULTS[fault])


def test_weights_in_parts_need_all_of_their_parts(language: Path) -> None:
    (language / "model.safetensors").rename(language / "part-1.safetensors")
    index = language / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"model.norm.weight": "part-1.safetensors"}}))
    assert {"part-1.safetensors", index.name} <= set(describe("x", language, licence="CC0").sha256)
    for part in ("part-2.safetensors", "../language/part-1.safetensors"):
        index.write_text(json.dumps({"weight_map": {"a": part}}))
        with pytest.raises(InvalidInput, match="missing"):
            describe("x", language, licence="CC0")


def test_pickles_and_code_beside_the_weights_are_passed_over_and_said(diffusion: Path, language: Path) -> None:
    plain = {folder: describe("x", folder, licence="CC0").sha256 for folder in (diffusion, language)}
    for name in ("unet/diffusion_pytorch_model.bin", "whole.ckpt", "pipeline.py", "whole.safetensors"):
        (diffusion / name).write_bytes(b"x")
    (language / "pytorch_model.bin").write_bytes(b"x")
    found = {folder: describe("x", folder, licence="CC0") for folder in (diffusion, language)}
    assert {folder: record.sha256 for folder, record in found.items()} == plain
    assert (
        "Passed over, and never loaded: pipeline.py, unet/diffusion_pytorch_model.bin, whole.ckpt and 1 more."
        in found[diffusion].notes
    )
    assert "Passed over, and never loaded: pytorch_model.bin." in found[language].notes


def test_a_folder_says_its_family_itself(diffusion: Path, language: Path) -> None:
    read = [describe("x", folder, licence="CC0") for folder in (diffusion, language)]
    assert [(record.family, record.kind) for record in read] == [("sd1", "images"), ("llama", "texts")]
    assert read[0].objective == "epsilon"
    assert read[1].objective is None


def test_a_record_from_before_the_families_is_read_and_a_made_up_one_is_not(language: Path) -> None:
    content = describe("x", language, licence="CC0").model_dump(mode="json")
    for old, new in (("diffusion", "sd1"), ("language", "llama")):
        assert BackboneRecord.model_validate(content | {"family": old}).family == new
    with pytest.raises(ValueError, match="no family"):
        BackboneRecord.model_validate(content | {"family": "made-up"})


def test_a_pool_that_is_not_there_is_refused(language: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"index\.jsonl"):
        describe("x", language, licence="CC0", pool=tmp_path / "no-pool")


def weights(header: object, data: bytes) -> bytes:
    content = json.dumps(header).encode()
    return struct.pack("<Q", len(content)) + content + data


def one_byte(offsets: object) -> dict[str, object]:
    return {"a": {"dtype": "U8", "shape": [1], "data_offsets": offsets}}


HEADERS = {
    "seven bytes": b"1234567",
    "a header of 2^63 bytes": struct.pack("<Q", 2**63) + b"{}",
    "a header that is no JSON": struct.pack("<Q", 4) + b"{{{{",
    "no tensors": weights({}, b""),
    "a tail": weights(one_byte([0, 1]), b"abc"),
    "a cut end": weights(one_byte([0, 2]), b"a"),
    "offsets that are words": weights(one_byte("ab"), b"a"),
    "a tensor that is a list": weights({"a": []}, b"a"),
}


def test_a_whole_safetensors_file_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(weights(one_byte([0, 1]) | {"__metadata__": {"format": "pt"}}, b"a"))
    check_safetensors(path)


@pytest.mark.parametrize("what", HEADERS)
def test_a_safetensors_file_is_refused_with(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(HEADERS[what])
    with pytest.raises(InvalidInput):
        check_safetensors(path)


@pytest.mark.parametrize("id", ["auto", "generate"])
def test_no_backbone_is_called_what_jobs_say_of_pools(id: str) -> None:
    with pytest.raises(InvalidInput, match="jobs say it of pools"):
        check_id(id)
