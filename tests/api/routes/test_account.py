"""An account sees what it has, erases what it wants gone, and ends when it says so."""

from __future__ import annotations

import httpx
from sqlalchemy import select

from core.accounts import api_keys
from core.database import counters
from core.database.tables import Audit
from core.erasure.receipts import genuine
from core.settings import Settings
from core.storage.factory import storage
from tests.api.server import Service, png, refused, serving

JOBS = "/v1/fine_tuning/jobs"


def scoped(service: Service, account: str, *scopes: str, **fields: object) -> httpx.Client:
    with service.sessions.begin() as session:
        key = api_keys.create(session, "scoped", account=account, scopes=scopes, **fields)
    return httpx.Client(base_url=service.address, headers={"Authorization": f"Bearer {key}"}, timeout=30, verify=False)


def upload(client: httpx.Client) -> httpx.Response:
    return client.post("/v1/files", files={"file": ("a.png", png())}, data={"purpose": "fine-tune"})


def test_a_key_that_may_only_read_changes_nothing(service: Service, published: dict[str, str]) -> None:
    with scoped(service, "alice", "read") as reader:
        assert reader.get(JOBS).status_code == 200
        assert refused(upload(reader), 403, "insufficient_scope")["type"] == "permission_error"
        refused(reader.delete(f"/v1/files/{published['file']}"), 403)
        refused(reader.post(f"{JOBS}/{published['job']}/cancel"), 403)
        refused(reader.delete("/v1/account"), 403)
    with scoped(service, "alice", "write") as writer:
        refused(writer.get(JOBS), 403)
        refused(writer.delete("/v1/account"), 403, "insufficient_scope")


def test_an_account_sees_its_limits_and_what_it_uses(service: Service, http: httpx.Client, image_file: str) -> None:
    shown = http.get("/v1/account").json()
    assert shown["name"] == "alice"
    assert shown["stored_bytes"] > 0
    assert shown["scopes"] == ["read", "write"]
    before = shown["active_jobs"], shown["gpu_seconds"]
    job = http.post(JOBS, json={"model": "tiny-images", "training_file": image_file}).json()["id"]
    shown = http.get("/v1/account").json()
    assert (shown["active_jobs"], shown["gpu_seconds"]) == (before[0] + 1, before[1] + 86_400)
    assert shown["gpu_seconds_used"] == 0
    http.post(f"{JOBS}/{job}/cancel")
    assert http.get("/v1/account").json()["active_jobs"] == before[0]


def test_an_erased_file_leaves_a_receipt_that_only_this_service_can_have_signed(
    service: Service, http: httpx.Client
) -> None:
    file_id = upload(http).json()["id"]
    deleted = http.delete(f"/v1/files/{file_id}").json()
    assert (deleted["id"], deleted["deleted"], deleted["bat"]["status"]) == (file_id, True, "completed")
    told = http.get(f"/v1/erasures/{deleted['bat']['erasure']}").json()
    assert (told["kind"], told["target"], told["objects"], told["rows"]) == ("file", file_id, 1, 1)
    names = ("id", "kind", "target", "account", "requested_at", "completed_at", "objects", "rows", "looked_at")
    receipt = {name: told[name] for name in names}
    assert genuine(receipt, told["signature"], service.settings.keyring)
    assert not genuine(receipt | {"target": "file-other"}, told["signature"], service.settings.keyring)
    assert http.get("/v1/erasures").json()["data"][0]["id"] == told["id"]
    refused(http.delete(f"/v1/files/{file_id}"), 404)


def test_lists_go_on_behind_what_was_erased_while_they_were_paged_through(http: httpx.Client) -> None:
    made = [upload(http).json()["id"] for _ in range(4)]
    seen, after = [], None
    while True:
        page = http.get("/v1/files", params={"limit": 1, "purpose": "fine-tune", **({"after": after} if after else {})})
        for file in page.json()["data"]:
            seen.append(file["id"])
            http.delete(f"/v1/files/{file['id']}")
        after = page.json()["last_id"]
        if not page.json()["has_more"] or set(made) <= set(seen):
            break
    assert seen[:4] == made[::-1]


def test_an_erased_job_is_gone_from_every_address_and_from_the_store(
    service: Service, http: httpx.Client, published: dict[str, str]
) -> None:
    job, model = published["job"], published["model"]
    results = http.get(f"{JOBS}/{job}").json()["result_files"]
    assert http.delete(f"{JOBS}/{job}").json()["bat"]["status"] == "completed"
    for address in (f"{JOBS}/{job}", f"{JOBS}/{job}/events", f"/v1/models/{model}", f"/v1/files/{results[0]}"):
        refused(http.get(address), 404)
    refused(http.delete(f"{JOBS}/{job}"), 404)
    account = http.get("/v1/account").json()["id"]
    assert storage(service.settings).keys(f"accounts/{account}/jobs/{job}") == []


def test_what_was_done_is_in_the_audit_log_without_content(service: Service, http: httpx.Client) -> None:
    answer = upload(http)
    with service.sessions() as session:
        row = session.scalars(select(Audit).where(Audit.target == answer.json()["id"])).one()
    assert (row.action, row.address, row.request_id) == ("file.create", "127.0.0.0/24", answer.headers["x-request-id"])
    assert row.key_id == service.key().split("_")[1]


def test_an_account_ends_with_everything_that_it_has(service: Service) -> None:
    with scoped(service, "leaving", "read", "write", "admin") as leaving, service.http("staying") as staying:
        kept = upload(staying).json()["id"]
        file_id = upload(leaving).json()["id"]
        job = leaving.post(JOBS, json={"model": "tiny-images", "training_file": file_id})
        refused(job, 400)  # a single picture leaves none to hold out, so there is no job
        account = leaving.get("/v1/account").json()["id"]
        leaving.delete("/v1/account")
        told = httpx.get(f"{service.address}/v1/accounts/{account}/erasure").json()
        assert (told["status"], told["kind"]) == ("completed", "account")
        assert told["signature"]
        assert storage(service.settings).keys(f"accounts/{account}") == []
        assert staying.get(f"/v1/files/{kept}").status_code == 200


def test_an_upload_that_does_not_fit_the_quota_is_refused_and_leaves_nothing(service: Service) -> None:
    with service.http("full") as client:
        account = client.get("/v1/account").json()["id"]
        with service.sessions.begin() as session:
            from core.database.tables import Account

            session.get_one(Account, account).bytes_limit = 10
        answer = upload(client)
        assert refused(answer, 429, "insufficient_quota")["type"] == "rate_limit_error"
        assert answer.headers["x-should-retry"] == "false"
        assert storage(service.settings).keys(f"accounts/{account}") == []
        assert client.get("/v1/files").json()["data"] == []


def test_too_many_requests_within_a_minute_are_told_to_wait(tmp_path: object) -> None:
    with serving(Settings(data=tmp_path, requests_per_minute=5)) as service, service.http() as client:
        answers = [client.get("/v1/files") for _ in range(9)]
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) == {200, 429}
        assert 5 <= statuses.count(200) <= 6  # one more has become free by the end, where the machine is slow
        last = next(answer for answer in reversed(answers) if answer.status_code == 429)
        refused(last, 429, "rate_limit_exceeded")
        assert 1 <= int(last.headers["Retry-After"]) <= 60
        with service.http("another") as other:
            assert other.get("/v1/files").status_code == 200


def test_a_job_is_paused_and_resumed_over_the_wire(service: Service, client, image_file: str) -> None:  # type: ignore[no-untyped-def]
    job = client.fine_tuning.jobs.create(model="tiny-images", training_file=image_file)
    with service.http() as http:
        assert http.post(f"{JOBS}/{job.id}/pause").json()["status"] == "paused"
        refused(http.delete(f"/v1/files/{image_file}"), 409, "file_in_use")
        assert http.post(f"{JOBS}/{job.id}/resume").json()["status"] == "queued"
        assert http.post(f"{JOBS}/{job.id}/cancel").json()["status"] == "cancelled"
        for order in ("pause", "resume"):
            answer = http.post(f"{JOBS}/{job.id}/{order}")
            refused(answer, 409)
            assert answer.headers["x-should-retry"] == "false"


def test_the_figures_name_nobody_and_count_what_happened(
    service: Service, http: httpx.Client, published: dict[str, str]
) -> None:
    with service.sessions.begin() as session:
        counters.add(session, counters.WAKE_UPS, 3)
    told = httpx.get(f"{service.address}/metrics").text
    figures = dict(line.rsplit(" ", 1) for line in told.splitlines() if not line.startswith("#"))
    assert float(figures["albatross_database_up"]) == 1
    assert float(figures['albatross_jobs{state="succeeded"}']) >= 1
    assert any(name.startswith("albatross_http_requests_total") and 'status="200"' in name for name in figures)
    assert float(figures["albatross_wake_ups_total"]) >= 3
    assert {f"albatross_{name}_total" for name in ("leases_lost", "late_writers", "wake_ups")} <= figures.keys()
    for private in (published["job"], published["file"], http.get("/v1/account").json()["id"], "alice"):
        assert private not in told
