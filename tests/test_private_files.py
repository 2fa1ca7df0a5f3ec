"""Everything that the service keeps is its user's alone, whatever mask it inherits and whatever was there before."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import openai
import pytest

from core.disk import ROOT
from core.settings import Settings
from tests.api.cli.test_serve import Tree, command, eventually
from tests.api.server import pictures, register
from tests.worker.floor import FAST_TRAINER

pytestmark = pytest.mark.slow
# as somebody else: which of these files can be opened
LOOK = """
import os, sys
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
for place in sys.argv[2:]:
    try:
        open(place).close()
        print(place)
    except OSError:
        pass
"""


def open_to_others(folder: Path) -> list[str]:
    """What others may read, write or enter, the folder itself included."""
    found = []
    inside = (Path(place, name) for place, folders, files in os.walk(folder) for name in folders + files)
    for path in (folder, *inside):
        with suppress(FileNotFoundError):  # deleted meanwhile
            mode = path.lstat().st_mode
            if not stat.S_ISLNK(mode) and mode & 0o077:
                found.append(f"{path} {mode:o}")
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    """A service with a mask that lets everybody do everything, over a data folder of an older version."""
    data, log = tmp_path / "data", tmp_path / "serve.log"
    data.mkdir()
    data.chmod(0o777)
    register(Settings(data=data))
    (data / "backbones.json").chmod(0o644)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ALBATROSS_")}
    with log.open("w") as output:
        process = subprocess.Popen(
            command("serve", "--data", str(data), "--port", "0"),
            cwd=ROOT,
            env=clean | {"ALBATROSS_TRAINER": FAST_TRAINER},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0,
        )
    found = Tree(process, log, data)
    try:
        assert eventually(lambda: found.address() or process.poll() is not None, 120), log.read_text()
        yield found
    finally:
        process.terminate()
        process.wait(60)


def test_a_whole_service_and_a_job_leave_nothing_that_others_can_open(tree: Tree, tmp_path: Path) -> None:
    data = tree.data
    assert "other users could read in" in tree.log.read_text()
    made = subprocess.run(
        command("keys", "create", "me", "--data", str(data)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        umask=0,
        check=True,
    )
    client = openai.OpenAI(base_url=f"{tree.address()}/v1", api_key=made.stdout.split()[-1])
    file = client.files.create(file=("cat.zip", pictures()), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(model="tiny-images", training_file=file.id)
    during: set[str] = set()

    def ended() -> bool:
        during.update(open_to_others(data))
        return client.fine_tuning.jobs.retrieve(job.id).status == "succeeded"

    assert eventually(ended, 120)
    assert during == set()
    names = {path.name for path in data.iterdir()}
    assert {"albatross.db", "albatross.db-wal", "signing.key", "broker.sock", "storage", "work", "uploads"} <= names
    backup = subprocess.run(
        command("backup", str(tmp_path / "deep/backup"), "--data", str(data)), cwd=ROOT, umask=0, capture_output=True
    )
    assert (backup.returncode, open_to_others(tmp_path / "deep")) == (0, [])
    if os.geteuid() == 0:
        everything = [
            str(Path(place, name))
            for folder in (data, tmp_path / "deep")
            for place, _, files in os.walk(folder)
            for name in files
        ]
        for folder in (tmp_path, *list(tmp_path.parents)[:2]):  # pytest's own are root's alone
            folder.chmod(folder.stat().st_mode | 0o011)
        assert len(everything) > 10
        assert seen_by_nobody([*everything, str(ROOT / "README.md")]) == [str(ROOT / "README.md")]


def seen_by_nobody(paths: list[str]) -> list[str]:
    nobody = str(pwd.getpwnam("nobody").pw_uid)
    done = subprocess.run([sys.executable, "-c", LOOK, nobody, *paths], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()
