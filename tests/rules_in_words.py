"""Random rules, and whether a slate keeps one by the rule's own words, without the arrays that slates are made with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from foveate.slate.inputs import SlateInput
from foveate.slate.rules.at_most import AtMost
from foveate.slate.rules.base import Rule
from foveate.slate.rules.fresh import Fresh
from foveate.slate.rules.small_channel import SmallChannel

rules = st.one_of(
    st.builds(
        lambda of, most, wider, soft: AtMost(of=of, most=most, window=most + wider if wider else None, soft=soft),
        st.sampled_from(["channel", "category", "tag"]),
        st.integers(1, 2),
        st.integers(0, 2),
        st.booleans(),
    ),
    st.builds(Fresh, least=st.integers(1, 2), days=st.just(8.0), soft=st.booleans()),
    st.builds(SmallChannel, quantile=st.just(0.4), soft=st.booleans()),
)


def holds(pool: SlateInput, slate: Sequence[int], rule: Rule, places: int) -> bool:
    """Say whether a slate of ``places``, or the beginning of one, keeps a rule."""
    if isinstance(rule, AtMost):
        own = {"channel": pool.channel, "category": pool.category}
        of_item = [
            np.flatnonzero(pool.tags[i]).tolist() if rule.of == "tag" else [c for c in [own[rule.of][i]] if c >= 0]
            for i in slate
        ]
        width = rule.window or len(slate)
        windows = [of_item[at : at + width] for at in range(max(1, len(slate) - width + 1))]
        return all(max(Counter(c for codes in w for c in codes).values(), default=0) <= rule.most for w in windows)
    member = pool.age_days <= 8.0 if isinstance(rule, Fresh) else pool.channel_standing < 0.4
    return sum(not member[i] for i in slate) <= max(0, places - rule.least)
