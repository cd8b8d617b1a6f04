"""What is asked by time, what was known then, and the figures made of it: on logs that can be read with the eye."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm

from foveate.core import metrics
from foveate.core.errors import ConfigError, DataError
from foveate.core.metrics import DETECTABLE, Sums
from foveate.data.catalog import Catalog
from foveate.data.events import Events
from foveate.data.schema import ITEM_ID, ITEMS
from foveate.data.split import SplitConfig, Stage, Windows, cuts, parts_of, windows
from foveate.evaluation.asking import Asking, joined, panel_for, parts, viewers_of
from foveate.evaluation.debiased import DEBIASED_NDCG, debiased
from foveate.evaluation.figures import NDCG, Figures
from foveate.evaluation.known import ITEM_SEGMENTS, VIEWER_SEGMENTS, Known, known
from foveate.evaluation.panel import Panel
from foveate.evaluation.segments import COVERAGE, EXPOSURE, LIFT, NOVELTY, RECALL, Segment, segments_of
from foveate.evaluation.spans import span_of

DAY = 86_400_000_000
LETTERS = "abcdefgh"


def log(*viewers: str) -> Events:
    """Write one text a viewer: a letter a day is an item, capital where it was liked, a point a day without any."""
    rows = [
        (user, LETTERS.index(letter.lower()), letter.isupper(), day)
        for user, text in enumerate(viewers)
        for day, letter in enumerate(text)
        if letter != "."
    ]
    user, item, liked, day = (np.array(column) for column in zip(*rows, strict=True))
    return Events(
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        kind=np.zeros(len(rows), dtype=np.int8),
        value=np.ones(len(rows), dtype=np.float32),
        weight=np.ones(len(rows), dtype=np.float32),
        positive=liked.astype(bool),
        time=day.astype(np.int64) * DAY,
        n_users=len(viewers),
        n_items=len(LETTERS),
    )


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    frame = pl.DataFrame({ITEM_ID: list(LETTERS)})
    return Catalog(frame.with_columns([pl.lit(None, dtype=d).alias(n) for n, d in ITEMS.items() if n != ITEM_ID]))


def between(events: Events, start: int, end: int) -> Stage:
    (stage,) = parts_of(events, [start * DAY, end * DAY])
    return stage


def as_text(panel: Panel) -> list[tuple[str, str, str]]:
    """Each query's viewer, history and targets."""
    return [
        (q.user_id, "".join(LETTERS[i] for i in q.items), "".join(LETTERS[i] for i in panel.targets[panel.of(row)]))
        for row, q in enumerate(panel.queries)
    ]


# Viewer 0 clicks on e on day 4 and likes it a day later; viewer 1 comes on day 5; viewer 2 likes nothing new.
EVENTS = log("AB.CeEF", ".....GH", "AB..A..")


def test_all_targets_are_asked_at_the_cut(catalog: Catalog) -> None:
    panel = panel_for(Asking(), EVENTS, between(EVENTS, 3, 7), catalog)
    assert as_text(panel) == [("0", "ab", "cef"), ("1", "", "gh")]
    assert {q.now for q in panel.queries} == {3 * DAY}
    assert viewers_of(panel) is None


def test_the_last_target_is_asked_with_all_that_came_before_it(catalog: Catalog) -> None:
    panel = panel_for(Asking("last"), EVENTS, between(EVENTS, 3, 7), catalog)
    assert as_text(panel) == [("0", "abcee", "f"), ("1", "g", "h")]
    assert [q.now for q in panel.queries] == [6 * DAY, 6 * DAY]
    assert panel.reachable.all()


def test_successive_targets_are_asked_in_turn(catalog: Catalog) -> None:
    panel = panel_for(Asking("successive"), EVENTS, between(EVENTS, 3, 7), catalog)
    # The click on e and the like that follows it are one meeting: neither gives the other away.
    assert as_text(panel) == [("0", "ab", "c"), ("0", "abc", "e"), ("0", "abcee", "f"), ("1", "", "g"), ("1", "g", "h")]
    assert viewers_of(panel).tolist() == [0, 0, 0, 1, 1]  # type: ignore[union-attr]


def test_parts_of_a_window_know_what_came_before_them(catalog: Catalog) -> None:
    stages = parts(EVENTS, between(EVENTS, 3, 7), 0)
    assert [(stage.now // DAY, stage.until // DAY) for stage in stages] == [(3, 4), (5, 6), (6, 7)]
    asked = [as_text(panel_for(Asking(), EVENTS, stage, catalog)) for stage in stages]
    # Viewer 0 met e in a part of its own, the day before it was liked: then it is no longer new.
    assert asked == [[("0", "ab", "c")], [("1", "", "g")], [("0", "abcee", "f"), ("1", "g", "h")]]


def test_an_item_that_the_model_does_not_know_stays_a_target(catalog: Catalog) -> None:
    short = Catalog(catalog.frame.head(4))
    panel = panel_for(Asking("last"), EVENTS, between(EVENTS, 3, 7), short)
    assert as_text(panel) == [("0", "abc", "f"), ("1", "", "h")]
    assert panel.reachable.tolist() == [False, False]


def test_windows_that_follow_one_another_share_their_edges() -> None:
    times = np.arange(1000, dtype=np.int64)
    shares = SplitConfig(by="shares")
    edges = [cuts(times, replace(shares, back=back)) for back in range(4)]
    assert [edge[2] for edge in edges] == [900, 800, 700, 600], "tests begin at 90, 80, 70 and 60 % of the events"
    assert all(later[2] == earlier[3] for earlier, later in zip(edges[1:], edges, strict=False))
    days = SplitConfig(by="days", test_days=2.0)
    newest, older = (cuts(times * DAY, replace(days, back=back)) for back in (0, 1))
    assert older[3] == newest[2]
    assert newest[2] - older[2] == 2 * DAY


def test_no_window_learns_from_what_follows_it() -> None:
    events = log(*["ABCDEFGH" * 5] * 3)
    cut: Windows = windows(
        replace(events, item=np.arange(len(events), dtype=np.int32), n_items=120),
        "time",
        SplitConfig(by="shares", back=2),
    )
    assert cut.test.history.time.max() < cut.test.now < cut.test.until < events.time.max()
    assert (cut.test.targets.times < cut.test.until).all()


@pytest.mark.parametrize("split", [SplitConfig(by="shares", back=7), SplitConfig(by="days", back=9)])
def test_more_windows_than_the_log_holds_are_refused(split: SplitConfig) -> None:
    with pytest.raises(DataError, match="ask for fewer windows"):
        cuts(np.arange(12, dtype=np.int64) * DAY, split)


def test_what_cannot_be_asked_is_refused() -> None:
    with pytest.raises(ConfigError, match="of the time protocol"):
        Asking("last").check("leave-one-out", bundle=False)
    with pytest.raises(ConfigError, match="leave windows out"):
        Asking(windows=2).check("time", bundle=True)
    with pytest.raises(ConfigError, match="1 or more"):
        Asking(windows=0)


@pytest.fixture(scope="module")
def scene(catalog: Catalog) -> tuple[Panel, Known]:
    """Two windows: A is liked by three of four viewers, B by one, C by none; viewer 3 is new."""
    events = log("A" + "." * 19 + "C", "AB.................B" + "D", "A", "." * 20 + "AB", "." * 18 + "E..F")
    stages = [between(events, 20, 21), between(events, 21, 22)]
    panels = [panel_for(Asking(), events, stage, catalog) for stage in stages]
    return joined(panels), known(panels, stages, len(catalog))


def test_what_was_known_of_viewers_and_items(scene: tuple[Panel, Known]) -> None:
    panel, was = scene
    assert as_text(panel) == [("0", "a", "c"), ("1", "abb", "d"), ("3", "", "a"), ("3", "a", "b"), ("4", "e", "f")]
    assert was.window_B.tolist() == [0, 0, 0, 1, 1]
    assert [VIEWER_SEGMENTS[place] for place in was.viewer_B] == ["light", "heavy", "new", "light", "light"]
    assert was.counts_WI[0].tolist() == [3, 1, 0, 0, 1, 0, 0, 0]
    np.testing.assert_allclose(was.popularity_WI[0][:2], [3 / 4, 1 / 4])
    np.testing.assert_allclose(was.novelty_WI[0][[0, 2]], [-np.log2(4 / 5), np.log2(5)])
    np.testing.assert_allclose(was.liked_B, [3 / 4, 1 / 2, np.nan, 4 / 5, 1 / 5])
    # A and B are old, of which a fifth is less than one item; E came two days before the first window.
    assert [ITEM_SEGMENTS[place] for place in was.segment_WI[0][:5]] == ["tail", "tail", "new", "new", "new"]


def figures(ranks: list[float], lists: list[list[int]], panel: Panel) -> Figures:
    ranks_T = np.array(ranks)
    gains = metrics.ndcg_at(ranks_T, 10)
    ndcg = metrics.multi_ndcg_at(ranks_T, panel.offsets, 10)
    lists_BSK = np.array(lists, dtype=np.int32)[:, None, :]
    return Figures(
        {NDCG: ndcg, RECALL: metrics.recall_at(ranks_T, 10)}, {}, metrics.recall_at(ranks_T, 10), gains, lists_BSK
    )


def test_debiased_figures_by_hand(scene: tuple[Panel, Known]) -> None:
    panel, was = scene
    # Targets c, d, a, b, f with 0, 0, 3, 1, 0 viewers before: weights 1, 1, 1/2, 1/sqrt(2), 1.
    own = figures([0.0, 20.0, 0.0, 1.0, 20.0], [[0, 1]] * 5, panel)
    found = debiased(own, panel, was)
    weights = np.array([1, 1, 0.5, 2**-0.5, 1])
    assert found[DEBIASED_NDCG].value() == pytest.approx((1 + 0.5 + 2**-0.5 / np.log2(3)) / weights.sum())
    assert found["recall@10 debiased"].value() == pytest.approx((1 + 0.5 + 2**-0.5) / weights.sum())
    strong = np.array([1, 1, 4**-1.25, 2**-1.25, 1])
    assert found["recall@10 strongly debiased"].value() == pytest.approx(strong[[0, 2, 3]].sum() / strong.sum())


def test_a_model_that_knows_only_what_is_popular_gains_nothing_by_debiasing(scene: tuple[Panel, Known]) -> None:
    panel, was = scene
    popular = debiased(figures([20.0, 20.0, 0.0, 20.0, 20.0], [[0, 1]] * 5, panel), panel, was)
    rare = debiased(figures([0.0, 20.0, 20.0, 20.0, 20.0], [[0, 1]] * 5, panel), panel, was)
    assert popular[DEBIASED_NDCG].value() < 1 / 5 < rare[DEBIASED_NDCG].value()


def test_a_perfect_order_has_a_debiased_ndcg_of_one(catalog: Catalog) -> None:
    stage = between(EVENTS, 3, 7)
    panel = panel_for(Asking(), EVENTS, stage, catalog)
    was = known([panel], [stage], len(catalog))
    # Of viewer 0's targets all weigh the same, and so do viewer 1's: any order at the top is the best.
    own = figures([0.0, 1.0, 2.0, 0.0, 1.0], [[0, 1]] * 2, replace(panel, offsets=np.arange(6)))
    assert debiased(own, panel, was)[DEBIASED_NDCG].value() == pytest.approx(1.0)


def test_segments_by_hand(scene: tuple[Panel, Known]) -> None:
    panel, was = scene
    ours = figures([0.0, 0.0, 0.0, 20.0, 20.0], [[0, -1], [1, -1], [0, 1], [0, -1], [4, -1]], panel)
    rival = figures([20.0] * 5, [[0, -1]] * 5, panel)
    found = segments_of({"ours": ours, "rival": rival}, panel, was, ours="ours", viewers_B=viewers_of(panel))
    by_name = {(one.model, one.kind, one.name): one for one in found}

    def mean(metric: str, *key: str) -> float:
        return by_name[key].metrics[metric].mean  # type: ignore[index]

    everyone: Segment = by_name["ours", "viewers", "everyone"]
    assert everyone.size == 4, "viewer 3 asks in both windows"
    assert mean(NDCG, "ours", "viewers", "everyone") == pytest.approx(3 / 5)
    assert mean(NDCG, "ours", "viewers", "light") == pytest.approx(1 / 3)
    assert mean(COVERAGE, "ours", "viewers", "everyone") == pytest.approx(3 / 8)
    assert mean(COVERAGE, "ours", "viewers", "heavy") == pytest.approx(1 / 8)
    first, second = was.novelty_WI
    assert mean(NOVELTY, "ours", "viewers", "light") == pytest.approx(np.mean([first[0], second[0], second[4]]))
    # What viewers 0, 1, 3 and 4 are shown is as popular as what they liked, but for viewer 1: 1/4 after 1/2.
    shown, liked = 3 / 4 + 1 / 4 + 4 / 5 + 1 / 5, 3 / 4 + 1 / 2 + 4 / 5 + 1 / 5
    assert mean(LIFT, "ours", "viewers", "everyone") == pytest.approx(shown / liked - 1)
    assert np.isnan(mean(LIFT, "ours", "viewers", "new")), "who liked nothing has no popularity to compare with"
    assert everyone.above is None
    assert by_name["rival", "viewers", "everyone"].above.absolute.mean == pytest.approx(3 / 5)  # type: ignore[union-attr]
    # Targets c, d and f are new; a and b are old.
    assert by_name["ours", "items", "new"].size == 3
    assert mean(RECALL, "ours", "items", "new") == pytest.approx(2 / 3)
    assert mean(RECALL, "ours", "items", "tail") == pytest.approx(1 / 2)
    assert mean(EXPOSURE, "ours", "items", "new") == pytest.approx(1 / 6)
    assert mean(COVERAGE, "ours", "items", "tail") == pytest.approx(2 / 2)


def test_a_span_holds_two_stage_against_each_other_model() -> None:
    stage = between(EVENTS, 3, 7)
    span = span_of(stage, 5, {"ours": np.array([0.5, 1.0]), "other": np.array([0.5, 0.5])}, ours="ours")
    assert (span.start, span.end, span.viewers, span.targets) == (3 * DAY, 7 * DAY, 2, 5)
    assert span.ndcg["ours"].mean == 0.75
    assert set(span.above) == {"other"}
    assert span.above["other"].percent.mean == pytest.approx(50.0)


def test_ratios_are_those_of_the_sums_and_of_the_means() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(200)
    mean, ratio = metrics.bootstrap_mean(values, 3), metrics.bootstrap_ratio(Sums.mean_of(values), 3)
    np.testing.assert_allclose(list(vars(ratio).values()), list(vars(mean).values()))
    values[:20] = np.nan
    assert Sums.mean_of(values).value() == pytest.approx(np.nanmean(values))
    other = rng.random(200)
    paired, ratios = (
        metrics.paired_difference(values[20:], other[20:], 5),
        metrics.paired_ratios(Sums.mean_of(values[20:]), Sums.mean_of(other[20:]), 5),
    )
    assert ratios.percent.mean == pytest.approx(paired.percent.mean)
    assert ratios.absolute.low == pytest.approx(paired.absolute.low)
    assert np.isnan(metrics.bootstrap_ratio(Sums(np.empty(0), np.empty(0)), 0).mean)


def test_a_viewer_who_asks_often_counts_as_one() -> None:
    """Fifty viewers who ask ten times alike tell as little as fifty who ask once."""
    rng = np.random.default_rng(1)
    values, whose = np.repeat(rng.random(50), 10), np.repeat(np.arange(50), 10)
    sums = Sums.mean_of(values)
    alone = metrics.bootstrap_ratio(Sums.mean_of(values[::10]), 0)
    whole, apart = metrics.bootstrap_ratio(sums, 0, viewers_B=whose), metrics.bootstrap_ratio(sums, 0)
    assert whole.high - whole.low == pytest.approx(alone.high - alone.low)
    assert apart.high - apart.low < 0.5 * (whole.high - whole.low)


def test_what_is_detectable_is_found_in_eighty_of_a_hundred_cases() -> None:
    assert pytest.approx(norm.ppf(0.975) + norm.ppf(0.8), abs=1e-4) == DETECTABLE
    rng = np.random.default_rng(2)
    base, viewers, deviation = 1.0, 400, 0.5
    true = metrics.paired_difference(base + deviation * rng.normal(size=viewers), np.full(viewers, base), 0)
    assert true.detectable == pytest.approx(DETECTABLE * deviation / viewers**0.5, rel=0.1)
    assert true.detectable_percent == pytest.approx(100 * true.detectable)
    excess = true.detectable + deviation * rng.normal(size=(2000, viewers))
    found = excess.mean(axis=1) > 1.96 * excess.std(axis=1) / viewers**0.5
    assert found.mean() == pytest.approx(0.8, abs=0.04)
