"""Old names of modules: each imports, warns, and is the module that has the present name."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from foveate._moved import MOVED


@pytest.mark.parametrize("old", sorted(MOVED))
def test_an_old_name_warns_and_is_the_present_module(old: str) -> None:
    present = importlib.import_module(MOVED[old])
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=MOVED[old]):
        assert importlib.import_module(old) is present


def test_names_of_a_package_that_was_a_module() -> None:
    with pytest.warns(DeprecationWarning, match=r"foveate\.state\.sqlite\.store"):
        from foveate.state.sqlite import SqliteState
    assert SqliteState.__module__ == "foveate.state.sqlite.store"


def test_a_former_module_hides_no_function_of_its_name() -> None:
    code = (
        "import warnings; warnings.simplefilter('ignore'); import foveate.explain.why_not;"
        "from foveate.recommend.explain import why_not; assert callable(why_not), why_not"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
