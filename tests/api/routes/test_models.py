"""Backbones and adapters: shown, downloaded, erased."""

from __future__ import annotations

import io
import zipfile

import httpx
import openai
import pytest

from tests.api.server import Service, refused


def test_backbones_and_adapters_are_models(client: openai.OpenAI, published: dict[str, str]) -> None:
    models = {model.id: model for model in client.models.list()}
    assert models["tiny-images"].model_extra["bat"]["kind"] == "backbone"
    assert models[published["model"]].model_extra["bat"]["formats"] == ["peft", "diffusers", "kohya", "card"]
    assert client.models.retrieve("tiny-images").id == "tiny-images"
    assert client.models.retrieve(published["model"]).model_extra["bat"]["job_id"] == published["job"]


def test_an_adapter_is_downloaded_in_each_format(http: httpx.Client, published: dict[str, str]) -> None:
    address = f"/v1/models/{published['model']}/download"
    answer = http.get(address)
    assert "adapter_model.safetensors" in zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
    assert "attachment" in answer.headers["content-disposition"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert http.get(address, params={"format": "diffusers"}).content == b"weights"
    assert http.get(address, params={"format": "card"}).json() == {}
    refused(http.get(address, params={"format": "pickle"}), 400)
    missing = refused(http.get(address, params={"format": "merged"}), 404, "format_not_available")
    assert "it has peft, diffusers, kohya, card. Create the job with bat.merged" in missing["message"]
    refused(http.get("/v1/models/tiny-images/download"), 404)


def test_a_checkpoint_has_one_file_and_no_formats(http: httpx.Client, published: dict[str, str]) -> None:
    address = f"/v1/models/{published['model']}:ckpt-step-120/download"
    assert http.get(address).content == b"weights of 120"
    for form in ("peft", "kohya"):
        said = refused(http.get(address, params={"format": form}), 404, "format_not_available")
        assert said["param"] == "format"
        assert "A checkpoint has only the weights of that step: leave format out" in said["message"]
    refused(http.get(address.replace("120", "")), 404, "checkpoint_not_found")


def test_a_download_has_a_name_that_tells_adapters_apart(http: httpx.Client, published: dict[str, str]) -> None:
    id = published["model"].rpartition(":")[2]
    names = {
        "peft": f"cat-{id}-peft.zip",
        "diffusers": "pytorch_lora_weights.safetensors",
        "kohya": f"cat-{id}.safetensors",
        "card": f"cat-{id}-card.json",
    }
    for form, name in names.items():
        answer = http.get(f"/v1/models/{published['model']}/download", params={"format": form})
        assert answer.headers["content-disposition"].endswith(f"''{name}")


def test_results_are_the_curves_then_the_formats_in_order(client: openai.OpenAI, published: dict[str, str]) -> None:
    job = client.fine_tuning.jobs.retrieve(published["job"])
    artifacts = job.model_extra["bat"]["artifacts"]
    assert [row["format"] for row in artifacts] == [None, "peft", "diffusers", "kohya", "card"]
    assert [row["file_id"] for row in artifacts] == job.result_files


def test_a_deleted_adapter_is_gone_with_all_its_files(
    service: Service, client: openai.OpenAI, http: httpx.Client, published: dict[str, str]
) -> None:
    job = client.fine_tuning.jobs.retrieve(published["job"])
    folder = service.settings.data / "storage"
    assert [path for path in folder.rglob("*") if published["job"] in str(path) and path.is_file()]
    assert client.models.delete(published["model"]).deleted
    assert not [path for path in folder.rglob("*") if published["job"] in str(path) and path.is_file()]
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve(published["model"])
    with pytest.raises(openai.NotFoundError):
        client.files.content(job.result_files[0])
    refused(http.delete(f"/v1/models/{published['model']}"), 404)
    assert client.fine_tuning.jobs.retrieve(published["job"]).status == "succeeded"


def test_a_backbone_cannot_be_deleted(http: httpx.Client) -> None:
    refused(http.delete("/v1/models/tiny-images"), 403)
