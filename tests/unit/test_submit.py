"""What travels to a cluster with a sweep: its words and Foveate's code."""

from __future__ import annotations

import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Any

import pytest

from foveate.core.config import from_dict
from foveate.core.errors import ConfigError
from foveate_cli.common import read_config
from foveate_cluster import wheel
from foveate_cluster.jobs import Jobs
from foveate_cluster.wheel import COMMIT_FILE, commit
from foveate_tune.config import SweepConfig
from foveate_tune.submit import tune_words


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"trials": 9, "resources": {"slot": 0.25}, "max_seconds": 1e-5},
        {"scheduler": "none", "search": {"mixers": ["gated"], "settings": {"encoder": {"width": [32, 64]}}}},
        {"recipe": {"candidates": 77, "sources": ["popularity"]}, "tracking": {"group": "it's: a 'group' # of mine"}},
    ],
)
def test_the_cluster_is_told_what_was_asked_for_here(settings: dict[str, Any]) -> None:
    asked = from_dict(SweepConfig, settings)
    verb, *words = tune_words(asked, Path("/data"), "/sweep")
    assert verb == "tune"
    assert words[:6] == ["--data", "/data", "--out", "/sweep", "--address", "auto"]
    assert len(words[6:]) == len(settings)
    assert read_config(SweepConfig, None, words[6:], base=SweepConfig()) == asked


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("auto", "must be that of the cluster's dashboard, such as http://HOST:8265"),
        ("ray://127.0.0.1:10001", "must be that of the cluster's dashboard"),
        ("http://127.0.0.1:1", "no Ray dashboard answers there"),
    ],
)
def test_an_address_without_a_dashboard_is_refused(address: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Jobs(address)


@pytest.mark.parametrize("amount", [0, -1, 1.5, float("inf")])
def test_an_impossible_amount_of_a_resource_is_refused(amount: float) -> None:
    with pytest.raises(ConfigError, match="slot must be a fraction of 1 or a whole number"):
        from_dict(SweepConfig, {"resources": {"slot": amount}})
    with pytest.raises(ConfigError, match="set cpus and gpus"):
        from_dict(SweepConfig, {"resources": {"GPU": 1}})


def test_a_checkout_travels_as_its_wheel_and_tells_its_commit(tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel.packed(tmp_path)) as there:
        names = set(there.namelist())
        packages = {name.split("/")[0] for name in names if name.endswith(".py")}
        assert packages == {
            "foveate",
            "foveate_cli",
            "foveate_cluster",
            "foveate_serve",
            "foveate_capacity",
            "foveate_tune",
        }
        assert {"foveate_cli/__main__.py", "foveate_tune/report/page.html"} < names
        assert not [name for name in names if "test" in name or name.startswith("infra")]
        at = commit()
        assert (f"foveate/{COMMIT_FILE}" in names) == (at is not None)
        if at:
            assert there.read(f"foveate/{COMMIT_FILE}").decode() == at


def test_what_was_installed_travels_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    files = ["foveate/__init__.py", "foveate_cli/__main__.py", "foveate-1.dist-info/METADATA"]
    others = ["../bin/foveate", "foveate/__pycache__/__init__.cpython-311.pyc", "foveate-1.dist-info/RECORD"]
    for name in (*files, *others):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(name)
    (site / "foveate-1.dist-info" / "RECORD").write_text("".join(f"{name},,\n" for name in (*files, *others)))
    monkeypatch.setattr(wheel, "distribution", lambda _: PathDistribution(site / "foveate-1.dist-info"))
    monkeypatch.setattr(wheel, "commit", lambda: None)
    (tmp_path / "out").mkdir()
    with zipfile.ZipFile(wheel.packed(tmp_path / "out")) as there:
        assert set(there.namelist()) == {*files, "foveate-1.dist-info/RECORD"}


def test_a_file_that_is_no_wheel_of_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        wheel.packed(tmp_path, tmp_path / "absent.whl")
    (tmp_path / "text.whl").write_text("no archive")
    with pytest.raises(ConfigError, match="cannot be read"):
        wheel.packed(tmp_path, tmp_path / "text.whl")
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as other:
        other.writestr("other/__init__.py", "")
    with pytest.raises(ConfigError, match="is no wheel of Foveate"):
        wheel.packed(tmp_path, tmp_path / "other.whl")


def test_a_checkout_that_cannot_be_built_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "checkout").mkdir()
    monkeypatch.setattr(wheel, "_checkout", lambda _: tmp_path / "checkout")
    with pytest.raises(ConfigError, match=r"cannot be built \(.+\): build one with"):
        wheel.packed(tmp_path)
