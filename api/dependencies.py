"""What routes are given: the services of this process, the caller's account, a checked body, a place in a list."""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Header, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ValidationError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from api.http.bodies import read_json
from api.http.errors import invalid
from api.http.key_cache import KeyCache
from api.http.outbound import OutboundCalls
from api.http.rate_limit import RateLimiter
from api.http.static_files import StaticFiles
from api.http.stream_limit import StreamLimit
from api.waker import Waker
from core.accounts import api_keys, audit
from core.accounts.start_links import loopback
from core.accounts.upload_room import UploadRoom
from core.backbones.registry import Registry
from core.backbones.taggers import Taggers
from core.erasure.eraser import Eraser
from core.erasure.scratch import OwnFolder
from core.errors import Forbidden, StorageUnavailable, Unauthenticated
from core.estimates.estimator import Estimators, device_class
from core.parameters.presets import LivePresets, Presets
from core.parameters.request import JobRequest
from core.parameters.service_defaults import ServiceDefaults
from core.runtime.complaints import Written
from core.settings import Settings
from core.storage.interface import Storage
from core.uploads.reader import Reader

M = TypeVar("M", bound=BaseModel)
ERASE_NOW_SECONDS = 1.0  # a call may take so long for an erasure; the dispatcher does the rest
OTHER_KEY_HEADERS = ("api-key", "x-api-key")  # in which clients of Azure and of others send keys
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")
READ_ONLY_POSTS = frozenset({"/v1/fine_tuning/jobs/estimate"})  # they change nothing: the scope read is enough


@dataclass(frozen=True)
class Services:
    """Everything that the routes work with; built once by `create_app`."""

    settings: Settings
    engine: Engine
    writing: sessionmaker[Session]
    reading: sessionmaker[Session]
    storage: Storage
    reader: Reader
    decoder_slots: CapacityLimiter  # decoding takes memory: more uploads than these wait their turn
    waker: Waker
    live_presets: LivePresets
    rate_limiter: RateLimiter
    own_folder: OwnFolder
    page: StaticFiles
    start_limiter: RateLimiter
    stream_limit: StreamLimit = field(default_factory=StreamLimit)
    outbound_calls: OutboundCalls = field(default_factory=OutboundCalls)
    key_cache: KeyCache[api_keys.Access] = field(default_factory=KeyCache)
    estimators: Estimators = field(default_factory=Estimators)

    @property
    def registry(self) -> Registry:
        """The backbones of now: `albatross backbones add` needs no restart."""
        return Registry.load(self.settings)

    @property
    def presets(self) -> Presets:
        """The presets of now."""
        return self.live_presets.now()

    @property
    def taggers(self) -> Taggers:
        """The captioning models of now."""
        return Taggers.load(self.settings)

    def job_defaults(self, device: str | None) -> ServiceDefaults:
        """Return what jobs are resolved with now on a worker's device, of which nothing may be known."""
        known = device_class(self.settings.device if device is None else device)
        return ServiceDefaults(self.presets, self.taggers.ids, self.settings.stop, known)

    @property
    def uploads_folder(self) -> Path:
        """Where uploads lie while this process receives and reads them."""
        return self.own_folder.path

    @property
    def copies_on_disk(self) -> int:
        """How often an upload lies on this machine's disk while it is stored."""
        return 2 if self.settings.storage == "local" else 1

    def upload_room(self, account: str) -> UploadRoom:
        """What one upload may take of its account's quota, and of the disk."""
        return UploadRoom(self.writing, self.settings, account)

    def uploads_of(self, account: str) -> Path:
        """Return where an account's uploads lie meanwhile: what a kill leaves there is known to be its own."""
        return self.uploads_folder / account

    @property
    def eraser(self) -> Eraser:
        """Erases what callers want gone."""
        settings = self.settings
        return Eraser(self.writing, self.storage, settings.keyring, settings.data, settings.lease_seconds)

    def erase_now(self, erasure_id: str) -> bool:
        """Take a fresh erasure as far as it goes now; False where the dispatcher has to go on with it."""
        with suppress(StorageUnavailable, SQLAlchemyError):
            return self.eraser.advance(erasure_id, ERASE_NOW_SECONDS)
        return False

    async def close(self) -> None:
        """End the decoders and close the connections to other servers."""
        self.reader.close()
        await self.rate_limiter.close()
        self.engine.dispose()


def services(request: Request) -> Services:
    """Return the services that `create_app` put into the app's state."""
    built: Services = request.app.state.services
    return built


ServicesDep = Annotated[Services, Depends(services)]
BearerDep = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


@dataclass(frozen=True)
class Caller:
    """Who sends a request, and with which key."""

    account: str
    key: str
    address: str | None
    request_id: str | None

    def note(self, session: Session, action: str, target: str, at: float | None = None) -> None:
        """Write into the audit log what is done in this transaction, at the database's time `at` if it is known."""
        audit.record(
            session,
            self.account,
            action,
            target,
            key_id=self.key,
            address=self.address,
            request_id=self.request_id,
            at=at,
        )


async def caller(request: Request, services: ServicesDep, bearer: BearerDep) -> Caller:
    """Return who presents the key; raises Unauthenticated, Forbidden without the scope, RateLimited."""
    if bearer is None:
        raise Unauthenticated(_where_keys_go(request), code="missing_api_key")
    # a thread only where the database must be asked: waking one costs as much as many an answer
    access = services.key_cache.find(bearer.credentials)
    if access is None:
        access = await to_thread.run_sync(_authenticate, services, bearer.credentials)
    needed = "read" if request.method in ("GET", "HEAD") else "write"
    asks_only = request.url.path in READ_ONLY_POSTS and "read" in access.scopes
    if needed not in access.scopes and not asks_only:
        raise Forbidden(
            f"This key has the scopes {', '.join(sorted(access.scopes))}; this call needs {needed}.",
            code="insufficient_scope",
        )
    await services.rate_limiter.take(access.account)
    request.state.access = access
    address = audit.network(request.client.host if request.client else None)
    return Caller(access.account, access.key, address, request.scope.get("request_id"))


def _where_keys_go(request: Request) -> str:
    """Say how a key is sent, and what became of one that came in another way."""
    advice = "Send your API key as `Authorization: Bearer alb_...`"
    other = next((name for name in OTHER_KEY_HEADERS if name in request.headers), None)
    if "authorization" in request.headers:
        return f"{advice}: the header Authorization was sent, without the word Bearer and a key behind it."
    if other is not None:
        return f"{advice}: the header {other} is not read. Clients of OpenAI do so, those of Azure do not."
    return f"{advice}."


def _authenticate(services: Services, presented: str) -> api_keys.Access:
    with services.reading.begin() as session:
        access = api_keys.authenticate(session, presented)
    if access.note_use:
        with services.writing.begin() as session:
            api_keys.used(session, access.key)
    services.key_cache.remember(presented, access)
    return access


CallerDep = Annotated[Caller, Depends(caller)]


def on_this_machine(request: Request) -> bool:
    """Tell whether a program of this machine asks, and calls the service by a name that only this machine has.

    A page of another site also asks from here, through a browser, and can make its own name lead here (DNS rebinding);
    then that name is the Host. A proxy on this machine asks for anybody: it says so in a header, or, where nobody has
    told it to, by the HTTP of 1996 (nginx's bare proxy_pass), which no browser and no client of today speaks.
    """
    if request.client is None or not loopback(request.client.host):
        return False
    if request.scope["http_version"] == "1.0" or any(name in request.headers for name in FORWARDED):
        return False
    try:
        return loopback(urlsplit(f"//{request.headers.get('host', '')}").hostname or "")
    except ValueError:
        return False


OnThisMachineDep = Annotated[bool, Depends(on_this_machine)]


async def account(caller: CallerDep) -> str:
    """Return the caller's account."""
    return caller.account


async def administrator(request: Request, caller: CallerDep) -> Caller:
    """Return the caller, whose key must have the scope admin."""
    if "admin" not in request.state.access.scopes:
        raise Forbidden("This call needs a key with the scope admin.", code="insufficient_scope")
    return caller


AccountDep = Annotated[str, Depends(account)]
AdministratorDep = Annotated[Caller, Depends(administrator)]


async def job_request(request: Request, services: ServicesDep, account: AccountDep) -> JobRequest:
    """Read and check the body of a create call; the key is checked first."""
    return checked(JobRequest, await read_json(request, services.settings))


JobRequestDep = Annotated[JobRequest, Depends(job_request)]


def checked(model: type[M], value: object) -> M:
    """Validate `value`, or raise InvalidInput that names the fields."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise invalid(error, model) from None


AfterDep = Annotated[
    Annotated[str, Written(r"^[\x21-\x7e]+$", "an id, which is ASCII without spaces")] | None,
    Query(min_length=1, max_length=200, description="the last id of the page before"),
]
OrderDep = Annotated[Literal["asc", "desc"], Query(description="by time of creation")]
IdempotencyKeyHeader = Annotated[
    str | None, Header(alias="Idempotency-Key", description="makes a repeated create call harmless")
]
RetryHeader = Annotated[str | None, Header(alias="x-stainless-retry-count", include_in_schema=False)]
