"""The data folder is its user's alone, also where it was not."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from core.database.engine import connect
from core.disk import ROOT
from core.runtime import data_folder
from core.settings import Settings

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_data_folder_is_made_for_its_user_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data_folder.claim(Settings(data=tmp_path / "data"))
    assert (mode(tmp_path / "data"), caplog.messages) == (0o700, [])


def test_one_that_an_older_version_made_for_everybody_is_closed_and_that_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings, outside = Settings(data=tmp_path / "data"), tmp_path / "outside"
    (settings.data / "storage").mkdir(parents=True)
    outside.mkdir()
    (settings.data / "models").symlink_to(outside)
    for name in ("albatross.db", "albatross.db-wal", "signing.key"):
        (settings.data / name).touch()
    for path in (settings.data, outside, *settings.data.iterdir()):
        if not path.is_symlink():
            path.chmod(0o777 if path.is_dir() else 0o666)
    data_folder.claim(settings)
    data_folder.claim(settings)
    assert {path.name: mode(path) for path in (settings.data, *settings.data.iterdir()) if not path.is_symlink()} == {
        "data": 0o700,
        "storage": 0o700,
        "albatross.db": 0o600,
        "albatross.db-wal": 0o600,
        "signing.key": 0o600,
    }
    assert mode(outside) == 0o777
    [said] = caplog.messages
    assert f"other users could read in {settings.data}: 5 of its files and folders are closed" in said


@only_root
def test_one_that_belongs_to_somebody_else_is_used_and_that_is_said() -> None:
    place = tempfile.TemporaryDirectory()  # not among pytest's, which are root's alone
    Path(place.name).chmod(0o755)
    data = Path(place.name) / "data"
    data.mkdir()
    data.chmod(0o777)
    words = "import os, sys; from pathlib import Path; from core.settings import Settings; "
    words += "from core.runtime import data_folder; os.setuid(int(sys.argv[2])); "
    words += "data_folder.claim(Settings(data=Path(sys.argv[1])))"
    nobody = str(pwd.getpwnam("nobody").pw_uid)
    done = subprocess.run([sys.executable, "-c", words, str(data), nobody], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, mode(data)) == (0, 0o777), done.stderr
    assert "belong to somebody else" in done.stderr
    place.cleanup()


def test_a_database_is_its_users_alone_whatever_mask_is_inherited(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        engine = connect(f"sqlite:///{tmp_path}/made.db")
        with engine.connect() as connection:
            connection.exec_driver_sql("CREATE TABLE t (x)")
            made = {path.name: mode(path) for path in tmp_path.iterdir()}
        engine.dispose()
    finally:
        os.umask(before)
    assert made == dict.fromkeys(("made.db", "made.db-wal", "made.db-shm"), 0o600)
