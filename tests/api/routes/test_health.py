"""Health: alive is one thing, ready is another, and what is missing is named."""

from __future__ import annotations

import httpx

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
