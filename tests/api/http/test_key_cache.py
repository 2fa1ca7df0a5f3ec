"""A key is remembered for a moment, and never longer than that."""

from __future__ import annotations

from api.http.key_cache import MAX_KEYS, KeyCache
from tests.conftest import until


def test_a_key_is_remembered_and_soon_forgotten() -> None:
    cache = KeyCache[str]()

    def remembered() -> bool:
        cache.remember("alb_one", "ada")
        return cache.find("alb_one") == "ada"

    until(remembered)
    until(lambda: cache.find("alb_one") is None)


def test_a_key_that_was_not_remembered_is_not_found() -> None:
    cache = KeyCache[str]()
    assert cache.find("alb_one") is None
    assert cache.find("alb_\udc80") is None


def test_not_more_than_so_many_keys_are_remembered_and_the_newest_is_among_them() -> None:
    cache = KeyCache[str]()
    keys = [f"alb_{number}" for number in range(MAX_KEYS + 10)]
    for key in keys:
        cache.remember(key, "ada")
    assert cache.find(keys[-1]) == "ada"
    assert cache.find(keys[0]) is None
