"""The whole table on a small world: every row, honest targets, caps that hold, and the verb around it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from foveate.bundle import Bundle
from foveate.core.config import from_dict
from foveate.core.errors import BundleError, ConfigError
from foveate.data.dataset import Dataset
from foveate.data.queries import queries_of
from foveate.evaluation import Asking, Evaluation, evaluate, evaluate_folder
from foveate.evaluation.loaded import SEEN
from foveate.evaluation.outcomes import SLATE_SIZE, Outcomes, answer
from foveate.evaluation.panel import Panel, panel_of
from foveate.evaluation.run import BASELINES, _beside
from foveate.evaluation.spans import ANEW
from foveate.recommend.recipe import Recipe
from foveate.training import Fitted, fit
from foveate_cli.common import out
from foveate_cli.evaluate import command
from foveate_cli.evaluation_tables import show

SETTINGS = {
    "sources": [{"name": "attention", "train": {"epochs": 1, "threads": 1}}, "covisitation", "popularity"],
    "candidates": 60,
    "label_windows": 1,
    "ranker": {"name": "lambdarank", "trees": 30, "members": 1, "min_rows": 20, "threads": 1},
}
Asked: TypeAlias = tuple[Panel, Outcomes]
TABLE = ("ndcg@10", "recall@10", "recall@200", "coverage@10", "ild@10")


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return from_dict(Recipe, SETTINGS)


@pytest.fixture(scope="module")
def by_time(small_world: Dataset, recipe: Recipe) -> Evaluation:
    return evaluate(small_world, recipe, "time", seeds=(0,))


@pytest.fixture(scope="module")
def fitted(small_world: Dataset, recipe: Recipe) -> Fitted:
    return fit(small_world, recipe, upto="test")


@pytest.fixture(scope="module")
def asked(fitted: Fitted) -> Asked:
    panel = panel_of(fitted.stage, fitted.model.catalog)
    return panel, answer(_beside(fitted.model, fitted.stage, None, print).subject, panel, 0, print)


def test_every_model_stands_in_the_table_with_an_interval(by_time: Evaluation) -> None:
    models = [row.model for row in by_time.rows]
    assert models == [*BASELINES, "blend", "logistic blend", "two-stage", "slate"]
    for row in by_time.rows:
        assert tuple(row.metrics) == TABLE
        for interval in row.metrics.values():
            assert 0 <= interval.low <= interval.mean <= interval.high <= 1
    assert by_time.best_source in BASELINES
    assert by_time.simulated
    assert "[simulated]" in by_time.data


def test_a_smaller_panel_is_drawn_from_the_whole(asked: Asked, fitted: Fitted) -> None:
    whole, _ = asked
    drawn = panel_of(fitted.stage, fitted.model.catalog, most=7, seed=3)
    targets = {q.user_id: whole.targets[whole.of(i)].tolist() for i, q in enumerate(whole.queries)}
    assert len(drawn.queries) == 7
    assert all(targets[q.user_id] == drawn.targets[drawn.of(i)].tolist() for i, q in enumerate(drawn.queries))
    again = panel_of(fitted.stage, fitted.model.catalog, most=7, seed=3)
    assert [q.user_id for q in again.queries] == [q.user_id for q in drawn.queries]
    assert len(panel_of(fitted.stage, fitted.model.catalog, most=10**6).queries) == len(whole.queries)


def test_every_figure_of_the_first_table_stands_beside_its_debiased_one(by_time: Evaluation) -> None:
    for row in by_time.rows:
        for metric in ("ndcg@10", "recall@10"):
            for name in ("debiased", "strongly debiased"):
                interval = row.beside[f"{metric} {name}"]
                assert 0 <= interval.low <= interval.mean <= interval.high <= 1
        assert row.beside["novelty@10"].mean > 0
    raw, debiased = (by_time.compared("popularity", name) for name in ("ndcg@10", "ndcg@10 debiased"))
    assert raw.detectable > 0
    assert debiased.percent.mean > raw.percent.mean, "popularity earns less where rare items weigh more"


def test_segments_are_parts_of_everyone(by_time: Evaluation) -> None:
    own = {(one.kind, one.name): one for one in by_time.segments if one.model == "two-stage"}
    assert own["viewers", "everyone"].size == by_time.viewers
    assert sum(own["viewers", name].size for name in ("new", "light", "heavy") if ("viewers", name) in own) == (
        by_time.viewers
    )
    assert sum(own["items", name].size for name in ("new", "tail", "head")) == by_time.targets
    assert own["viewers", "everyone"].metrics["ndcg@10"] == by_time.row("two-stage").metrics["ndcg@10"]
    shares = [own["items", name].metrics["exposure@10"].mean for name in ("new", "tail", "head")]
    assert sum(shares) == pytest.approx(1.0)


@pytest.fixture(scope="module")
def windowed(small_world: Dataset, recipe: Recipe) -> Evaluation:
    quick = replace(recipe, sources=recipe.sources[1:])
    return evaluate(small_world, quick, "time", (0,), asking=Asking("last", windows=2, ageing=True))


def test_windows_that_follow_one_another_are_told_together_and_apart(windowed: Evaluation) -> None:
    older, newest = windowed.windows
    assert older.end == newest.start
    assert windowed.targets == older.targets + newest.targets
    assert windowed.viewers < older.viewers + newest.viewers, "who asks in both counts once"
    mean = windowed.row("two-stage").metrics["ndcg@10"].mean
    pooled = [one.viewers * one.ndcg["two-stage"].mean for one in windowed.windows]
    assert mean == pytest.approx(sum(pooled) / (older.viewers + newest.viewers))
    assert windowed.caps.slates == older.viewers + newest.viewers


def test_age_is_told_part_by_part_beside_popularity_counted_anew(windowed: Evaluation) -> None:
    assert [one.end for one in windowed.ageing[:-1]] == [one.start for one in windowed.ageing[1:]]
    assert len(windowed.ageing) >= 2
    first, *later = windowed.ageing
    assert first.ndcg[ANEW] == first.ndcg["recent_popularity"], "nothing has happened since the cut"
    assert any(one.ndcg[ANEW] != one.ndcg["recent_popularity"] for one in later)


@pytest.mark.parametrize("columns", [80, 120])
def test_tables_fit_the_terminal(
    windowed: Evaluation, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(out, "_width", columns)
    show(windowed)
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= columns
    assert not any("…" in line for line in lines), "nothing is cut off"
    widest = max(len(line.rstrip()) for line in lines)
    assert widest > 80 or columns == 80, "a wide terminal is told more"


def test_by_order_there_are_no_windows_to_ask_about(small_world: Dataset, recipe: Recipe) -> None:
    with pytest.raises(ConfigError, match="of the time protocol"):
        evaluate(small_world, recipe, "leave-one-out", (0,), asking=Asking(windows=2))


def test_the_second_stage_earns_its_place(by_time: Evaluation) -> None:
    assert by_time.row("two-stage").metrics["ndcg@10"].mean > by_time.row("popularity").metrics["ndcg@10"].mean
    difference = by_time.compared("popularity")
    assert difference.absolute.mean == pytest.approx(
        by_time.row("two-stage").metrics["ndcg@10"].mean - by_time.row("popularity").metrics["ndcg@10"].mean
    )


def test_ranks_are_those_of_a_plain_count_over_all_items(fitted: Fitted, asked: Asked) -> None:
    panel, outcomes = asked
    source = fitted.model.sources[1]
    ranks = outcomes.by_model[source.name].all_ranks()
    users = fitted.stage.targets.users()
    queries = queries_of(fitted.stage.history, users, fitted.model.catalog, fitted.stage.now)
    for viewer in range(0, len(users), 7):
        scores = source.scores([queries[viewer]])[0].astype(np.float64)
        unseen = np.setdiff1d(np.arange(len(scores)), queries[viewer].exclude)
        for row in range(panel.offsets[viewer], panel.offsets[viewer + 1]):
            target = panel.targets[row]
            if not panel.reachable[row]:
                assert ranks[row] == np.inf
                continue
            others = scores[unseen[unseen != target]]
            assert ranks[row] == (others > scores[target]).sum() + 0.5 * (others == scores[target]).sum()


def test_no_list_shows_what_the_viewer_has_met(asked: Asked) -> None:
    panel, outcomes = asked
    for outcome in outcomes.by_model.values():
        lists = outcome.all_lists()
        assert lists.shape == (len(panel.queries), SLATE_SIZE)
        for query, shown in zip(panel.queries, lists, strict=True):
            assert not np.isin(shown, query.exclude).any()
            assert len(set(shown[shown >= 0])) == (shown >= 0).sum()


def test_blend_and_two_stage_order_the_same_candidates(asked: Asked) -> None:
    """So both miss the very same targets."""
    panel, outcomes = asked
    missed = [np.isinf(outcomes.by_model[name].all_ranks()) for name in ("blend", "two-stage")]
    np.testing.assert_array_equal(*missed)
    assert 0 < missed[0].sum() < len(panel.targets)


def test_caps_that_bind_often_are_never_broken(by_time: Evaluation) -> None:
    assert by_time.caps.slates == by_time.viewers
    assert by_time.caps.bound >= 0.3, "a world in which the caps hardly matter would show nothing"
    assert by_time.caps.broken == 0
    assert by_time.caps.relevance_paid > 0
    assert (by_time.caps.relaxed, by_time.caps.short) == (0.0, 0.0)


def test_without_caps_none_binds(small_world: Dataset, recipe: Recipe) -> None:
    free = replace(recipe, constraints=replace(recipe.constraints, max_per_channel=None, max_per_category=None))
    caps = evaluate(small_world, free, "time", seeds=(0,)).caps
    assert (caps.bound, caps.broken) == (0.0, 0)


def test_figures_are_means_over_seeds(small_world: Dataset, recipe: Recipe, by_time: Evaluation) -> None:
    both = evaluate(small_world, recipe, "time", seeds=(0, 1))
    mean, first = (e.row("two-stage").metrics["ndcg@10"].mean for e in (both, by_time))
    assert mean != first
    assert both.row("two-stage").std["ndcg@10"] == pytest.approx(abs(mean - first)), "of two seeds, half their gap"
    assert both.caps.slates == 2 * both.viewers
    assert both.row("popularity").std["ndcg@10"] == 0
    with pytest.raises(ConfigError, match="at least one seed"):
        evaluate(small_world, recipe, "time", seeds=())


def test_the_verb_writes_what_it_prints(small_world: Dataset, tmp_path: Path) -> None:
    config = tmp_path / "recipe.yaml"
    config.write_text(json.dumps(SETTINGS))
    report = tmp_path / "report.json"
    arguments = ["--data", str(small_world.path), "--protocol", "leave-one-out", "--config", str(config)]
    answer_ = CliRunner().invoke(command, [*arguments, "--json", str(report)], catch_exceptions=False)
    assert answer_.exit_code == 0
    assert answer_.output.count("[simulated]") == 5, "the title, the comparisons, two kinds of segments and the caps"
    assert "constraints bound in" in answer_.output
    written = json.loads(report.read_text())
    assert {"protocol", "data", "seeds", "rows"} <= set(written)
    assert written["protocol"] == "leave-one-out"
    assert written["seeds"] == [0]
    for row in written["rows"]:
        assert set(row["metrics"]) == set(TABLE)
        assert all(set(interval) == {"mean", "low", "high"} for interval in row["metrics"].values())
    assert all(c["detectable"] is None or c["detectable"] >= 0 for c in written["comparisons"])
    assert {s["kind"] for s in written["segments"]} == {"viewers", "items"}
    assert (written["target_choice"], written["windows"], written["ageing"]) == ("all", [], [])
    assert {c["against"] for c in written["comparisons"]} == {r["model"] for r in written["rows"]} - {"two-stage"}


def test_a_bundle_is_evaluated_as_it_is(
    small_world: Dataset, small_bundle: Bundle, capsys: pytest.CaptureFixture
) -> None:
    assert small_world.path is not None
    (report,) = evaluate_folder(small_world.path, Recipe(), (), (0,), bundle=small_bundle.path)
    assert report.bundle == small_bundle.bundle_id
    assert report.protocol == small_bundle.model.recipe.protocol
    assert SEEN in report.notes, "it learned from the whole log, and the reader must know"
    show(report)
    assert small_bundle.bundle_id in capsys.readouterr().out


def test_a_bundle_that_has_not_seen_the_window_is_not_suspected(
    small_world: Dataset, fitted: Fitted, by_time: Evaluation, tmp_path: Path
) -> None:
    saved = Bundle.save(
        fitted.model,
        tmp_path / "honest",
        data_hash=small_world.manifest.content_hash,
        upto="test",
        learned_until=fitted.stage.now,
    )
    report = evaluate(small_world, Recipe(), "time", (0,), bundle=Bundle.load(saved.path))
    assert not report.notes
    assert report.row("two-stage").metrics == by_time.row("two-stage").metrics


def test_a_bundle_of_another_catalogue_is_refused(small_world: Dataset, small_bundle: Bundle) -> None:
    strangers = replace(small_world, items=small_world.items.with_columns(pl.col("item_id") + "x"))
    with pytest.raises(BundleError, match=r"knows 0 of the 300 items"):
        evaluate(strangers, Recipe(), "time", (0,), bundle=small_bundle)


def test_items_newer_than_the_bundle_are_missed_not_forgotten(small_world: Dataset, fitted: Fitted) -> None:
    """Leaving out what a model cannot know would flatter it."""
    known = fitted.model.catalog
    target = int(fitted.stage.targets.items[0])
    codes = np.where(fitted.stage.targets.items == target, len(known) + 1, fitted.stage.targets.items)
    newer = replace(fitted.stage, targets=replace(fitted.stage.targets, items=codes.astype(np.int32)))
    panel = panel_of(newer, known)
    assert len(panel.targets) == len(fitted.stage.targets)
    assert not panel.reachable[panel.targets == len(known) + 1].any()
    outcomes = answer(_beside(fitted.model, newer, None, print).subject, panel, 0, print)
    for outcome in outcomes.by_model.values():
        assert np.isinf(outcome.all_ranks()[panel.targets == len(known) + 1]).all()
