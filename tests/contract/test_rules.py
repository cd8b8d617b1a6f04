"""What every rule of slates keeps, whichever it is: a new file in the folder is tested unasked."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from foveate.core.config import from_dict, to_dict
from foveate.core.errors import ConfigError
from foveate.slate.base import SlatePolicy
from foveate.slate.constraints import Constraints, broken
from foveate.slate.mmr import MMR
from foveate.slate.rules.base import Rule


def example(cls: type[Rule], **settings: Any) -> Rule:
    """The rule with its defaults, and a name where it asks for one."""
    fields = [field for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING]
    named: dict[str, Any] = {"category": "category 1", "channels": ("channel 1", "channel 2")}
    shares = {"share": 0.4} if hasattr(cls, "share") else {}
    return cls(**{field.name: named[field.name] for field in fields}, **shares, **settings)


by_name = pytest.mark.parametrize("cls", [cls for _, cls in Rule.variants.items()], ids=lambda cls: cls.name)


@by_name
def test_a_rule_is_read_as_it_is_written(cls: type[Rule]) -> None:
    rule = example(cls, soft=True)
    assert from_dict(Rule, to_dict(rule)) == rule
    with pytest.raises(ConfigError, match="unknown setting"):
        from_dict(Rule, {**to_dict(rule), "softly": True})


@by_name
def test_a_label_tells_every_setting(cls: type[Rule]) -> None:
    """Two rules of one kind must be told apart where an answer names them."""
    rule = example(cls)
    numbers = [f.name for f in dataclasses.fields(cls) if type(getattr(rule, f.name)) in (int, float)]
    assert numbers
    for name in numbers:
        other = dataclasses.replace(rule, **{name: getattr(rule, name) * 2})
        assert other.label != rule.label


@by_name
def test_groups_do_not_depend_on_scores_and_follow_the_candidates(cls: type[Rule], pools: Any) -> None:
    rng = np.random.default_rng(1)
    rule, pool = example(cls), pools.random(rng, 25, 4, 3, tags=4)
    groups = rule.groups(pool, 6)
    assert groups.members.dtype == bool
    assert groups.members.shape[1] == 25
    assert len(groups.members) >= 1, "a pool that the rule has nothing to say of would show nothing"
    rescored = dataclasses.replace(pool, relevance=rng.normal(size=25).astype(np.float32))
    np.testing.assert_array_equal(rule.groups(rescored, 6).members, groups.members)
    mixed = rng.permutation(25)
    np.testing.assert_array_equal(rule.groups(pool.take(mixed), 6).members, groups.members[:, mixed])


@by_name
@pytest.mark.parametrize("policy", [MMR(strength=0.5), SlatePolicy.variants["relevance"]()], ids=lambda p: p.name)
def test_a_rule_that_slates_would_break_is_kept(cls: type[Rule], policy: SlatePolicy, pools: Any) -> None:
    rng = np.random.default_rng(2)
    rule, would_break = example(cls), 0
    for _ in range(100):
        pool = pools.random(rng, 30, 5, 4, tags=4)
        free, held = (policy.select(pool, 3, Constraints(None, None, rules), seed=0) for rules in ((), (rule,)))
        would_break += bool(broken(pool, free.chosen, [rule], 3))
        assert not broken(pool, held.chosen, [rule], 3)
        assert held.relaxed == ()
    assert would_break >= 5, "a rule that nothing breaks would show nothing"
