"""What ``make`` installs with which tool, and what a missing extra says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from foveate.core.errors import ConfigError
from foveate.core.extras import needs
from foveate.state.connect import open_viewers


def planned(repository: Path, target: str, *settings: str, tools: Path | None = None) -> str:
    """What ``make`` would run for a fresh clone."""
    folders = [str(tools)] if tools else []
    path = os.pathsep.join([*folders, str(Path(sys.executable).parent), "/usr/bin", "/bin"])
    command = ["make", "--dry-run", target, "VENV=no-such-venv", *settings]
    done = subprocess.run(command, cwd=repository, env={"PATH": path}, capture_output=True, text=True, check=True)
    return done.stdout


def test_the_demo_installs_no_test_tools_and_the_tests_do(repository: Path) -> None:
    assert "-c infra/constraints.txt -e ." in planned(repository, "demo")
    assert "[dev]" not in planned(repository, "demo")
    for target in ("test", "check"):
        assert "-c infra/constraints.txt -e '.[dev]'" in planned(repository, target)


def test_uv_installs_where_it_is_there(repository: Path, tmp_path: Path) -> None:
    assert "uv" not in planned(repository, "demo").split()
    (tmp_path / "uv").write_text("#!/bin/sh\n")
    (tmp_path / "uv").chmod(0o755)
    steps = planned(repository, "demo", tools=tmp_path)
    assert f"{tmp_path}/uv pip install" in steps
    assert "-c infra/constraints.txt" in steps
    assert "/bin/pip install" not in steps


def test_any_python_from_3_11_on_will_do(repository: Path, tmp_path: Path) -> None:
    # Neither an old one nor one that does not start is taken.
    for name, body in (("python3.11", "exit 127"), ("python3.12", "exit 1"), ("python3.13", "exit 0")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    assert "python3.13 -m venv no-such-venv" in planned(repository, "demo", tools=tmp_path)


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("redis", "foveate.state.redis"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigError, match=r"'redis'.*pip install 'foveate\[redis\]'"):
        open_viewers("redis://127.0.0.1:1/0")


def test_another_missing_module_is_a_bug() -> None:
    with pytest.raises(ModuleNotFoundError), needs("redis", extra="redis"):
        raise ModuleNotFoundError("no module", name="foveate.gone")


@pytest.mark.parametrize("version", ["3.12", "3.13", "3.14"])
def test_the_source_compiles_on_later_pythons(repository: Path, version: str, tmp_path: Path) -> None:
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode:
        pytest.skip(f"no Python {version} here")
    code = (
        "import pathlib, sys\n"
        "for root in sys.argv[1:]:\n"
        "    for file in pathlib.Path(root).rglob('*.py'):\n"
        "        compile(file.read_text('utf-8'), str(file), 'exec')\n"
    )
    roots = [str(repository / root) for root in ("platform", "serve", "tune")]
    subprocess.run([python, "-W", "error", "-c", code, *roots], cwd=tmp_path, check=True)
