"""`albatross record`: save what a model answers while it can still be asked."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from api.commands import Subparsers, add_command
from core.errors import AlbatrossError, InvalidInput
from core.progress import ProgressLine, duration
from core.settings import Settings
from core.texts import shown

if TYPE_CHECKING:  # the other commands start faster without the client
    from core.recording.answers import Answer, AnswerFile
    from core.recording.endpoint import Endpoint
    from core.recording.prompts import Prompts
    from core.recording.recorder import Question, Unanswered

CHARACTERS_A_TOKEN = 4
MOST_TOLD = 5  # prompts without an answer
AGAIN = ("cut", "filtered", "refusal", "empty")
INTERRUPTED = 130
WORDS = (
    "Save what a model answers, as JSONL to train another one on. Each answer is on the disk before it counts; the "
    "same command again asks only what is missing. The key is read from OPENAI_API_KEY. Exits with 1 where prompts "
    "stay unanswered."
)
EXAMPLES = (
    "albatross record --model ft:gpt-4o-mini-2024-07-18:acme::Abc123 --prompts prompts.jsonl --out answers.jsonl",
    "albatross record --model ft:... --prompts questions.csv --column question --out answers.jsonl --dry-run",
    "albatross record --model llama --base-url http://localhost:8080/v1 --prompts lines.txt --out answers.jsonl",
)


def add(commands: Subparsers) -> None:
    """Add the command."""
    add = add_command(commands, "record", WORDS, EXAMPLES, record).add_argument
    add("--model", required=True, help="the model to ask, as the endpoint knows it: ft:...")
    add("--prompts", required=True, type=Path, metavar="FILE",
        help="JSONL as OpenAI trains on (the last answer is left out), CSV, or a line of text each")  # fmt: skip
    add("--out", required=True, type=Path, metavar="ANSWERS.jsonl", help="where answers go; grown, never overwritten")
    add("--base-url", metavar="URL", help="any OpenAI-compatible endpoint (default: $OPENAI_BASE_URL, else OpenAI)")
    add("--n", type=_whole, default=1, metavar="N", help="answers of each prompt, each its own call (default: 1)")
    add("--system", metavar="TEXT", help="system message of every prompt, in the place of its own")
    add("--column", metavar="NAME", help="column of a CSV that holds the prompts")
    add("--max-tokens", type=_whole, metavar="N", help="longest answer (default: the endpoint's)")
    add("--temperature", type=float, metavar="T", help="(default: the endpoint's)")
    add("--seed", type=int, metavar="S", help="of the first answer of each prompt; the next ones get S + 1, S + 2 ...")
    add("--held-out", type=_share, default=0.2, metavar="SHARE",
        help="share of the prompts that is left out of training, to compare with (default: 0.2)")  # fmt: skip
    add("--again", action="store_true", help="ask again where an answer was cut, filtered, a refusal or empty")
    add("--parallel", type=_whole, default=4, metavar="N", help="calls at a time (default: 4)")
    add("--patience", type=float, default=600, metavar="SECONDS",
        help="give up where nothing is answered for so long (default: 600)")  # fmt: skip
    add("--dry-run", action="store_true", help="count, and ask nothing")


def record(chosen: argparse.Namespace, settings: Settings) -> int:
    """Run the command; returns its exit status."""
    from core.recording.endpoint import Endpoint
    from core.recording.prompts import read_prompts

    prompts = read_prompts(chosen.prompts, column=chosen.column, system=chosen.system)
    if chosen.out.exists() and chosen.out.samefile(chosen.prompts):
        raise InvalidInput("--out is the file of the prompts; name another.", code="not_answers")
    for note in prompts.notes:
        print(f"note: {note}", file=sys.stderr)
    if chosen.dry_run:
        return _count(chosen, prompts)
    given = {"temperature": chosen.temperature, "max_tokens": chosen.max_tokens, "seed": chosen.seed}
    endpoint = Endpoint(
        chosen.model, chosen.base_url, {name: value for name, value in given.items() if value is not None}
    )
    with _opened(chosen) as file:
        return _Run(chosen, prompts, file, settings).follow(endpoint)


def _opened(chosen: argparse.Namespace) -> AnswerFile:
    from core.recording.answers import AnswerFile

    return AnswerFile(chosen.out, chosen.model)


def _missing(chosen: argparse.Namespace, prompts: Prompts, file: AnswerFile) -> list[Question]:
    """Return what has to be asked: every prompt once, then every prompt a second time, ..."""
    from core.recording.recorder import Question

    marks = AGAIN if chosen.again else ()
    return [
        Question(prompt, sample)
        for sample in range(chosen.n)
        for prompt in prompts.items
        if file.done.get((prompt.key, sample), "") in ("", *marks)
    ]


def _count(chosen: argparse.Namespace, prompts: Prompts) -> int:
    """Say what a run would ask and about what it would cost, without a call."""
    there = chosen.out.exists()
    asked, recorded, out = [(p, s) for s in range(chosen.n) for p in prompts.items], 0, 0.0
    if there:
        with _opened(chosen) as file:
            asked = [(question.prompt, question.sample) for question in _missing(chosen, prompts, file)]
            recorded, out = len(file.done), file.tokens_out / max(1, len(file.done))
    tokens = sum(prompt.characters() for prompt, _ in asked) // CHARACTERS_A_TOKEN
    print(f"{len(prompts.items):,} prompts with {chosen.n} {_plural(chosen.n, 'answer')} each; {recorded:,} recorded.")
    print(f"{len(asked):,} calls would be made: about {tokens:,} tokens in ({CHARACTERS_A_TOKEN} characters a token)")
    if out:
        print(f"and about {round(out * len(asked)):,} tokens out, as the recorded answers have.")
    elif chosen.max_tokens:
        print(f"and at most {chosen.max_tokens * len(asked):,} tokens out.")
    else:
        print("and as many tokens out as the answers are long; --max-tokens bounds them.")
    return 0


@dataclass
class _Run:
    """One run of the command: asks what is missing and tells how it goes."""

    chosen: argparse.Namespace
    prompts: Prompts
    file: AnswerFile
    settings: Settings
    unanswered: list[Unanswered] = field(default_factory=list)
    answers: int = 0
    tokens: Counter[str] = field(default_factory=Counter)

    def follow(self, endpoint: Endpoint) -> int:
        from core.recording.recorder import Recorder

        questions = _missing(self.chosen, self.prompts, self.file)
        recorder = Recorder(endpoint, parallel=self.chosen.parallel, patience=self.chosen.patience)
        print(
            f"{len(questions):,} of {len(self.prompts.items) * self.chosen.n:,} answers of {shown(self.chosen.model)} "
            f"are asked of {endpoint.address}", file=sys.stderr,
        )  # fmt: skip
        interrupted = _on_signals(recorder.stop)
        line = ProgressLine()
        try:
            for outcome in recorder.ask(questions):
                self._take(outcome)
                line.show(self._words(line, len(questions), recorder.trouble()), self.answers / len(questions))
        except AlbatrossError as error:
            recorder.stop()
            line.close()
            print(f"albatross: {error.message}", file=sys.stderr)
            self._tell(interrupted)
            return 2
        line.close()
        self._tell(interrupted)
        return INTERRUPTED if interrupted else int(bool(self.unanswered))

    def _take(self, outcome: Answer | Unanswered | None) -> None:
        from core.recording.answers import Answer, is_held_out

        if not isinstance(outcome, Answer):
            self.unanswered += [outcome] if outcome else []
            return
        self.file.add(outcome, held_out=is_held_out(outcome.prompt.key, self.chosen.held_out))
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

    def _tell(self, interrupted: list[int]) -> None:
        """Say what is there, what is not, and what to do next."""
        from core.recording.answers import HELD_OUT, REASONS

        asked = {(prompt.key, sample) for prompt in self.prompts.items for sample in range(self.chosen.n)}
        marks = Counter(mark for key, mark in self.file.done.items() if key in asked)
        out = shown(str(self.chosen.out))
        print(f"{sum(marks.values()):,} of {len(asked):,} answers are in {out}.")
        if self.answers:
            print(f"This run took {self.tokens['in']:,} tokens in and {self.tokens['out']:,} out.")
        if held := marks.pop(HELD_OUT, 0):
            print(f"{held:,} are held out of training, to compare with (--held-out {self.chosen.held_out:g}).")
        marks.pop(None, None)
        if marks:
            told = ", ".join(f"{count:,} {REASONS.get(str(mark), mark)}" for mark, count in sorted(marks.items()))
            print(f"{marks.total():,} more are left out of training: {told}.")
            if any(mark in AGAIN for mark in marks):
                print("--again asks for those once more; a larger --max-tokens helps what was cut.")
        for row in self.unanswered[:MOST_TOLD]:
            print(f"No answer to {row.question.prompt.place} of {shown(self.chosen.prompts.name)}: {row.why}.")
        if len(self.unanswered) > MOST_TOLD:
            print(f"No answer to {len(self.unanswered) - MOST_TOLD:,} more.")
        if self.file.bytes > self.settings.max_text_bytes:
            print(f"An upload takes {self.settings.max_text_bytes:,} bytes and this file has {self.file.bytes:,}: "
                  "split it by lines.")  # fmt: skip
        if sum(1 for key in self.file.done if key in asked) < len(asked):
            print("The same command again asks what is missing.")
        elif self.answers and not interrupted:
            print(f"Next: train on {out} as it is, then albatross compare {shlex.quote(out)} --model ADAPTER_FOLDER "
                  "--backbone ID")  # fmt: skip


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


def _whole(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("it is 1 or more")
    return number


def _share(text: str) -> float:
    if not 0 <= (share := float(text)) < 1:
        raise argparse.ArgumentTypeError("it is from 0 to below 1")
    return share


def _plural(count: int, word: str) -> str:
    return word if count == 1 else f"{word}s"
