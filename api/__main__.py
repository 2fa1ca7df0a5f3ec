"""Serve the HTTP interface: `python -m api HOST PORT`, or `... FILE_DESCRIPTOR` of a socket that is bound."""

import socket
import sys
from collections.abc import Sequence

import uvicorn

from api.app import create_app
from core.disk import keep_private
from core.runtime import data_folder, logs
from core.runtime.processes import told_at_start
from core.settings import Settings

MAX_CONNECTIONS = 200  # more at once are answered 503
KEEP_ALIVE_SECONDS = 5
SHUTDOWN_SECONDS = 10  # event streams would stay open for ever
MAX_HEADER_BYTES = 16_384


def server(settings: Settings) -> uvicorn.Server:
    """Configure uvicorn; it writes no access log, because addresses hold ids and filters."""
    config = uvicorn.Config(
        create_app(settings),
        access_log=False,
        log_config=None,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        http="h11",
        loop="asyncio",
    )
    return uvicorn.Server(config)


def main() -> None:
    keep_private()
    settings = Settings()
    logs.configure(settings, "api")
    data_folder.claim(settings)
    with told_at_start():
        settings.keyring.read()
    with listening(sys.argv[1:]) as listener:
        server(settings).run(sockets=[listener])


def listening(place: Sequence[str]) -> socket.socket:
    """Take over the descriptor of a bound socket, or bind one to a host and a port."""
    if len(place) == 1:
        return socket.socket(fileno=int(place[0]))
    host, port = place
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, int(port)), family=family, backlog=128)


if __name__ == "__main__":
    main()
