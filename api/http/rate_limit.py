"""How many requests an account may send within a minute: one count for all API processes, kept in the broker's Valkey.

Where that is away each process counts for itself. What must be exact (jobs, bytes, GPU seconds) is counted in the
database: core.accounts.quotas.
"""

import asyncio
import logging
import time
from typing import Any

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from core.errors import RateLimited

MINUTE = 60
ANSWER_SECONDS = 0.5  # a Valkey that takes longer is away
PAUSE_SECONDS = 5.0  # before one that was away is asked again
MAX_CONNECTIONS = 8  # of one process; a count takes a fraction of a millisecond
KEY_PREFIX = "albatross:limits"
KNOWN_OPTIONS = frozenset({"host", "port", "db", "username", "password", "path", "connection_class"})
log = logging.getLogger("albatross.api")


class RateLimiter:
    """Counts requests by account; `requests` may come at once, and room comes back steadily. 0 counts nothing.

    A sliding window: what came in the window before this one counts by the share of it that is still within reach.
    """

    def __init__(
        self,
        requests: int,
        broker: str | None = None,
        window_seconds: int = MINUTE,
        answer_seconds: float = ANSWER_SECONDS,
        pause_seconds: float = PAUSE_SECONDS,
        who: str = "This account",
    ) -> None:
        self._who = who
        self._requests, self._patience, self._pause = requests, answer_seconds, pause_seconds
        self._limit = RateLimitItemPerSecond(max(1, requests), window_seconds, namespace="requests")
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._pool = _connections(broker) if broker and requests else None
        self._shared = _shared(self._pool) if self._pool else None
        self._away, self._ask_at = False, 0.0

    async def take(self, account: str) -> None:
        """Count one request; raises RateLimited with the time until the next is welcome."""
        if not self._requests:
            return
        wait = await self._ask_shared(account)
        if wait is None:
            wait = await _seconds_to_wait(self._own, self._limit, account)
        if wait:
            raise RateLimited(
                f"{self._who} has sent {self._requests} requests within a minute, which is the limit.",
                code="rate_limit_exceeded",
                retry_after=wait,
            )

    async def close(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            await self._pool.disconnect()

    async def _ask_shared(self, account: str) -> float | None:
        """Count in Valkey; None where that is away, or was a moment ago: then nobody waits for it."""
        if self._shared is None or time.monotonic() < self._ask_at:
            return None
        if self._away:  # this request tries; those that come meanwhile do not
            self._ask_at = time.monotonic() + self._pause
        try:
            async with asyncio.timeout(self._patience):
                wait = await _seconds_to_wait(self._shared, self._limit, account)
        except (RedisError, OSError) as error:
            self._note_failure(error)
            return None
        if self._away:
            log.info("the broker counts requests again")
        self._away, self._ask_at = False, 0.0
        return wait

    def _note_failure(self, error: Exception) -> None:
        if not self._away:
            log.warning("the broker does not count requests, each process does: %s", type(error).__name__)
        self._away, self._ask_at = True, time.monotonic() + self._pause


async def _seconds_to_wait(limiter: SlidingWindowCounterRateLimiter, limit: RateLimitItem, account: str) -> float:
    """Count one request and return 0, or return the seconds until one is welcome."""
    if await limiter.hit(limit, account):
        return 0.0
    stats = await limiter.get_window_stats(limit, account)
    return max(0.001, stats.reset_time - time.time())


def _connections(broker: str) -> BlockingConnectionPool | None:
    """Return connections to the Valkey that Celery's URL names; None where it names another kind of broker."""
    url = broker.replace("redis+socket://", "unix://", 1).replace("virtual_host=", "db=")
    if not url.startswith(("redis://", "rediss://", "unix://")):
        return None
    named: dict[str, Any] = dict(parse_url(url))
    if "ssl_cert_reqs" in named:  # Celery also takes CERT_NONE and its like
        named["ssl_cert_reqs"] = named["ssl_cert_reqs"].lower().removeprefix("cert_")
    # a URL may hold what only Celery understands
    options = {name: value for name, value in named.items() if name in KNOWN_OPTIONS or name.startswith("ssl_")}
    return BlockingConnectionPool(max_connections=MAX_CONNECTIONS, retry=Retry(NoBackoff(), 0), **options)


def _shared(pool: BlockingConnectionPool) -> SlidingWindowCounterRateLimiter:
    storage = RedisStorage(
        "async+redis://",
        implementation="redispy",
        key_prefix=KEY_PREFIX,
        connection_pool=pool,  # type: ignore[arg-type]  # handed on to the client as it is
    )
    return SlidingWindowCounterRateLimiter(storage)
