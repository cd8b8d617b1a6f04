"""What the mutants of ``make soak`` are made with; the mutants themselves take too long for every change."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def mutants() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutants", ROOT / "infra" / "mutants" / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_equivalent_mutant_has_its_reason() -> None:
    lines = (ROOT / "infra" / "mutants" / "equivalent.txt").read_text(encoding="utf-8").splitlines()
    named = [line for line in lines if line.strip() and not line.startswith("#")]
    assert all("__mutmut_" in line.split()[0] and len(line.split()) > 2 for line in named)


def test_its_settings_are_read_and_name_what_there_is(mutants: ModuleType) -> None:
    settings = tomllib.loads(mutants._settings())
    assert settings["tool"]["pytest"]["ini_options"]["pythonpath"] == ["tests", "infra/bench"]
    roots = ("platform", "serve", "tune")
    for pattern in settings["tool"]["mutmut"]["only_mutate"]:
        path = pattern.removeprefix("src/").removesuffix("/*")
        assert any((ROOT / root / path).exists() for root in roots), path
    for option in settings["tool"]["mutmut"]["pytest_add_cli_args_test_selection"]:
        assert (ROOT / option.removeprefix("--ignore=")).exists(), option
    assert all((ROOT / package).is_dir() for package in mutants.PACKAGES)
