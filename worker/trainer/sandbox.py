"""The trainer's cage: bubblewrap, without a network and without sight of the database, the store or any secret.

The whole file system is there to be read, except the data folder, home and the places of sockets and of other people's
files; of the data folder the trainer sees the work folder that it was started for, the encoded pools and the backbones.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sqlalchemy.engine import make_url

from core.backbones.registry import Registry
from core.backbones.taggers import Taggers
from core.disk import ROOT
from core.errors import Unavailable
from core.settings import Settings

log = logging.getLogger(__name__)
# namespaces of its own for processes, network, users, messages and names; it dies with the worker
NAMESPACES = ("--unshare-all", "--die-with-parent", "--cap-drop", "ALL", "--ro-bind", "/", "/", "--proc", "/proc")
SHARED_FOLDERS = ("/tmp", "/var/tmp", "/run", "/dev/shm")
PROBE_SECONDS = 10
ADVICE = (
    "install bubblewrap and let this user make namespaces, as deploy/sandbox.yml does in a container, or set "
    "ALBATROSS_SANDBOX=off to accept it"
)


@dataclass(frozen=True)
class Cage:
    """What a trainer may write: the work folder that it is started for, and the encoded pools that all read, or not."""

    work: Path
    pools: bool = False

    @classmethod
    def of_process(cls, settings: Settings, purpose: str, *, pools: bool = False) -> Cage:
        """Return one for a purpose of this process; processes of containers that share a data folder share numbers."""
        return cls(settings.data / "work" / f"{purpose}-{socket.gethostname()}-{os.getpid()}", pools)

    def made(self) -> tuple[int, int]:
        """Make the work folder where it is missing; returns which one it is, for another of the same path is not it."""
        self.work.mkdir(parents=True, exist_ok=True)
        status = self.work.stat()
        return status.st_dev, status.st_ino


@cache
def works() -> bool:
    """Try bubblewrap once, with what the trainer will need of it."""
    program = shutil.which("bwrap")
    if program is None:
        return False
    try:
        tried = subprocess.run(
            [program, *NAMESPACES, "--dev", "/dev", "--tmpfs", "/mnt", sys.executable, "-S", "-c", ""],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PROBE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0


def active(settings: Settings) -> bool:
    """Tell whether trainers run inside the sandbox; raises Unavailable where one is required and does not work."""
    if settings.sandbox == "off":
        return False
    if settings.sandbox == "require" and not works():
        raise Unavailable(f"The sandbox is required and does not work here: {ADVICE}.", code="no_sandbox")
    return works()


def announce(settings: Settings) -> None:
    """Say once, when a worker starts, where trainers run without a sandbox; raises as `active`."""
    if not active(settings) and settings.sandbox == "auto":
        log.warning("trainers run without a sandbox, with this user's rights and network: %s", ADVICE)


def wrap(program: Sequence[str], settings: Settings, cage: Cage) -> list[str]:
    """Return the command line that runs the program inside the sandbox."""
    data = settings.data.resolve()
    cage.made()
    (data / "pools").mkdir(parents=True, exist_ok=True)
    writable = [cage.work.resolve(), *([data / "pools"] if cage.pools else [])]
    needed = _needed(settings, program)
    hidden = _hidden(settings)
    outside = [path for path in needed if not path.is_relative_to(data) and _inside(path, hidden)]
    inside = [path for path in needed if path.is_relative_to(data) and path != data and not _inside(path, writable)]
    command = [shutil.which("bwrap") or "bwrap", *NAMESPACES, "--dev", "/dev", *devices()]
    command += _each("--tmpfs", hidden) + _binds("--ro-bind", outside)
    command += ["--tmpfs", str(data), *_binds("--ro-bind", inside), *_binds("--bind", writable)]
    command += _each("--remount-ro", [data, *(path for path in hidden if str(path) != "/tmp")])
    command += ["--unsetenv", "TMPDIR", "--setenv", "HOME", "/tmp", "--chdir", str(ROOT), "--"]
    return [*command, *program]


def program_of(pid: int) -> int:
    """Return the process that a bubblewrap process runs: the first child of the child that buries its dead."""
    for _ in range(2):
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            return pid
        if not children:
            return pid
        pid = int(children[0])
    return pid


def _needed(settings: Settings, program: Sequence[str]) -> list[Path]:
    """List what must be readable wherever it lies: this code, its Python and libraries, backbones and taggers."""
    places = [str(ROOT), sys.prefix, sys.base_prefix, *sys.path, *os.environ.get("LD_LIBRARY_PATH", "").split(":")]
    places += [part for word in program for part in (word, str(Path(word).resolve())) if word.startswith("/")]
    records = list(Registry.load(settings))
    places += [str(path) for record in records for path in (record.path, record.pool) if path is not None]
    places += [str((record.path / name).resolve().parent) for record in records for name in record.sha256]  # by links
    places += [str(record.path) for record in Taggers.load(settings)]
    places += [str(settings.data / "backbones"), str(settings.data / "pools")]
    found = {Path(place).resolve() for place in places if place and os.path.exists(place)}
    return sorted(path for path in found if path != Path("/"))  # parents come before what they hold


def _hidden(settings: Settings) -> list[Path]:
    """List the folders besides the data folder whose content is none of the trainer's business."""
    folders = [*SHARED_FOLDERS, os.path.expanduser("~")]
    url = make_url(settings.database)
    if url.get_backend_name() == "sqlite" and url.database:
        folders.append(str(Path(url.database).resolve().parent))
    found = {Path(folder).resolve() for folder in folders if os.path.isdir(folder)}
    return sorted(found - {Path("/"), settings.data.resolve()})


def devices(folder: Path = Path("/dev")) -> list[str]:
    """Return the options that let the GPUs in, among them nvidia-caps, a folder of what parts of a GPU (MIG) ask for.

    What CUDA looks up besides, /proc/driver/nvidia with the capabilities of those parts, is in every /proc.
    """
    return [word for device in sorted(folder.glob("nvidia*")) for word in ("--dev-bind", str(device), str(device))]


def _inside(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _binds(option: str, paths: Iterable[Path]) -> list[str]:
    return [word for path in paths for word in (option, str(path), str(path))]


def _each(option: str, paths: Iterable[Path]) -> list[str]:
    return [word for path in paths for word in (option, str(path))]
