"""What is typed behind an option or KEY=VALUE arrives as it was typed, and what cannot be is refused in one line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from console import Run, console
from foveate.bundle import Bundle
from foveate.recommend.recipe import Recipe
from foveate.storage.folder import Folder
from foveate_cli.common import read_config
from foveate_serve.config import ServeConfig
from foveate_tune.config import SweepConfig


@pytest.fixture
def foveate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Run]:
    monkeypatch.chdir(tmp_path)
    return console(monkeypatch, capsys)


@pytest.fixture
def order_only(tmp_path: Path, foveate: Callable[..., Run]) -> Path:
    """A log that knows no time: twelve viewers, each of whom goes on from another item of a circle."""
    rows = [f"u{viewer},i{(viewer + step) % 12}" for viewer in range(60) for step in range(9)]
    (tmp_path / "log.csv").write_text("\n".join(["user_id,item_id", *rows]))
    run = foveate("data", "import", "table", "log.csv", "--out", "data")
    assert run.status == 0, run.err
    return tmp_path / "data"


def events(path: Path) -> pl.DataFrame:
    return pl.read_parquet(path / "events" / "*.parquet")


def test_a_kind_with_a_dot_is_one_key(tmp_path: Path, foveate: Callable[..., Run]) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id,kind,value\nu1,a,video.play,3\nu2,b,on,1\n")
    mapped = ("kinds.video.play=watch", "kinds.on=like")
    run = foveate("data", "import", "table", "log.csv", "--out", "data", *mapped)
    assert run.status == 0, run.err
    assert sorted(events(tmp_path / "data")["kind"].cast(pl.String)) == ["like", "watch"]


def test_a_column_may_be_called_like_a_number_or_a_flag(tmp_path: Path, foveate: Callable[..., Run]) -> None:
    (tmp_path / "log.csv").write_text("0,on,2\nu1,a,3\nu2,b,4\n")
    mapped = ("columns.user_id=0", "columns.item_id=on", "columns.watch=2")
    run = foveate("data", "import", "table", "log.csv", "--out", "data", *mapped)
    assert run.status == 0, run.err
    assert events(tmp_path / "data")["user_id"].to_list() == ["u1", "u2"]


def test_what_a_server_is_told_stays_a_text() -> None:
    told = read_config(ServeConfig, None, ["host=::"], options={"access.keys": Path("123"), "port": 0, "host": "on"})
    assert (told.host, told.access.keys, told.port) == ("::", Path("123").absolute(), 0)


@pytest.mark.parametrize("setting", ["sources.attention.train.epochs=4", "sources.attention.encoder.mixer=gated"])
def test_settings_of_a_source_are_reachable(setting: str) -> None:
    recipe = read_config(Recipe, None, [setting], base=Recipe())
    sweep = read_config(SweepConfig, None, [f"recipe.{setting}"], base=SweepConfig())
    assert recipe.sources == sweep.recipe.sources
    assert len(recipe.sources) == len(Recipe().sources)
    assert recipe.sources[0] != Recipe().sources[0]


@pytest.mark.parametrize("verb", [("train", "--out", "b"), ("evaluate",), ("tune", "--dry-run")])
@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("sources.atention.train.epochs=4", "'sources' has no 'atention'. Did you mean 'attention'?"),
        ("sources.attention.train.epoch=4", "unknown setting 'epoch'. Did you mean 'epochs'?"),
        ("seed=-1", "a seed must lie between 0 and 2147483647, got -1"),
        ("seed=99999999999", "a seed must lie between 0 and 2147483647, got 99999999999"),
    ],
)
def test_an_unknown_or_impossible_setting_is_one_line(
    order_only: Path, foveate: Callable[..., Run], verb: tuple[str, ...], setting: str, said: str
) -> None:
    run = foveate(*verb, "--data", str(order_only), setting)
    assert (run.status, run.err.count("\n")) == (2, 1 + ("no times" in run.err))
    assert said in run.err


@pytest.mark.parametrize("verb", ["recommend", "explain", "why-not"])
@pytest.mark.parametrize("seed", ["-1", "2147483648"])
def test_a_requests_seed_has_bounds(foveate: Callable[..., Run], verb: str, seed: str) -> None:
    run = foveate(verb, "--bundle", "b", "--user", "u", "--item", "i", f"--seed={seed}")
    assert run.status == 2
    if verb != "recommend":
        assert "0<=x<=2147483647" in run.err


def test_a_log_without_times_is_cut_by_order_and_says_so(
    tmp_path: Path, order_only: Path, foveate: Callable[..., Run]
) -> None:
    small = ("sources=[covisitation, popularity]", "label_windows=1", "ranker.trees=5", "ranker.min_rows=1")
    trained = foveate("train", "--data", str(order_only), "--out", "b", "--upto", "all", *small)
    assert trained.status == 0, trained.err
    assert trained.err.count("protocol=leave-one-out") == 1
    assert Bundle.load(tmp_path / "b").model.recipe.protocol == "leave-one-out"
    swept = foveate("tune", "--data", str(order_only), "--dry-run", "--json", "forecast.json")
    assert swept.status == 0, swept.err
    assert swept.err.count("protocol=leave-one-out") == 1
    refused = foveate("train", "--data", str(order_only), "--out", "c", "protocol=time")
    assert refused.status == 2
    assert "use the leave-one-out protocol" in refused.err


def test_a_dash_is_standard_output_and_nothing_else_is(order_only: Path, foveate: Callable[..., Run]) -> None:
    run = foveate("data", "describe", str(order_only), "--json", "-")
    assert json.loads(run.out)["rows"]["viewers"] == 60
    assert "sparsity" in run.err
    assert not (order_only.parent / "-").exists()
    assert "sparsity" in foveate("data", "describe", str(order_only)).out


def test_no_help_shows_a_mark_of_its_layout(foveate: Callable[..., Run]) -> None:
    for verb in ("plan", "state copy"):
        assert not re.search(r"\\b|\x08", foveate(*verb.split(), "-h").out)


def test_a_path_may_hold_a_question_mark(tmp_path: Path) -> None:
    folder = Folder.at(tmp_path / "what?sweep")
    assert Path(str(folder / "report.html")) == tmp_path / "what?sweep" / "report.html"
    assert str(Folder.at(tmp_path) / "a") == str(tmp_path / "a")
