"""Wake idle workers from a thread of its own, so that no request waits for the broker."""

import threading
import time
from collections.abc import Callable

MERGE_SECONDS = 0.2


class Waker:
    """Sends wake-ups from one background thread, so that a slow or absent broker never delays an answer.

    Wake-ups that wait are merged: they carry no data, and one is enough.
    """

    def __init__(self, send: Callable[[str], bool]) -> None:
        self._send = send
        self._queues: set[str] = set()
        self._ready = threading.Condition()
        self._thread: threading.Thread | None = None

    def wake(self, queue: str) -> None:
        """Ask for a wake-up of the queue and return at once."""
        with self._ready:
            self._queues.add(queue)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="waker", daemon=True)
                self._thread.start()
            self._ready.notify()

    def _run(self) -> None:
        while True:
            with self._ready:
                self._ready.wait_for(lambda: bool(self._queues))
                queue = self._queues.pop()
            self._send(queue)
            # a wake-up opens a connection: a hundred jobs a second need not a hundred of them
            time.sleep(MERGE_SECONDS)
