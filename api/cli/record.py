"""`albatross record`: save what a model answers while it can still be asked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import InvalidInput
from core.runtime.command_line import CommandLine, Data, amount, read_settings

if TYPE_CHECKING:  # the other commands start faster without the client
    from api.cli.recording_run import Recording
    from core.recording.prompts import Prompts

CHARACTERS_A_TOKEN = 4
COMMANDS = CommandLine()


def _share(share: float) -> float:
    if not 0 <= share < 1:
        raise typer.BadParameter("it is from 0 to below 1")
    return share


@COMMANDS.explained(
    "record",
    "albatross record --model ft:gpt-4o-mini-2024-07-18:acme::Abc123 --prompts prompts.jsonl --out answers.jsonl",
    "albatross record --model ft:... --prompts questions.csv --column question --out answers.jsonl --dry-run",
    "albatross record --model llama --base-url http://localhost:8080/v1 --prompts lines.txt --out answers.jsonl",
)
def record(
    model: Annotated[str, typer.Option(metavar="MODEL", help="the model to ask, as the endpoint knows it: ft:...")],
    prompts: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="JSONL as OpenAI trains on (the last answer is left out), CSV, or a line of text each"
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="ANSWERS.jsonl", help="where answers go; grown, never overwritten")],
    base_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="any OpenAI-compatible endpoint (default: $OPENAI_BASE_URL, else OpenAI)"),
    ] = None,
    n: Annotated[int, typer.Option("--n", metavar="N", min=1, help="answers of each prompt, each its own call")] = 1,
    system: Annotated[
        str | None, typer.Option(metavar="TEXT", help="system message of every prompt, in the place of its own")
    ] = None,
    column: Annotated[str | None, typer.Option(metavar="NAME", help="column of a CSV that holds the prompts")] = None,
    max_tokens: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="longest answer (default: the endpoint's)")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(metavar="T", callback=amount, help="(default: the endpoint's)")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="S", help="of the first answer of each prompt; the next ones get S + 1, S + 2 ..."),
    ] = None,
    held_out: Annotated[
        float,
        typer.Option(
            metavar="SHARE", callback=_share, help="share of the prompts that is left out of training, to compare with"
        ),
    ] = 0.2,
    again: Annotated[
        bool, typer.Option("--again", help="ask again where an answer was cut, filtered, a refusal or empty")
    ] = False,
    parallel: Annotated[int, typer.Option(metavar="N", min=1, help="calls at a time")] = 4,
    patience: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            callback=amount,
            help="give up after so long with nothing but errors; one call may take 10 minutes",
        ),
    ] = 600,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="count, and ask nothing")] = False,
    data: Data = None,
) -> None:
    """Save what a model answers, as JSONL to train another one on.

    Each answer is on the disk before it counts; the same command again asks only what is missing. The key is read
    from OPENAI_API_KEY. Exits with 1 where prompts stay unanswered.
    """
    settings = read_settings(data=data)
    from api.cli.recording_run import Recording, RecordingRun
    from core.recording.answer_file import AnswerFile
    from core.recording.endpoint import Endpoint
    from core.recording.prompts import read_prompts

    recording = Recording(model, prompts, out, n, held_out, again, parallel, patience)
    asked = read_prompts(prompts, column=column, system=system)
    if out.exists() and out.samefile(prompts):
        raise InvalidInput("--out is the file of the prompts; name another.", code="not_answers")
    for note in asked.notes:
        print(f"note: {note}", file=sys.stderr)
    if dry_run:
        return _count(recording, asked, max_tokens)
    given = {"temperature": temperature, "max_tokens": max_tokens, "seed": seed}
    endpoint = Endpoint(model, base_url, {name: value for name, value in given.items() if value is not None})
    with AnswerFile(out, model) as file:
        raise typer.Exit(RecordingRun(recording, asked, file, settings).follow(endpoint))


def _count(recording: Recording, prompts: Prompts, max_tokens: int | None) -> None:
    """Say what a run would ask and about what it would cost, without a call."""
    from core.recording.answer_file import read_recorded

    there = read_recorded(recording.out, recording.model)
    asked = recording.missing(prompts, there)
    tokens = sum(question.prompt.characters() for question in asked) // CHARACTERS_A_TOKEN
    each = f"{recording.n} {'answer' if recording.n == 1 else 'answers'} each"
    print(f"{len(prompts.items):,} prompts with {each}; {len(there.done):,} recorded.")
    print(f"{len(asked):,} calls would be made: about {tokens:,} tokens in ({CHARACTERS_A_TOKEN} characters a token)")
    if there.tokens_out:
        expected = round(there.tokens_out / len(there.done) * len(asked))
        print(f"and about {expected:,} tokens out, as the recorded answers have.")
    elif max_tokens:
        print(f"and at most {max_tokens * len(asked):,} tokens out.")
    else:
        print("and as many tokens out as the answers are long; --max-tokens bounds them.")
