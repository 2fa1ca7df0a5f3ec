"""What routes are given: the services of this process, the caller's account, a checked body, a place in a list."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeVar

from anyio import to_thread
from fastapi import Depends, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ValidationError
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from api.bodies import read_json
from api.errors import invalid
from api.known import Known
from api.schemas import JobRequest
from core import keys
from core.backbones import Registry
from core.errors import Unauthenticated
from core.reader import Reader
from core.settings import Settings
from core.storage import Storage

B = TypeVar("B", bound=BaseModel)
MERGE_SECONDS = 0.2


class Waker:
    """Sends wake-ups from one background thread, so that a slow or absent broker never delays an answer.

    Wake-ups that wait are merged: they carry no data, and one is enough.
    """

    def __init__(self, send: Callable[[str], bool]) -> None:
        self._send = send
        self._queues: set[str] = set()
        self._ready = threading.Condition()
        self._thread: threading.Thread | None = None

    def wake(self, queue: str) -> None:
        """Ask for a wake-up of the queue and return at once."""
        with self._ready:
            self._queues.add(queue)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="waker", daemon=True)
                self._thread.start()
            self._ready.notify()

    def _run(self) -> None:
        while True:
            with self._ready:
                self._ready.wait_for(lambda: bool(self._queues))
                queue = self._queues.pop()
            self._send(queue)
            time.sleep(
                MERGE_SECONDS
            )  # a wake-up opens a connection: a hundred jobs a second need not a hundred of them


@dataclass(frozen=True)
class Services:
    """Everything that the routes work with; built once by `create_app`."""

    settings: Settings
    engine: Engine
    writing: sessionmaker[Session]
    reading: sessionmaker[Session]
    storage: Storage
    reader: Reader
    waker: Waker
    known: Known[str] = field(default_factory=Known)

    @property
    def registry(self) -> Registry:
        """The backbones of now: `albatross backbones add` needs no restart."""
        return Registry.load(self.settings)


def services(request: Request) -> Services:
    """Return the services that `create_app` put into the app's state."""
    built: Services = request.app.state.services
    return built


ServicesDep = Annotated[Services, Depends(services)]
BearerDep = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


async def account(services: ServicesDep, bearer: BearerDep) -> str:
    """Return the account of the presented key, or raise Unauthenticated."""
    if bearer is None:
        raise Unauthenticated("Send your API key as `Authorization: Bearer alb_...`.", code="missing_api_key")
    # a thread only where the database must be asked: waking one costs as much as many an answer
    known = services.known.find(bearer.credentials)
    if known is not None:
        return known
    return await to_thread.run_sync(_authenticated, services, bearer.credentials)


def _authenticated(services: Services, presented: str) -> str:
    with services.reading.begin() as session:
        key, at = keys.verified(session, presented)
    if keys.unnoted(key, at):
        with services.writing.begin() as session:
            keys.authenticate(session, presented)
    services.known.remember(presented, key.account_id)
    return key.account_id


AccountDep = Annotated[str, Depends(account)]


async def job_request(request: Request, account: AccountDep) -> JobRequest:
    """Read and check the body of a create call; the key is checked first."""
    return checked(JobRequest, await read_json(request))


JobRequestDep = Annotated[JobRequest, Depends(job_request)]


def checked(model: type[B], value: object) -> B:
    """Validate `value`, or raise InvalidInput that names the fields."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise invalid(error, model) from None


AfterDep = Annotated[str | None, Query(min_length=1, max_length=200, description="the last id of the page before")]
OrderDep = Annotated[Literal["asc", "desc"], Query(description="by time of creation")]
