"""Settings come from ALBATROSS_* variables, fit together, and keep their secrets."""

from __future__ import annotations

import os
import stat
import tomllib
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from pydantic import ValidationError

from core.disk import ROOT
from core.settings import MAX_SOCKET_PATH, Settings
from core.version import VERSION


def test_variables_are_read_and_empty_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALBATROSS_PORT", "9000")
    monkeypatch.setenv("ALBATROSS_DATABASE_URL", "")
    settings = Settings()
    assert settings.port == 9000
    assert settings.database.startswith("sqlite:///")


def test_the_data_folder_is_the_same_for_processes_that_start_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(data=Path("data"))
    assert settings.data == tmp_path / "data"
    assert settings.database == f"sqlite:///{tmp_path}/data/albatross.db"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEASE_SECONDS", "0"),
        ("HEARTBEAT_SECONDS", "31"),
        ("MAX_CRASHES", "0"),
        ("MAX_IMAGES", "-1"),
        ("STOP", "sometime"),
        ("STORAGE", "tape"),
        ("PORT", "high"),
    ],
)
def test_values_that_can_not_work_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"ALBATROSS_{name}", value)
    with pytest.raises(ValidationError):
        Settings()


def test_settings_can_not_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


def test_no_secret_shows_when_settings_are_printed() -> None:
    secrets = {
        "database_url": "postgresql://u:hunter2@h/d",
        "broker_url": "redis://:hunter2@h",
        "s3_access_key": "hunter2",
        "s3_secret_key": "hunter2",
        "signing_secret": "hunter2" * 5,
    }
    assert "hunter2" not in repr(Settings(**secrets))


def test_the_brokers_socket_can_be_bound_however_deep_the_data_folder(tmp_path: Path) -> None:
    deep = Settings(data=tmp_path / ("x" * 120))
    assert len(os.fsencode(deep.broker_socket)) <= MAX_SOCKET_PATH
    assert deep.broker_socket != Settings(data=tmp_path / ("y" * 120)).broker_socket
    assert deep.broker == f"redis+socket://{deep.broker_socket}"


def test_every_setting_says_what_it_is_for() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def key_in(folder: str) -> str:
    return Settings(data=Path(folder)).keyring.read()[0]


def test_processes_that_start_at_once_agree_on_one_kept_secret(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        found = set(pool.map(key_in, [str(tmp_path / "data")] * 16))
    assert len(found) == 1
    assert len(found.pop()) == 64
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["signing.key"]
    assert stat.S_IMODE((tmp_path / "data/signing.key").stat().st_mode) == 0o600


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["version"] == VERSION
