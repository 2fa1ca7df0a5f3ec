"""The rules of the house that a reader relies on: who may import whom, and who never loads torch or Pillow."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOUSES = ("core", "api", "worker")
TORCH_LAND = {"torch", "diffusers", "transformers", "peft", "accelerate"}
# Each line may import the lines below it, never those above; within a line nobody imports anybody.
CORE = """
core.erasure core.recording
core.jobs core.uploads core.estimates
core.findings core.method
core.webhooks core.parameters
core.accounts core.references
core.database core.storage core.runtime core.adapters core.backbones
core.tensors
core.settings core.keys core.errors core.version core.text_safety core.disk
"""
METHOD = """
core.method.albat
core.method.influence
core.method.mixing
core.method.protection.keeping
core.method.training
core.method.protection
core.method.stopping core.method.formats
core.method.backbones
core.method.memory
core.method.lora core.method.likeness
core.method.faults core.method.transfers
"""
API = """
api.__main__ api.cli
api.app
api.routes
api.file_versions api.item_places api.item_forms
api.serializers api.lookups
api.dependencies
api.waker api.http
api.schemas
"""
WORKER = """
worker.app
worker.presence worker.dispatcher
worker.tasks worker.commands worker.webhook_sender
worker.supervision worker.comparison
worker.trainer
worker.stages
worker.job_folder
worker.protocol worker.device worker.occupation worker.fitness
"""
# the only imports among the last line
FOUNDATION = {
    "core.settings": {"core.text_safety", "core.disk", "core.errors", "core.keys"},
    "core.keys": {"core.disk", "core.errors"},
}
PILLOW = (
    "core.references.files.images",
    "core.references.files.parsing",
    "core.references.packing",
    "core.uploads.reading",
    "core.uploads.editing",
    "core.uploads.revision",
    "core.uploads.decoder",
)
PACKAGES_WITH_CODE = {"core/database/tables", "core/parameters/presets", "worker/stages"}
MOST_FILES, MOST_LINES = 13, 320


def modules(house: str) -> list[Path]:
    found = sorted((ROOT / house).rglob("*.py"))
    assert found, f"no modules in {house}"
    return found


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if exists(name) else node.module for name in inner}
    return found


def exists(name: str) -> bool:
    place = ROOT / name.replace(".", "/")
    return place.is_dir() or place.with_suffix(".py").is_file()


def within(name: str, places: set[str] | tuple[str, ...]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def offences(paths: list[Path], forbidden: set[str] | tuple[str, ...]) -> list[str]:
    return [
        f"{name_of(path)} imports {name}" for path in paths for name in sorted(imports(path)) if within(name, forbidden)
    ]


def against(table: str, inside: str) -> Iterator[str]:
    """Yield every import between two rooms of the table that does not go down it."""
    lines = [line.split() for line in table.split("\n") if line]
    level = {room: depth for depth, line in enumerate(lines) for room in line}
    for path in modules(inside):
        here = room_of(name_of(path), level)
        if here is None:
            if path.name != "__init__.py":
                yield f"{name_of(path)} is in no line of the table"
            continue
        for name in sorted(imports(path)):
            there = room_of(name, level)
            if there is None or there == here or there in FOUNDATION.get(here, ()):
                continue
            if level[there] <= level[here]:
                yield f"{name_of(path)} imports {name}"


def room_of(name: str, rooms: dict[str, int]) -> str | None:
    return next((room for room in rooms if within(name, (room,))), None)


@pytest.mark.parametrize(
    ("table", "inside"), [(CORE, "core"), (METHOD, "core/method"), (API, "api"), (WORKER, "worker")]
)
def test_rooms_import_only_the_lines_below_their_own(table: str, inside: str) -> None:
    assert list(against(table, inside)) == []


@pytest.mark.slow
def test_core_knows_neither_door_and_the_doors_do_not_know_each_other() -> None:
    assert offences(modules("core"), ("api", "worker", "demo", "tests", "benchmarks")) == []
    assert offences(modules("api"), ("worker", "demo", "tests", "benchmarks")) == []
    assert offences(modules("worker"), ("api", "demo", "tests", "benchmarks")) == []


@pytest.mark.slow
@pytest.mark.parametrize("house", [*HOUSES, "benchmarks", "demo", "tests"])
def test_what_is_imported_of_ours_is_there(house: str) -> None:
    ours = (*HOUSES, "benchmarks", "demo", "tests")
    gone = [
        f"{name_of(path)} imports {name}"
        for path in modules(house)
        for name in sorted(imports(path))
        if within(name, ours) and not exists(name)
    ]
    assert gone == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {
        name_of(path): {name for name in imports(path) if name != name_of(path)}
        for house in HOUSES
        for path in modules(house)
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_method_imports_parameters_errors_and_tensors_and_nothing_else_of_ours() -> None:
    allowed = ("core.parameters", "core.errors", "core.tensors", "core.method")
    own = [
        f"{name_of(path)} imports {name}"
        for path in modules("core/method")
        for name in imports(path)
        if within(name, HOUSES) and not within(name, allowed)
    ]
    assert own == []
    assert offences(modules("core/method"), ("sqlalchemy", "celery", "redis", "fastapi", "boto3")) == []


def test_the_rest_of_core_never_imports_the_method_or_torch() -> None:
    rest = [path for path in modules("core") if not within(name_of(path), ("core.method",))]
    assert offences(rest, {"core.method"} | TORCH_LAND) == []


def test_the_api_names_neither_torch_nor_what_opens_pictures() -> None:
    assert offences(modules("api"), TORCH_LAND | {"core.method", "PIL", *PILLOW}) == []


def test_routes_do_not_import_each_other() -> None:
    assert [
        f"{name_of(path)} imports {name}"
        for path in modules("api/routes")
        for name in imports(path)
        if within(name, ("api.routes",))
    ] == []


def test_core_holds_packages_and_five_modules() -> None:
    loose = {path.name for path in (ROOT / "core").glob("*.py")}
    assert loose == {"__init__.py", "settings.py", "errors.py", "version.py", "text_safety.py", "disk.py"}


def test_no_package_is_crowded_and_no_file_is_long() -> None:
    packages = {path.parent for house in HOUSES for path in modules(house)} - {ROOT / "api/routes"}
    crowded = [str(package) for package in packages if len(list(package.glob("[!_]*.py"))) > MOST_FILES]
    assert crowded == []
    assert [
        name_of(path) for house in HOUSES for path in modules(house) if len(path.read_text().splitlines()) > MOST_LINES
    ] == []


def test_a_package_holds_no_code_of_its_own_but_for_three() -> None:
    packages = {path for house in HOUSES for path in modules(house) if path.name == "__init__.py"}
    speaking = {str(path.parent.relative_to(ROOT)) for path in packages if code(path)}
    assert speaking == PACKAGES_WITH_CODE


def code(path: Path) -> list[ast.stmt]:
    """Return the statements of a module after its docstring."""
    body = ast.parse(path.read_text()).body
    return body[1:] if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant) else body


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("api.app", TORCH_LAND | {"PIL", "numpy"}),
        ("api.cli.__main__", TORCH_LAND),
        ("worker.dispatcher", TORCH_LAND | {"PIL"}),
        ("worker.supervision.supervisor", TORCH_LAND | {"PIL"}),
        ("worker.tasks", TORCH_LAND | {"PIL"}),
        ("worker.app", TORCH_LAND | {"PIL"}),
        ("worker.commands.train", TORCH_LAND),
        ("worker.commands.calibrate", TORCH_LAND),
        ("worker.commands.ablate", TORCH_LAND),
        ("worker.commands.compare", TORCH_LAND),
        ("worker.commands.pools", TORCH_LAND),
    ],
)
def test_importing_this_process_does_not_load(module: str, unwanted: set[str], tmp_path: Path) -> None:
    program = f"import sys, {module}; print(sorted(set(sys.modules) & {unwanted!r}))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        env={"PATH": "/usr/bin:/bin", "ALBATROSS_DATA": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
