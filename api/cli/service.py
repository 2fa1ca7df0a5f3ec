"""`albatross serve`, a `link` to its page, and its parts by themselves: `albatross worker` and `dispatcher`."""

from typing import Annotated

import typer

from api.cli.worker_commands import replace_process
from core.errors import InvalidInput
from core.runtime.command_line import CommandLine, Data, read_settings

COMMANDS = CommandLine()


@COMMANDS.explained("serve", "albatross serve", "albatross serve --data /srv/albatross --host 0.0.0.0 --port 8000")
def serve(
    host: Annotated[str | None, typer.Option(metavar="HOST", help="address to listen on (default: 127.0.0.1)")] = None,
    port: Annotated[
        int | None, typer.Option(metavar="PORT", help="port to listen on; 0 takes a free one (default: 8000)")
    ] = None,
    data: Data = None,
) -> None:
    """Run the whole service on this machine: API, dispatcher, worker and, unless one is configured, a broker."""
    settings = read_settings(data=data, host=host, port=port)
    from api.cli import serve as whole  # not needed by the other commands, and slow to import
    from core.parameters import presets

    presets.load(settings.presets_folder)  # one that can't be used is told here, not in the log of a child
    raise typer.Exit(whole.serve(settings))


@COMMANDS.explained("link", "albatross link --data /srv/albatross", "albatross link --job ftjob-3k9x2m1q")
def link(
    account: Annotated[
        str | None, typer.Option(metavar="NAME", help="whose key it gives (default: this machine's own, `local`)")
    ] = None,
    job: Annotated[
        str | None, typer.Option(metavar="ID", help="open this job's adapter, with a key of its account")
    ] = None,
    data: Data = None,
) -> None:
    """Print an address that opens the page of the service that runs on this machine: once, and within an hour.

    Whoever opens it has a key of the account for twelve hours.
    """
    settings = read_settings(data=data)
    from api.cli.accounts import account_named, account_of_job, database
    from api.cli.serve import address_of_running, start_link

    if account is not None and job is not None:
        raise InvalidInput("A job says whose it is; leave --account out.", code="contradiction", param="account")
    address = address_of_running(settings.data)
    with database(settings) as session:
        if account is not None:
            account = account_named(session, account).name  # a slip of the pen shall make no account
        elif job is not None:
            account = account_of_job(session, job).name
    print(start_link(settings, address, account, "/" if job is None else f"/adapters/{job}"))


@COMMANDS.explained(
    "worker", "ALBATROSS_BROKER_URL=redis://broker:6379/0 albatross worker", "CUDA_VISIBLE_DEVICES=1 albatross worker"
)
def worker(data: Data = None) -> None:
    """Run one worker: it takes jobs from the queue and trains them."""
    settings = read_settings(data=data)
    from api.cli.serve import worker_command

    replace_process(*worker_command(settings, "worker"))


@COMMANDS.explained("dispatcher", "albatross dispatcher --data /srv/albatross")
def dispatcher(data: Data = None) -> None:
    """Run the dispatcher: it wakes workers and takes jobs back from dead ones."""
    read_settings(data=data)  # what can't be used is told here
    replace_process("worker.dispatcher")
