"""The images: what they install before there is any code is what the code needs, and all that they copy is there."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from core.disk import ROOT

DOCKERFILE = (ROOT / "Dockerfile.gpu").read_text()
CODE = ("api", "core", "worker", "migrations")
DRAWS = {"matplotlib"}  # of the extra "demo", for the picture that `albatross ablate` draws
# in an environment that holds more than the image: what the image has not is not there
IMPORTING = """
import importlib, json, sys
absent, names = json.loads(sys.argv[1])
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
for name in names:
    importlib.import_module(name)
"""


def stage(name: str) -> str:
    """The lines of one image."""
    return next(part for part in DOCKERFILE.split("\nFROM ")[1:] if part.startswith(f"base AS {name}\n"))


def installed_first(*extras: str) -> list[str]:
    """The requirements that the layer before the code installs."""
    command = [sys.executable, "deploy/requirements.py", "pyproject.toml", *extras]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()


def closure(wanted: list[str]) -> set[str]:
    """The distributions that these requirements bring, by what is installed here."""
    found: set[tuple[str, str]] = set()
    left = [Requirement(line) for line in wanted]
    while left:
        each = left.pop()
        for extra in {"", *each.extras}:
            key = (canonicalize_name(each.name), extra)
            if key in found:
                continue
            found.add(key)
            try:
                needs = requires(each.name) or []
            except PackageNotFoundError:
                continue
            parsed = [Requirement(line) for line in needs]
            left += [one for one in parsed if one.marker is None or one.marker.evaluate({"extra": extra})]
    return {name for name, _ in found}


def foreign_imports(file: Path) -> Iterator[str]:
    """The top-level modules that a file imports anywhere, but for the standard library's and ours."""
    for node in ast.walk(ast.parse(file.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in names:
            top = name.partition(".")[0]
            if top not in sys.stdlib_module_names and not (ROOT / top).exists():
                yield top


def test_the_layer_before_the_code_installs_all_that_pyproject_names() -> None:
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())
    least = {*told["build-system"]["requires"], *told["project"]["dependencies"]}
    assert set(installed_first()) == least
    assert set(installed_first("worker")) == least | set(told["project"]["optional-dependencies"]["worker"])


@pytest.mark.slow
def test_the_worker_image_has_all_that_the_code_imports() -> None:
    names = {name for room in CODE for file in (ROOT / room).rglob("*.py") for name in foreign_imports(file)}
    has, brought = closure(installed_first("worker")), packages_distributions()
    missing = {name for name in names if not {canonicalize_name(each) for each in brought.get(name, [])} & has}
    assert missing == DRAWS
    assert {"torch", "fastapi"} <= names


@pytest.mark.slow
def test_the_processes_of_the_api_image_start_with_what_it_has() -> None:
    has = closure(installed_first())
    absent = [
        name
        for name, owners in packages_distributions().items()
        if not {canonicalize_name(each) for each in owners} & has and not (ROOT / name).exists()
    ]
    assert "torch" in absent
    modules = [
        "api.__main__",
        "api.app",
        "api.cli.__main__",
        "worker.dispatcher",
        "core.runtime.pulse",
        "alembic.command",
    ]
    command = [sys.executable, "-c", IMPORTING, json.dumps([absent, modules])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_change_of_the_code_installs_no_dependency_again() -> None:
    for name in ("api", "worker"):
        before, _, after = stage(name).partition("COPY api api")
        assert "-r /needs/requirements.txt" in before
        assert re.findall(r"pip install (?!--no-deps --no-build-isolation -e \.)", after) == []
    assert stage("worker").index("torch.txt") < stage("worker").index("COPY pyproject.toml")
    (pattern,) = re.findall(r"grep '(.+)' /needs/constraints.txt", stage("worker"))
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line.startswith("torch>") for line in constraints if re.search(pattern, line)] == [True]


def test_images_run_as_nobody_important_and_no_base_is_whatever_is_newest() -> None:
    bases = [name for name in re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE) if name != "base"]
    assert [base for base in bases if not re.search(r":\d+\.\d+\.\d+", base)] == []
    for name in ("api", "worker"):
        assert re.findall(r"^USER (\d+)$", stage(name), flags=re.MULTILINE) == ["10001"]


def test_what_the_dockerfile_copies_is_all_that_is_sent_to_its_builder() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = {path for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, flags=re.MULTILINE) for path in line.split()}
    assert "*" in lines
    assert sent == copied
