"""The `albatross` command: every command explains itself, and errors are one line."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from api.cli import __main__ as cli
from core.accounts import api_keys
from core.database.engine import connect, sessions
from core.disk import ROOT
from worker.commands import ablate, calibrate, compare, pools, train

PROGRAMS = {"train": train, "calibrate": calibrate, "ablate": ablate, "compare": compare, "pools": pools}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ALBATROSS_")}
    command = [sys.executable, "-m", "api.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, env=clean | environment, capture_output=True, text=True, timeout=60)


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield all commands that have no further commands, with the words that are typed for them."""
    for name, inner in getattr(command, "commands", {}).items():
        if name in PROGRAMS:
            yield from leaves(get_command(PROGRAMS[name].COMMANDS), (*path, name))
        else:
            yield from leaves(inner, (*path, name))
    if not hasattr(command, "commands"):
        yield path, command


def test_every_command_explains_itself_with_examples(capsys: pytest.CaptureFixture[str]) -> None:
    commands = dict(leaves(get_command(cli.COMMANDS)))
    assert len(commands) > 20
    for path, command in commands.items():
        line, inner = (PROGRAMS[path[0]].COMMANDS, path[1:]) if path[0] in PROGRAMS else (cli.COMMANDS, path)
        assert line.run("albatross", [*inner, "--help"]) == 0
        text = capsys.readouterr().out
        assert f"albatross {' '.join(path)}" in text.partition("examples:\n  ")[2], path
        assert command.help.split()[0] in text
        assert all(option.help for option in command.params), path


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train", "calibrate", "ablate", "compare", "pools build"])
def test_a_command_of_the_worker_shows_its_own_options_and_examples(name: str) -> None:
    shown = run(*name.split(), "--help")
    assert shown.returncode == 0
    assert f"Usage: albatross {name} " in shown.stdout
    assert f"examples:\n    albatross {name}" in shown.stdout
    assert "--data DIR" in shown.stdout


def test_help_is_plain_text_and_names_every_command_in_a_whole_sentence() -> None:
    shown = run("--help", FORCE_COLOR="1", COLUMNS="300")
    assert shown.returncode == 0
    assert shown.stdout.isascii()
    assert "\x1b" not in shown.stdout
    assert "..." not in shown.stdout.partition("Commands:")[2]


def test_a_command_that_is_misspelt_is_answered_with_the_one_that_was_meant() -> None:
    failed = run("sevre")
    assert failed.returncode == 2
    assert "Did you mean 'serve'?" in failed.stderr


def test_a_setting_that_cannot_be_used_is_named_without_a_traceback(tmp_path: Path) -> None:
    failed = run("keys", "list", "--data", str(tmp_path), ALBATROSS_PORT="http", ALBATROSS_STORAGE="tape")
    assert failed.returncode == 2
    assert failed.stderr.startswith("albatross: ALBATROSS_")
    assert "ALBATROSS_PORT: must be a whole number" in failed.stderr
    assert 'ALBATROSS_STORAGE: must be "local" or "s3"' in failed.stderr
    assert len(failed.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_key_is_alone_on_the_last_line_and_works(tmp_path: Path) -> None:
    made = run("keys", "create", "alice", "--data", str(tmp_path / "new"))
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip().splitlines()[-1]
    engine = connect(f"sqlite:///{tmp_path}/new/albatross.db")
    with sessions(engine).begin() as session:
        assert api_keys.authenticate(session, key).account.startswith("acct-")
    engine.dispose()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 100])
def test_a_name_that_is_none_is_one_line_of_error(tmp_path: Path, name: str) -> None:
    failed = run("keys", "create", name, "--data", str(tmp_path))
    assert failed.returncode == 2
    assert failed.stderr.startswith("albatross: ")
    assert len(failed.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_port_that_is_taken_is_one_line_of_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        failed = run("serve", "--data", str(tmp_path), "--port", str(taken.getsockname()[1]))
    assert failed.returncode == 2
    assert "choose another with --port" in failed.stderr


@pytest.mark.slow
def test_the_environment_names_the_data_folder_too(tmp_path: Path) -> None:
    assert run("keys", "create", "bob", ALBATROSS_DATA=str(tmp_path / "there")).returncode == 0
    assert (tmp_path / "there/albatross.db").is_file()


def test_the_built_in_backbone_is_listed(tmp_path: Path) -> None:
    assert "emoji-ldm" in run("backbones", "list", "--data", str(tmp_path)).stdout


def test_a_folder_with_code_in_it_is_not_added(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/modeling.py").write_text("print('hello')")
    add = ("backbones", "add", "mine", str(tmp_path / "model"), "--licence", "CC0")
    failed = run(*add, "--data", str(tmp_path))
    assert failed.returncode == 2
    assert failed.stderr.startswith("albatross: ")


def test_how_many_tokens_of_a_text_jobs_take_is_registered(
    tiny_language_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add = ("backbones", "add", "mine", str(tiny_language_folder), "--licence", "CC0")
    data = ("--data", str(tmp_path))
    assert cli.main([*add, "--max-tokens", "129", *data]) == 2
    assert "places for 128 tokens; --max-tokens is at most that" in capsys.readouterr().err
    assert cli.main([*add, "--max-tokens", "64", *data]) == 0
    assert json.loads((tmp_path / "backbones.json").read_text())["backbones"]["mine"]["defaults"] == {"max_tokens": 64}


def test_the_name_that_others_know_a_backbone_by_is_registered_and_listed(
    tiny_language_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add = ("backbones", "add", "mine", str(tiny_language_folder), "--licence", "CC0")
    data = ("--data", str(tmp_path))
    assert cli.main([*add, "--hub-name", "./mine", *data]) == 2
    assert capsys.readouterr().err.startswith("albatross: A hub name is ORG/NAME, like ")
    assert cli.main([*add, "--hub-name", "my-org/mine", *data]) == 0
    assert cli.main(["backbones", "list", *data]) == 0
    said = capsys.readouterr().out
    assert "CC0, elsewhere my-org/mine" in said
    assert said.count("elsewhere") == 1


def test_an_argument_that_is_not_known_is_an_error() -> None:
    assert run("keys", "create", "x", "--wat").returncode == 2


def test_a_preset_that_cannot_be_used_is_told_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets/logo.toml").write_text('name = "logo"\nversion = 1\n')
    refused = run("serve", "--data", str(tmp_path), "--port", "0")
    assert refused.returncode == 2
    assert "logo.toml can't be used: kind: this parameter is required" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "environment", "told"),
    [
        (("keys", "create", "alice", "--days", "nan"), {}, "'--days': it is a number from 0 to"),
        (("accounts", "limit", "alice", "--gigabytes=-5"), {}, "'--gigabytes': it is a number from 0 to"),
        (("keys", "create", "alice", "--account", "alcie"), {}, "There is no account alcie"),
        (("serve", "--port", "99999"), {}, "ALBATROSS_PORT: must be a number of at most 65535"),
        (("keys", "list"), {"ALBATROSS_DATABASE_URL": "foo"}, "look at ALBATROSS_DATABASE_URL"),
    ],
)
def test_what_cannot_be_meant_is_said_without_a_traceback(
    words: tuple[str, ...], environment: dict[str, str], told: str, tmp_path: Path
) -> None:
    done = run(*words, "--data", str(tmp_path), **environment)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_candidate_pools_are_listed_without_a_word_of_the_libraries(tmp_path: Path) -> None:
    done = run("pools", "list", "--data", str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert "candidates from" in done.stdout
