"""The errors that Albatross raises on purpose.

AlbatrossError
 +- InvalidInput            the caller can mend it
 |   +- TooLarge            a file was read that has too many bytes, pixels or items
 |   +- UnsupportedMedia    a file was read that is of no kind that is taken
 |   +- BodyTooLarge        a request was cut off: its body is larger than any that is read
 |   +- UnsupportedBody     a request was not read at all: its headers say that the body is of another form
 +- Unauthenticated         no key, or not a valid one
 +- Forbidden               a valid key that may not do this
 +- NotFound                unknown, or another account's
 +- Conflict                the state of things does not allow it
 +- RateLimited             too much at once; carries retry_after
 |   +- QuotaExceeded       too much in all: it does not help to try again soon
 +- Unavailable             a part of the service is away; carries retry_after
 |   +- StorageUnavailable  files can't be stored or read now; a TransientFailure too
 +- JobFailure              ends a job; `code` is what the job's error shows
     +- TransientFailure    ends an attempt; the job is tried again
"""

from __future__ import annotations


class AlbatrossError(Exception):
    """An error with a message that is safe to show and says what to do next."""

    def __init__(self, message: str, *, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param


class InvalidInput(AlbatrossError):
    """The request or an uploaded file can't be used as it is."""


class TooLarge(InvalidInput):
    """A file was read, and has more bytes, pixels or items than a limit allows."""


class UnsupportedMedia(InvalidInput):
    """A file was read, and is of a kind that is not taken at all."""


class BodyTooLarge(InvalidInput):
    """The body of a request is larger than any that is read."""


class UnsupportedBody(InvalidInput):
    """The body of a request is not read: it is compressed, or neither JSON nor a form."""


class Unauthenticated(AlbatrossError):
    """No key was sent, or it is not a valid one."""


class Forbidden(AlbatrossError):
    """The key is valid but may not do this."""


class NotFound(AlbatrossError):
    """The thing does not exist, or belongs to another account: nobody can tell which."""


class Conflict(AlbatrossError):
    """The present state of the thing does not allow this."""


class RetryLater(AlbatrossError):
    """Not now: try again after `retry_after` seconds."""

    def __init__(self, message: str, *, code: str, param: str | None = None, retry_after: float = 5.0) -> None:
        super().__init__(message, code=code, param=param)
        self.retry_after = retry_after


class RateLimited(RetryLater):
    """The account has too much going on at once."""


class QuotaExceeded(RateLimited):
    """The account has all that it may have; only deleting, waiting long or a larger quota helps."""


class Unavailable(RetryLater):
    """The database, the storage or the disk can't serve right now."""


class JobFailure(AlbatrossError):
    """Ends a job for good; `code` is one of the wire's job error codes."""


class TransientFailure(JobFailure):
    """Ends this attempt only: the job goes back to the queue with a delay."""


class StorageUnavailable(Unavailable, TransientFailure):
    """Files can't be stored or read right now: a client comes back later, a job is tried again."""
