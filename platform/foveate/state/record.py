"""A served request as bytes: what both stores keep of what viewers were shown.

The first byte is the format. Format 3 is a zlib stream of the length of a JSON text (4 bytes, little-endian), the text,
and the features of all items: float32, those of one column side by side, and of the numbers first all their first
bytes, then all second ones, and so on, which packs to about half. Format 2 is the same without the items' slot policies
and propensities. Records of the Redis store were a zlib stream of a JSON text alone before; they begin with the byte
that begins such a stream.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from foveate.core.config import from_dict, to_dict
from foveate.core.errors import StateError
from foveate.core.messages import RecommendRequest, RequestContext, Slate, SlateItem
from foveate.state.base import ServedRequest

FORMAT: Final = 3
_WITHOUT_ODDS: Final = 2
_ZLIB: Final = 0x78
_LENGTH: Final = struct.Struct("<I")
_LEVEL: Final = 1

_OF_SLATE: Final = (
    "request_id",
    "user_id",
    "bundle_id",
    "policy_id",
    "feature_schema",
    "relaxed",
    "relevance_paid",
    "state_version",
    "degraded",
)


def pack(served: ServedRequest) -> bytes:
    """Return the bytes of a served request."""
    slate = {name: getattr(served.slate, name) for name in _OF_SLATE}
    return pack_plain(to_dict(served.request), to_dict(served.context), slate, served.slate.items)


def pack_plain(
    request: Mapping[str, Any], context: Mapping[str, Any], slate: Mapping[str, Any], items: Sequence[SlateItem]
) -> bytes:
    """Return the bytes of a served request whose parts but for the items are plain values already."""
    record = {
        "request": request,
        "context": context,
        "slate": slate,
        "items": [
            (one.item_id, one.position, float(one.score), one.sources, one.policy, one.propensity, len(one.features))
            for one in items
        ],
    }
    text = json.dumps(record, separators=(",", ":")).encode()
    content = _LENGTH.pack(len(text)) + text + _shuffled([one.features for one in items])
    return bytes([FORMAT]) + zlib.compress(content, _LEVEL)


def unpack(packed: bytes) -> ServedRequest:
    """Return the served request that bytes were made of.

    Raises
    ------
    StateError
        A newer Foveate made them, or they are damaged.
    """
    try:
        if packed[0] == _ZLIB:
            return _unpacked_text(json.loads(zlib.decompress(packed)))
        if packed[0] not in (_WITHOUT_ODDS, FORMAT):
            raise StateError(f"a record of what was shown is of format {packed[0]}, this Foveate reads {FORMAT}")
        content = zlib.decompress(packed[1:])
        start = _LENGTH.size + _LENGTH.unpack_from(content)[0]
        record = json.loads(content[_LENGTH.size : start])
        features = _ordered(content[start:], [item[-1] for item in record["items"]])
    except (ValueError, IndexError, zlib.error, struct.error) as error:
        raise StateError(f"a record of what was shown is damaged: {error}") from error
    items = [
        SlateItem(item_id, position, score, tuple(sources), own, *(odds or (None, None)))
        for (item_id, position, score, sources, *odds, _), own in zip(record["items"], features, strict=True)
    ]
    return _served_of(record, items)


def _shuffled(features: Sequence[NDArray[np.float32]]) -> bytes:
    lengths = {len(own) for own in features}
    flat = np.concatenate([np.asarray(own, dtype="<f4") for own in features]) if features else np.empty(0, "<f4")
    if len(lengths) == 1:
        flat = flat.reshape(len(features), -1).T.ravel()
    return flat.view(np.uint8).reshape(-1, 4).T.tobytes()


def _ordered(content: bytes, lengths: Sequence[int]) -> list[NDArray[np.float32]]:
    flat = np.frombuffer(content, dtype=np.uint8).reshape(4, -1).T.copy().view("<f4").ravel().astype(np.float32)
    if len(set(lengths)) == 1:
        flat = flat.reshape(-1, len(lengths)).T.ravel()
    return [own.copy() for own in np.split(flat, np.cumsum(lengths)[:-1])] if lengths else []


def _unpacked_text(record: Mapping[str, Any]) -> ServedRequest:
    items = [
        SlateItem(item_id, position, score, tuple(sources), _decoded(features))
        for item_id, position, score, sources, features in record["items"]
    ]
    return _served_of(record, items)


def _decoded(features: str) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(features), dtype="<f4").astype(np.float32)


def _served_of(record: Mapping[str, Any], items: Sequence[SlateItem]) -> ServedRequest:
    """Return a served request of a record's plain values (``request``, ``context``, ``slate``) and its items."""
    slate = {**record["slate"]}
    slate |= {name: tuple(slate[name]) for name in ("relaxed", "degraded")}
    return ServedRequest(
        request=from_dict(RecommendRequest, record["request"]),
        context=from_dict(RequestContext, record["context"]),
        slate=Slate(items=tuple(items), **slate),
    )
