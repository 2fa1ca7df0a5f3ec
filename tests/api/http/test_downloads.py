"""Downloads from an object store: through the API, or by a redirect that leaves the key behind."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from core.settings import Settings
from tests.api.server import pictures, refused, serving


@pytest.mark.parametrize("public", [False, True], ids=["private", "public"])
def test_a_file_in_an_object_store_is_downloaded_and_deleted(s3: str, tmp_path: Path, public: bool) -> None:
    settings = Settings(
        data=tmp_path,
        storage="s3",
        s3_endpoint=s3,
        s3_bucket=f"test-{secrets.token_hex(6)}",
        s3_access_key="test-access",
        s3_secret_key="test-secret",
        s3_public_endpoint=s3 if public else None,
    )
    with serving(settings) as service, service.openai() as client, service.http() as http:
        file = client.files.create(file=("cat.zip", pictures()), purpose="fine-tune")
        assert len(client.files.content(file.id).read()) == file.bytes
        plain = http.get(f"/v1/files/{file.id}/content")
        assert plain.status_code == (307 if public else 200)
        through = http.get(f"/v1/files/{file.id}/content?redirect=false")
        assert (through.status_code, len(through.content)) == (200, file.bytes)
        assert client.files.delete(file.id).deleted
        refused(http.get(f"/v1/files/{file.id}/content"), 404)
        if public:
            assert http.get(plain.headers["location"], headers={"Authorization": ""}).status_code in (403, 404)
        assert http.get("/readyz").json()["checks"]["storage"] == "ok"
