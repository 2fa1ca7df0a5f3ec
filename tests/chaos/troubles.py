"""The troubles: what a seed plans, and how each is made."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from redis import Redis, RedisError

from tests.chaos.late import LateWriters
from tests.chaos.plant import Plant
from tests.chaos.process import Process, command_of, descendants, send
from tests.chaos.proxy import Mode

GAP = 1.6  # seconds between two troubles, on average
WEATHER = {
    Mode.RESET: 0.0,
    Mode.REFUSE: 0.0,
    Mode.BLACK_HOLE: 0.0,
    Mode.HOLD: 0.0,
    Mode.LATENCY: 0.05,
    Mode.CUT: 20_000.0,
}
OFTEN = {
    "late writer": 3,
    "late packets": 2,
    "kill worker": 3,
    "drain worker": 2,
    "restart database": 2,
    "torn answers": 2,
}
DRAIN_LIMIT = 30.0
BUSY_SECONDS = 5.0  # how long to wait for a worker to have a job
JOB_SECONDS = 2.0  # about what a job takes


@dataclass(frozen=True)
class Trouble:
    """One thing that goes wrong: when (seconds after the start), what, to which of several, and for how long."""

    at: float
    kind: str
    number: int
    seconds: float


def plan(seed: int, seconds: float, kinds: Sequence[str]) -> list[Trouble]:
    """Plan the troubles of a seed: every kind comes before any comes again."""
    chance = random.Random(f"troubles {seed}")
    planned: list[Trouble] = []
    at, waiting = 2.0, list[str]()
    while at < seconds:
        if not waiting:
            waiting = chance.sample(list(kinds), len(kinds))
        longest = 6.0 if chance.random() < 0.3 else 3.0
        planned.append(Trouble(round(at, 2), waiting.pop(), chance.randrange(1000), chance.uniform(1.0, longest)))
        at += chance.uniform(0.5, 2 * GAP - 0.5)
    return planned


class Troubles:
    """Makes troubles in a plant. `kinds` names them all."""

    def __init__(self, plant: Plant) -> None:
        self._plant, self._journal = plant, plant.journal
        self._late = LateWriters(plant, self.stop)
        self._one_weather = {name: threading.Lock() for name in ("broker", "storage", "database")}
        self.kinds: dict[str, Callable[[Trouble], None]] = {
            "kill worker": self._kill_worker,
            "kill child": self._kill_child,
            "kill trainer": self._kill_trainer,
            "kill dispatcher": self._kill_dispatcher,
            "kill api": self._kill_api,
            "kill broker": self._kill_broker,
            "freeze worker": self._freeze_worker,
            "freeze trainer": self._freeze_trainer,
            "freeze dispatcher": self._freeze_dispatcher,
            "freeze api": self._freeze_api,
            "freeze broker": self._freeze_broker,
            "drain worker": self._drain_worker,
            "flush broker": self._flush_broker,
            "restart database": self._restart_database,
            "late writer": self._late_writer,
            "five wake-ups": self._five_wakes,
            "refused requests": self._refused_requests,
            "torn answers": self._torn_answers,
        }
        if plant.disk_is_small:
            self.kinds["full disk"] = self._full_disk
        for link in ("broker", "storage", *(["database"] if plant.servers.kind == "postgresql" else [])):
            for mode in WEATHER:
                self.kinds[f"{link} {mode}"] = self._weather
        if plant.servers.kind == "postgresql":
            self.kinds["late packets"] = self._late_packets

    def bag(self) -> list[str]:
        """Return every kind, those that matter most more than once."""
        return [kind for kind in self.kinds for _ in range(OFTEN.get(kind, 1))]

    def run(self, planned: Sequence[Trouble]) -> None:
        """Make the troubles when they are due, each in a thread; returns when the last is over."""
        began, threads = time.monotonic(), list[threading.Thread]()
        for trouble in planned:
            time.sleep(max(0.0, began + trouble.at - time.monotonic()))
            threads.append(threading.Thread(target=self._make, args=(trouble,), daemon=True, name=trouble.kind))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def _make(self, trouble: Trouble) -> None:
        try:
            self.kinds[trouble.kind](trouble)
        except Exception as error:
            self._journal.note("harness error", kind=trouble.kind, error=repr(error))

    def _one(self, names: Sequence[str], trouble: Trouble) -> Process | None:
        """Take a process that nobody else troubles and that runs; give its turn back when done."""
        for step in range(len(names)):
            process = self._plant.processes[names[(trouble.number + step) % len(names)]]
            if process.turn.acquire(blocking=False):
                if process.alive:
                    return process
                process.turn.release()
        self._journal.say(f"skip  {trouble.kind}: all are in trouble already")
        return None

    def _worker(self, trouble: Trouble, work: Callable[[Process], None], part: str = "worker") -> None:
        """Trouble a worker in the middle of a job, if one comes within a few seconds."""

        def busy(process: Process) -> None:
            if self._plant.wait(lambda: bool(self._plant.held_by(process)), BUSY_SECONDS):
                time.sleep(trouble.number % 100 / 100 * JOB_SECONDS)
            with self._journal.span(f"{trouble.kind} ({process.name}, process {process.pid})", part):
                work(process)

        process = self._one(self._plant.workers, trouble)
        if process is not None:
            try:
                busy(process)
            finally:
                process.turn.release()

    def _with(self, names: Sequence[str], trouble: Trouble, part: str, work: Callable[[Process], None]) -> None:
        process = self._one(names, trouble)
        if process is None:
            return
        try:
            with self._journal.span(f"{trouble.kind} ({process.name}, process {process.pid})", part):
                work(process)
        finally:
            process.turn.release()

    def _kill(self, process: Process, seconds: float) -> None:
        process.revive_seconds = seconds
        for job in self._plant.held_by(process):
            self._journal.note("lost", job_id=job.id, attempt=job.attempt, stage=job.stage, worker=process.name)
        process.kill()
        time.sleep(seconds)

    def _kill_worker(self, trouble: Trouble) -> None:
        self._worker(trouble, lambda process: self._kill(process, trouble.seconds))

    def _kill_dispatcher(self, trouble: Trouble) -> None:
        self._with(self._plant.dispatchers, trouble, "dispatcher", lambda process: self._kill(process, trouble.seconds))

    def _kill_api(self, trouble: Trouble) -> None:
        self._with(["api"], trouble, "api", lambda process: self._kill(process, trouble.seconds))

    def _kill_broker(self, trouble: Trouble) -> None:
        self._with(["broker"], trouble, "broker", lambda process: self._kill(process, trouble.seconds))

    def _kill_child(self, trouble: Trouble) -> None:
        def kill(process: Process) -> None:
            for job in self._plant.held_by(process):
                self._journal.note("lost", job_id=job.id, attempt=job.attempt, stage=job.stage, worker=process.name)
            for pid in descendants(process.pid):
                if "spawn_main" in command_of(pid):
                    send(pid, signal.SIGKILL)

        self._worker(trouble, kill)

    def _trainers(self, process: Process) -> list[int]:
        return [pid for pid in descendants(process.pid) if "chaos/trainer.py" in command_of(pid)]

    def _kill_trainer(self, trouble: Trouble) -> None:
        def kill(process: Process) -> None:
            for pid in self._trainers(process):
                send(pid, signal.SIGKILL)

        self._worker(trouble, kill, "trainer")

    def _freeze_trainer(self, trouble: Trouble) -> None:
        def freeze(process: Process) -> None:
            trainers = self._trainers(process)
            for pid in trainers:
                send(pid, signal.SIGSTOP)
            time.sleep(trouble.seconds + 2)
            for pid in trainers:
                send(pid, signal.SIGCONT)

        self._worker(trouble, freeze, "trainer")

    def _freeze(self, process: Process, seconds: float) -> None:
        self.stop(process)
        time.sleep(seconds)
        process.tell_all(signal.SIGCONT)

    def stop(self, process: Process) -> None:
        """Freeze a process and all of its descendants, but not while it holds SQLite's one write lock."""
        for _ in range(20):
            process.tell_all(signal.SIGSTOP)
            if self._plant.writable():
                return
            process.tell_all(signal.SIGCONT)
            time.sleep(0.05)

    def _freeze_worker(self, trouble: Trouble) -> None:
        longer = trouble.seconds + self._plant.settings.lease_seconds
        self._worker(trouble, lambda process: self._freeze(process, longer))

    def _freeze_dispatcher(self, trouble: Trouble) -> None:
        names = self._plant.dispatchers
        self._with(names, trouble, "dispatcher", lambda process: self._freeze(process, trouble.seconds))

    def _freeze_api(self, trouble: Trouble) -> None:
        self._with(["api"], trouble, "api", lambda process: self._freeze(process, trouble.seconds))

    def _freeze_broker(self, trouble: Trouble) -> None:
        self._with(["broker"], trouble, "broker", lambda process: self._freeze(process, trouble.seconds))

    def _drain_worker(self, trouble: Trouble) -> None:
        def drain(process: Process) -> None:
            held, began = self._plant.held_by(process), time.time()
            process.revive_seconds = trouble.seconds
            took = process.end(DRAIN_LIMIT)
            jobs = {job.id: job.attempt for job in held}
            self._journal.note("drain", worker=process.name, began=began, seconds=took, jobs=jobs)

        self._worker(trouble, drain)

    def _late_writer(self, trouble: Trouble) -> None:
        self._late.between_upload_and_commit()

    def _late_packets(self, trouble: Trouble) -> None:
        lease = self._plant.settings.lease_seconds
        self._worker(trouble, lambda process: self._late.packets(process, lease))

    def _flush_broker(self, trouble: Trouble) -> None:
        with (
            self._journal.span(trouble.kind, "wake-ups"),
            Redis.from_url(self._plant.servers.direct_broker_url) as broker,
            suppress(RedisError),  # it may be dead just now
        ):
            broker.flushall()

    def _five_wakes(self, trouble: Trouble) -> None:
        self._journal.say(f"five wake-ups: {sum(self._plant.wake() for _ in range(5))} sent")

    def _restart_database(self, trouble: Trouble) -> None:
        with self._one_weather["database"], self._journal.span(trouble.kind, "database"):
            self._plant.servers.restart_database(trouble.seconds, abrupt=trouble.number % 2 == 0)

    def _weather(self, trouble: Trouble) -> None:
        link, _, mode = trouble.kind.partition(" ")
        ports = self._plant.servers.named(link)
        if trouble.number % 3 == 0:
            ports = [ports[trouble.number % len(ports)]]
        if not self._one_weather[link].acquire(blocking=False):
            self._journal.say(f"skip  {trouble.kind}: the link is in trouble already")
            return
        amount = WEATHER[Mode(mode)]
        try:
            with self._journal.span(f"{trouble.kind} ({len(ports)} ports)", link):
                for port in ports:
                    port.set(Mode(mode), amount)
                time.sleep(trouble.seconds)
                for port in ports:
                    port.set(Mode.PASS)
        finally:
            self._one_weather[link].release()

    def _refused_requests(self, trouble: Trouble) -> None:
        store = self._plant.servers.store
        with self._journal.span(trouble.kind, "storage"):
            store.refused_share = 0.3
            time.sleep(2 * trouble.seconds)
            store.refused_share = 0.0

    def _torn_answers(self, trouble: Trouble) -> None:
        store = self._plant.servers.store
        with self._journal.span(trouble.kind, "storage"):
            store.torn_share = 0.5
            time.sleep(2 * trouble.seconds)
            store.torn_share = 0.0

    def _full_disk(self, trouble: Trouble) -> None:
        ballast = self._plant.settings.data / "work/ballast"
        with self._journal.span(trouble.kind, "disk"):
            try:
                deadline = time.monotonic() + trouble.seconds
                while time.monotonic() < deadline:  # again and again: jobs that end give room back
                    with suppress(OSError), ballast.open("ab", buffering=0) as file:
                        while file.write(bytes(1 << 16)):
                            pass
                    time.sleep(0.05)
            finally:
                ballast.unlink(missing_ok=True)
