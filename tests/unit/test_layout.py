"""The house stays as it was drawn: source roots, floors and file sizes."""

from __future__ import annotations

import ast
import platform
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml

SOURCE_ROOTS = ("platform", "serve", "tune")
PACKAGES = {
    "platform": {"foveate", "foveate_cli", "foveate_cluster"},
    "serve": {"foveate_serve", "foveate_capacity"},
    "tune": {"foveate_tune"},
}
LONGEST_FILE = 500


def sources(repository: Path) -> list[Path]:
    return [file for root in SOURCE_ROOTS for file in sorted((repository / root).rglob("*.py"))]


def test_the_standard_platform_module_is_not_shadowed(repository: Path) -> None:
    assert platform.system()
    command = [sys.executable, "-c", "import platform; print(platform.system())"]
    answer = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == platform.system()


@pytest.mark.parametrize("root", SOURCE_ROOTS)
def test_a_source_root_holds_its_packages_and_no_init(repository: Path, root: str) -> None:
    assert not (repository / root / "__init__.py").exists()
    found = {path.name for path in (repository / root).iterdir() if (path / "__init__.py").exists()}
    assert found == PACKAGES[root]
    assert all((repository / root / package / "py.typed").exists() for package in found)


def test_tests_are_not_packages(repository: Path) -> None:
    assert not list((repository / "tests").rglob("__init__.py"))
    assert not [path for path in (repository / "tests").rglob("platform") if path.is_dir()]


def test_files_stay_small(repository: Path) -> None:
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in sources(repository)}
    long = {str(file.relative_to(repository)): n for file, n in lengths.items() if n > LONGEST_FILE}
    assert not long


def test_files_do_not_import_each_other_in_circles(repository: Path) -> None:
    files = {_module(file.relative_to(repository)): file for file in sources(repository)}
    above = {name: set[str]() for name in files}
    for name, file in files.items():
        for imported in _imports(ast.parse(file.read_text(encoding="utf-8"))):
            found = imported if imported in files else imported.rpartition(".")[0]
            if found in files and found != name:
                above[name].add(found)
    # A graph without circles can be put in order; what is left over stands in one.
    order = TopologicalSorter(above)
    order.prepare()


def _module(file: Path) -> str:
    _, *parts = file.with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def _imports(tree: ast.AST) -> Iterator[str]:
    """Yield what a file imports, wherever it does so, but for what only type checkers read."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from _imports(node)


def test_every_folder_says_what_it_is_for(repository: Path) -> None:
    silent = [
        str(file.relative_to(repository))
        for file in sources(repository)
        if file.name == "__init__.py" and not file.read_text(encoding="utf-8").lstrip().startswith('"""')
    ]
    assert not silent


def test_tune_and_track_only_where_they_belong(repository: Path) -> None:
    users = [
        str(file.relative_to(repository))
        for file in sources(repository)
        if any(line.strip().startswith(("import wandb", "from wandb")) for line in file.read_text().splitlines())
    ]
    assert users == ["tune/foveate_tune/tracking/wandb.py"]


def test_every_yaml_under_infra_can_be_read(repository: Path) -> None:
    for file in sorted((repository / "infra").rglob("*.yaml")):
        assert all(one is not None for one in yaml.safe_load_all(file.read_text(encoding="utf-8"))), file


def test_a_replica_imports_nothing_that_training_alone_needs() -> None:
    names = {"torch._dynamo", "implicit", "wandb", "ray.tune", "ray.train"}
    code = f"import sys, foveate_serve.ingress; print({names} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"
