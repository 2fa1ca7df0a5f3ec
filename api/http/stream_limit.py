"""How many event streams one account may hold open at once."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import RateLimited

MAX_STREAMS = 20  # of one account in one process, which has 200 connections for all
RETRY_SECONDS = 30.0


class StreamLimit:
    """Counts the streams that each account has open in this process."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    def check(self, account: str) -> None:
        """Raise RateLimited where the account has as many as it may."""
        if self._open[account] >= MAX_STREAMS:
            raise RateLimited(
                f"{MAX_STREAMS} event streams are open, which is the limit. Close one, or ask for the list of events.",
                code="too_many_streams",
                retry_after=RETRY_SECONDS,
            )

    @contextmanager
    def counted(self, account: str) -> Iterator[None]:
        """Count a stream as long as the block lasts."""
        self._open[account] += 1
        try:
            yield
        finally:
            self._open[account] -= 1
