"""The package as it is installed: from a wheel, into an environment without the checkout, it serves and runs a job."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import openai
import pytest
from safetensors.numpy import load

from core.disk import ROOT
from core.parameters.presets import FOLDER
from tests.api.cli.test_serve import Tree, eventually

pytestmark = pytest.mark.slow
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "NOTICE", "api", "core", "worker", "demo", "migrations")
DATA = (
    "api/page",
    "core/backbones/single_files",
    "core/parameters/presets",
    "migrations",
    "demo/emoji_64",
    "demo/emoji_ldm",
    "demo/texts",
    "demo/old_model",
)
QUICK = {"max_steps": 4, "surrogate_steps": 4, "folds": 2, "batch_size": 1, "rank": 2, "sample_ratio": 0.02}
QUICK |= {"learning_rate": 1e-3}  # so that whichever step is published, more than rounding has changed
WHERE = "import api, core.disk, worker; print(api.__file__, worker.__file__, core.disk.__file__, core.disk.ROOT)"


@dataclass(frozen=True)
class Installed:
    """A virtual environment that holds the wheel, and all that the wheel depends on but for the checkout."""

    folder: Path

    @property
    def site(self) -> Path:
        return Path(sysconfig.get_path("purelib", vars={"base": str(self.folder)}))

    def command(self, *words: str) -> list[str]:
        return [str(self.folder / "bin" / words[0]), *words[1:]]

    def run(self, *words: str) -> str:
        """Run a program of the environment in an empty folder; returns what it says."""
        options = {"cwd": self.elsewhere(), "env": self.variables(), "capture_output": True, "text": True}
        done = subprocess.run(self.command(*words), timeout=120, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def elsewhere(self) -> Path:
        (self.folder.parent / "elsewhere").mkdir(exist_ok=True)
        return self.folder.parent / "elsewhere"

    def variables(self) -> dict[str, str]:
        ours = ("ALBATROSS_", "PYTHON", "VIRTUAL_ENV")
        return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy: setuptools leaves its own files beside what it reads, and reads what it left before."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source, copy = ROOT / name, folder / "source" / name
        copy.parent.mkdir(exist_ok=True)
        shutil.copytree(source, copy) if source.is_dir() else shutil.copy(source, copy)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "-q", "wheel", *options, "."], cwd=folder / "source", check=True)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    installed = Installed(tmp_path_factory.mktemp("installed") / "env")
    venv.create(installed.folder, with_pip=False, symlinks=True)
    pip = [sys.executable, "-m", "pip", "-q", "--python", str(installed.folder / "bin/python"), "install"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    # a path in a .pth file is searched for packages but not for more .pth files, such as the one of the checkout
    (installed.site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return installed


@pytest.fixture
def served(installed: Installed, tmp_path: Path) -> Iterator[Tree]:
    words = ["serve", "--data", str(tmp_path / "data"), "--port", "0"]
    options = {"cwd": installed.elsewhere(), "env": installed.variables(), "start_new_session": True}
    with (tmp_path / "serve.log").open("w") as log:
        process = subprocess.Popen(installed.command("albatross", *words), stdout=log, stderr=log, **options)
    tree = Tree(process, tmp_path / "serve.log", tmp_path / "data")
    try:
        assert eventually(lambda: tree.address() or process.poll() is not None), tree.log.read_text()
        assert process.poll() is None, tree.log.read_text()
        yield tree
    finally:
        process.terminate()
        process.wait(60)


def cats(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.writestr(path.name, path.read_bytes())
    return buffer.getvalue()


def test_the_wheel_holds_every_file_that_is_read_beside_the_code(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    paths = [path for folder in DATA for path in (ROOT / folder).rglob("*") if path.is_file()]
    assert {path.relative_to(ROOT).as_posix() for path in paths if "__pycache__" not in path.parts} - held == set()
    assert {name for name in held if name.endswith(".toml")} == {
        path.relative_to(ROOT).as_posix() for path in FOLDER.glob("*.toml")
    }
    assert {name for name in held if name.startswith(("tests", "benchmarks", "docs")) or "__pycache__" in name} == set()


def test_nothing_comes_from_the_checkout(installed: Installed) -> None:
    *files, root = installed.run("python", "-c", WHERE).split()
    assert [file for file in files if not Path(file).is_relative_to(installed.site)] == []
    assert root == str(installed.site.resolve())


def test_the_installed_service_runs_a_job(installed: Installed, served: Tree) -> None:
    key = installed.run("albatross", "keys", "create", "me", "--data", str(served.data)).splitlines()[-1]
    pictures = cats(installed.site / "demo/emoji_ldm/references/cat")
    with openai.OpenAI(base_url=f"{served.address()}/v1", api_key=key) as client:
        file = client.files.create(file=("cats.zip", pictures), purpose="fine-tune")
        job = client.fine_tuning.jobs.create(model="emoji-ldm", training_file=file.id, extra_body={"bat": QUICK})
        assert eventually(lambda: client.fine_tuning.jobs.retrieve(job.id).finished_at, 600), served.log.read_text()
        job = client.fine_tuning.jobs.retrieve(job.id)
        assert job.status == "succeeded", (job.error, served.log.read_text())
        results = {client.files.retrieve(id).filename: id for id in job.result_files}
        adapter = client.files.content(results["pytorch_lora_weights.safetensors"]).read()
    assert {tensor.dtype.name for tensor in load(adapter).values()} == {"float32"}
