"""Ask many questions side by side: retries, pauses, progress and totals; the whole of a recording but its file."""

from __future__ import annotations

import itertools
import queue
import random
import threading
import time
from collections.abc import Iterator, Sequence, Sized
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass

from core.recording.answers import Answer
from core.recording.endpoint import Endpoint, Later, Refused, Stop
from core.recording.prompts import Prompt

FIRST_WAIT, MAX_WAIT = 0.5, 60.0  # seconds between tries of one question, doubled each time
MAX_TRIES = 6  # of one question that alone is answered with errors
MAX_TRIES_UNDER_LIMITS = 12  # of one that alone meets limits: it may be too large for them
MAX_REFUSALS_IN_A_ROW = 5  # questions in a row, and not one taken: then it is not the questions
BRIEF = 30.0  # seconds of patience with an address that has never answered
TICK = 0.2


@dataclass(frozen=True)
class Question:
    """A prompt, and which of its answers is asked for."""

    prompt: Prompt
    sample: int


@dataclass(frozen=True)
class Unanswered:
    """A question that got no answer in this run; the next one asks it again."""

    question: Question
    why: str


class Recorder:
    """Asks an endpoint `parallel` questions at a time.

    A question that fails is asked again after growing waits, or those that the endpoint names; where everything fails
    for `patience` seconds it gives up. `stop` lets no further question begin; those under way are waited for.
    """

    def __init__(self, endpoint: Endpoint, *, parallel: int, patience: float, answered: bool = False) -> None:
        self.endpoint, self.parallel, self.patience = endpoint, parallel, patience
        self.troubles: queue.SimpleQueue[str] = queue.SimpleQueue()  # what is waited for, for people
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._not_before = 0.0  # no question begins earlier, as the endpoint asked
        self._answered = answered  # the endpoint has answered such questions, now or in an earlier run
        self._refused = 0
        self._failure: Stop | None = None
        self._alive = time.monotonic()  # when the endpoint last took a question

    def stop(self) -> None:
        """Begin no further question."""
        self._stopped.set()

    def ask(self, questions: Sequence[Question]) -> Iterator[Answer | Unanswered | None]:
        """Yield what becomes of the questions as it comes, and None where that takes a while.

        Raises Stop, after the answers that were under way.
        """
        waiting = iter(_spread(questions))
        under_way: dict[Future[Answer], Question] = {}
        self._alive = time.monotonic()
        with ThreadPoolExecutor(self.parallel, thread_name_prefix="ask") as threads:
            try:
                while True:
                    for question in itertools.islice(waiting, self._room(under_way)):
                        under_way[threads.submit(self._persist, question)] = question
                    if not under_way:
                        break
                    ended, _ = wait(under_way, timeout=TICK, return_when=FIRST_COMPLETED)
                    yield from (self._outcome(under_way.pop(future), future) for future in ended)
                    if not ended:
                        yield None
            finally:
                self.stop()  # also where nobody listens any more
        if self._failure is not None:
            raise self._failure

    def _room(self, under_way: Sized) -> int:
        return 0 if self._stopped.is_set() else self.parallel - len(under_way)

    def _outcome(self, question: Question, future: Future[Answer]) -> Answer | Unanswered | None:
        try:
            return future.result()
        except _Stopped:
            return None
        except Stop as error:
            self._fail(error)
            return None
        except Refused as error:
            self._refused += 1
            if self._refused >= MAX_REFUSALS_IN_A_ROW and not self._answered:
                why = f"The first {self._refused} prompts were refused, so the others are not asked: {error}."
                self._fail(Stop(why, code="all_refused"))
            return Unanswered(question, str(error))
        except Later as error:
            return Unanswered(question, str(error))
        except Exception as error:  # one strange answer must not end a night's recording
            return Unanswered(question, f"an answer that can't be handled ({type(error).__name__})")

    def _fail(self, error: Stop) -> None:
        self._failure = self._failure or error
        self.stop()

    def _persist(self, question: Question) -> Answer:
        """Ask until there is an answer, or it is no use."""
        tries, since = 0, time.monotonic()
        while True:
            self._pause()
            try:
                answer = self.endpoint.ask(question.prompt, question.sample)
            except Later as error:
                tries += 1
                self._bear(error, tries, since)
            except Refused:
                self._alive = time.monotonic()
                raise
            else:
                self._answered, self._alive = True, time.monotonic()
                return answer

    def _bear(self, error: Later, tries: int, since: float) -> None:
        """Wait for the next try of a question that fails since then; raises where it is too much."""
        growing = min(MAX_WAIT, FIRST_WAIT * 2 ** (tries - 1)) * random.uniform(0.75, 1.25)
        seconds = max(growing, error.seconds or 0)
        patience = min(BRIEF, self.patience) if error.cut and not self._answered else self.patience
        silent = time.monotonic() - self._alive
        if silent + seconds > patience:
            wanted = f", and it asks to wait {seconds:.0f} s more" if error.seconds else ""
            raise Stop(f"Nothing was answered for {silent:.0f} s{wanted}: {error}.", code="gave_up")
        others_answered = self._alive > since
        if tries >= (MAX_TRIES_UNDER_LIMITS if error.limited else MAX_TRIES) and (others_answered or not error.cut):
            raise error
        self.troubles.put(str(error))
        if error.cut or (error.limited and error.seconds):
            with self._lock:
                self._not_before = max(self._not_before, time.monotonic() + seconds)
        elif self._stopped.wait(seconds):
            raise _Stopped("not asked any more") from None

    def _pause(self) -> None:
        """Wait until the endpoint may be asked."""
        while (left := self._not_before - time.monotonic()) > 0:
            if self._stopped.wait(min(left, TICK)):
                break
        if self._stopped.is_set():
            raise _Stopped("not asked any more")

    def trouble(self) -> str | None:
        """Return what calls wait for since the last time that this was asked, if any do."""
        last = None
        with suppress(queue.Empty):
            while True:
                last = self.troubles.get_nowait()
        return last


def _spread(questions: Sequence[Question]) -> Iterator[Question]:
    """Yield the questions, a few from all over first: where those are refused, it is not one part of the file."""
    first = range(0, len(questions), max(1, len(questions) // MAX_REFUSALS_IN_A_ROW))
    yield from (questions[place] for place in first)
    yield from (question for place, question in enumerate(questions) if place not in first)


class _Stopped(Exception):
    """The run ends before the question was answered."""
