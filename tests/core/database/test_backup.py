"""What a backup holds, and which backups and folders are refused."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from core.database import backup
from core.database.backup import MANIFEST
from core.database.engine import connect, sessions
from core.database.migrations import migrate
from core.database.tables import Account, File
from core.disk import ROOT
from core.errors import AlbatrossError, Conflict, InvalidInput
from core.settings import Settings
from core.storage.factory import storage


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A service with two files, one of them deleted, a key, a built pool and a registry."""
    made = Settings(data=tmp_path / "data")
    migrate(made.database)
    made.keyring.read()
    store = storage(made)
    engine = connect(made.database)
    with sessions(engine).begin() as session:
        session.add(Account(id="acct-1", name="alice", created_at=1.0))
        session.flush()
        for name, deleted in (("kept", None), ("deleted", 2.0)):
            stored = store.put(f"accounts/acct-1/files/{name}", name.encode())
            session.add(
                File(
                    id=f"file-{name}",
                    account_id="acct-1",
                    filename="cat.zip",
                    purpose="fine-tune",
                    bytes=stored.bytes,
                    sha256=stored.sha256,
                    storage_key=stored.key,
                    status="processed",
                    kind="images",
                    items=1,
                    created_at=1.0,
                    deleted_at=deleted,
                )
            )
    engine.dispose()
    (made.data / "pools/mine").mkdir(parents=True)
    (made.data / "pools/mine/index.jsonl").write_text("{}\n")
    (made.data / "pools/mine-cache.safetensors").write_bytes(b"cache")
    record = {
        "id": "mine",
        "family": "llama",
        "path": "/models/mine",
        "revision": "1",
        "sha256": {},
        "licence": "CC0",
        "target_modules": ["q_proj"],
        "pool": str(made.data / "pools/mine"),
    }
    made.registry_file.write_text(json.dumps({"version": 1, "backbones": {"mine": record}}))
    return made


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_backup_holds_what_the_database_names_and_nothing_else(settings: Settings, tmp_path: Path) -> None:
    report = backup.backup(settings, tmp_path / "backup")
    assert files(tmp_path / "backup") == {
        "albatross.db",
        "storage/accounts/acct-1/files/kept",
        "pools/mine/index.jsonl",
        "signing.key",
        "backbones.json",
        "manifest.json",
    }
    assert (report.files, report.missing) == (5, ())
    for path in (tmp_path / "backup", *(path for path in (tmp_path / "backup").rglob("*") if path.is_file())):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_restored_service_is_the_same_and_names_its_own_folder(settings: Settings, tmp_path: Path) -> None:
    backup.backup(settings, tmp_path / "backup")
    again = Settings(data=tmp_path / "again")
    backup.restore(again, tmp_path / "backup")
    assert again.keyring.read() == settings.keyring.read()
    with storage(again).open("accounts/acct-1/files/kept") as file:
        assert file.read() == b"kept"
    assert json.loads(again.registry_file.read_text())["backbones"]["mine"]["pool"] == str(again.data / "pools/mine")
    engine = connect(again.database)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM file")).scalar_one() == 2
    engine.dispose()


def test_a_file_that_vanishes_meanwhile_is_named_and_harms_nothing(settings: Settings, tmp_path: Path) -> None:
    storage(settings).delete_prefix("accounts/acct-1/files/kept")
    assert backup.backup(settings, tmp_path / "backup").missing == ("accounts/acct-1/files/kept",)
    assert backup.restore(Settings(data=tmp_path / "again"), tmp_path / "backup").missing


def damage(folder: Path, how: str) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    match how:
        case "manifest is missing":
            (folder / MANIFEST).unlink()
        case "manifest is cut":
            (folder / MANIFEST).write_text((folder / MANIFEST).read_text()[:90])
        case "file is gone":
            (folder / "storage/accounts/acct-1/files/kept").unlink()
        case "file has changed":
            (folder / "storage/accounts/acct-1/files/kept").write_bytes(b"tape")
        case "database has changed":
            with (folder / "albatross.db").open("r+b") as file:
                file.seek(5000)
                file.write(b"x")
        case "database is newer":
            (folder / MANIFEST).write_text(json.dumps(manifest | {"revision": "9999"}))
        case "name leads out":
            manifest["files"][0]["name"] = "../outside"
            (folder / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [
        "manifest is missing",
        "manifest is cut",
        "file is gone",
        "file has changed",
        "database has changed",
        "database is newer",
        "name leads out",
    ],
)
def test_a_backup_that_is_not_whole_is_refused_and_nothing_is_made(
    settings: Settings, tmp_path: Path, how: str
) -> None:
    backup.backup(settings, tmp_path / "backup")
    (tmp_path / "outside").write_text("x")
    damage(tmp_path / "backup", how)
    with pytest.raises(InvalidInput):
        backup.restore(Settings(data=tmp_path / "again"), tmp_path / "backup")
    assert not (tmp_path / "again").exists()


def test_a_folder_in_use_is_never_written_to(settings: Settings, tmp_path: Path) -> None:
    backup.backup(settings, tmp_path / "backup")
    before = files(settings.data)
    with pytest.raises(Conflict):
        backup.backup(settings, tmp_path / "backup")
    with pytest.raises(Conflict):
        backup.restore(settings, tmp_path / "backup")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/note").write_text("mine")
    with pytest.raises(Conflict):
        backup.restore(Settings(data=tmp_path / "other"), tmp_path / "backup")
    assert files(settings.data) == before
    assert files(tmp_path / "other") == {"note"}


@pytest.mark.parametrize("place", ["data/backup", "data/storage/backup"])
def test_a_backup_does_not_go_into_what_it_copies(settings: Settings, tmp_path: Path, place: str) -> None:
    with pytest.raises(AlbatrossError):
        backup.backup(settings, tmp_path / place)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"ALBATROSS_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x"}, "pg_dump"),
        ({"ALBATROSS_STORAGE": "s3"}, "replication"),
    ],
)
@pytest.mark.parametrize("command", ["backup", "restore"])
def test_what_needs_its_own_tools_is_said_in_one_line(
    settings: Settings, tmp_path: Path, variables: dict[str, str], words: str, command: str
) -> None:
    if command == "restore":
        backup.backup(settings, tmp_path / "backup")
    data = settings.data if command == "backup" else tmp_path / "again"
    done = subprocess.run(
        [sys.executable, "-m", "api.cli", command, str(tmp_path / "backup"), "--data", str(data)],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_taggers_and_presets_come_back_where_the_new_service_looks_for_them(settings: Settings, tmp_path: Path) -> None:
    record = {"id": "t", "path": f"{settings.data}/t", "revision": "1", "sha256": {}, "licence": "CC0"}
    settings.taggers_file.write_text(json.dumps({"version": 1, "taggers": {"t": record}}))
    settings.presets_folder.mkdir()
    (settings.presets_folder / "logo.toml").write_text("# mine")
    backup.backup(settings, tmp_path / "copy")
    again = Settings(data=tmp_path / "again", presets=tmp_path / "elsewhere")
    backup.restore(again, tmp_path / "copy")
    assert (tmp_path / "elsewhere/logo.toml").read_text() == "# mine"
    assert json.loads(again.taggers_file.read_text())["taggers"]["t"]["path"] == f"{again.data}/t"
