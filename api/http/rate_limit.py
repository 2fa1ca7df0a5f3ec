"""How fast one account may ask: a bucket of requests that fills up steadily, in the memory of this process.

Several API processes each have buckets of their own, so together they answer that many times more. What must be exact
(jobs, bytes, GPU seconds) is counted in the database: core.accounts.quotas.
"""

import threading
import time
from collections.abc import Callable

from core.errors import RateLimited

MINUTE = 60.0
MOST_BUCKETS = 10_000


class RateLimiter:
    """Counts requests by account; `per_minute` may come at once, and as many in every minute. 0 counts nothing."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = per_minute, clock
        self._buckets: dict[str, tuple[float, float]] = {}  # account -> what is left, and when that was so
        self._lock = threading.Lock()

    def take(self, account: str) -> None:
        """Count one request; raises RateLimited with the time until the next is welcome."""
        if not self._most:
            return
        rate = self._most / MINUTE
        with self._lock:
            at = self._clock()
            left, since = self._buckets.get(account, (float(self._most), at))
            left = min(float(self._most), left + (at - since) * rate)
            if left < 1:
                raise RateLimited(
                    f"This account has sent {self._most} requests within a minute, which is the limit.",
                    code="rate_limit_exceeded",
                    retry_after=(1 - left) / rate,
                )
            if len(self._buckets) >= MOST_BUCKETS:
                self._buckets.clear()  # a full bucket for everybody is the lesser evil
            self._buckets[account] = (left - 1, at)
