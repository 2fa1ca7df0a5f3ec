"""Serve the HTTP interface on a socket that the caller has bound: `python -m api.web FILE_DESCRIPTOR`."""

import logging
import socket
import sys

import uvicorn

from api.app import create_app
from core.settings import Settings

CONCURRENCY = 200  # more connections at once than this are answered 503
KEEP_ALIVE_SECONDS = 5
SHUTDOWN_SECONDS = 10  # event streams would stay open for ever
LONGEST_HEADERS = 16_384


def server(settings: Settings) -> uvicorn.Server:
    """Configure uvicorn; it writes no access log, because addresses hold ids and filters."""
    config = uvicorn.Config(
        create_app(settings), access_log=False, log_level="warning", server_header=False, limit_concurrency=CONCURRENCY,
        timeout_keep_alive=KEEP_ALIVE_SECONDS, timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        h11_max_incomplete_event_size=LONGEST_HEADERS, http="h11", loop="asyncio",
    )  # fmt: skip
    return uvicorn.Server(config)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    listener = socket.socket(fileno=int(sys.argv[1]))
    server(Settings()).run(sockets=[listener])


if __name__ == "__main__":
    main()
