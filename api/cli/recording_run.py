"""One run of `albatross record`: it asks what is missing, keeps what comes, and tells how it goes and what is next."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from core.errors import AlbatrossError
from core.recording.answer_file import AnswerFile, Recorded
from core.recording.answers import ASKED_AGAIN, HELD_OUT, REASONS, Answer
from core.recording.endpoint import Endpoint
from core.recording.prompts import Prompts
from core.recording.recorder import Question, Recorder, Unanswered
from core.runtime.command_line import INTERRUPTED
from core.runtime.progress import ProgressLine, duration
from core.settings import Settings
from core.text_safety import shown

MAX_PROMPTS_TOLD = 5  # prompts without an answer


@dataclass(frozen=True)
class Recording:
    """Whom to ask what and how often, and where the answers go."""

    model: str
    prompts: Path
    out: Path
    n: int  # answers of each prompt
    held_out: float  # share of the prompts
    again: bool
    parallel: int
    patience: float  # seconds

    def missing(self, prompts: Prompts, recorded: Recorded) -> list[Question]:
        """Return what has to be asked: every prompt once, then every prompt a second time, ..."""
        marks = ASKED_AGAIN if self.again else ()
        return [
            Question(prompt, sample)
            for sample in range(self.n)
            for prompt in prompts.items
            if recorded.done.get((prompt.key, sample), "") in ("", *marks)
        ]


@dataclass
class RecordingRun:
    """The command's options, what it asks and where answers go, and what has come of it."""

    chosen: Recording
    prompts: Prompts
    file: AnswerFile
    settings: Settings
    unanswered: list[Unanswered] = field(default_factory=list)
    answers: int = 0
    tokens: Counter[str] = field(default_factory=Counter)

    def follow(self, endpoint: Endpoint) -> int:
        """Ask what is missing; returns the exit status."""
        questions = self.chosen.missing(self.prompts, self.file.recorded)
        parallel, patience = self.chosen.parallel, self.chosen.patience
        known = bool(self.file.recorded.done)
        recorder = Recorder(endpoint, parallel=parallel, patience=patience, answered=known)
        every = len(self.prompts.items) * self.chosen.n
        what = f"{len(questions):,} of {every:,} answers of {shown(self.chosen.model)}"
        print(f"{what} are asked of {endpoint.address}", file=sys.stderr)
        interrupted = _on_signals(recorder.stop)
        line, failure = ProgressLine(), None
        try:
            for outcome in recorder.ask(questions):
                self._take(outcome)
                line.show(self._words(line, len(questions), recorder.trouble()), self.answers / len(questions))
        except AlbatrossError as error:
            failure = error
        line.close()
        self._tell()
        if failure is not None:
            print(f"albatross: {failure.message}", file=sys.stderr)
            return 2
        return INTERRUPTED if interrupted else int(bool(self.unanswered))

    def _take(self, outcome: Answer | Unanswered | None) -> None:
        if isinstance(outcome, Unanswered):
            self.unanswered.append(outcome)
        elif outcome is not None:
            self.file.add(outcome, self.chosen.held_out)
            self.answers += 1
            self.tokens.update({"in": outcome.tokens_in, "out": outcome.tokens_out})

    def _words(self, line: ProgressLine, total: int, trouble: str | None) -> str:
        left = total - self.answers
        words = f"{self.answers:,}/{total:,} answers, {self.tokens['in']:,} tokens in, {self.tokens['out']:,} out"
        if self.answers and left:
            more = {name: round(count * left / self.answers) for name, count in self.tokens.items()}
            words += f"; about {duration(line.seconds() * left / self.answers)} left"
            words += f", {more['in']:,} in, {more['out']:,} out to come"
        return f"{words} (waiting: {trouble})" if trouble else words

    def _tell(self) -> None:
        """Say what is there, what is not, and what to do next."""
        asked = {(prompt.key, sample) for prompt in self.prompts.items for sample in range(self.chosen.n)}
        marks = Counter(mark for key, mark in self.file.recorded.done.items() if key in asked)
        out = shown(str(self.chosen.out))
        print(f"{marks.total():,} of {len(asked):,} answers are in {out}." if marks else "Nothing is recorded yet.")
        if self.answers:
            print(f"This run took {self.tokens['in']:,} tokens in and {self.tokens['out']:,} out.")
        self._tell_marks(marks)
        for row in self.unanswered[:MAX_PROMPTS_TOLD]:
            print(f"No answer to {row.question.prompt.place} of {shown(self.chosen.prompts.name)}: {row.why}.")
        if len(self.unanswered) > MAX_PROMPTS_TOLD:
            print(f"No answer to {len(self.unanswered) - MAX_PROMPTS_TOLD:,} more.")
        self._tell_limits(marks[None])
        if marks.total() < len(asked):
            print("The same command again asks what is missing.")
        elif self.answers and marks[None]:
            compare = f"albatross compare {shlex.quote(out)} --model ADAPTER_FOLDER --backbone ID"
            print(f"Next: train on {out} as it is, then {compare}")

    def _tell_limits(self, learned: int) -> None:
        """Say where one upload does not hold it all."""
        most, lines = self.settings.max_text_bytes, self.settings.max_items
        if self.file.bytes > most or learned > lines:
            takes = f"An upload takes {most:,} bytes and {lines:,} answers to train on"
            print(f"{takes}; the file has {self.file.bytes:,} and {learned:,}: split it by lines.")

    def _tell_marks(self, marks: Counter[str | None]) -> None:
        if held := marks[HELD_OUT]:
            print(f"{held:,} are held out of training, to compare with.")
        others = Counter({str(mark): count for mark, count in marks.items() if mark not in (None, HELD_OUT)})
        if not others:
            return
        told = ", ".join(f"{count:,} {REASONS.get(mark, mark)}" for mark, count in sorted(others.items()))
        print(f"{others.total():,} more are left out of training: {told}.")
        if not others.keys().isdisjoint(ASKED_AGAIN):
            print("--again asks for those once more; a larger --max-tokens helps what was cut.")


def _on_signals(stop: Callable[[], None]) -> list[int]:
    """End in order at the first Ctrl-C (or SIGTERM): what is under way is kept. At the second at once."""
    seen: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if seen:
            os._exit(INTERRUPTED)  # every answer so far is on the disk
        seen.append(number)
        stop()
        print("\nEnding after the calls under way; once more ends at once.", file=sys.stderr)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
    return seen
