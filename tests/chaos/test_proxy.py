"""Each kind of weather does what its name says, to connections that are open and to new ones."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.chaos.proxy import Mode, Port, Weather


def _echo(listener: socket.socket) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    with connection, suppress(OSError):
        while data := connection.recv(1 << 16):
            connection.sendall(data)


@pytest.fixture
def port() -> Iterator[Port]:
    """A port with weather before a server that says what it hears."""
    weather = Weather()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_echo, args=(listener,))
        thread.start()
        made = Port(weather, "echo", listener.getsockname()[1])
        yield made
        made.close()
        weather.end()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def dial(port: Port, seconds: float = 10) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port.number), seconds)


def said(connection: socket.socket, words: bytes) -> bytes:
    connection.sendall(words)
    heard = b""
    while len(heard) < len(words):
        heard += connection.recv(1 << 16) or pytest.fail(f"only {heard!r}")
    return heard


def test_fair_weather_passes_bytes_both_ways(port: Port) -> None:
    with dial(port) as connection:
        assert said(connection, b"hello" * 50_000) == b"hello" * 50_000


@pytest.mark.parametrize("mode", [Mode.RESET, Mode.REFUSE])
def test_open_connections_are_reset_and_new_ones_fare_no_better(port: Port, mode: Mode) -> None:
    with dial(port) as connection:
        said(connection, b"a")
        port.set(mode)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    with pytest.raises(OSError, match=r"refused|reset"), dial(port) as connection:
        connection.recv(1)
    port.set(Mode.PASS)
    with dial(port) as connection:
        assert said(connection, b"e") == b"e"


def test_a_held_packet_arrives_when_the_hold_ends(port: Port) -> None:
    with dial(port, 0.3) as connection:
        said(connection, b"a")
        port.set(Mode.HOLD)
        connection.sendall(b"late")
        with pytest.raises(TimeoutError):
            connection.recv(10)
        port.set(Mode.PASS)
        connection.settimeout(10)
        assert connection.recv(10) == b"late"


def test_a_black_hole_swallows_what_it_is_given_and_its_connections_end_with_it(port: Port) -> None:
    with dial(port, 0.3) as connection:
        said(connection, b"a")
        port.set(Mode.BLACK_HOLE)
        connection.sendall(b"lost")
        with pytest.raises(TimeoutError):
            connection.recv(10)
        connection.settimeout(10)
        port.set(Mode.PASS)
        with pytest.raises(ConnectionResetError):
            connection.recv(10)


def test_a_cut_lets_so_many_bytes_through(port: Port) -> None:
    port.set(Mode.CUT, 6)
    with dial(port) as connection:
        assert said(connection, b"abc") == b"abc"
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_latency_delays_and_loses_nothing(port: Port) -> None:
    port.set(Mode.LATENCY, 0.05)
    with dial(port) as connection:
        began = time.monotonic()
        assert said(connection, b"slow") == b"slow"
        assert time.monotonic() - began >= 0.1  # there and back
