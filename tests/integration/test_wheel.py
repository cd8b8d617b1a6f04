"""The wheel alone, as ``pip install foveate`` leaves it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest


@pytest.mark.cluster
@pytest.mark.soak
def test_the_wheel_alone_runs_the_demo_in_an_empty_folder(repository: Path, tmp_path: Path) -> None:
    wheels, home, work = tmp_path / "wheels", tmp_path / "venv", tmp_path / "work"
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels), str(repository)]
    subprocess.run(build, check=True, capture_output=True)
    venv.create(home, with_pip=False, symlinks=True)
    [packages] = (home / "lib").glob("python*/site-packages")
    # The dependencies are those of this test; files named .pth in there, which lead to the checkout, do not count.
    there = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "dependencies.pth").write_text("\n".join(there) + "\n", encoding="utf-8")
    [wheel] = wheels.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install", "--no-deps", "--quiet"]
    subprocess.run([*pip, "--force-reinstall", "--no-index", str(wheel)], check=True)
    work.mkdir()
    inside = {**os.environ, "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    where = [home / "bin" / "python", "-c", "import foveate; print(foveate.__file__)"]
    found = subprocess.run(where, cwd=work, env=inside, capture_output=True, text=True, check=True).stdout
    assert found.startswith(str(packages))
    world = ("--viewers", "300", "--items", "200", "--days", "14", "--port", "0", "--json", "demo.json")
    command = [home / "bin" / "foveate", "demo", "--once", *world, "trials=2", "epochs=3"]
    done = subprocess.run(command, cwd=work, env=inside, capture_output=True, text=True, timeout=360, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((work / "demo.json").read_text(encoding="utf-8"))["requests"]
