"""What README and docs name exists: files, functions, links, make targets; the rules of import are the tested ones."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.test_architecture import API, CORE, METHOD, ROOT, WORKER

PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]
ALSO = ["CHANGELOG.md", "NOTICE", "Makefile", "docker-compose.yml", "Dockerfile.gpu", "demo/emoji_ldm/README.md"]
PLACES = "core|api|worker|tests|demo|benchmarks|docs|deploy|migrations"
# a folder, or a file with an extension; not a part of a longer path or of an address
PATH = re.compile(rf"(?<![\w./-])(?:{PLACES})/[\w./-]*")
NAMED = re.compile(r"`((?:core|api|worker)/[\w/]+\.py)`((?:(?:,| and| or)? `[A-Za-z_]\w*`)+)")
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()


def text(page: str) -> str:
    return (ROOT / page).read_text()


@pytest.mark.parametrize("page", PAGES + ALSO)
def test_every_path_that_is_named_exists(page: str) -> None:
    named = {path.rstrip(".") for path in PATH.findall(text(page))}
    assert sorted(path for path in named if not (ROOT / path).exists()) == []


@pytest.mark.parametrize("page", PAGES + ALSO)
def test_no_two_versions_stand_side_by_side_as_a_merge_left_them(page: str) -> None:
    assert re.findall(r"^(?:<{7} |={7}$|>{7} ).*", text(page), flags=re.MULTILINE) == []


@pytest.mark.parametrize("page", [*PAGES, "demo/emoji_ldm/README.md"])
def test_every_relative_link_leads_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", text(page)) + re.findall(r'<img src="([^"]+)"', text(page))
    here = [link for link in links if not re.match(r"https?://|mailto:", link)]
    assert [link for link in here if not leads(page, link)] == []


def leads(page: str, link: str) -> bool:
    path, _, place = link.partition("#")
    target = (ROOT / page).parent / path if path else ROOT / page
    return target.exists() and (not place or place in places(target))


def places(page: Path) -> set[str]:
    """What a heading is called in an address: lower case, hyphens for spaces, and nothing else but letters."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_function_that_is_named_with_its_file_is_defined_there(page: str) -> None:
    named = [(path, name) for path, names in NAMED.findall(text(page)) for name in re.findall(r"`(\w+)`", names)]
    assert [(path, name) for path, name in named if name not in defined(path)] == []


def test_the_walks_name_functions_and_not_only_files() -> None:
    assert len(NAMED.findall(ARCHITECTURE)) > 60


@pytest.mark.parametrize("house", ["api", "core", "worker"])
def test_every_module_that_a_comment_names_exists(house: str) -> None:
    known = {path.name for place in PLACES.split("|") for path in (ROOT / place).rglob("*.py")}
    code = {path: path.read_text() for path in (ROOT / house).rglob("*.py")}
    found = [(str(path), name) for path, words in code.items() for name in re.findall(r"\b[a-z_]\w*\.py\b", words)]
    assert [(path, name) for path, name in found if name not in known] == []


@cache
def defined(path: str) -> frozenset[str]:
    """The names of all functions and classes of a file."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return frozenset(node.name for node in ast.walk(ast.parse(text(path))) if isinstance(node, kinds))


@pytest.mark.parametrize("table", [CORE, METHOD, API, WORKER], ids=["core", "method", "api", "worker"])
def test_the_rules_of_import_are_those_that_are_tested(table: str) -> None:
    assert f"```{table}```" in ARCHITECTURE


def test_every_package_is_told_of() -> None:
    packages = {path.parent for path in (ROOT / "core").glob("*/__init__.py")}
    packages |= {path.parent for house in ("api", "worker") for path in (ROOT / house).glob("*/__init__.py")}
    assert {
        str(path.relative_to(ROOT)) for path in packages if f"`{path.relative_to(ROOT)}/`" not in ARCHITECTURE
    } == set()


@pytest.mark.parametrize("page", PAGES + ALSO)
def test_every_module_that_is_run_exists(page: str) -> None:
    run = re.findall(rf"-m[ ,\"]+((?:{PLACES})(?:\.\w+)*)|-A[ ,\"]+((?:{PLACES})(?:\.\w+)*)", text(page))
    paths = {ROOT / (module or app).replace(".", "/") for module, app in run}
    assert [path for path in paths if not (path.with_suffix(".py").is_file() or path.is_dir())] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_that_is_named_exists(page: str) -> None:
    named = set(re.findall(r"(?:`|\$ )make ([a-z][a-z-]*)", text(page)))
    assert named - set(re.findall(r"^([a-z][a-z-]*):", text("Makefile"), flags=re.MULTILINE)) == set()


def test_the_first_screen_of_the_readme_has_the_picture_and_the_two_commands() -> None:
    screen = "\n".join(text("README.md").splitlines()[:40])
    assert "docs/demo.png" in screen
    assert "$ make demo " in screen
    assert "$ make test " in screen
    assert len(text("README.md").splitlines()) <= 250
