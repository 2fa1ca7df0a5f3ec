"""Clients that upload references, create jobs and cancel some, and never take an unclear answer for an answer."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from tests.api.server import pictures
from tests.chaos.journal import Journal
from tests.chaos.trainer import POISON

JOBS_A_FILE = 5
LONGEST_ANSWER = 30.0  # seconds; who waits longer calls it a hang
PATIENCE = 240.0  # seconds after which a call that was never answered clearly is given up
PAUSE = 0.3


@dataclass(frozen=True)
class Call:
    """One request and what came of it; status 0 where there was no answer."""

    what: str
    began: float
    seconds: float
    status: int
    words: str = ""


@dataclass
class Order:
    """A job that a client wants: its key, and every job id that was answered for it."""

    account: int
    key: str
    suffix: str | None
    cancel_after: float | None  # seconds; 0: as soon as it is seen running
    twice: bool
    wrong_twin: bool
    ids: set[str] = field(default_factory=set)
    twin_status: int | None = None
    cancelled: bool = False
    decided: bool = False  # its cancel call was answered, with yes or no
    seen: list[str] = field(default_factory=list)


class Client:
    """One customer in a thread. The log of calls and orders is read when the thread has ended."""

    def __init__(self, number: int, address: str, key: str, orders: list[Order], pace: float, journal: Journal) -> None:
        self.number, self.orders, self.calls = number, orders, list[Call]()
        self._address, self._key, self._pace, self._journal = address, key, pace, journal
        self._file, self._asked = "", 0
        self.ends = 0.0  # the moment until which it goes on looking
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name=f"client-{number}", daemon=True)

    def _run(self) -> None:
        try:
            with httpx.Client(
                base_url=self._address, timeout=LONGEST_ANSWER, headers={"Authorization": f"Bearer {self._key}"}
            ) as self._http:
                began = time.monotonic()
                cancelling: list[tuple[float, Order]] = []
                for place, order in enumerate(self.orders):
                    self._look_until(began + place * self._pace)
                    self._order(place, order)
                    if order.cancel_after:
                        cancelling.append((time.monotonic() + order.cancel_after, order))
                    cancelling = self._cancel_due(cancelling)
                while cancelling:
                    cancelling = self._cancel_due(cancelling)
                    time.sleep(PAUSE)
                self._look_until(self.ends)
        except BaseException as error:  # told by the verdict: a client that died has tested nothing
            self.error = error

    def _order(self, place: int, order: Order) -> None:
        if place % JOBS_A_FILE == 0:
            self._file = self._insist("upload", lambda: self._upload())["id"]
        body = {"model": "tiny-images", "training_file": self._file, "bat": {"max_steps": 7}, "seed": place}
        if order.suffix:
            body["suffix"] = order.suffix
        headers = {"Idempotency-Key": order.key}
        create = lambda: self._http.post("/v1/fine_tuning/jobs", json=body, headers=headers)  # noqa: E731
        job_id = self._insist("create", create)["id"]
        order.ids.add(job_id)
        self._journal.say(f"client {self.number}: {order.key} is {job_id}")
        if order.twice:
            order.ids.add(self._insist("create again", create)["id"])
        if order.wrong_twin:
            other = body | {"seed": place + 1_000_000}
            twin = lambda: self._http.post("/v1/fine_tuning/jobs", json=other, headers=headers)  # noqa: E731
            order.twin_status = self._clear("create with a used key", twin).status_code

    def _upload(self) -> httpx.Response:
        files = {"file": ("cats.zip", pictures(), "application/zip")}
        return self._http.post("/v1/files", files=files, data={"purpose": "fine-tune"})

    def _cancel_due(self, waiting: list[tuple[float, Order]]) -> list[tuple[float, Order]]:
        for due, order in waiting:
            if due <= time.monotonic():
                self._cancel(order)
        return [(due, order) for due, order in waiting if due > time.monotonic()]

    def _cancel(self, order: Order) -> None:
        job_id = next(iter(order.ids))
        answer = self._clear("cancel", lambda: self._http.post(f"/v1/fine_tuning/jobs/{job_id}/cancel"))
        order.cancelled, order.decided = answer.status_code == 200, True

    def _look_until(self, end: float) -> None:
        """Look how the jobs do, one after the other, until a time."""
        while (left := end - time.monotonic()) > 0:
            ordered = [order for order in self.orders if order.ids]
            if ordered:
                self._asked += 1
                doomed = [order for order in ordered if order.cancel_after == 0.0 and not order.decided]
                self._look((doomed or ordered)[self._asked % len(doomed or ordered)])
            time.sleep(min(left, PAUSE))

    def _look(self, order: Order) -> None:
        for job_id in list(order.ids)[:1]:
            look = lambda job_id=job_id: self._http.get(f"/v1/fine_tuning/jobs/{job_id}")  # noqa: E731
            answer = self._call("look", look)
            if answer is not None and answer.status_code == 200:
                order.seen.append(answer.json()["status"])
                if order.cancel_after == 0.0 and not order.decided and order.seen[-1] != "queued":
                    self._cancel(order)

    def _insist(self, what: str, ask: Callable[[], httpx.Response]) -> dict[str, str]:
        answer = self._clear(what, ask)
        if answer.status_code != 200:
            raise AssertionError(f"{what}: {answer.status_code} {answer.text[:300]}")
        return answer.json()

    def _clear(self, what: str, ask: Callable[[], httpx.Response]) -> httpx.Response:
        """Repeat a call until its answer says yes or no."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            answer = self._call(what, ask)
            if answer is not None and answer.status_code < 500 and answer.status_code != 429:
                return answer
            time.sleep(PAUSE)
        raise AssertionError(f"{what} was never answered clearly")

    def _call(self, what: str, ask: Callable[[], httpx.Response]) -> httpx.Response | None:
        began, at, answer, words = time.monotonic(), time.time(), None, ""
        try:
            answer = ask()
        except httpx.TransportError as error:
            words = type(error).__name__
        if answer is not None and answer.status_code >= 400:
            words = answer.text[:200]
        status = 0 if answer is None else answer.status_code
        self.calls.append(Call(what, at, time.monotonic() - began, status, words))
        return answer


def orders(seed: int, jobs: int, accounts: int, poisoned: int) -> list[list[Order]]:
    """Plan what every client will ask for; the same for the same seed. Accounts use the same keys on purpose."""
    chance = random.Random(f"orders {seed}")
    poison = set(chance.sample(range(jobs // 4, max(jobs // 4 + poisoned, 3 * jobs // 4)), poisoned))
    planned: list[list[Order]] = [[] for _ in range(accounts)]
    for number in range(jobs):
        mine = planned[number % accounts]
        cancel = chance.choice((0.0, 0.0, 0.5, 1.0, 4.0)) if chance.random() < 0.15 else None
        mine.append(
            Order(
                number % accounts,
                f"key-{len(mine)}",
                POISON if number in poison else None,
                None if number in poison else cancel,
                chance.random() < 0.2,
                chance.random() < 0.1,
            )
        )
    return planned
