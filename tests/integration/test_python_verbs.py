"""The notebook of the docs under Jupyter's kernel, and the examples of sweeping and serving from Python."""

from __future__ import annotations

import doctest
import json
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from nbclient import NotebookClient

import foveate_serve
import foveate_tune

LINES = 10


def test_the_quickstart_runs_under_jupyters_kernel(repository: Path, tmp_path: Path) -> None:
    book = nbformat.read(repository / "docs" / "quickstart.ipynb", as_version=4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert sum(len(cell.source.splitlines()) for cell in code) <= LINES
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [one["data"].get("text/html", "") for cell in code for one in cell.outputs if "data" in one]
    assert sum("<table" in html for html in shown) >= 3
    assert any("[simulated]" in html for html in shown)


@pytest.mark.parametrize("name", ["README.md", "docs/python.md"])
def test_a_page_shows_the_code_of_the_notebook(name: str, repository: Path) -> None:
    page = (repository / name).read_text(encoding="utf-8")
    book = json.loads((repository / "docs" / "quickstart.ipynb").read_text(encoding="utf-8"))
    code = [line.rstrip("\n") for cell in book["cells"] if cell["cell_type"] == "code" for line in cell["source"]]
    assert not [line for line in code if line not in page]


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize(("package", "name"), [(foveate_tune, "sweep"), (foveate_serve, "run")])
def test_the_example_of_a_verb_runs(package: ModuleType, name: str) -> None:
    assert dir(package) == [name]
    [example] = doctest.DocTestFinder(recurse=False).find(getattr(package, name), name, globs={})
    assert example.examples
    assert not doctest.DocTestRunner().run(example).failed
