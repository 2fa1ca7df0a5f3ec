"""`albatross record`: save what a model answers while it can still be asked."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from api.cli.commands import Subparsers, add_command
from core.errors import InvalidInput
from core.settings import Settings

if TYPE_CHECKING:  # the other commands start faster without the client
    from core.recording.answer_file import Recorded
    from core.recording.prompts import Prompts
    from core.recording.recorder import Question

CHARACTERS_A_TOKEN = 4
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
    add(
        "--prompts",
        required=True,
        type=Path,
        metavar="FILE",
        help="JSONL as OpenAI trains on (the last answer is left out), CSV, or a line of text each",
    )
    add("--out", required=True, type=Path, metavar="ANSWERS.jsonl", help="where answers go; grown, never overwritten")
    add("--base-url", metavar="URL", help="any OpenAI-compatible endpoint (default: $OPENAI_BASE_URL, else OpenAI)")
    add("--n", type=_whole, default=1, metavar="N", help="answers of each prompt, each its own call (default: 1)")
    add("--system", metavar="TEXT", help="system message of every prompt, in the place of its own")
    add("--column", metavar="NAME", help="column of a CSV that holds the prompts")
    add("--max-tokens", type=_whole, metavar="N", help="longest answer (default: the endpoint's)")
    add("--temperature", type=_finite, metavar="T", help="(default: the endpoint's)")
    add("--seed", type=int, metavar="S", help="of the first answer of each prompt; the next ones get S + 1, S + 2 ...")
    add(
        "--held-out",
        type=_share,
        default=0.2,
        metavar="SHARE",
        help="share of the prompts that is left out of training, to compare with (default: 0.2)",
    )
    add("--again", action="store_true", help="ask again where an answer was cut, filtered, a refusal or empty")
    add("--parallel", type=_whole, default=4, metavar="N", help="calls at a time (default: 4)")
    add(
        "--patience",
        type=_finite,
        default=600,
        metavar="SECONDS",
        help="give up after so long with nothing but errors (default: 600); one call may take 10 minutes",
    )
    add("--dry-run", action="store_true", help="count, and ask nothing")


def record(chosen: argparse.Namespace, settings: Settings) -> int:
    """Run the command; returns its exit status."""
    from api.cli.recording_run import RecordingRun
    from core.recording.answer_file import AnswerFile
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
    with AnswerFile(chosen.out, chosen.model) as file:
        return RecordingRun(chosen, prompts, file, settings).follow(endpoint, missing(chosen, prompts, file.recorded))


def missing(chosen: argparse.Namespace, prompts: Prompts, recorded: Recorded) -> list[Question]:
    """Return what has to be asked: every prompt once, then every prompt a second time, ..."""
    from core.recording.answers import ASKED_AGAIN
    from core.recording.recorder import Question

    marks = ASKED_AGAIN if chosen.again else ()
    return [
        Question(prompt, sample)
        for sample in range(chosen.n)
        for prompt in prompts.items
        if recorded.done.get((prompt.key, sample), "") in ("", *marks)
    ]


def _count(chosen: argparse.Namespace, prompts: Prompts) -> int:
    """Say what a run would ask and about what it would cost, without a call."""
    from core.recording.answer_file import read_recorded

    there = read_recorded(chosen.out, chosen.model)
    asked = missing(chosen, prompts, there)
    tokens = sum(question.prompt.characters() for question in asked) // CHARACTERS_A_TOKEN
    each = f"{chosen.n} {'answer' if chosen.n == 1 else 'answers'} each"
    print(f"{len(prompts.items):,} prompts with {each}; {len(there.done):,} recorded.")
    print(f"{len(asked):,} calls would be made: about {tokens:,} tokens in ({CHARACTERS_A_TOKEN} characters a token)")
    if there.tokens_out:
        expected = round(there.tokens_out / len(there.done) * len(asked))
        print(f"and about {expected:,} tokens out, as the recorded answers have.")
    elif chosen.max_tokens:
        print(f"and at most {chosen.max_tokens * len(asked):,} tokens out.")
    else:
        print("and as many tokens out as the answers are long; --max-tokens bounds them.")
    return 0


def _whole(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("it is 1 or more")
    return number


def _share(text: str) -> float:
    if not 0 <= (share := float(text)) < 1:
        raise argparse.ArgumentTypeError("it is from 0 to below 1")
    return share


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)) or number < 0:
        raise argparse.ArgumentTypeError("it is a number from 0 on")
    return number
