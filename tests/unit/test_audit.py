"""The audit's measures by hand, and the audit of a small bundle as a user asks for it."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from foveate.audit import audit, measures
from foveate.audit.measures import Histories
from foveate.bundle import Bundle
from foveate.core import metrics
from foveate.core.config import from_dict
from foveate.core.errors import ConfigError
from foveate.data.catalog import Catalog
from foveate.data.dataset import Dataset
from foveate.slate.base import SlatePolicy
from foveate.slate.constraints import Constraints
from foveate.slate.rules.exposure import ExposureOfSmall
from foveate_cli.main import main


def test_popularity_counts_viewers_and_not_events() -> None:
    users, items = np.array([0, 0, 1, 2, 2]), np.array([0, 0, 0, 0, 1])
    np.testing.assert_allclose(metrics.popularity(users, items, 4, 3), [0.75, 0.25, 0.0])


def test_lift_is_what_popularity_grows_by() -> None:
    """Viewer 0 likes popularity 0.1 and is shown 0.3; viewer 1 likes 0.3 and is shown 0.5; viewer 2 likes nothing."""
    histories = Histories(np.array([1, 0, 1], dtype=np.int32), np.array([0, 1, 3, 3]))
    popularity = np.array([0.5, 0.1, 0.3])
    np.testing.assert_allclose(histories.mean(popularity), [0.1, 0.3, np.nan])
    lists = np.array([[2, -1], [0, -1], [0, 2]])
    shown = measures.list_mean(lists, popularity)
    np.testing.assert_allclose(shown, [0.3, 0.5, 0.4])
    assert measures.lift(shown, histories.mean(popularity)) == pytest.approx(0.8 / 0.4 - 1)
    assert math.isnan(measures.lift(shown[2:], histories.mean(popularity)[2:]))


def test_miscalibration_by_hand() -> None:
    shares = sparse.csr_matrix(np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]))
    histories = Histories(np.array([0, 0, 1, 2], dtype=np.int32), np.array([0, 2, 4, 4]))
    liked = measures.mix_of_histories(histories, shares)
    np.testing.assert_allclose(liked, [[1, 0], [0.25, 0.75], [0, 0]])
    shown = measures.mix_of_lists(np.array([[0, 1], [2, 1], [0, -1]]), shares)
    np.testing.assert_allclose(shown, [[0.5, 0.5], [0.25, 0.75], [1, 0]])
    off = measures.miscalibration(shown, liked)
    # The first slate is half of what the viewer alone likes: log(1 / (0.99 * 0.5 + 0.01)). The second has the same mix.
    np.testing.assert_allclose(off, [math.log(1 / 0.505), 0.0, np.nan], atol=1e-12)


def test_deciles_hold_as_many_channels_each() -> None:
    """Twenty channels of 1 to 20 videos, and one video of no channel."""
    channels = [f"c{size:02d}" for size in range(1, 21) for _ in range(size)]
    catalog = Catalog(pl.DataFrame({"item_id": [f"v{i}" for i in range(211)], "channel_id": [*channels, None]}))
    decile = measures.channel_decile(catalog)
    assert decile.tolist() == [*((size - 1) // 2 for size in range(1, 21) for _ in range(size)), -1]
    np.testing.assert_allclose(measures.exposure(np.array([0, 0, 209, 210]), decile, 10)[[0, 9]], [2 / 3, 1 / 3])


def test_groups_are_thirds() -> None:
    histories = Histories(np.array([0, 1, 2, 0, 0, 0], dtype=np.int32), np.array([0, 3, 4, 6, 6]))
    assert measures.by_activity(histories).tolist() == [2, 0, 1, 0]
    # The most popular fifth of five items is item 0: shares of it 1/3, 1, 1, and unknown.
    assert measures.by_taste(histories, np.array([0.9, 0.1, 0.1, 0.1, 0.1])).tolist() == [0, 1, 2, -1]


def test_an_audit_of_a_small_bundle(small_bundle: Bundle, small_world: Dataset) -> None:
    report = audit(small_bundle, small_world, strengths=(1.0,), most=60)
    assert [point.strength for point in report.points] == [0.0, 0.2, 1.0]
    assert report.own.strength == report.strength == 0.2
    plain, _, full = report.points
    assert full.ild_by_vector > plain.ild_by_vector
    assert plain.ndcg_change.absolute.mean == 0.0
    assert full.relevance_paid > plain.relevance_paid
    assert sum(plain.deciles) == pytest.approx(1.0)
    assert sum(report.decile_items) == pytest.approx(1.0)
    for point in report.points:
        sizes = {kind: [group.viewers for group in groups.values()] for kind, groups in point.groups.items()}
        assert sizes["activity"] == [20, 20, 20]
        assert 0 < sum(sizes["taste"]) <= 60, "who liked nothing has no taste yet"
    assert report.simulated
    assert json.dumps(report.to_json(), allow_nan=False)


def test_a_share_for_small_channels_shows_in_the_audit(small_bundle: Bundle, small_world: Dataset) -> None:
    """Each viewer's request draws for itself, so that a share of half a place is kept on average."""
    model = small_bundle.model

    def small(*rules: ExposureOfSmall) -> float:
        recipe = replace(model.recipe, constraints=Constraints(None, None, rules))
        bundle = replace(small_bundle, model=replace(model, recipe=recipe))
        return sum(audit(bundle, small_world, strengths=(), most=120).points[0].deciles[:5])

    before = small()
    assert small(ExposureOfSmall(share=before + 0.25, quantile=0.5)) > before + 0.1


def test_a_policy_without_strength_cannot_be_varied(small_bundle: Bundle, small_world: Dataset) -> None:
    recipe = replace(small_bundle.model.recipe, policy=from_dict(SlatePolicy, "relevance"))
    bundle = replace(small_bundle, model=replace(small_bundle.model, recipe=recipe))
    with pytest.raises(ConfigError, match="'relevance' has no strength to vary: name another, one of calibrated"):
        audit(bundle, small_world, most=10)
    other = audit(bundle, small_world, policy="dpp", strengths=(0.5,), most=10)
    assert (other.policy, other.strength, other.own.strength) == ("dpp", None, 0.0)


def test_the_verb_prints_tables_and_writes_json_and_a_page(
    small_bundle: Bundle,
    small_world: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    page, figures = tmp_path / "audit.html", tmp_path / "audit.json"
    options = ["--viewers", "40", "--strength", "0.6", "--html", str(page), "--json", str(figures)]
    places = ["--bundle", str(small_bundle.path), "--data", str(small_world.path)]
    monkeypatch.setattr(sys, "argv", ["foveate", "audit", *places, *options])
    main()
    said = capsys.readouterr().out
    for text in ("[simulated]", "at most 2 of a channel", "taste: niche", "popularity lift", "this bundle has learned"):
        assert text in said
    assert "…" not in said, "a table is cut at 80 columns"
    assert [point["strength"] for point in json.loads(figures.read_text())["points"]] == [0.0, 0.2, 0.6]
    html = page.read_text()
    assert html.count("<section>") == 4
    assert "Plotly.newPlot" in html
    assert 'src="http' not in html
