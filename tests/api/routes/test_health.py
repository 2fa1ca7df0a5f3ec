"""Health: alive is one thing, ready is another, and what is missing is named."""

from __future__ import annotations

import httpx
from sqlalchemy import delete

from core.database.engine import now
from core.database.tables import Worker
from tests.api.server import Service


def test_a_process_that_answers_is_alive(service: Service) -> None:
    assert httpx.get(f"{service.address}/healthz").json()["status"] == "ok"


def test_a_service_without_a_broker_is_not_ready_and_says_so(service: Service) -> None:
    answer = httpx.get(f"{service.address}/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["database"] == answer.json()["checks"]["storage"] == "ok"
    assert answer.json()["checks"]["broker"].startswith("away")
    assert str(service.settings.data) not in answer.text


def test_workers_whose_trainers_have_no_sandbox_are_counted_and_no_reason_not_to_be_ready(service: Service) -> None:
    def details() -> object:
        return httpx.get(f"{service.address}/readyz").json()["details"]

    assert details() == {}
    for number, sandboxed in enumerate((True, False, None)):
        with service.sessions.begin() as session:
            seen = {"started_at": now(session), "seen_at": now(session), "sandboxed": sandboxed}
            session.add(Worker(id=f"w:{number}", queue="q", host="w", pid=number, **seen))
    assert details() == {"sandbox": "1 of 3 workers run trainers without a sandbox"}
    assert "sandbox" not in httpx.get(f"{service.address}/readyz").json()["checks"]


def test_a_worker_out_of_service_is_told_with_its_reason_and_its_figures(service: Service) -> None:
    taken = {"code": "gpu_memory_taken", "message": "The GPU has no memory left."}
    use = {"allocated": 3, "peak": 5, "reserved": 6, "used": 7, "total": 80, "utilization": 97}
    silent = use | {"utilization": None}
    rows = {"g:1": {"problem": taken}, "g:2": {"gpu": use, "job_id": "ftjob-1"}, "g:3": {"gpu": silent}}
    with service.sessions.begin() as session:
        session.execute(delete(Worker))
    for number, (name, fields) in enumerate(rows.items()):
        with service.sessions.begin() as session:
            seen = {"started_at": now(session), "seen_at": now(session), "sandboxed": True}
            session.add(Worker(id=name, queue="gq", host="w", pid=number, **seen, **fields))
    details = httpx.get(f"{service.address}/readyz").json()["details"]
    assert details["workers"] == "1 of 3 workers are out of service: The GPU has no memory left."
    told = httpx.get(f"{service.address}/metrics").text
    for line in (
        'albatross_workers{doing="out_of_service",queue="gq"} 1.0',
        'albatross_workers{doing="working",queue="gq"} 1.0',
        'albatross_worker_out_of_service{code="gpu_memory_taken",worker="g:1"} 1.0',
        'albatross_gpu_memory_bytes{kind="peak",worker="g:2"} 5.0',
        'albatross_gpu_utilization_ratio{worker="g:2"} 0.97',
        'albatross_gpu_memory_bytes{kind="total",worker="g:3"} 80.0',
    ):
        assert line in told
    assert 'albatross_gpu_utilization_ratio{worker="g:3"}' not in told
    assert 'kind="total",worker="g:1"' not in told
    assert "ftjob-1" not in told
