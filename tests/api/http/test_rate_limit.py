"""A bucket that fills up steadily: bursts are welcome, floods are not."""

from __future__ import annotations

import pytest

from api.http.rate_limit import RateLimiter
from core.errors import RateLimited


def test_a_minutes_worth_may_come_at_once_and_then_one_at_a_time() -> None:
    at = 0.0
    pace = RateLimiter(60, lambda: at)
    for _ in range(60):
        pace.take("ada")
    with pytest.raises(RateLimited) as refused:
        pace.take("ada")
    assert refused.value.retry_after == pytest.approx(1.0)
    pace.take("bob")
    at = 2.5
    pace.take("ada"), pace.take("ada")
    with pytest.raises(RateLimited):
        pace.take("ada")


def test_nothing_is_counted_where_there_is_no_limit() -> None:
    pace = RateLimiter(0)
    for _ in range(10_000):
        pace.take("ada")
