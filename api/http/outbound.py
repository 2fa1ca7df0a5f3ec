"""How many calls to strangers' addresses one account may have under way at once."""

from threading import Lock

from core.errors import RateLimited


class Turns:
    """Which accounts wait for a host of theirs: one call at a time for each."""

    def __init__(self) -> None:
        self._accounts: set[str] = set()
        self._lock = Lock()

    def alone(self, account: str) -> "Turn":
        """Return a context for one call; entering it raises RateLimited while another goes on."""
        return Turn(self._accounts, self._lock, account)


class Turn:
    """One account's call."""

    def __init__(self, accounts: set[str], lock: Lock, account: str) -> None:
        self._accounts, self._lock, self._account = accounts, lock, account

    def __enter__(self) -> None:
        with self._lock:
            if self._account in self._accounts:
                words = "Another call that asks the host of a webhook is under way; wait for its end."
                raise RateLimited(words, code="webhook_call_under_way")
            self._accounts.add(self._account)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._accounts.discard(self._account)
