"""Nothing under ``infra/`` is only looked at: each file has a test or a check that reads it as its user will."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
# What reads which files: a list that has to grow with the folder.
READERS = {
    "README.md": "unit/test_manifest_promises.py",
    "constraints.txt": "unit/test_images.py",
    "docs/*": "unit/test_docs.py",
    "docs/theme/*": "unit/test_docs.py",
    "runbooks/*.md": "clusters/book.py",
    "recipes/*.yaml": "unit/test_recipes.py",
    "docker/Dockerfile*": "unit/test_images.py",
    "docker/hadolint.yaml": "unit/test_images.py",
    "launcher/*.yaml": "unit/test_launcher.py",
    "launcher/ray.sh": "unit/test_launcher.py",
    "kuberay/base/*": "unit/conftest.py",
    "kuberay/base/config/*.yaml": "unit/test_manifests.py",
    "kuberay/components/*/*.yaml": "unit/conftest.py",
    "kuberay/overlays/*/*.yaml": "unit/conftest.py",
    "kuberay/render.py": "unit/test_manifests.py",
    "monitoring/prometheus.*.yaml": "unit/test_monitoring.py",
    "monitoring/rules/foveate.yaml": "unit/test_monitoring.py",
    "monitoring/rules/*.test.yaml": "unit/test_monitoring.py",
    "monitoring/dashboards.py": "unit/test_monitoring.py",
    "monitoring/grafana/*.json": "unit/test_monitoring.py",
    "mutants/*": "unit/test_mutants.py",
}
BENCHMARKS = ("bench/*", "bench/lab/*", "*.md")
"""Their Python is read by mypy and ruff in ``make check``; figures and pages, one of them reads or writes."""


def files() -> list[PurePosixPath]:
    folder = ROOT / "infra"
    found = [file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    return [PurePosixPath(file.relative_to(folder).as_posix()) for file in found]


def test_every_file_is_read_by_something() -> None:
    patterns = [*READERS, *BENCHMARKS]
    assert not [str(file) for file in files() if not any(matches(file, pattern) for pattern in patterns)]


def test_figures_and_pages_are_named_by_a_benchmark() -> None:
    folder = ROOT / "infra" / "bench"
    sources = "".join(file.read_text(encoding="utf-8") for file in folder.rglob("*.py"))
    found = [file for file in files() if any(matches(file, pattern) for pattern in BENCHMARKS)]
    own = [file for file in found if file.suffix != ".py" and str(file) not in READERS]
    assert own
    assert not [str(file) for file in own if file.stem not in sources]
    for file in own:
        if file.suffix == ".json":
            json.loads((ROOT / "infra" / file).read_text(encoding="utf-8"))


@pytest.mark.parametrize("pattern", [*READERS, *BENCHMARKS])
def test_there_is_something_to_read(pattern: str) -> None:
    assert any(matches(file, pattern) for file in files())


@pytest.mark.parametrize("reader", sorted({*READERS.values()}))
def test_the_reader_is_there(reader: str) -> None:
    assert (TESTS / reader).is_file()


def test_what_kustomize_is_to_read_is_named_by_a_kustomization() -> None:
    folder = ROOT / "infra" / "kuberay"
    for place in (folder / "base", *(folder / "overlays").iterdir()):
        named = (place / "kustomization.yaml").read_text(encoding="utf-8")
        there = [file for file in place.rglob("*") if file.is_file() and file.name != "kustomization.yaml"]
        assert not [file.name for file in there if str(file.relative_to(place)) not in named]


def test_python_under_infra_is_checked_like_the_rest() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    roots = {f"infra/{file.parts[0]}" for file in files() if file.suffix == ".py"}
    assert roots <= set(settings["mypy"]["files"]) & set(settings["ruff"]["src"])


def matches(file: PurePosixPath, pattern: str) -> bool:
    """Whether a path is one of a pattern, whose star stays within its folder."""
    return len(file.parts) == pattern.count("/") + 1 and file.match(pattern)
