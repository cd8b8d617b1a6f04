"""The examples of ``docs/extending.md``: each is put into its folder, and the contracts of its kind run on it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from foveate.attention.base import MixerConfig
from foveate.data.readers.base import Reader
from foveate.features.core import Feature
from foveate.retrieval.base import SourceConfig
from foveate.slate.rules.base import Rule

FILE = re.compile(r"^```python\n# (\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FIXTURES = "tests/contract/test_readers.py"
CONTRACTS = ("mixers", "sources", "rules", "readers")
NAMES = {"fading": MixerConfig, "newest": SourceConfig, "unsafe": Rule, "viewer_likes": Feature, "clips": Reader}

PLUGIN = '''
import importlib, sys
from pathlib import Path

FOLDER = Path(__file__).parent

def pytest_configure(config):
    """Have Python find the files in the packages that they were written for."""
    for file in FOLDER.rglob("platform/**/*.py"):
        name = ".".join(file.parent.relative_to(FOLDER / "platform").parts)
        importlib.import_module(name).__path__.append(str(file.parent))

def pytest_runtest_setup(item):
    """Give the contract of readers the ten rows of the new one."""
    module = item.module
    if hasattr(module, "FIXTURES"):
        exec(compile((FOLDER / "fixtures.py").read_text(), "extending.md", "exec"), vars(module))
        module.FIXTURES["clips"] = module.clips
'''


@pytest.mark.slow
def test_the_examples_pass_the_contracts_of_their_kinds(repository: Path, tmp_path: Path) -> None:
    page = (repository / "docs" / "extending.md").read_text(encoding="utf-8")
    files = dict(FILE.findall(page))
    (tmp_path / "fixtures.py").write_text(files.pop(FIXTURES))
    for name, code in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(code)
    assert {Path(name).stem for name in files} == set(NAMES)
    assert not [name for name, kind in NAMES.items() if name in kind.variants], "an example is a variant already"
    (tmp_path / "with_examples.py").write_text(PLUGIN)
    asked = [f"tests/contract/test_{kind}.py" for kind in CONTRACTS] + ["tests/property/test_features_as_of.py"]
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    options = ["-v", "-p", "with_examples", "-p", "no:cacheprovider", "-k", " or ".join(NAMES)]
    done = subprocess.run(
        [sys.executable, "-c", code, *asked, *options], cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts = {name: len(re.findall(rf"\b{name}\b.* PASSED", done.stdout)) for name in NAMES}
    assert min(counts.values()) >= 2, counts


@pytest.mark.parametrize("name", ["ruff", "format"])
def test_the_examples_are_written_as_the_code_is(name: str, repository: Path, tmp_path: Path) -> None:
    page = (repository / "docs" / "extending.md").read_text(encoding="utf-8")
    files = {file: code for file, code in FILE.findall(page) if file != FIXTURES}
    words = ["check", "--ignore", "D102"] if name == "ruff" else ["format", "--check"]
    for file, code in files.items():
        command = [sys.executable, "-m", "ruff", *words, "--stdin-filename", str(repository / file), "-"]
        done = subprocess.run(command, input=code, cwd=repository, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (file, done.stdout, done.stderr)
