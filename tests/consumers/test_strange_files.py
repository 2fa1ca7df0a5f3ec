"""`albatross inspect` on files from strangers: damaged, odd, or made to harm; every answer is a sentence."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter
from safetensors.numpy import save

from api.cli.__main__ import main
from core.adapters import card as cards
from core.adapters import inspection

Q = "base_model.model.q_proj"
CARD: dict[str, Any] = {
    "backbone": {"id": "tiny", "revision": "1", "licence": "CC0"},
    "outcome": {"published_step": 2, "last_step": 4, "stop_rule": "valley", "stop_reason": "The second valley."},
    "curves": {"columns": ["step", "reference_loss"], "rows": [[0, 2.0], [2, 1.0]]},
    "data": {"kind": "texts", "references": {"count": 4, "sha256": "ab"}, "validation": None, "pool": None},
    "replayed": {"count": 1, "licences": {"CC0": 1}},
    "seed": 3,
    "versions": {"peft": "1"},
}


PROTECTED = {"means": "distil", "weight": 4, "on": "own", "share": 0.25, "examples": 64, "kept": None}


def halves(module: str = Q, rank: int = 2) -> dict[str, np.ndarray]:
    return {
        f"{module}.lora_A.weight": np.ones((rank, 4), np.float32),
        f"{module}.lora_B.weight": np.ones((4, rank), np.float32),
    }


def packed(header: dict[str, Any], data: bytes) -> bytes:
    """A safetensors file with any header."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def eighths(data: bytes, kind: str = "F8_E4M3") -> bytes:
    """An adapter of one module in a type of a byte a number."""
    tensors = {
        f"{Q}.lora_A.weight": {"dtype": kind, "shape": [2, 4], "data_offsets": [0, 8]},
        f"{Q}.lora_B.weight": {"dtype": kind, "shape": [4, 2], "data_offsets": [8, 16]},
    }
    return packed({"__metadata__": {"alpha": "2"}, **tensors}, data)


def peft_zip(config: Any, **tensors: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(inspection.CONFIG, config if isinstance(config, bytes) else json.dumps(config))
        archive.writestr(inspection.WEIGHTS, save(halves() | tensors))
    return buffer.getvalue()


def answer(file: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    file.write_bytes(content)
    status = main(["inspect", str(file)])
    printed = capsys.readouterr()
    return status, " ".join(printed.out.split()), printed.err


def refused(file: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> str:
    status, out, said = answer(file, content, capsys)
    assert (status, out) == (2, "")
    assert said.startswith("albatross: ")
    assert said.count("\n") == 1
    return said


def test_numbers_of_a_type_that_is_not_read_are_named_and_not_called_good(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, said, _ = answer(tmp_path / "eight.safetensors", eighths(bytes(16)), capsys)
    assert status == 1
    assert "WARNING Numbers of type F8_E4M3 are not read here, so nothing is known of them." in said
    assert "checked" not in said


def test_a_gguf_adapter_in_blocks_is_named_as_not_read_and_its_end_is_missed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = GGUFWriter(tmp_path / "whole.gguf", "llama")
    writer.add_type("adapter")
    writer.add_float32("adapter.lora.alpha", 32)
    for half in ("a", "b"):
        blocks = np.zeros((32, 34), np.uint8)
        writer.add_tensor(f"blk.0.attn_q.weight.lora_{half}", blocks, raw_dtype=8)  # type: ignore[arg-type]
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    whole = (tmp_path / "whole.gguf").read_bytes()
    status, said, _ = answer(tmp_path / "file.gguf", whole, capsys)
    assert status == 1
    assert "Numbers of type Q8_0 are not read here" in said
    assert "nor a complete GGUF file" in refused(tmp_path / "file.gguf", whole[:-600], capsys)


@pytest.mark.parametrize("kind", ["F8_E4M3", "I8", "A_TYPE_OF_NEXT_YEAR"])
def test_a_file_that_is_cut_off_is_refused_whatever_its_type(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "nor a complete GGUF file" in refused(tmp_path / "cut.safetensors", eighths(bytes(15), kind), capsys)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "I64", "shape": [2, 4], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2.0, 1.0], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0.0, 8.0]},
        {"dtype": "F32", "shape": [1 << 32, 1 << 32], "data_offsets": [0, 0]},
        {"dtype": "F32", "shape": [1] * 80, "data_offsets": [0, 4]},
        {"dtype": "U8", "shape": [8], "data_offsets": [-8, 0]},
    ],
)
def test_a_tensor_whose_place_and_shape_disagree_is_refused(
    entry: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "nor a complete" in refused(tmp_path / "odd.safetensors", packed({"odd": entry}, bytes(16)), capsys)


ODD_CARDS: list[dict[str, Any]] = [
    {"backbone": "sd15"},
    {"backbone": {"id": ["sd15"]}},
    {"outcome": []},
    {"outcome": {"published_step": "two"}},
    {"outcome": {"published_step": 2, "stop_reason": 7}},
    {"curves": {"columns": ["step", "reference_loss"], "rows": [[0]]}},
    {"curves": {"columns": ["step"], "rows": [[None]]}},
    {"curves": {"columns": ["step"], "rows": [["first"]]}},
    {"curves": {"columns": "step", "rows": [[1]]}},
    {"data": {"kind": "texts", "references": {"count": 4, "sha256": "ab"}, "validation": {}}},
    {"data": {"pool": "emoji"}},
    {"replayed": {"count": 3}},
    {"replayed": {"count": 3, "licences": ["CC0"]}},
    {"replayed": [3]},
    {"protected": {"means": "distil"}},
    {"protected": {"means": "distil", "weight": "much", "on": "own", "share": 0.5, "examples": 64}},
    {"probe": "own"},
    {"probe": {"on": 1}},
    {"versions": ["peft"]},
    {"parameters": "many"},
]


@pytest.mark.parametrize(
    ("protected", "told"),
    [
        (PROTECTED, "by distil at weight 4, in 25% of the slots, on 64 samples of the backbone's own"),
        (PROTECTED | {"on": "captions", "kept": {"without": 2.0, "with": 1.0}}, "on 64 unrelated captions"),
        (None, ""),
    ],
)
def test_what_protected_a_backbone_is_told_where_the_card_says_it(
    protected: dict[str, Any] | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "card.json").write_text(json.dumps(CARD | {"protected": protected}))
    main(["inspect", str(tmp_path / "card.json")])
    shown = " ".join(capsys.readouterr().out.split())
    assert told in shown
    assert ("protected" in shown) == bool(protected)


@pytest.mark.parametrize(
    ("probe", "told"),
    [
        ({"on": "own", "examples": 16}, "probe of samples of the backbone's own 2 to 2.5"),
        ({"on": "pool", "examples": 16}, "probe 2 to 2.5"),
        (None, "probe 2 to 2.5"),
    ],
)
def test_the_loss_on_a_backbones_own_samples_is_called_that(
    probe: dict[str, Any] | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    curves = {"columns": ["step", "probe_loss"], "rows": [[0, 2.0], [2, 2.5]]}
    (tmp_path / "card.json").write_text(json.dumps(CARD | {"curves": curves, "probe": probe}))
    main(["inspect", str(tmp_path / "card.json")])
    assert told in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("odd", ODD_CARDS, ids=json.dumps)
@pytest.mark.parametrize("place", ["card.json", "file.safetensors"])
def test_a_card_of_another_shape_is_damage(
    place: str, odd: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = json.dumps(CARD | odd)
    content = card.encode() if place == "card.json" else save(halves(), {cards.CARD: card})
    assert refused(tmp_path / place, content, capsys) == f"albatross: {place} is damaged; fetch it again.\n"


def test_the_same_card_in_its_own_shape_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said, _ = answer(tmp_path / "card.json", json.dumps(CARD).encode(), capsys)
    assert status == 0
    assert "published step 2 of 4, rule valley" in said
    assert "reference 2 to 1" in said


@pytest.mark.parametrize("alpha", [None, "2", True, [2], 10**400], ids=["null", "text", "bool", "list", "huge"])
def test_an_alpha_that_is_no_number_is_damage(alpha: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = peft_zip({"r": 2, "lora_alpha": alpha})
    assert "is damaged; fetch it again." in refused(tmp_path / "peft.zip", content, capsys)


@pytest.mark.parametrize(
    "content",
    [
        save(halves(), {"alpha": "abc"}),
        save(halves(), {"alpha": "nan"}),
        save(halves() | {f"{Q}.alpha": np.zeros(0, np.float32)}),
        save(halves(), {"lora_adapter_metadata": '{"unet.lora_alpha": null}'}),
        save(halves(), {cards.CARD: "[]"}),
    ],
    ids=["word", "nan", "empty", "null", "list"],
)
def test_a_head_that_makes_no_sense_is_damage(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is damaged; fetch it again." in refused(tmp_path / "file.safetensors", content, capsys)


def test_an_adapter_of_rank_zero_is_told_and_not_divided_by(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said, _ = answer(tmp_path / "none.safetensors", save(halves(rank=0), {"alpha": "2"}), capsys)
    assert status == 1
    assert "rank 0, alpha 2 " in said


@pytest.mark.slow
def test_any_false_byte_of_an_archive_is_taken_or_refused_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, damaged = peft_zip({"r": 2, "lora_alpha": 2}), 0
    for place in range(len(whole)):
        content = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        status, _, said = answer(tmp_path / "peft.zip", content, capsys)
        assert status in (0, 1, 2)
        assert said.count("\n") == (status == 2)
        damaged += said == "albatross: peft.zip is damaged; fetch it again.\n"
    assert damaged > len(whole) / 4


def test_json_that_an_archive_blows_up_is_not_read_to_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bomb = b'{"a": "' + b" " * 16_000_000 + b'"}'
    content = peft_zip(bomb)
    assert len(content) < 100_000
    assert "adapter_config.json has more than 16 MB" in refused(tmp_path / "peft.zip", content, capsys)
    with zipfile.ZipFile(tmp_path / "merged.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in (("config.json", b"{}"), ("model.safetensors", b""), ("card.json", bomb)):
            archive.writestr(name, member)
    content = (tmp_path / "merged.zip").read_bytes()
    assert "card.json has more than 16 MB" in refused(tmp_path / "merged.zip", content, capsys)
    assert "bomb.json has more than 16 MB" in refused(tmp_path / "bomb.json", bomb, capsys)


def test_no_control_character_of_a_file_reaches_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    red, title = "\x1b[31m", "\x1b]0;owned\x07"
    card = json.dumps(CARD | {"backbone": {"id": f"{red}tiny\ud800\u202e"}, "versions": {title: f"1\r{red}"}})
    tensors = halves() | {f"{title}\n.lora_A.weight": np.full((2, 4), np.nan, np.float32)}
    facts = {cards.CARD: card, cards.CARD_HASH: red}
    file = tmp_path / f"cat{red}\n.safetensors"
    file.write_bytes(save(tensors, facts))
    assert main(["inspect", str(file)]) == 1
    file.write_bytes(b"no adapter")
    assert main(["inspect", str(file)]) == 2
    file.unlink()
    assert main(["inspect", str(file)]) == 2
    for printed in capsys.readouterr():
        assert "\ufffd[31m" in printed
        assert all(character.isprintable() or character == "\n" for character in printed)


@pytest.mark.parametrize("setting", ["use_rslora", "use_dora", "alpha_pattern", "rank_pattern"])
def test_what_makes_a_scale_uneven_is_warned_of_and_no_scale_is_claimed(
    setting: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value = {"q_proj": 4} if setting.endswith("pattern") else True
    plain = {"r": 2, "lora_alpha": 2, "use_rslora": False, "use_dora": False, "alpha_pattern": {}, "rank_pattern": {}}
    head = json.dumps({f"unet.{name}": found for name, found in (plain | {setting: value}).items()})
    for name, content in {
        "peft.zip": peft_zip(plain | {setting: value}),
        "file.safetensors": save(halves("unet.q_proj"), {"lora_adapter_metadata": head}),
    }.items():
        status, said, _ = answer(tmp_path / name, content, capsys)
        assert status == 1
        assert "scale rank 2, alpha 2 numbers" in said
        assert f"WARNING It sets {setting}: alpha / rank is not its scale" in said
    assert "alpha 2, scale 1" in answer(tmp_path / "peft.zip", peft_zip(plain), capsys)[1]


def test_a_magnitude_of_dora_is_seen_without_a_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = halves() | {f"{Q}.lora_magnitude_vector": np.ones(4, np.float32)}
    status, said, _ = answer(tmp_path / "dora.safetensors", save(tensors, {"alpha": "2"}), capsys)
    assert status == 1
    assert "It sets use_dora" in said


def test_each_network_of_a_file_has_its_own_alpha(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = json.dumps({"unet.lora_alpha": 2, "text_encoder.lora_alpha": 8})
    tensors = halves("unet.q_proj") | halves("text_encoder.q_proj")
    status, said, _ = answer(tmp_path / "two.safetensors", save(tensors, {"lora_adapter_metadata": head}), capsys)
    assert status == 1
    assert "rank 2, alpha 2, 8 numbers" in said
    assert "Modules have different alphas" in said


def test_alphas_beside_the_matrices_count_under_any_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = halves("transformer.q_proj") | {"transformer.q_proj.alpha": np.array(1, np.float32)}
    status, said, _ = answer(tmp_path / "flux.safetensors", save(tensors), capsys)
    assert status == 0
    assert "rank 2, alpha 1, scale 0.5" in said


def test_a_file_without_a_card_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said, _ = answer(tmp_path / "step.safetensors", save(halves(), {"alpha": "2"}), capsys)
    assert status == 0
    assert "card none: a kept step, or not made by Albatross, or stripped" in said
