"""How every command line of Albatross is put together: plain help with examples, and errors that are sentences."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from typer.main import get_command

from core.disk import keep_private
from core.errors import AlbatrossError
from core.text_safety import shown

if TYPE_CHECKING:  # loaded by commands, not by their help
    from pydantic import BaseModel, ValidationError

    from core.runtime.complaints import Suggest
    from core.settings import Settings

INTERRUPTED = 130
MAX_AMOUNT = 1e9
CONTEXT = {"help_option_names": ["--help", "-h"], "max_content_width": 110}
Function = TypeVar("Function", bound=Callable[..., None])
Data = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="folder of everything local (default: $ALBATROSS_DATA or albatross-data)"),
]


class CommandLine(typer.Typer):
    """One command, or a group of commands; help is plain text, on a terminal too."""

    def __init__(self, words: str | None = None, epilog: str | None = None) -> None:
        super().__init__(
            help=words,
            short_help=words,
            epilog=epilog,
            context_settings=CONTEXT,
            add_completion=False,
            rich_markup_mode=None,
            pretty_exceptions_enable=False,
        )

    def explained(
        self, name: str, *examples: str, words: str | None = None, context_settings: dict[str, object] | None = None
    ) -> Callable[[Function], Function]:
        """Add a command whose help is these words, or the function's docstring, its options, and these examples."""

        def add(function: Function) -> Function:
            explanation = inspect.cleandoc(words or function.__doc__ or "")
            decorate = self.command(
                name,
                help=explanation,
                short_help=explanation.partition("\n\n")[0].replace("\n", " "),  # whole in lists: typer would cut it
                epilog="\b\nexamples:\n" + "\n".join(f"  {example}" for example in examples) if examples else None,
                context_settings=CONTEXT | (context_settings or {}),
            )
            return decorate(function)

        return add

    def run(self, name: str, arguments: Sequence[str] | None = None, *, failed: int = 2) -> int:
        """Run what was typed and return the exit status; what a person can mend is a sentence on standard error.

        `failed` is the status then. Typer itself answers wrong usage (2) and Ctrl-C (130, without a word).
        """
        before = keep_private()
        try:
            get_command(self)(args=arguments, prog_name=name)
        except SystemExit as ended:
            return int(ended.code or 0)
        except Exception as error:
            if _interrupted(error):
                return INTERRUPTED
            sentence = sentence_of(error)
            if sentence is None:
                raise
            print(f"albatross: {sentence}", file=sys.stderr)
            return failed
        finally:
            os.umask(before)
        return 0


def sentence_of(error: Exception) -> str | None:
    """Say what is wrong where a person can mend it; None for the errors that only a traceback explains."""
    from pydantic import ValidationError

    match error:
        case AlbatrossError():
            return error.message
        case ValidationError():
            return problems(error)
        case OSError(strerror=str()):
            return f"{shown(str(error.filename or 'an operation'))}: {error.strerror}"
    if type(error).__module__.startswith("sqlalchemy."):  # whose words may hold the password of the address
        return f"the database can't be used ({type(error).__name__}); look at ALBATROSS_DATABASE_URL"
    return None


def _interrupted(error: BaseException | None) -> bool:
    """Tell whether Ctrl-C is behind the error: libraries that import parts of themselves late make another of it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def amount(number: float | None) -> float | None:
    """Check an option that counts something: a number from 0 on, and no more than anything has."""
    if number is not None and not 0 <= number <= MAX_AMOUNT:  # which nan is not
        raise typer.BadParameter(f"it is a number from 0 to {MAX_AMOUNT:,.0f}")
    return number


def problems(error: ValidationError, model: type[BaseModel] | None = None, suggest: Suggest | None = None) -> str:
    """Name every field that can't be used and what it takes, never what it holds: that may be a password.

    Without the `model` that was checked against only the first name of a field's path is told. `suggest` says what a
    name that is not known may mean.
    """
    from core.runtime.complaints import complaints

    found = error.errors(include_url=False)
    if model is None:
        for one in found:
            one["loc"] = one["loc"][:1]  # what follows are pydantic's names for what it tried
    told = complaints(found, model, suggest)
    return "; ".join(f"{_name(one.path, error.title)}{one.sentence}" for one in told)


def _name(field: str, title: str) -> str:
    """Return how a field begins its sentence."""
    if title == "Settings":
        field = f"ALBATROSS_{field.upper()}" if field else "settings"
    return f"{field}: " if field else ""


def read_settings(**options: object) -> Settings:
    """Read the settings; an option that was given counts more than its variable, in the processes started here too."""
    from core.settings import Settings

    for name, value in options.items():
        if value is not None:
            os.environ[f"ALBATROSS_{name.upper()}"] = str(value)
    return Settings()
