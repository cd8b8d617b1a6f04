"""What a user may ask of the sizes of a running server, and how two slates are compared by a shadow."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from foveate.bundle import Bundle
from foveate.core.config import from_dict
from foveate.core.errors import ConfigError
from foveate.core.messages import Slate, SlateItem
from foveate_serve.app import application_settings, start
from foveate_serve.bundles.slots import Status
from foveate_serve.config import AutoscalingConfig, ServeConfig, ShadowConfig
from foveate_serve.graph import deployment_settings
from foveate_serve.operations.scaling import Size, sizes_of
from foveate_serve.stages.shadow import Compared, Difference, difference_of, in_share, summary


def test_sizes_are_read() -> None:
    wanted = sizes_of(["ranker=4", "retriever=1..3", "ingress=2..8@16"])
    assert wanted == {"ranker": Size(4), "retriever": Size(1, 3), "ingress": Size(2, 8, 16.0)}
    assert [str(one) for one in wanted.values()] == ["4", "1..3", "2..8@16"]


@pytest.mark.parametrize(
    "text", ["ranker", "ranker=", "ranker=-1", "ranker=0", "ranker=4..2", "ranker=1..2@0", "a b=1"]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"ranker|a b"):
        sizes_of([text])


def test_a_name_stands_once() -> None:
    with pytest.raises(ConfigError, match="twice"):
        sizes_of(["ranker=1", "ranker=2"])


def test_autoscaling_goes_into_serves_config() -> None:
    config = from_dict(ServeConfig, {"ranker": {"autoscaling": {"most": 4}}, "shadow": {"bundle": "two"}})
    assert config.ranker.autoscaling == AutoscalingConfig(1, 4)
    settings = {one["name"]: one for one in deployment_settings(config, Path("/one"))}
    assert settings["ranker"]["autoscaling_config"]["max_replicas"] == 4
    assert "num_replicas" not in settings["ranker"]
    assert settings["retriever"]["num_replicas"] == 1
    assert settings["shadow"]["user_config"] == {"bundle": str(Path("two").resolve())}
    assert settings["ranker"]["user_config"] == {"bundle": "/one"}
    for bad in ({"least": 0}, {"least": 3, "most": 2}, {"ongoing": 0}):
        with pytest.raises(ConfigError):
            from_dict(AutoscalingConfig, bad)
    for bad in ({"share": 1.5}, {"ongoing": 0}, {"cpus": 0}):
        with pytest.raises(ConfigError):
            from_dict(ShadowConfig, bad)


def test_custom_resources_keep_the_ingress_and_its_shadow_beside_the_viewers_file() -> None:
    config = from_dict(ServeConfig, {"ingress": {"resources": {"state": 0.01}}, "shadow": {"bundle": "two"}})
    asked = {one["name"]: one["ray_actor_options"]["resources"] for one in deployment_settings(config, Path("/one"))}
    assert asked == {"ingress": {"state": 0.01}, "shadow": {"state": 0.01}, "retriever": {}, "ranker": {}}
    for bad in ({"GPU": 1}, {"state": 0}, {"state": 1.5}, {"state": float("nan")}):
        with pytest.raises(ConfigError, match=r"resources"):
            from_dict(ServeConfig, {"ingress": {"resources": bad}})


def test_copies_are_kept_apart_where_that_is_asked_for(small_bundle: Bundle) -> None:
    config = from_dict(ServeConfig, {"ingress": {"replicas": 2, "most_per_node": 1}})
    settings = {one["name"]: one for one in deployment_settings(config, Path("/one"))}
    assert settings["ingress"]["max_replicas_per_node"] == 1
    assert "max_replicas_per_node" not in settings["ranker"]
    for bad in (-1, 101):
        with pytest.raises(ConfigError, match="most_per_node"):
            from_dict(ServeConfig, {"ingress": {"most_per_node": bad}})
    # One machine is one node: the second copy would never come.
    with (
        pytest.raises(ConfigError, match=r"ingress\.most_per_node.*--address"),
        start(small_bundle.path, config=config),
    ):
        pass


def test_serve_is_given_only_what_is_not_as_usual() -> None:
    given = {
        "topology": "fused",
        "ingress": {"replicas": 2, "resources": {"state": 0.01}},
        "access": {"origins": ["*"]},
    }
    config = from_dict(ServeConfig, given)
    args = application_settings(Path("/one"), Path("/state"), config)["args"]
    assert args == {"config": given, "state": "/state"}
    assert from_dict(ServeConfig, args["config"]) == config
    assert application_settings(Path("/one"), Path("/state"), ServeConfig())["args"]["config"] == {}


def slate(scores: dict[str, float]) -> Slate:
    nothing = np.empty(0, dtype=np.float32)
    items = tuple(SlateItem(item, at, score, (), nothing) for at, (item, score) in enumerate(scores.items()))
    return Slate("r", "u", "b", "p", "f", items)


def test_two_slates_are_compared() -> None:
    served, shadow = slate({"a": 1.0, "b": 0.5, "c": 0.2, "d": 0.1}), slate({"b": 0.7, "a": 1.1, "x": 9.0})
    found = difference_of(served, shadow, 0.02, 0.03)
    assert found.overlap == 0.5
    assert found.score == pytest.approx(0.15)
    same = difference_of(served, served, 0.02, 0.05)
    assert (same.overlap, same.score) == (1.0, 0.0)
    assert difference_of(slate({}), slate({}), 0, 0).overlap == 1.0
    assert difference_of(served, slate({"x": 1.0}), 0, 0).score is None
    told = summary([Compared(Status("shadow", "b2", None, None), (found, same), failed=1)])
    assert (told["compared"], told["failed"], told["same"], told["bundle_id"]) == (2, 1, 1, "b2")
    assert told["overlap"] == pytest.approx(0.75)
    assert told["shadow_took_ms"] == pytest.approx(40)
    assert summary([])["overlap"] is None


def test_what_shadows_have_compared_is_summed_over_all_of_them() -> None:
    def difference(name: str, overlap: float, score: float | None, took_s: float, *, same: bool = False) -> Difference:
        return Difference(name, overlap, score, took_s, 2 * took_s, ("x",), ("x",) if same else ("y",))

    first = [difference(f"r{at}", overlap, None, 0.010) for at, overlap in enumerate((0.9, 0.1, 0.8, 0.5))]
    second = [
        difference("r4", 0.2, 0.5, 0.030),
        difference("r5", 0.3, 0.1, 0.030),
        difference("r6", 1.0, 0.0, 0.030, same=True),
    ]
    found = summary(
        [
            Compared(Status("shadow", None, None, "it loads"), tuple(first), failed=1),
            Compared(Status("shadow", "b2", None, None), tuple(second), failed=2),
            Compared(Status("shadow", "b3", None, "it is full")),
        ]
    )
    worst = found.pop("worst")
    assert found == {
        "bundle_id": "b2",
        "problem": "it loads",
        "compared": 7,
        "failed": 3,
        "same": 1,
        "overlap": pytest.approx(3.8 / 7),
        "score_difference": pytest.approx(0.2),
        "took_ms": pytest.approx(130 / 7),
        "shadow_took_ms": pytest.approx(260 / 7),
    }
    assert [one["request_id"] for one in worst] == ["r1", "r4", "r5", "r3", "r2"]  # type: ignore[attr-defined]
    assert worst[0] == {  # type: ignore[index]
        "request_id": "r1",
        "overlap": 0.1,
        "score": None,
        "took_s": 0.010,
        "shadow_took_s": 0.020,
        "served": ("x",),
        "shadow": ("y",),
    }


def test_a_summary_of_nothing_is_empty() -> None:
    nothing = dict.fromkeys(("bundle_id", "problem", "overlap", "score_difference", "took_ms", "shadow_took_ms"), None)
    assert summary([]) == {**nothing, "compared": 0, "failed": 0, "same": 0, "worst": []}


def test_the_share_of_a_shadow_is_kept_and_settled_by_the_request() -> None:
    ids = [f"request {number}" for number in range(4000)]
    taken = [one for one in ids if in_share(one, 0.25)]
    assert 0.22 < len(taken) / len(ids) < 0.28
    assert taken == [one for one in ids if in_share(one, 0.25)]
    assert all(in_share(one, 1.0) for one in ids)
    own = zlib.crc32(ids[0].encode())
    assert [in_share(ids[0], number / 2**32) for number in (own, own + 1)] == [False, True]
    assert not any(in_share(one, 0.0) for one in ids)
