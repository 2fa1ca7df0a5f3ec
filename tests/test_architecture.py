"""The rules of the house that a reader relies on: who may import whom, and who never loads torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TORCH_LAND = {"torch", "diffusers", "transformers", "peft", "accelerate"}
FORBIDDEN = {
    "api": {"worker", "demo", "tests"},
    "worker": {"api", "demo", "tests"},
    "core": {"api", "worker", "demo", "tests"},
}


def imports(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def modules(room: str) -> list[Path]:
    found = sorted((ROOT / room).rglob("*.py"))
    assert found, f"no modules in {room}"
    return found


def offences(paths: list[Path], forbidden: set[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in paths
        for name in sorted(imports(path))
        if any(name == bad or name.startswith(f"{bad}.") for bad in forbidden)
    ]


@pytest.mark.parametrize("room", sorted(FORBIDDEN))
def test_a_room_imports_only_the_rooms_below_it(room: str) -> None:
    assert offences(modules(room), FORBIDDEN[room]) == []


def test_the_method_knows_no_database_queue_storage_or_web() -> None:
    allowed = {"core.parameters.resolving", "core.errors", "core.parameters.schedule", "core.method"}
    own = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules("core/method")
        for name in imports(path)
        if name.startswith("core.") and not any(name == ok or name.startswith(f"{ok}.") for ok in allowed)
    ]
    assert own == []
    assert (
        offences(modules("core/method"), {"sqlalchemy", "celery", "redis", "fastapi", "boto3", "pydantic_settings"})
        == []
    )


def test_the_rest_of_core_never_imports_the_method_or_torch() -> None:
    rest = [path for path in modules("core") if "method" not in path.relative_to(ROOT / "core").parts]
    assert offences(rest, {"core.method"} | TORCH_LAND) == []


def test_the_api_never_names_torch() -> None:
    assert offences(modules("api"), TORCH_LAND | {"core.method"}) == []


@pytest.mark.parametrize(
    "module", ["api.app", "api.cli", "worker.dispatcher", "worker.supervision.supervisor", "worker.tasks", "worker.app"]
)
def test_importing_this_process_loads_no_torch(module: str, tmp_path: Path) -> None:
    program = f"import sys, {module}; print(sorted(set(sys.modules) & {TORCH_LAND!r}))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "ALBATROSS_DATA": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
