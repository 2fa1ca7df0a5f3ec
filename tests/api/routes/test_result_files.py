"""A result that is deleted gives its bytes back and is listed nowhere any more; the others stay."""

from __future__ import annotations

import httpx
import openai

from core.database import invariants
from core.database.tables import Account, Artifact, File
from core.storage.factory import storage
from tests.api.outcome import FILES
from tests.api.server import Service, refused


def test_a_deleted_result_is_gone_from_the_store_the_job_and_the_model(
    service: Service, client: openai.OpenAI, http: httpx.Client, published: dict[str, str]
) -> None:
    before = client.fine_tuning.jobs.retrieve(published["job"])
    artifacts = http.get(f"/v1/fine_tuning/jobs/{published['job']}").json()["bat"]["artifacts"]
    kohya = next(row for row in artifacts if row["format"] == "kohya")
    held = stored(service, before.organization_id)
    with service.sessions() as session:
        key = session.get_one(File, kohya["file_id"]).storage_key
    assert storage(service.settings).keys(key)

    assert client.files.delete(kohya["file_id"]).deleted

    after = client.fine_tuning.jobs.retrieve(published["job"])
    assert after.result_files == [name for name in before.result_files if name != kohya["file_id"]]
    assert stored(service, before.organization_id) == held - len(FILES["adapter-kohya.safetensors"][2])
    assert storage(service.settings).keys(key) == []
    assert http.get(f"/v1/models/{published['model']}").json()["bat"]["formats"] == ["peft", "diffusers", "card"]
    there = http.get(f"/v1/models/{published['model']}/download?format=peft", follow_redirects=True)
    assert there.status_code == 200
    error = refused(http.get(f"/v1/models/{published['model']}/download?format=kohya"), 404, "format_not_available")
    assert "was deleted" in error["message"]
    for name in after.result_files:
        assert client.files.retrieve(name).id == name
    with service.sessions() as session:
        assert session.query(Artifact).where(Artifact.file_id == kohya["file_id"]).count() == 0
        assert invariants.miscounted(session) == []


def test_the_last_file_that_holds_an_adapter_goes_with_its_model_only(
    service: Service, client: openai.OpenAI, http: httpx.Client, published: dict[str, str]
) -> None:
    artifacts = http.get(f"/v1/fine_tuning/jobs/{published['job']}").json()["bat"]["artifacts"]
    weights = [row["file_id"] for row in artifacts if row["format"] not in (None, "card")]
    for name in weights[1:]:
        assert client.files.delete(name).deleted
    error = refused(http.delete(f"/v1/files/{weights[0]}"), 409, "last_file_of_model")
    assert "delete the model" in error["message"]
    others = [row["file_id"] for row in artifacts if row["format"] in (None, "card")]
    for name in others:
        assert client.files.delete(name).deleted
    assert client.fine_tuning.jobs.retrieve(published["job"]).result_files == weights[:1]
    assert client.models.delete(published["model"]).deleted
    refused(http.get(f"/v1/files/{weights[0]}"), 404)
    with service.sessions() as session:
        assert invariants.miscounted(session) == []


def stored(service: Service, account: str) -> int:
    with service.sessions() as session:
        return session.get_one(Account, account).stored_bytes
