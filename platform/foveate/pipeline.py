"""The story of one request, from start to end. Read this first.

The same :func:`recommend` runs in process (evaluation, ``foveate recommend``, ``foveate replay``) and over Ray Serve:
only the :class:`Stages` differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from foveate.messages import Candidates, Query, Ranked, RecommendRequest, RequestContext, Slate

Requests: TypeAlias = Sequence[RecommendRequest]
Contexts: TypeAlias = Sequence[RequestContext]


class Stages(Protocol):
    """What ``recommend`` calls, in this order. Each stage works on a batch; a single request is a batch of one."""

    async def hydrate(self, requests: Requests, contexts: Contexts) -> list[tuple[Query, int]]:
        """Read each viewer's history and its version, and gather what must not be shown."""
        ...

    async def retrieve(self, queries: Sequence[Query], contexts: Contexts) -> list[Candidates]:
        """Ask every candidate source and return the union."""
        ...

    async def rank(
        self, queries: Sequence[Query], candidates: Sequence[Candidates], contexts: Contexts
    ) -> list[Ranked]:
        """Build the features and score every candidate."""
        ...

    async def select(self, requests: Requests, ranked: Sequence[Ranked], contexts: Contexts) -> list[Slate]:
        """Choose the slate under the policy and its constraints."""
        ...
