"""Calls to strangers' addresses: in a few threads of their own, and one at a time for each account."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from core.errors import RateLimited

T = TypeVar("T")
OUTBOUND_THREADS = 4


class OutboundCalls:
    """Runs what asks other servers so that a slow one holds up nobody but its like; used on the event loop only."""

    def __init__(self) -> None:
        self._threads = CapacityLimiter(OUTBOUND_THREADS)
        self._calling: set[str] = set()

    async def run(self, account: str, call: Callable[[], T]) -> T:
        """Return what the call returns; raises RateLimited while another one of the account goes on."""
        with self._only_call_of(account):
            return await to_thread.run_sync(call, limiter=self._threads)

    @contextmanager
    def _only_call_of(self, account: str) -> Iterator[None]:
        if account in self._calling:
            words = "Another call that asks the host of a webhook is under way; wait for its end."
            raise RateLimited(words, code="webhook_call_under_way")
        self._calling.add(account)
        try:
            yield
        finally:
            self._calling.discard(account)
