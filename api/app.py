"""The web application: every route, one error envelope, one request id per answer."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI

from api.dependencies import Services
from api.http import errors
from api.http.middleware import CompressionMiddleware, RequestMiddleware
from api.http.openapi import describe
from api.http.rate_limit import RateLimiter
from api.http.static_files import StaticFiles
from api.routes import (
    account,
    capabilities,
    checkpoints,
    estimates,
    file_items,
    files,
    health,
    item_edits,
    job_history,
    jobs,
    metrics,
    models,
    page,
    presets,
    signed_files,
    start,
    webhook_deliveries,
    webhook_endpoints,
)
from api.waker import Waker
from core.database.engine import connect, sessions
from core.erasure import scratch
from core.erasure.scratch import OwnFolder
from core.parameters.presets import LivePresets
from core.runtime import broker, logs
from core.settings import Settings
from core.storage.factory import storage as open_storage
from core.uploads.reader import Reader
from core.version import VERSION

DESCRIPTION = (
    "A few images or texts in, the right LoRA adapter out, with the reason why it is right. The calls are those of "
    "OpenAI's files and fine-tuning API; what is only here stands under bat."
)
PAGE = Path(__file__).parent / "page"
# in the order of the API's document
ROUTES = (
    files,
    file_items,
    item_edits,
    presets,
    checkpoints,
    job_history,
    estimates,
    jobs,
    models,
    capabilities,
    account,
    start,
    signed_files,
    webhook_endpoints,
    webhook_deliveries,
    health,
    metrics,
    page,
)
START_TRIES = 60  # in a minute; nobody guesses a token, but every try is a look at the disk
# more get in each other's way; the database's pool holds more connections, so that none waits for one
ENDPOINT_THREADS = 8


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application on what `settings`, or the environment, name; tables must exist."""
    settings = settings or Settings()
    app = FastAPI(
        title="Albatross",
        version=VERSION,
        description=DESCRIPTION,
        docs_url=None,  # these of the framework load their scripts from another host: api.routes.page has its own
        redoc_url=None,
        lifespan=_lifespan,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,  # what generators name their functions after
    )
    app.state.services = _services(settings)
    for routes in ROUTES:
        app.include_router(routes.router)
    errors.install(app)
    app.add_middleware(CompressionMiddleware)
    app.add_middleware(RequestMiddleware)  # the outer one: it sees what is really sent
    describe(app)
    return app


def _services(settings: Settings) -> Services:
    engine = connect(settings.database)
    return Services(
        settings=settings,
        engine=engine,
        writing=sessions(engine),
        reading=sessions(engine, read_only=True),
        storage=open_storage(settings),
        reader=Reader(settings),
        decoder_slots=CapacityLimiter(settings.readers),
        waker=Waker(broker.wake),
        live_presets=LivePresets(settings.presets_folder),
        rate_limiter=RateLimiter(settings.requests_per_minute, settings.broker),
        own_folder=OwnFolder(settings.data / "uploads"),
        page=StaticFiles(PAGE),
        start_limiter=RateLimiter(START_TRIES, who="This machine"),
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    if not logging.getLogger().handlers:  # started by uvicorn's own command
        logs.configure(services.settings, "api")
    to_thread.current_default_thread_limiter().total_tokens = ENDPOINT_THREADS
    services.reader.start()
    scratch.sweep_uploads(services.settings.data)
    yield
    await services.close()
