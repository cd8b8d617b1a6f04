"""Whatever its size and habits, a world is well formed or refused."""

import tempfile
from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from foveate.core.config import LARGEST_SEED
from foveate.core.errors import ConfigError
from foveate.data.schema import REQUIRED
from foveate.data.world.simulate import SimulateConfig, simulate_dataset

CONFIGS = st.builds(
    SimulateConfig,
    viewers=st.integers(1, 25),
    items=st.integers(20, 60),
    days=st.integers(1, 5),
    seed=st.integers(0, LARGEST_SEED),
    slots=st.integers(1, 10),
    sessions_per_week=st.floats(0.1, 20),
    random_share=st.floats(0, 1),
    new_share=st.floats(0, 0.5),
    upcoming_share=st.floats(0, 0.4),
    drift=st.floats(0, 3),
)


@settings(max_examples=25, deadline=None)
@given(CONFIGS)
def test_any_world_is_well_formed(config):
    with tempfile.TemporaryDirectory() as folder:
        try:
            world = simulate_dataset(config, Path(folder) / "w")
        except ConfigError:
            # So few viewers on so few days that nobody came: nothing may be left.
            assert not any(Path(folder).iterdir())
            assert config.viewers * config.days * config.sessions_per_week < 1000
            return
        shown, events = world.impressions.collect(), world.events.collect()
    for name, frame in (("impressions", shown), ("events", events), ("items", world.items), ("viewers", world.viewers)):
        assert frame.height == world.manifest.rows[name]
        assert sum(frame.select(pl.col(REQUIRED[name]).null_count()).row(0)) == 0
    assert (shown["position"] < config.slots).all()
    first = shown.group_by("request_id").agg(pl.col("position").min(), n=pl.len(), last=pl.col("position").max())
    assert (first["position"] == 0).all()
    assert (first["n"] == first["last"] + 1).all()
    times = shown["shown_at"].dt.timestamp("us")
    assert config.first <= times.min() <= times.max() < config.end
    out = shown.join(world.items, on="item_id")
    assert (out["available_from"] <= out["shown_at"]).all()
    random = shown.filter(pl.col("policy_id") == "random_slot")["propensity"]
    assert random.null_count() == 0
    assert random.is_between(1 / config.items, 1).all()
