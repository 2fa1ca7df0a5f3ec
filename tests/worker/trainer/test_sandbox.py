"""What a program inside the sandbox can't do, shown by programs that try it, and what a trainer there still can."""

from __future__ import annotations

import json
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.database.migrations import migrate
from core.errors import Unavailable
from core.settings import Settings
from tests.worker.floor import FAST_TRAINER, ROOT, Floor, environment, gone, settings
from worker import tasks
from worker.supervision.attempt_folders import cage
from worker.trainer import process, sandbox
from worker.trainer.process import Trainer

with_bubblewrap = pytest.mark.skipif(not sandbox.works(), reason="bubblewrap does not work here")
PARENT = """
import time
from core.settings import Settings
from worker.supervision.attempt_folders import cage
from worker.trainer.process import Trainer
from worker.trainer.sandbox import Cage
settings = Settings()
trainer = Trainer(settings, Cage(settings.data / "work/acct-1"))
print(trainer.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def chosen(tmp_path: Path) -> Settings:
    """Settings of a service that has a database and a signing key."""
    made = settings(tmp_path / "data").model_copy(update={"share_trainers": False})
    migrate(made.database)
    assert made.keyring.read()
    (made.data / "storage/accounts").mkdir(parents=True)
    (made.data / "storage/accounts/picture").write_bytes(b"private")
    return made


@pytest.fixture
def no_bubblewrap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("PATH", str(tmp_path))
    sandbox.works.cache_clear()
    yield
    sandbox.works.cache_clear()


def inside(chosen: Settings, program: str, account: str = "acct-1") -> str:
    """Run a Python program as the trainer of an account's jobs is run; returns what it prints."""
    trainer, own = shlex.join([sys.executable, "-c", program]), cage(chosen, account)
    command = process.command(chosen.model_copy(update={"trainer": trainer}), own)
    variables = process.environment(chosen, own)
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    return done.stdout


def tried(action: str) -> str:
    """A program that prints "done", or the kind of error that the action ends with."""
    return f"try:\n    {action}\n    print('done')\nexcept Exception as error:\n    print(type(error).__name__)"


@with_bubblewrap
def test_there_is_no_network(chosen: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        connect = tried(f"import socket; socket.create_connection({address!r}, 5)")
        assert subprocess.check_output([sys.executable, "-c", connect], text=True) == "done\n"
        assert inside(chosen, connect) == "ConnectionRefusedError\n"
    assert inside(chosen, "import socket; print([name for _, name in socket.if_nameindex()])") == "['lo']\n"


@with_bubblewrap
def test_what_the_service_keeps_is_not_to_be_seen(chosen: Settings) -> None:
    assert {"albatross.db", "signing.key", "storage"} <= set(os.listdir(chosen.data))
    assert inside(chosen, f"import os; print(sorted(os.listdir({str(chosen.data)!r})))") == "['pools', 'work']\n"


@with_bubblewrap
def test_a_database_elsewhere_is_not_to_be_seen_either(chosen: Settings, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    url = f"sqlite:///{tmp_path}/elsewhere/jobs.db"
    migrate(url)
    moved = chosen.model_copy(update={"database_url": url})
    assert inside(moved, f"import os; print(os.path.exists({str(tmp_path / 'elsewhere/jobs.db')!r}))") == "False\n"


@with_bubblewrap
def test_only_the_work_folder_of_the_account_can_be_written(chosen: Settings) -> None:
    places = ["/etc", "/run", "/var/tmp", str(ROOT), str(Path.home()), str(chosen.data), str(chosen.data / "storage")]
    for place in [*places, str(chosen.data / "work"), str(chosen.data / "pools")]:
        assert inside(chosen, tried(f"open({place + '/left-behind'!r}, 'w')")) in (
            "OSError\n",
            "FileNotFoundError\n",
            "PermissionError\n",
        ), place
    assert inside(chosen, tried(f"open({str(chosen.data / 'work/acct-1/new')!r}, 'w')")) == "done\n"
    assert (chosen.data / "work/acct-1/new").is_file()


@with_bubblewrap
def test_of_other_accounts_not_even_a_name_is_to_be_seen(chosen: Settings) -> None:
    for name in ("acct-1/ftjob-1-e1/references", "acct-2/ftjob-2-e1/references"):
        (chosen.data / "work" / name).mkdir(parents=True)
    tasks.drain_file(chosen, os.getpid()).touch()
    walk = (
        f"import os; print(sorted(name for _, names, files in os.walk({str(chosen.data)!r}) for name in names + files))"
    )
    own = ["acct-1", "ftjob-1-e1", "pools", "references", "work"]
    assert inside(chosen, walk) == f"{own}\n"
    together = chosen.model_copy(update={"share_trainers": True})
    assert "acct-2" in inside(together, walk)
    assert inside(together, tried(f"open({str(chosen.data / 'pools/new')!r}, 'w')")) == "done\n"


@with_bubblewrap
def test_pools_that_all_read_can_be_read_and_not_be_changed(chosen: Settings) -> None:
    shared = chosen.data / "pools/mine/index.jsonl"
    shared.parent.mkdir(parents=True)
    shared.write_text("{}")
    assert inside(chosen, f"print(open({str(shared)!r}).read())") == "{}\n"
    for action in (f"open({str(shared)!r}, 'a')", f"__import__('os').unlink({str(shared)!r})"):
        assert inside(chosen, tried(action)) == "OSError\n"
    assert shared.read_text() == "{}"


@with_bubblewrap
def test_its_temporary_files_are_its_own(chosen: Settings, tmp_path: Path) -> None:
    program = "import os, tempfile; print(os.path.expanduser('~'), tempfile.mkstemp()[1])"
    home, file = inside(chosen, program).split()
    assert home == "/tmp"
    assert not Path(file).exists()


@with_bubblewrap
def test_it_has_no_secrets_no_rights_and_no_neighbours(chosen: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALBATROSS_S3_SECRET_KEY", "canary")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    program = """
import glob, json, os, re
everything = [open(path, errors="replace").read() for path in glob.glob("/proc/[0-9]*/environ")]
status = open("/proc/self/status").read()
print(json.dumps([everything, len(glob.glob("/proc/[0-9]*")), re.findall(r"(?:CapEff|NoNewPrivs):\\t(\\w+)", status)]))
"""
    variables, processes, rights = json.loads(inside(chosen, program))
    assert variables
    assert "canary" not in str(variables)
    assert processes == 2
    assert rights == ["0000000000000000", "1"]


@with_bubblewrap
def test_it_can_not_signal_its_supervisor(chosen: Settings) -> None:
    assert inside(chosen, tried(f"import os; os.kill({os.getpid()}, 0)")) == "ProcessLookupError\n"


@with_bubblewrap
@pytest.mark.parametrize("place", ["backbones/mine", "elsewhere"])
def test_a_registered_backbone_can_be_read_wherever_it_lies(chosen: Settings, tmp_path: Path, place: str) -> None:
    folder = (chosen.data if place.startswith("backbones") else tmp_path) / place
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    record = {
        "id": "mine",
        "family": "llama",
        "path": str(folder),
        "revision": "1",
        "sha256": {},
        "licence": "CC0",
        "target_modules": ["q_proj"],
    }
    chosen.registry_file.write_text(json.dumps({"version": 1, "backbones": {"mine": record}}))
    assert inside(chosen, f"print(open({str(folder / 'config.json')!r}).read())") == "{}\n"
    assert inside(chosen, tried(f"open({str(folder / 'new')!r}, 'w')")) == "OSError\n"


@with_bubblewrap
def test_parts_of_a_backbone_that_are_links_can_be_read_too(chosen: Settings, tmp_path: Path) -> None:
    folder, shared = chosen.data / "backbones/mine", tmp_path / "shared/vae"
    for each in (folder, shared):
        each.mkdir(parents=True)
    (shared / "config.json").write_text("{}")
    (folder / "vae").symlink_to(shared)
    record = {"id": "mine", "family": "sd1", "path": str(folder), "revision": "1", "licence": "CC0"}
    record |= {"sha256": {"vae/config.json": "0"}, "target_modules": ["to_q"]}
    chosen.registry_file.write_text(json.dumps({"version": 1, "backbones": {"mine": record}}))
    assert inside(chosen, f"print(open({str(folder / 'vae/config.json')!r}).read())") == "{}\n"


@pytest.mark.parametrize("mode", ["off", pytest.param("require", marks=with_bubblewrap)])
def test_limits_hold_with_and_without_it(chosen: Settings, mode: str) -> None:
    limited = chosen.model_copy(update={"sandbox": mode, "max_trainer_file_bytes": 10_000})
    file = chosen.data / "work/acct-1/large"
    file.parent.mkdir(parents=True, exist_ok=True)
    write = f"import errno\ntry:\n    open({str(file)!r}, 'wb').write(bytes(20_000))\nexcept OSError as error:\n"
    assert inside(limited, write + "    print(errno.errorcode[error.errno])") == "EFBIG\n"
    assert file.stat().st_size == 10_000
    limits = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))"
    assert inside(limited, limits) == "(0, 0)\n"
    assert "NoNewPrivs:\t1" in inside(limited, "print(open('/proc/self/status').read())")


def family(pid: int) -> list[int]:
    """A process and all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(found for child in children for found in family(int(child)))]


def soon(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


@with_bubblewrap
def test_nothing_outlives_a_killed_trainer(chosen: Settings) -> None:
    trainer = Trainer(chosen, cage(chosen, "acct-1"))
    assert soon(lambda: len(family(trainer.pid)) == 3)
    everything = family(trainer.pid)
    assert sandbox.program_of(trainer.pid) == everything[-1]
    trainer.kill()
    assert soon(lambda: all(map(gone, everything)))


@with_bubblewrap
def test_nothing_outlives_a_killed_supervisor(chosen: Settings) -> None:
    variables = environment(chosen)
    with subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, env=variables, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert soon(lambda: len(family(pid)) == 3)
        everything = family(pid)
        parent.send_signal(signal.SIGKILL)
    assert soon(lambda: all(map(gone, everything)))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@with_bubblewrap
def test_an_ordinary_user_can_hide_folders_too() -> None:
    command = [shutil.which("bwrap"), *sandbox.NAMESPACES, "--dev", "/dev", "--tmpfs", "/etc", "/bin/sh", "-c"]
    seen = subprocess.run(
        [*command, "id -u; ls -A /etc"],
        cwd="/",
        user=pwd.getpwnam("nobody").pw_uid,
        extra_groups=[],
        check=True,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert seen.stdout == f"{pwd.getpwnam('nobody').pw_uid}\n"


@pytest.mark.slow
@pytest.mark.usefixtures("no_bubblewrap")
def test_without_bubblewrap_there_is_a_notice_and_jobs_run(floor: Floor, caplog: pytest.LogCaptureFixture) -> None:
    sandbox.announce(floor.settings)
    [notice] = caplog.messages
    assert "without a sandbox" in notice
    assert "install bubblewrap" in notice
    job_id = floor.job()
    floor.supervise()
    assert floor.get(job_id).state == "SUCCEEDED"


@pytest.mark.slow
@pytest.mark.usefixtures("no_bubblewrap")
def test_a_worker_that_requires_it_does_not_start_without(floor: Floor) -> None:
    floor.settings.__dict__["sandbox"] = "require"
    with pytest.raises(Unavailable, match="required"):
        sandbox.announce(floor.settings)
    variables = environment(floor.settings) | {"ALBATROSS_SANDBOX": "require", "ALBATROSS_BROKER_URL": "memory://"}
    command = [sys.executable, "-m", "celery", "-A", "worker.app", "worker", "-Q", floor.settings.queue]
    ended = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=90)
    assert ended.returncode != 0
    assert "The sandbox is required and does not work here" in ended.stderr


@with_bubblewrap
def test_a_job_in_the_sandbox_ends_well(floor: Floor) -> None:
    assert FAST_TRAINER in floor.settings.trainer
    floor.settings.__dict__ |= {"sandbox": "require", "share_trainers": False}
    job_id = floor.job()
    floor.supervise()
    assert floor.get(job_id).state == "SUCCEEDED"
