"""Health: alive is one thing, ready is another, and what is missing is named."""

from __future__ import annotations

import httpx

from tests.api.server import Service


def test_a_process_that_answers_is_alive(service: Service) -> None:
    assert httpx.get(f"{service.address}/healthz").json()["status"] == "ok"


def test_a_service_without_a_broker_is_not_ready_and_says_so(service: Service) -> None:
    answer = httpx.get(f"{service.address}/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["database"] == answer.json()["checks"]["storage"] == "ok"
    assert answer.json()["checks"]["broker"].startswith("away")
    assert str(service.settings.data) not in answer.text
