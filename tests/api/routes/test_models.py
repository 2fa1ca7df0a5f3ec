"""Backbones and adapters: shown, downloaded, erased."""

from __future__ import annotations

import io
import time
import zipfile

import httpx
import openai
import pytest
from sqlalchemy import delete, insert, select

from core.database.tables import Account, Adapter, Artifact, Job, Measurement
from tests.api.server import Service, refused

FORMATS = ("peft", "diffusers", "kohya", "card")


def test_backbones_and_adapters_are_models(client: openai.OpenAI, published: dict[str, str]) -> None:
    models = {model.id: model for model in client.models.list()}
    assert models["tiny-images"].model_extra["bat"]["kind"] == "backbone"
    assert models[published["model"]].model_extra["bat"]["formats"] == ["peft", "diffusers", "kohya", "card"]
    assert client.models.retrieve("tiny-images").id == "tiny-images"
    assert client.models.retrieve(published["model"]).model_extra["bat"]["job_id"] == published["job"]
    assert client.models.retrieve(published["model"]).model_extra["bat"]["learns_from"] == "images"


def test_a_backbone_says_what_it_is_and_whether_it_was_measured_here(
    service: Service, client: openai.OpenAI, http: httpx.Client
) -> None:
    told = {model.id: model.model_extra["bat"] for model in client.models.list()}
    images, texts = told["tiny-images"], told["tiny-texts"]
    assert (images["learns_from"], images["resolution"]) == ("images", 32)
    assert (texts["learns_from"], texts["resolution"]) == ("texts", None)
    assert images["description"] == "Stable Diffusion 1.x: draws pictures of 32 by 32 pixels."
    assert images["title"] == "tiny-images"
    assert not images["measured_here"]
    assert images["pool"] is None  # it is on no machine
    with service.sessions.begin() as session:
        row = {"device": "cpu", "source": "job", "data": {}, "created_at": 1.0}
        session.add(Measurement(backbone="tiny-images", revision="1", **row))
        session.add(Measurement(backbone="tiny-texts", revision="another", **row))
    assert http.get("/v1/models/tiny-images").json()["bat"]["measured_here"]
    assert not http.get("/v1/models/tiny-texts").json()["bat"]["measured_here"]
    with service.sessions.begin() as session:
        session.execute(delete(Measurement))


def stock(service: Service, account: str, count: int) -> None:
    """Give an account so many adapters, each with four results, as finished jobs leave them."""
    service.key(account)
    with service.sessions.begin() as session:
        owner = session.scalars(select(Account.id).where(Account.name == account)).one()
        numbers = [(number, f"ftjob-{account}-{number:05d}") for number in range(count)]
        job = {"account_id": owner, "queue": "q", "backbone": "tiny-images", "request": {}, "training_files": ["f"]}
        ended = {"state": "SUCCEEDED", "seed": 1, "created_at": 1.0, "finished_at": 2.0, "findings": []}
        session.execute(insert(Job), [{"id": id} | job | ended for _, id in numbers])
        adapter = {"account_id": owner, "backbone": "tiny-images", "kind": "images", "attempt": 1, "published_step": 5}
        named = [{"id": f"ft:{id}", "job_id": id, "created_at": float(number // 3)} for number, id in numbers]
        session.execute(insert(Adapter), [adapter | name for name in named])
        file = {"attempt": 1, "kind": "result", "storage_key": "k", "sha256": "0", "bytes": 1, "created_at": 1.0}
        rows = [{"job_id": id, "name": form, "format": form} | file for _, id in numbers for form in FORMATS]
        session.execute(insert(Artifact), rows)


def cpu_seconds(http: httpx.Client) -> float:
    spent = []
    for _ in range(3):
        began = time.process_time()
        assert http.get("/v1/models").status_code == 200
        spent.append(time.process_time() - began)
    return min(spent)


@pytest.mark.slow
def test_four_times_as_many_adapters_take_about_four_times_as_long_to_list(service: Service) -> None:
    for account, count in (("some", 400), ("many", 1600)):
        stock(service, account, count)
    with service.http("some") as some, service.http("many") as many, service.openai("many") as client:
        assert cpu_seconds(many) < 9 * cpu_seconds(some)  # what is quadratic takes 16 times
        listed = list(client.models.list())
        answer = many.get("/v1/models").json()
    assert [model.id for model in listed] == [row["id"] for row in answer["data"]]
    assert not answer["has_more"]
    adapters = [model for model in listed if model.id.startswith("ft:")]
    assert len(adapters) == 1600
    assert adapters[-1].model_extra["bat"]["formats"] == list(FORMATS)


def test_models_come_in_pages_where_a_limit_asks_for_them(service: Service) -> None:
    stock(service, "paging", 10)
    with service.http("paging") as http:
        whole = [row["id"] for row in http.get("/v1/models").json()["data"]]
        for limit in (1, 3, len(whole)):
            seen, query = [], {"limit": limit}
            while True:
                answer = http.get("/v1/models", params=query).json()
                ids = [row["id"] for row in answer["data"]]
                assert (answer["first_id"], answer["last_id"]) == (ids[0], ids[-1])
                seen += ids
                if not answer["has_more"]:
                    break
                assert len(ids) == limit
                query["after"] = ids[-1]
            assert seen == whole
        assert http.delete(f"/v1/models/{whole[-3]}").json()["deleted"]
        after = http.get("/v1/models", params={"after": whole[-3]}).json()["data"]  # it was there a moment ago
        assert [row["id"] for row in after] == whole[-2:]
        refused(http.get("/v1/models", params={"after": "ft:nobody"}), 400, "invalid_cursor")
        refused(http.get("/v1/models", params={"limit": 0}), 400)


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
