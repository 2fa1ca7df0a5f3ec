"""Start the embedded service for a demo and stop it again."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

START_SECONDS = 120


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def albatross(*arguments: str) -> list[str]:
    """The command line of `albatross` in this interpreter, whether or not its script is on the path."""
    return [sys.executable, "-m", "api.cli", *arguments]


def create_key(data: Path, name: str) -> str:
    """Make an API key in the service's database; the key is the last line that the command prints."""
    done = subprocess.run(
        albatross("keys", "create", name, "--data", str(data)), check=True, capture_output=True, text=True
    )
    return done.stdout.strip().splitlines()[-1]


@contextlib.contextmanager
def running_service(data: Path, log: Path) -> Iterator[str]:
    """Run `albatross serve` until the block ends; yields its address once /readyz answers 200."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    data.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        process = subprocess.Popen(
            albatross("serve", "--data", str(data), "--port", str(port)),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            wait_until_ready(address, process, log)
            yield address
        finally:
            stop(process)


def keep_serving(data: Path, job: str) -> None:
    """Show how to open the page of a job, and wait for Ctrl-C; a link is made where a person reads it, not a log."""
    link = albatross("link", "--job", job, "--data", str(data))
    if sys.stdout.isatty():
        print("The service goes on; its page of this adapter opens once at", flush=True)
        subprocess.run(link, check=True)
    else:
        print(f"The service goes on; `albatross {' '.join(link[3:])}` prints where its page opens.", flush=True)
    print("Ctrl-C ends it.", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


def wait_until_ready(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"The service stopped while starting. Its last words are in {log}:\n{tail(log)}")
        with contextlib.suppress(httpx.TransportError):
            # plain HTTP on this machine: to read the authorities of certificates takes longer than all else
            if httpx.get(f"{address}/readyz", timeout=5, verify=False).status_code == 200:
                return
        time.sleep(0.2)
    raise SystemExit(f"The service was not ready after {START_SECONDS} s; see {log}:\n{tail(log)}")


def tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the service to drain; it takes its children with it, also when it has to be killed."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
