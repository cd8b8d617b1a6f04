"""The simulated world holds together: its log obeys its own rules and its truth."""

import json

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from foveate.core.config import from_dict
from foveate.core.errors import ConfigError, OutputExistsError
from foveate.core.metrics import mid_ranks, ndcg_at
from foveate.data.dataset import open_dataset
from foveate.data.fitting import FitContext
from foveate.data.queries import queries_of
from foveate.data.signals import Signals
from foveate.data.split import windows
from foveate.data.world.simulate import SimulateConfig, simulate_dataset
from foveate.retrieval.covisitation import Covisitation
from foveate.retrieval.popularity import Popularity

CONFIG = SimulateConfig(viewers=400, items=500, days=14, sessions_per_week=4.0, seed=3)
TINY = SimulateConfig(viewers=30, items=40, days=3, seed=1)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return simulate_dataset(CONFIG, tmp_path_factory.mktemp("world") / "data")


@pytest.fixture(scope="module")
def events(world):
    return world.events.collect()


@pytest.fixture(scope="module")
def shown(world):
    return world.impressions.collect()


def truth(world, name):
    return pl.read_parquet(world.path / "truth" / name)


def test_the_same_settings_write_the_same_bytes_and_another_seed_does_not(tmp_path):
    hashes = [
        simulate_dataset(
            from_dict(SimulateConfig, {"viewers": 30, "items": 40, "days": 3, "seed": seed}), tmp_path / at
        )
        for at, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    first, again, other = (dataset.manifest.content_hash for dataset in hashes)
    assert first == again != other


def test_it_says_that_it_is_simulated_and_how(world):
    assert world.manifest.simulated
    assert "[simulated]" in world.title
    assert world.manifest.settings["viewers"] == CONFIG.viewers
    assert world.manifest.rows["viewers"] == CONFIG.viewers
    assert world.manifest.rows["items"] == CONFIG.items
    assert world.manifest.positive_kinds == ("long_view",)


def test_order_is_dense_total_and_agrees_with_time(events, shown):
    for frame, when in ((events, "occurred_at"), (shown, "shown_at")):
        by_viewer = frame.sort("user_id", "order").with_columns(n=pl.int_range(pl.len()).over("user_id"))
        assert (by_viewer["order"] == by_viewer["n"]).all()
        assert by_viewer.select((pl.col(when).diff().over("user_id").dt.total_microseconds() >= 0).all()).item()


def test_everything_happens_within_the_log_and_after_it_was_shown(events, shown):
    for frame, when in ((events, "occurred_at"), (shown, "shown_at")):
        times = frame[when].dt.timestamp("us")
        assert CONFIG.first <= times.min()
        assert times.max() < CONFIG.end
    joined = events.join(shown, on=["impression_id", "user_id", "item_id"])
    assert joined.height == events.height
    assert (joined["occurred_at"] >= joined["shown_at"]).all()
    assert (events["received_at"] >= events["occurred_at"]).all()


def test_ids_are_distinct_and_known(world, events, shown):
    assert events["event_id"].is_unique().all()
    assert shown["impression_id"].is_unique().all()
    assert shown["item_id"].is_in(world.items["item_id"].implode()).all()
    assert shown.select(pl.struct("request_id", "position").is_unique().all()).item()
    assert (shown.group_by("request_id").agg(pl.col("item_id").is_unique().all())["item_id"]).all()


def test_nothing_is_shown_before_it_is_out_or_after_it_was_watched(world, events, shown):
    joined = shown.join(world.items, on="item_id")
    assert (joined["shown_at"] >= joined["available_from"]).all()
    clicks = events.filter(pl.col("kind") == "click").select("user_id", "item_id", clicked="occurred_at")
    again = shown.join(clicks, on=["user_id", "item_id"]).filter(pl.col("shown_at") > pl.col("clicked"))
    assert again.is_empty()


def test_some_programmes_are_not_yet_out_and_some_videos_are_new(world):
    available = world.items["available_from"].dt.timestamp("us")
    assert (available >= CONFIG.end).sum() >= 0.02 * CONFIG.items
    assert ((available >= CONFIG.first) & (available < CONFIG.end)).mean() > 0.15
    assert (world.items["published_at"] <= world.items["available_from"]).all()
    assert (world.items["published_at"].dt.timestamp("us") < CONFIG.end).all()


def test_a_watch_is_no_longer_than_the_video_and_a_long_view_is_long(world, events):
    watches = events.filter(pl.col("kind") == "watch").join(world.items, on="item_id")
    assert (watches["value"] > 0).all()
    assert (watches["value"] <= watches["duration_seconds"]).all()
    share = CONFIG.long_view_share * pl.col("duration_seconds")
    expected = watches.filter(pl.col("value") >= pl.min_horizontal(share, pl.lit(CONFIG.long_view_seconds)))
    long_views = events.filter(pl.col("kind") == "long_view")["impression_id"].sort()
    assert expected["impression_id"].sort().to_list() == long_views.to_list()


def test_only_comments_have_words_and_follows_happen_once_a_channel(world, events):
    comments = events.filter(pl.col("kind") == "comment")
    assert comments.height
    assert comments["text"].null_count() == 0
    assert events.filter(pl.col("kind") != "comment")["text"].null_count() == events.height - comments.height
    follows = events.filter(pl.col("kind") == "follow").join(world.items, on="item_id")
    assert follows.select(pl.struct("user_id", "channel_id").is_unique().all()).item()


def test_titles_channels_and_lengths_look_like_a_video_site(world, events):
    items = world.items
    assert items["title"].n_unique() > 0.8 * CONFIG.items
    assert not items["title"].str.contains(r"[{}]").any()
    sizes = items.group_by("channel_id").len()["len"]
    assert sizes.max() > 4 * sizes.median()
    assert 0.2 < (items["duration_seconds"] <= 60).mean() < 0.7
    assert items["duration_seconds"].max() <= 3600
    assert items["categories"].list.len().is_between(1, 2).all()
    assert all(json.loads(text)["country"] for text in world.viewers["attributes"])
    counts = events.filter(pl.col("kind") == "long_view").group_by("item_id").len()["len"].sort(descending=True)
    assert counts.head(CONFIG.items // 10).sum() > 0.25 * counts.sum()
    assert counts.slice(CONFIG.items // 2).sum() < 0.2 * counts.sum()


def test_random_slots_keep_the_chance_they_had(world, events, shown):
    """Rebuilt from the log alone: one over what was out, not yet watched, and not already in the slate."""
    random = shown.filter(pl.col("policy_id") == "random_slot")
    assert 0.04 < random.height / shown.height < 0.13
    assert shown.filter(pl.col("policy_id") != "random_slot")["propensity"].is_null().all()
    out_at = np.sort(world.items["available_from"].dt.timestamp("us").to_numpy())
    n_out = np.searchsorted(out_at, random["shown_at"].dt.timestamp("us").to_numpy(), side="right")
    clicks = events.filter(pl.col("kind") == "click").select("user_id", clicked="occurred_at")
    watched = (
        random.join(clicks, on="user_id", how="left", maintain_order="left")
        .group_by("impression_id", maintain_order=True)
        .agg((pl.col("clicked") < pl.col("shown_at")).sum().alias("n"))
    )
    expected = 1.0 / (n_out - watched["n"].to_numpy() - random["position"].to_numpy())
    np.testing.assert_allclose(random["propensity"].to_numpy(), expected)


def test_the_truth_tells_what_the_log_only_hints_at(world, events, shown):
    assert json.loads((world.path / "truth" / "config.json").read_text())["seed"] == CONFIG.seed
    tastes = pl.read_parquet(world.path / "truth" / "tastes" / "*.parquet")
    assert tastes.height == CONFIG.viewers * CONFIG.days
    interest = truth(world, "shown.parquet")
    assert interest["impression_id"].to_list() == shown["impression_id"].to_list()
    assert interest["interest"].is_between(0, 1).all()
    clicked = interest["impression_id"].is_in(events.filter(pl.col("kind") == "click")["impression_id"].implode())
    likely = interest["interest"] > interest["interest"].median()
    assert clicked.filter(likely).mean() > 2 * clicked.filter(~likely).mean()


def test_what_was_watched_leads_to_the_next_episode(world, events):
    following = truth(world, "items.parquet").select("item_id", "next_item_id")
    liked = events.filter(pl.col("kind") == "long_view").join(following, on="item_id", maintain_order="left")
    awaited = liked.filter(pl.col("next_item_id").is_not_null()).select(
        "user_id", item_id="next_item_id", since="order"
    )
    later = awaited.join(liked.select("user_id", "item_id", "order"), on=["user_id", "item_id"])
    went_on = later.filter(pl.col("order") > pl.col("since")).height / awaited.height
    # Chance alone would bring a viewer to a given one of 500 videos about as often as to any other.
    by_chance = liked.height / CONFIG.viewers / CONFIG.items
    assert went_on > 5 * by_chance


def test_tastes_drift_unless_they_are_told_not_to(tmp_path, world):
    still = simulate_dataset(
        from_dict(SimulateConfig, {"viewers": 30, "items": 40, "days": 3, "drift": 0}), tmp_path / "w"
    )
    moved = []
    for dataset, last in ((still, 2), (world, CONFIG.days - 1)):
        tastes = pl.read_parquet(dataset.path / "truth" / "tastes" / "*.parquet")
        first, final = (np.stack(tastes.filter(pl.col("day") == day)["taste"].to_list()) for day in (0, last))
        moved.append(1 - float((first * final).sum(axis=1).mean()))
    assert abs(moved[0]) < 1e-5
    assert moved[1] > 0.05


def test_sequences_foretell_far_more_than_popularity(world):
    catalog = world.catalog()
    log = world.log().encode(world.users(), catalog.items, Signals(), positive=world.manifest.positive_kinds)
    stage = windows(log, "time").test
    users = stage.targets.users()
    queries = queries_of(stage.history, users, catalog, stage.now)
    context = FitContext(stage.history.histories(catalog.duration), catalog, stage.now)
    seen = [query.exclude for query in queries]
    targets = stage.targets.first()[users]
    follows, popular = (
        float(ndcg_at(mid_ranks(config.fit(context).scores(queries), targets, seen), 10).mean())
        for config in (Covisitation(), Popularity())
    )
    assert follows > 1.5 * popular


def test_pure_relevance_would_often_break_the_caps(world):
    """At least 30 in 100 slates of ten would show a channel thrice or a category five times."""
    catalog = world.catalog()
    tastes = pl.read_parquet(world.path / "truth" / "tastes" / "*.parquet").filter(pl.col("day") == CONFIG.days - 1)
    topics = np.stack(truth(world, "items.parquet")["topics"].to_list())
    top = np.argsort(-np.stack(tastes["taste"].to_list()) @ topics.T, axis=1)[:, :10]
    breaks = [
        np.bincount(catalog.channel[row]).max() > 2 or np.bincount(catalog.main_category[row]).max() > 4 for row in top
    ]
    assert np.mean(breaks) >= 0.3


def test_progress_counts_every_viewer(tmp_path):
    lived = []
    simulate_dataset(TINY, tmp_path / "w", lambda _note, viewers: lived.append(viewers))
    assert sum(lived) == TINY.viewers


def test_a_world_opens_again_as_it_was_written(tmp_path):
    written = simulate_dataset(TINY, tmp_path / "w")
    assert_frame_equal(open_dataset(tmp_path / "w").events.collect(), written.events.collect())


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"viewers": 0}, "viewers must be at least 1"),
        ({"days": -3}, "days must be at least 1"),
        ({"items": 5}, "items must be at least 20"),
        ({"seed": -1}, "a seed must lie between 0 and"),
        ({"sessions_per_week": 0.0}, "sessions_per_week must be above 0"),
        ({"sessions_per_week": float("nan")}, "sessions_per_week must be above 0"),
        ({"random_share": 1.5}, "random_share must lie between 0 and 1"),
        ({"new_share": 0.8, "upcoming_share": 0.2}, "together"),
        ({"items": 20, "slots": 11}, "slots must be at most half of items"),
        ({"start": "yesterday"}, "start must be a date"),
        ({"viewer": 3}, "Did you mean 'viewers'"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings, told):
    with pytest.raises(ConfigError, match=told):
        from_dict(SimulateConfig, settings)


def test_nothing_is_left_of_a_world_to_which_nobody_came(tmp_path):
    empty = from_dict(SimulateConfig, {"viewers": 1, "items": 20, "days": 1, "sessions_per_week": 1e-9})
    with pytest.raises(ConfigError, match="nobody came"):
        simulate_dataset(empty, tmp_path / "w")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(OutputExistsError):
        simulate_dataset(TINY, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
