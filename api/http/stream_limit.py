"""How many event streams one account may hold open at once."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import RateLimited

MOST_STREAMS = 20  # of one account in one process, which has 200 connections for all


class Streams:
    """How many streams each account has open in this process."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    def check(self, account: str) -> None:
        """Raise RateLimited where the account has as many as it may."""
        if self._open[account] >= MOST_STREAMS:
            raise RateLimited(
                f"{MOST_STREAMS} event streams are open, which is the limit. Close one, or ask for the list of events.",
                code="too_many_streams",
                retry_after=30.0,
            )

    @contextmanager
    def one(self, account: str) -> Iterator[None]:
        """Count a stream as long as the block lasts."""
        self._open[account] += 1
        try:
            yield
        finally:
            self._open[account] -= 1
