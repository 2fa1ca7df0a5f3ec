"""The lines that load an adapter, for every family and format; the demo's are run in tests/consumers."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from core.backbones.families import FAMILIES, family
from core.backbones.record import BackboneRecord
from worker.stages.export.formats import WRITERS
from worker.stages.export.usage import usage

SHELL = ("kohya", "gguf")


def record(id: str, hub_name: str | None = None, *files: str) -> BackboneRecord:
    return BackboneRecord(
        id="tiny",
        family=id,
        path=Path("/nowhere"),
        revision="1",
        sha256=dict.fromkeys(files, "0"),
        licence="CC0",
        hub_name=hub_name,
        target_modules=("to_q",),
    )


def formats(id: str) -> list[str]:
    return list(family(id).exports)


@pytest.mark.parametrize("id", FAMILIES)
def test_every_format_of_every_family_has_lines_that_name_its_file(id: str) -> None:
    for form in formats(id):
        file = WRITERS[form][0]
        lines = usage(form, file, record(id), family(id).roots[0])
        assert file in lines
        if form not in SHELL:
            ast.parse(lines)
            assert (form == "merged" and family(id).kind == "texts") or '"/path/to/tiny"' in lines


def test_a_backbone_with_a_hub_name_is_called_by_it() -> None:
    assert 'from_pretrained("example/tiny")' in usage(
        "peft", "a.zip", record("llama", "example/tiny"), "LlamaForCausalLM"
    )


def test_a_pipeline_is_loaded_by_its_own_class() -> None:
    lines = usage("diffusers", "a.safetensors", record("sdxl"), "UNet2DConditionModel")
    assert "pipe = StableDiffusionXLPipeline.from_pretrained(" in lines
    assert "safety_checker" not in lines  # which that class does not have
    assert "safety_checker=None" in usage("diffusers", "a.safetensors", record("sd1"), "UNet2DConditionModel")


def test_a_transformer_is_put_into_its_pipeline_without_the_parts_that_its_folder_left_out() -> None:
    files = ("text_encoder_3/model.safetensors", "tokenizer_3/tokenizer.json")
    for whole, absent in ((record("sd3", None, *files), False), (record("sd3"), True)):
        lines = usage("merged", "a.zip", whole, "SD3Transformer2DModel")
        assert 'transformer = SD3Transformer2DModel.from_pretrained("merged"' in lines
        assert ("text_encoder_3=None, tokenizer_3=None" in lines) == absent
        assert "PeftModel.from_pretrained(pipe.transformer" in usage("peft", "a.zip", whole, "SD3Transformer2DModel")


def test_a_transformers_files_are_for_programs_that_draw_with_it() -> None:
    lines = usage("diffusers", "a.safetensors", record("flux1"), "FluxTransformer2DModel")
    assert lines.startswith("# ComfyUI takes a.safetensors as it is")
    assert "ComfyUI" not in usage("diffusers", "a.safetensors", record("sd1"), "UNet2DConditionModel")
    assert "stable-diffusion-webui" in usage("kohya", "a.safetensors", record("sd1"), "UNet2DConditionModel")
    assert "stable-diffusion-webui" not in usage("kohya", "a.safetensors", record("flux1"), "FluxTransformer2DModel")


def test_a_pipeline_that_needs_torchvision_says_so() -> None:
    needing = {id for id in FAMILIES if "torchvision" in usage("peft", "a.zip", record(id), family(id).roots[0])}
    assert needing == {"flux2"}


def test_a_model_that_reads_pictures_too_is_loaded_whole() -> None:
    for form in ("peft", "merged"):
        assert "AutoModelForImageTextToText" in usage(form, "a.zip", record("gemma3"), "Gemma3ForConditionalGeneration")
        assert "AutoModelForCausalLM" in usage(form, "a.zip", record("gemma3"), "Gemma3ForCausalLM")
