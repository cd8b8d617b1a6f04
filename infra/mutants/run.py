"""Mutants: small mistakes made in the code on purpose. A test should notice each of them.

mutmut makes the mutants of the packages in :data:`MUTATED`, and finds out which tests without Ray reach which function.
``--count`` of them are drawn by ``--seed`` and tried, each by the tests that reach it. What survives is printed; those
in ``equivalent.txt`` change nothing that a test could notice, and do not count.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = (
    *("platform/foveate", "platform/foveate_cli", "platform/foveate_cluster"),
    *("serve/foveate_serve", "serve/foveate_capacity", "tune/foveate_tune"),
)
MUTATED: Final = (
    *("foveate/state", "foveate/slate", "foveate/ranking", "foveate/features", "foveate/core/metrics.py"),
    *("foveate_serve/http", "foveate_serve/stages"),
)
TESTS: Final = ("tests/unit", "tests/contract", "tests/property")
BESIDE: Final = ("tests", "infra", "docs", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile")
OF_THE_CHECKOUT: Final = (
    *("docs", "images", "infra_files", "layout", "manifests"),
    *("mutants", "setup", "verbosity", "words"),
)
"""Tests in ``tests/unit`` of where files lie: here they lie elsewhere, and no mutant is there."""
KILLED_GOAL: Final = 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=400, help="how many mutants to try")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--scratch", type=Path, help="keep the mutants and what reaches them here, for the next run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.scratch or Path(scratch)).resolve()
        if not (folder / "mutants" / "mutmut-stats.json").exists():
            _prepare(folder)
        drawn = _drawn(folder, options.count, options.seed)
        tests = _tests(folder)
        reached = [name for name in drawn if tests.get(name.partition("__mutmut_")[0])]
        _mutmut(folder, ["--max-children", str(options.processes), *reached])
        codes = _exit_codes(folder)
        survivors = [name for name in drawn if name not in reached or codes[name] == 0]
    equivalent = set(_equivalent())
    left = [name for name in survivors if name not in equivalent]
    counted = len(drawn) - len(survivors) + len(left)
    print("\n".join(f"survived  {name}" for name in left))
    print(f"{len(drawn)} of {len(codes):,} mutants, {len(survivors) - len(left)} of them equivalent")
    print(f"ratio mutants_killed {1 - len(left) / counted:.3f} goal >= {KILLED_GOAL}")


def _prepare(folder: Path) -> None:
    """Lay the code out as mutmut wants it, make the mutants, and find out which tests reach them."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / "src" / Path(package).name, ignore=_COMPILED)
    for name in BESIDE:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=_COMPILED)
        else:
            shutil.copy(source, folder / name)
    (folder / "pyproject.toml").write_text(_settings(), encoding="utf-8")
    # No mutant has this name: mutmut stops before it tries any.
    _mutmut(folder, ["none"], check=False)
    if not (folder / "mutants" / "mutmut-stats.json").exists():
        sys.exit("the tests do not pass where the mutants are made: run mutmut there to see why")


_COMPILED: Final = shutil.ignore_patterns("__pycache__")


def _settings() -> str:
    only = [f"src/{path}" if path.endswith(".py") else f"src/{path}/*" for path in MUTATED]
    ignored = [f"--ignore=tests/unit/test_{name}.py" for name in OF_THE_CHECKOUT]
    mutmut: dict[str, Any] = {
        "source_paths": ["src"],
        "only_mutate": only,
        "also_copy": [name for name in BESIDE if name != "tests"],
        # A property that fails is not made smaller: that takes longer than all else.
        "pytest_add_cli_args": ["--hypothesis-profile=no-shrink"],
        "pytest_add_cli_args_test_selection": [*TESTS, *ignored],
        # Torch and Polars have threads, which no fork takes along.
        "process_isolation": "forkserver",
        "track_dependencies": False,
        "use_git_change_detection": False,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in mutmut.items()]
    own = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    pytest = own[own.index("[tool.pytest.ini_options]") : own.index("[tool.ruff]")]
    return "\n".join([pytest, "[tool.mutmut]", *lines, ""])


def _mutmut(folder: Path, arguments: Sequence[str], *, check: bool = True) -> None:
    command = [str(Path(sys.executable).with_name("mutmut")), "run", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if check and done.returncode:
        sys.exit(f"mutmut failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def _exit_codes(folder: Path) -> dict[str, int | None]:
    """Return what the tests of every mutant ended with: 0 where it survived, None where it was not tried."""
    found: dict[str, int | None] = {}
    for path in sorted((folder / "mutants" / "src").rglob("*.meta")):
        found |= json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
    return found


def _drawn(folder: Path, count: int, seed: int) -> list[str]:
    names = sorted(_exit_codes(folder))
    return random.Random(seed).sample(names, min(count, len(names)))


def _tests(folder: Path) -> dict[str, list[str]]:
    """Return the tests that reach each function, by mutmut's name of it."""
    stats = json.loads((folder / "mutants" / "mutmut-stats.json").read_text(encoding="utf-8"))
    found: dict[str, list[str]] = stats["tests_by_mangled_function_name"]
    return found


def _equivalent() -> Iterator[str]:
    """Yield the mutants that change nothing; each line says after its name why."""
    for line in (ROOT / "infra" / "mutants" / "equivalent.txt").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.split()[0]


if __name__ == "__main__":
    main()
