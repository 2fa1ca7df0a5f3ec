"""Eight uploads of 200 MB at once: what the API's memory grows by, and for how long it answers nobody else."""

from __future__ import annotations

import argparse
import multiprocessing
import socket
import struct
import sys
import tempfile
import threading
import time
import zipfile
import zlib
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.service import Service, api
from core.settings import Settings

UPLOADS, MEGABYTES = 8, 200
MAX_GROWTH_MB, MAX_STALL_MS = 64.0, 100.0
POLL_SECONDS = 0.01
HEALTHY = b'{"status":"ok","checks":{}}'
FORM = (
    b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
)
END = b"\r\n--x--\r\n"


def text(path: Path) -> None:
    """Plain text far beyond what is taken as text: all of it is received, and then refused."""
    line = b"The sea is wide and the ship is small.\n" * 25_000
    with path.open("wb") as file:
        while file.tell() < MEGABYTES * 1_000_000:
            file.write(line)


def pictures(path: Path) -> None:
    """A zip of pictures that are large as files and quick to decode: each carries 2 MB that no decoder looks at."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for number in range(MEGABYTES // 2):
            archive.writestr(f"{number}.png", _png(64 + number, 2_000_000))


KINDS: dict[str, tuple[Callable[[Path], None], int]] = {"text": (text, 400), "pictures": (pictures, 200)}


def _png(side: int, padding: int) -> bytes:
    rows = b"".join(b"\0" + bytes((3 * x * row) % 256 for x in range(3 * side)) for row in range(side))
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = (header, b"paDd" + bytes(padding), b"IDAT" + zlib.compress(rows), b"IEND")
    packed = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def send(service: Service, path: Path) -> int:
    """Upload the file over a connection of its own; returns the status of the answer."""
    length = len(FORM) + path.stat().st_size + len(END)
    head = (
        f"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {service.key}\r\nConnection: close\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {length}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", service.port), timeout=300) as connection, path.open("rb") as file:
        connection.sendall(head.encode() + FORM)
        connection.sendfile(file)
        connection.sendall(END)
        return int(connection.recv(64).split()[1])


def poll(port: int, stop: Connection) -> None:
    """Ask for /healthz again and again in a process of its own; sends back how long each answer took in ms.

    And by how much its own short sleeps were too long at most: what this machine does to any process.
    """
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    taken, late = [], 0.0
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        slept = time.perf_counter()
        while not stop.poll(POLL_SECONDS):
            began = time.perf_counter()
            late = max(late, 1000 * (began - slept - POLL_SECONDS))
            connection.sendall(request)
            answer = b""
            while not answer.endswith(HEALTHY):
                piece = connection.recv(4096)
                assert piece, answer
                answer += piece
            slept = time.perf_counter()
            taken.append(1000 * (slept - began))
    stop.send((sorted(taken), late))


def measure(kind: str, service: Service, file: Path) -> bool:
    """Print one row; False where a bound is passed."""
    ours, theirs = multiprocessing.Pipe()
    poller = multiprocessing.get_context("spawn").Process(target=poll, args=(service.port, theirs))
    poller.start()
    theirs.close()  # then the poller's end is the end of the pipe
    time.sleep(2)  # what it is like at rest is measured too, and little beside the rest
    before, began = service.memory(), time.perf_counter()
    statuses: list[int] = []
    senders = [threading.Thread(target=lambda: statuses.append(send(service, file))) for _ in range(UPLOADS)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    seconds = time.perf_counter() - began
    ours.send(None)
    taken, late = ours.recv()
    poller.join()
    growth = service.memory("VmHWM") - before
    right = statuses == [KINDS[kind][1]] * UPLOADS
    print(
        f"{kind:<9} {UPLOADS} x {MEGABYTES} MB in {seconds:5.1f} s ({UPLOADS * MEGABYTES / seconds:4.0f} MB/s)  "
        f"RSS {before:.0f} MB + {growth:.0f} MB  /healthz p50 {taken[len(taken) // 2]:.1f} ms, "
        f"p99 {taken[int(0.99 * len(taken))]:.1f} ms, longest {taken[-1]:.0f} ms of {len(taken)}, "
        f"of which the machine itself up to {late:.0f} ms"
        f"{'' if right else f'  statuses {statuses}'}",
        flush=True,
    )
    return right and growth <= MAX_GROWTH_MB and taken[-1] <= MAX_STALL_MS


def main() -> int:
    """Measure both kinds; the exit status says whether the bounds hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    kinds = parser.parse_args().kinds
    held = True
    for kind in kinds:
        with tempfile.TemporaryDirectory() as folder, api(Settings(data=Path(folder) / "data")) as service:
            file = Path(folder) / kind
            KINDS[kind][0](file)
            held = measure(kind, service, file) and held
    print(f"{'within' if held else 'NOT within'} {MAX_GROWTH_MB:.0f} MB and {MAX_STALL_MS:.0f} ms")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
