"""How a store knows again whom it has erased, without keeping their ids: what was on its way then is not kept.

A store keeps a keyed digest of each erased viewer and the moment of the erasure. What arrived up to that moment is
refused from then on: a batch that still waited, a backup that is put back, a copy.
"""

from __future__ import annotations

import hashlib
from typing import Final

from foveate.core.errors import RequestError
from foveate.state.base import ServedRequest

_SLACK_US: Final = 60_000_000
"""Microseconds by which the clocks of replicas may differ."""


def viewer_digest(secret: bytes, user_id: str) -> str:
    """Return the keyed digest of a viewer's id (BLAKE2b, RFC 7693), hexadecimal."""
    return hashlib.blake2b(user_id.encode("utf-8", "surrogatepass"), key=secret[:64], digest_size=32).hexdigest()


def asked_at(served: ServedRequest) -> int:
    """Return the moment to compare with an erasure's: what is not later was asked before it, or in the minute after.

    The deadline tells it by the clock of the server; a request's own moment may be one that a client has named.
    """
    return served.context.deadline - _SLACK_US


def check_erasable(user_id: str) -> None:
    """Refuse an id that is no viewer's.

    Raises
    ------
    RequestError
        It is empty: that is how anonymous visitors are kept.
    """
    if not user_id:
        raise RequestError("the id of the viewer to erase is empty: anonymous visitors have none")
