"""A TCP proxy with bad weather: one loop in a thread serves any number of ports, each with a mode of its own."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

CHUNK = 1 << 16
RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close() sends RST


class Mode(StrEnum):
    """What a port does to its connections, open and new."""

    PASS = "pass"
    RESET = "reset"  # every connection is reset, also at once when it is opened
    REFUSE = "refuse"  # nobody listens, and what was open is reset
    BLACK_HOLE = "black hole"  # connections open and nothing ever arrives; they are reset when the mode ends
    HOLD = "hold"  # nothing arrives until the mode ends, and then everything does: the late packet
    LATENCY = "latency"  # every packet comes `amount` seconds late
    CUT = "cut"  # every connection is reset after `amount` more bytes


@dataclass(eq=False)
class Link:
    """One connection through the proxy."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    left: float = 0.0
    lossy: bool = False

    def reset(self) -> None:
        """End both sides without a goodbye."""
        for writer in (self.client, self.server):
            if writer is not None:
                with suppress(OSError):  # it may be closed already
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                writer.transport.abort()


class Weather:
    """The thread whose loop runs all ports."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="weather", daemon=True)
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine on the loop and wait for its end."""
        asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def end(self) -> None:
        """Cancel what still runs and end the thread."""

        async def cancel() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.do(cancel())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class Port:
    """A listening port before a server."""

    def __init__(self, weather: Weather, name: str, upstream: int) -> None:
        self.name, self._weather, self._upstream = name, weather, upstream
        self.mode, self._amount = Mode.PASS, 0.0
        self._links: set[Link] = set()
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Event()
        self.number = 0
        weather.do(self._listen())

    def set(self, mode: Mode, amount: float = 0.0) -> None:
        """Change the weather, also for connections that are open: `amount` is seconds of latency or bytes of a cut."""
        self._weather.do(self._set(mode, amount))

    def close(self) -> None:
        """Reset everything and listen no more."""
        self.set(Mode.REFUSE)

    async def _set(self, mode: Mode, amount: float) -> None:
        before, self.mode, self._amount = self.mode, mode, amount
        for link in list(self._links):
            link.left = amount
            if mode in (Mode.RESET, Mode.REFUSE) or link.lossy:
                link.reset()
        if mode is Mode.REFUSE and self._server is not None:
            self._server.close()
            self._server = None
        elif before is Mode.REFUSE and mode is not Mode.REFUSE:
            await self._listen()
        self._changed.set()
        self._changed = asyncio.Event()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.number)
        self.number = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(writer, left=self._amount)
        self._links.add(link)
        try:
            if self.mode is Mode.RESET:
                return
            answers, link.server = await asyncio.open_connection("127.0.0.1", self._upstream)
            await asyncio.gather(self._pump(link, reader, link.server), self._pump(link, answers, writer))
        except OSError:
            pass  # either side has gone: so does the other
        finally:
            link.reset()
            self._links.discard(link)

    async def _pump(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            data = await self._weathered(link, data)
            writer.write(data)
            await writer.drain()
            if self.mode is Mode.CUT and link.left <= 0:
                raise ConnectionResetError
        if writer.can_write_eof():
            writer.write_eof()

    async def _weathered(self, link: Link, data: bytes) -> bytes:
        """Return what of the data goes on, when it may go on."""
        while self.mode is Mode.HOLD:
            await self._changed.wait()
        if self.mode is Mode.LATENCY:
            await asyncio.sleep(self._amount)
        if self.mode is Mode.BLACK_HOLE:
            link.lossy = True
            return b""
        if self.mode is Mode.CUT:
            data = data[: max(0, int(link.left))]
            link.left -= len(data)
        return data
