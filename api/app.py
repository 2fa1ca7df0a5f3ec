"""The web application: every route, one error envelope, one request id per answer."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI

from api.dependencies import Services
from api.http import errors, multipart, outbound
from api.http.middleware import Answers
from api.http.openapi import describe
from api.http.rate_limit import RateLimiter
from api.routes import (
    account,
    estimates,
    file_items,
    files,
    health,
    job_history,
    jobs,
    metrics,
    models,
    presets,
    signed_files,
    webhook_deliveries,
    webhook_endpoints,
)
from api.waker import Waker
from core.database.engine import connect, sessions
from core.parameters.presets import LivePresets
from core.runtime import broker, logs
from core.settings import Settings
from core.storage.factory import storage as open_storage
from core.uploads.reader import Reader
from core.version import VERSION

OUTBOUND = 4
THREADS = 8  # more get in each other's way; the database's pool holds more connections, so that none waits for one


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application on what `settings`, or the environment, name; tables must exist."""
    settings = settings or Settings()
    app = FastAPI(
        title="Albatross",
        version=VERSION,
        description=__doc__,
        lifespan=_lifespan,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,  # what generators name their functions after
    )
    engine = connect(settings.database)
    app.state.services = Services(
        settings=settings,
        engine=engine,
        writing=sessions(engine),
        reading=sessions(engine, read_only=True),
        storage=open_storage(settings),
        reader=Reader(settings),
        waker=Waker(broker.wake),
        pace=RateLimiter(settings.requests_per_minute),
        live_presets=LivePresets(settings.presets_folder),
    )
    # decoding takes memory: more uploads than this wait their turn
    app.state.readers = CapacityLimiter(settings.readers)
    # what asks other servers waits for nobody but its like
    app.state.outbound, app.state.turns = CapacityLimiter(OUTBOUND), outbound.Turns()
    for routes in (
        files,
        file_items,
        presets,
        job_history,
        estimates,
        jobs,
        models,
        account,
        signed_files,
        webhook_endpoints,
        webhook_deliveries,
        health,
        metrics,
    ):
        app.include_router(routes.router)
    errors.install(app)
    app.add_middleware(Answers)
    describe(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    if not logging.getLogger().handlers:  # started by uvicorn's own command
        logs.configure(app.state.services.settings, "api")
    to_thread.current_default_thread_limiter().total_tokens = THREADS
    services: Services = app.state.services
    services.reader.start()
    multipart.sweep(services.settings.data / "uploads")
    yield
    services.reader.close()
    services.engine.dispose()
