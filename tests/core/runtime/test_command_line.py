"""What a command line says and returns when its command fails in one of the ways that people can mend."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import InvalidInput
from core.runtime.command_line import CommandLine, Data, read_settings
from core.settings import Settings


def outcome(error: BaseException, capsys: pytest.CaptureFixture[str], **options: int) -> tuple[int, str, str]:
    line = CommandLine()

    @line.explained("break", "break")
    def fail() -> None:
        """Fail."""
        raise error

    status = line.run("break", [], **options)
    told = capsys.readouterr()
    return status, told.out, told.err


def test_an_error_of_ours_is_its_sentence_and_the_status_is_two(capsys: pytest.CaptureFixture[str]) -> None:
    error = InvalidInput("This is no file of ours; take another.", code="invalid")
    assert outcome(error, capsys) == (2, "", "albatross: This is no file of ours; take another.\n")
    assert outcome(error, capsys, failed=1)[0] == 1


def test_a_file_that_fails_is_named_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(FileNotFoundError(2, "No such file", "/there\x1b"), capsys)[2].startswith("albatross: /there")
    assert "\x1b" not in outcome(FileNotFoundError(2, "No such file", "/there\x1b"), capsys)[2]
    assert outcome(OSError(28, "No space left"), capsys) == (2, "", "albatross: an operation: No space left\n")


def test_ctrl_c_ends_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = outcome(KeyboardInterrupt(), capsys)
    assert (status, out.strip(), err.strip()) == (130, "", "")


def test_ctrl_c_that_a_library_made_another_error_of_ends_without_a_word_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = ModuleNotFoundError("Could not import a part")
    error.__cause__ = KeyboardInterrupt()
    assert outcome(error, capsys) == (130, "", "")


@pytest.mark.parametrize("error", [ZeroDivisionError("a mistake of ours"), OSError("libcudart.so is broken")])
def test_what_nobody_can_mend_keeps_its_traceback(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(type(error)):
        outcome(error, capsys)


def test_values_that_cannot_be_used_are_named_and_not_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = CommandLine()

    @line.explained("settings", "settings")
    def settings() -> None:
        """Read them."""
        read_settings(port=None)

    monkeypatch.setenv("ALBATROSS_PORT", "canary")
    assert line.run("settings", []) == 2
    told = capsys.readouterr().err
    assert told.startswith("albatross: ALBATROSS_PORT: must be a whole number")
    assert "canary" not in told


def test_an_option_counts_more_than_its_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ALBATROSS_DATA", str(tmp_path / "variable"))
    seen: list[Settings] = []
    line = CommandLine()

    @line.explained("show", "show")
    def show(data: Data = None) -> None:
        """Show them."""
        seen.append(read_settings(data=data))

    assert line.run("show", []) == line.run("show", ["--data", str(tmp_path / "option")]) == 0
    assert [settings.data.name for settings in seen] == ["variable", "option"]
