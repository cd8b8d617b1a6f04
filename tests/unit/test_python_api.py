"""``import foveate``: its names, their examples, and what its results look like."""

from __future__ import annotations

import asyncio
import doctest
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pandas as pd
import polars as pl
import pytest

import foveate
from foveate.bundle import Bundle
from foveate.core.errors import ConfigError, DataError, FoveateError, RequestError
from foveate.core.tables import Tabular
from foveate.data.dataset import Dataset

NAMES = [
    "Bundle",
    "Dataset",
    "FoveateError",
    "Recipe",
    "Recommender",
    "__version__",
    "append",
    "erase_viewer",
    "evaluate",
    "export_log",
    "load",
    "read",
    "simulate",
    "train",
]
NOW = 1_741_910_400_000_000


def test_the_names_are_pinned() -> None:
    assert dir(foveate) == NAMES


@pytest.mark.parametrize("name", [name for name in NAMES if name != "__version__"])
def test_the_example_of_each_name_runs(name: str) -> None:
    thing = getattr(foveate, name)
    [example] = doctest.DocTestFinder(recurse=False).find(thing, name, globs={})
    assert example.examples
    assert not doctest.DocTestRunner().run(example).failed


def test_importing_it_is_light() -> None:
    code = "import sys, foveate; dir(foveate); print({'torch', 'ray', 'polars', 'numpy'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"


def test_a_plain_training_imports_no_tuning_and_no_ray() -> None:
    code = (
        "import sys, foveate_cli.train, foveate.api.training;"
        "print({name for name in sys.modules if name.split('.')[0] in ('foveate_tune', 'ray')})"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"


def test_an_old_module_does_not_hide_a_function() -> None:
    sys.modules.pop("foveate.evaluate", None)
    with pytest.warns(DeprecationWarning, match=r"foveate\.evaluation"):
        importlib.import_module("foveate.evaluate")
    assert inspect.isfunction(foveate.evaluate)


@pytest.mark.parametrize("kind", [pl.DataFrame, pd.DataFrame, lambda rows: pl.DataFrame(rows).to_arrow()])
def test_a_table_of_any_kind_is_read(kind: type) -> None:
    log = kind({"user": ["ann", "ann", "bob"], "video": ["a", "b", "a"], "seconds_watched": [9.0, 8.0, 7.0]})
    data = foveate.read(log)
    assert data.manifest.rows["events"] == 3
    assert data.report
    assert "user" in data.report.frame()["theirs"].to_list()


def test_a_raw_file_is_read_into_a_folder_and_opened_from_there(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("customer,video,watch\nann,a,9\nann,b,8\nbob,a,7\n")
    settings = {"columns": {"user_id": "customer"}}
    made = foveate.read(tmp_path / "log.csv", settings=settings, out=tmp_path / "data")
    opened = foveate.read(str(tmp_path / "data"))
    assert opened.manifest == made.manifest
    assert "read log.csv" in str(opened)


def test_mistakes_are_said_in_one_line(small_world: Dataset, small_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        foveate.read(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="already"):
        foveate.read(small_world.path, out=tmp_path / "other")
    with pytest.raises(ConfigError, match="candidate"):
        foveate.train(small_world, {"candidate": 3})
    with pytest.raises(FoveateError, match="nothing"):
        foveate.load(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="trained already"):
        foveate.evaluate(small_world, {"candidates": 3}, bundle=small_bundle)
    with foveate.load(small_bundle) as model:
        with pytest.raises(RequestError, match="str"):
            model.recommend(17)  # type: ignore[arg-type]
        with pytest.raises(RequestError, match="k: from 1"):
            model.recommend("u00017", k=0)


def test_all_answers_are_tables(small_bundle: Bundle) -> None:
    with foveate.load(small_bundle.path) as model:
        slate = model.recommend("u00017", k=3, now=NOW, seed=1)
        many = model.recommend_many(["u00017", "u00018"], k=3, now=NOW, seed=1)
        related = model.related(slate.items[0], k=3)
        why = model.explain("u00017", k=3, now=NOW, seed=1)
        absent = model.why_not("u00017", slate.items[0], k=3, now=NOW, seed=1)
    assert many[0].items == slate.items
    assert [item.item_id for item in why.items] == slate.items
    assert absent.where == "shown"
    assert many.frame()["user_id"].unique(maintain_order=True).to_list() == ["u00017", "u00018"]
    for answer in (slate, many, related, why, absent, small_bundle):
        assert isinstance(answer, Tabular)
        assert answer.frame().height
        assert answer.heading.splitlines()[0] in repr(answer)
        assert "<table" in answer._repr_html_()


def test_it_answers_where_a_loop_runs_already(small_bundle: Bundle) -> None:
    async def notebook() -> list[str]:
        with foveate.load(small_bundle) as model:
            return model.recommend("u00017", k=3, now=NOW, seed=1).items

    with foveate.load(small_bundle) as model:
        assert asyncio.run(notebook()) == model.recommend("u00017", k=3, now=NOW, seed=1).items


def test_html_is_escaped() -> None:
    class Hostile(Tabular):
        heading = "<script>alert(1)</script>"

        def frame(self) -> pl.DataFrame:
            return pl.DataFrame({"<b>": ["<script>alert(2)</script>"]})

    shown = Hostile()._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
