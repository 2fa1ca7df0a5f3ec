"""Whether the process lives, and whether the service can do its work."""

from collections.abc import Callable
from contextlib import suppress

from fastapi import APIRouter, Response
from kombu import Connection
from kombu.exceptions import KombuError
from redis.exceptions import RedisError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from api.dependencies import Services, ServicesDep
from api.schemas.shared import Health
from core.database import invariants
from core.database.engine import now
from core.database.tables import Worker
from core.errors import AlbatrossError, NotFound

router = APIRouter(tags=["health"])
SEEN_SECONDS = 60.0  # a worker that was seen since then is alive
WITHOUT_SANDBOX = "{} of {} workers run trainers without a sandbox"
OUT_OF_SERVICE = "{} of {} workers are out of service: {}"
BROKER_OPTIONS = {"socket_timeout": 2, "socket_connect_timeout": 2}


@router.get("/healthz")
async def healthz() -> Health:
    """Say that the process answers: on the event loop itself, since one that is stuck shall not be called healthy."""
    return Health(status="ok")


@router.get("/readyz")
def readyz(services: ServicesDep, response: Response) -> Health:
    """Check the database, the invariants of its jobs, the storage and the broker; 503 where one does not work."""
    checks = {
        "database": _check(lambda: _database(services)),
        "storage": _check(lambda: _storage(services)),
        "broker": _check(lambda: _broker(services)),
    }
    ready = all(words == "ok" for words in checks.values())
    response.status_code = 200 if ready else 503
    details: dict[str, str] = {}
    with suppress(SQLAlchemyError):  # which a check has told, or the next one does
        details = _details(services)
    return Health(status="ready" if ready else "not_ready", checks=checks, details=details)


def _details(services: Services) -> dict[str, str]:
    """Tell where trainers run without a sandbox, which is a choice, and which workers take no jobs; others may."""
    with services.reading.begin() as session:
        alive = select(Worker.sandboxed, Worker.problem).where(Worker.seen_at > now(session) - SEEN_SECONDS)
        workers = list(session.execute(alive))
    without = sum(sandboxed is False for sandboxed, _ in workers)
    problems = [problem["message"] for _, problem in workers if problem is not None]
    details = {"sandbox": WITHOUT_SANDBOX.format(without, len(workers))} if without else {}
    if problems:
        said = " ".join(sorted(set(problems)))
        details["workers"] = OUT_OF_SERVICE.format(len(problems), len(workers), said)
    return details


def _check(check: Callable[[], str]) -> str:
    try:
        return check()
    except (SQLAlchemyError, AlbatrossError, KombuError, RedisError, OSError) as error:
        return f"away ({type(error).__name__})"  # the message may hold an address or a password


def _database(services: Services) -> str:
    with services.reading.begin() as session:
        return "; ".join(invariants.broken_jobs(session)) or "ok"


def _storage(services: Services) -> str:
    with suppress(NotFound):  # an answer, and the usual one
        services.storage.open("readyz").close()
    return "ok"


def _broker(services: Services) -> str:
    url = services.settings.broker
    with Connection(url, connect_timeout=2, transport_options=BROKER_OPTIONS) as connection:
        connection.default_channel.client.ping()
    return "ok"
