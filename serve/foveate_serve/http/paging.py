"""Pages of one slate: a cursor says what earlier pages showed, so that any replica, by any bundle, can go on.

It carries marks of ids and not codes, for another bundle counts its items otherwise. What is in it is no secret; its
signature tells a damaged or forged cursor, and one of another request, from its own. Where no keys are asked for the
signature has no secret: everyone may ask for any moment there.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import struct
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from foveate.core.config import to_dict
from foveate.core.errors import RequestError
from foveate.core.messages import RecommendRequest, RequestContext, Slate
from foveate.data.catalog import marks_of

MOST_SHOWN: Final = 1000
"""Items that all pages together show, at most: a cursor grows with them."""

_MAY_CHANGE: Final = ("k", "deadline_ms", "seed_drawn")
"""What each page may ask anew, and what a server says of it."""
_VERSION: Final = 2
_DIGEST: Final = 16
_LAST: Final = 7_289_654_400_000_000
"""The first moment after the year 2200, UTC microseconds: no request is of a later one."""
_HEAD: Final = struct.Struct("<BqI")


@dataclass(frozen=True)
class Page:
    """Where a slate goes on.

    Parameters
    ----------
    now, seed
        Of the first page, UTC microseconds and below 2**32: the pages are of one moment.
    shown
        Marks of what was shown; see ``Catalog.marks``.
    """

    now: int
    seed: int
    shown: NDArray[np.uint32]


class CursorError(RequestError):
    """A cursor is damaged, forged or of another request."""


def resume(request: RecommendRequest, cursor: str | None, secret: bytes = b"") -> RecommendRequest:
    """Return a request for the page that a cursor names, the request itself without one.

    Parameters
    ----------
    secret
        What the server signs with, at most 64 bytes.

    Raises
    ------
    CursorError
        The cursor is damaged, forged or of another request.
    """
    if cursor is None:
        return request
    page = _read(request, cursor, secret)
    filters = replace(request.filters, shown_before=tuple(page.shown.tolist()))
    drawn = request.seed is None
    return replace(request, now=page.now, seed=page.seed, seed_drawn=drawn, filters=filters)


def next_cursor(
    asked: RecommendRequest,
    request: RecommendRequest,
    context: RequestContext,
    slate: Slate,
    *,
    secret: bytes = b"",
) -> str | None:
    """Return the cursor of the page after ``slate``; None where nothing is left, or enough was shown.

    Parameters
    ----------
    asked
        What the client asked, the same on every page.
    request
        What :func:`resume` made of it.
    secret
        As :func:`resume` takes it.
    """
    marks = marks_of([item.item_id for item in slate.items])
    shown = np.union1d(np.array(request.filters.shown_before, dtype=np.uint32), marks)
    if not slate.items or len(shown) > MOST_SHOWN:
        return None
    content = _HEAD.pack(_VERSION, context.now, context.seed) + shown.astype("<u4").tobytes()
    return base64.urlsafe_b64encode(_digest(asked, content, secret) + content).decode().rstrip("=")


def _read(request: RecommendRequest, cursor: str, secret: bytes) -> Page:
    try:
        whole = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _refused() from None
    digest, content = whole[:_DIGEST], whole[_DIGEST:]
    marks = len(content) - _HEAD.size
    signed = hmac.compare_digest(digest, _digest(request, content, secret))
    if marks < 0 or marks % 4 or marks > 4 * MOST_SHOWN or not signed:
        raise _refused()
    version, now, seed = _HEAD.unpack_from(content)
    if version != _VERSION or not 0 <= now < _LAST:
        raise _refused()
    return Page(now, seed, np.frombuffer(content, dtype="<u4", offset=_HEAD.size))


def _digest(request: RecommendRequest, content: bytes, secret: bytes) -> bytes:
    """Return the signature of a cursor and of all of its request that pages have in common."""
    asked = {name: value for name, value in to_dict(request).items() if name not in _MAY_CHANGE}
    content_asked = json.dumps(asked, sort_keys=True).encode()
    return hashlib.blake2b(content + content_asked, digest_size=_DIGEST, key=secret, person=b"foveate page").digest()


def _refused() -> CursorError:
    return CursorError(
        "the cursor is damaged or of another request: repeat all but 'k', 'explain' and 'deadline_ms' as it was, or"
        " ask without one"
    )
