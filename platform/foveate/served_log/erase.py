"""Erasing a viewer from everything that is known of them: the store, the files beside bundles, and every export.

The certificate says what was done where, and what is left to do and when. It does not hold the viewer's id, but a
digest with a nonce, by which whoever knows the id sees that it was meant.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from foveate.bundle import default_state
from foveate.bundle.manifest import read_manifest
from foveate.core.config import to_dict
from foveate.core.errors import FoveateError
from foveate.data.served.chain import HEAD, read_head
from foveate.served_log.export import LOCK
from foveate.served_log.following import follow
from foveate.served_log.pseudonyms import Pseudonyms
from foveate.state.base import Erased, Export, ImpressionStore, ViewerStore, utc_micros
from foveate.state.connect import StatePlace, file_of, open_impressions, open_viewers, unhurried, without_password
from foveate.storage.files import locked

_LATER: Final = "the next 'foveate log export' into it follows the erasure first, and so does erasing again"


@dataclass(frozen=True)
class StoreErasure:
    """What was erased from one store, and whether its bytes are gone; see :class:`foveate.state.base.Erased`."""

    place: str
    events: int
    requests: int
    sessions: int
    wiped: bool
    remainder: str = ""


@dataclass(frozen=True)
class ExportErasure:
    """How one export followed.

    Parameters
    ----------
    done
        Whether no part of it holds the viewer any more.
    rows
        How many rows went.
    change
        The hash of the change on its chain; empty where no part held the viewer.
    remainder
        Why it is not done, and when it will be.
    """

    name: str
    folder: str
    done: bool
    rows: int = 0
    change: str = ""
    remainder: str = ""


@dataclass(frozen=True)
class BundleTrace:
    """A bundle that may have learned from the viewer.

    Parameters
    ----------
    learned
        ``yes``: it learned from what was logged after the viewer's first event, or nobody knows until when it learned;
        ``unknown``: its folder cannot be read from here.
    data_hash
        The dataset that it learned from.
    """

    bundle_id: str
    learned: Literal["yes", "unknown"]
    data_hash: str = ""


@dataclass(frozen=True)
class Certificate:
    """What came of an erasure.

    Parameters
    ----------
    erasure_id
        Names it.
    viewer
        SHA-256 of ``nonce`` and the viewer's id, hexadecimal.
    erased_at
        UTC microseconds.
    stores, exports, bundles
        What was done, and who had learned from the viewer.
    signature
        HMAC-SHA256 of all the rest under the store's own secret.
    """

    erasure_id: str
    nonce: str
    viewer: str
    erased_at: int
    stores: tuple[StoreErasure, ...]
    exports: tuple[ExportErasure, ...] = ()
    bundles: tuple[BundleTrace, ...] = ()
    signature: str = ""

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return all(one.wiped for one in self.stores) and all(one.done for one in self.exports)

    def is_about(self, user_id: str) -> bool:
        """Whether it is about this viewer."""
        return hmac.compare_digest(self.viewer, _digest(self.nonce, user_id))

    def is_signed(self, secret: bytes) -> bool:
        """Whether the signature is the store's."""
        return hmac.compare_digest(self.signature, self._signature(secret))

    def signed(self, secret: bytes) -> Certificate:
        """Return the certificate with its signature."""
        return replace(self, signature=self._signature(secret))

    def _signature(self, secret: bytes) -> str:
        content = json.dumps(to_dict(replace(self, signature="")), sort_keys=True).encode()
        return hmac.new(secret, content, hashlib.sha256).hexdigest()


def erase_viewer(state: StatePlace, user_id: str, *, clock: Callable[[], int] = utc_micros) -> Certificate:
    """Erase a viewer from a store, from the files of viewers beside its bundles, and from its registered exports.

    It may be done again, as where a reader kept the log of a file: what is left is done then.

    Parameters
    ----------
    state
        The store: a file, or a server's address. It may serve meanwhile.
    user_id
        The viewer.

    Returns
    -------
    Certificate
        What was done, what is left, and which bundles had learned from the viewer.

    Raises
    ------
    RequestError
        The id is empty.
    StateError
        The store cannot be used: nothing is erased.

    Examples
    --------
    >>> import foveate, tempfile
    >>> from foveate.state.base import ViewerEvent
    >>> from foveate.state.connect import open_viewers
    >>> folder = tempfile.mkdtemp()
    >>> with open_viewers(f"{folder}/state.sqlite") as store:
    ...     _ = store.append([ViewerEvent("u1", "v1", "like")])
    >>> certificate = foveate.erase_viewer(f"{folder}/state.sqlite", "u1")
    >>> certificate.done, certificate.stores[0].events
    (True, 1)
    """
    place = unhurried(state)
    with ExitStack() as opened:
        viewers = opened.enter_context(open_viewers(place, create=False))
        impressions = opened.enter_context(open_impressions(place, create=False))
        return erase_from(viewers, impressions, state, user_id, clock=clock)


def erase_from(
    viewers: ViewerStore,
    impressions: ImpressionStore,
    place: StatePlace,
    user_id: str,
    *,
    clock: Callable[[], int] = utc_micros,
) -> Certificate:
    """Erase a viewer as :func:`erase_viewer` does, by stores that are open.

    Parameters
    ----------
    place
        What the stores were opened by.
    """
    # A viewer whose id is still needed for an export that was away has been erased from the store already.
    erased = viewers.erase(user_id)
    bundles = impressions.bundles()
    secret, now = viewers.secret(), clock()
    stores: list[StoreErasure] = []
    exports: list[ExportErasure] = []
    firsts = [erased.first]
    for file in _beside(bundles.values(), place):
        try:
            with open_viewers(file, create=False) as others:
                found = others.erase(user_id)
                exports += _followed(others, now)
                remainder = others.wipe()
        except FoveateError as error:
            stores.append(StoreErasure(str(file), 0, 0, 0, wiped=False, remainder=f"{error}: mend it, and erase again"))
            continue
        if found.events or found.requests or remainder:
            stores.append(_store(str(file), found, remainder))
            firsts.append(found.first)
    exports = [*_followed(viewers, now), *exports]
    # Last, for the store needs the viewer's id until its exports have followed.
    stores.insert(0, _store(without_password(place), erased, viewers.wipe()))
    known = [first for first in firsts if first is not None]
    had_any = bool(known) or any(one.rows for one in exports)
    nonce = secrets.token_hex(16)
    certificate = Certificate(
        erasure_id=erased.erasure_id,
        nonce=nonce,
        viewer=_digest(nonce, user_id),
        erased_at=now,
        stores=tuple(stores),
        exports=tuple(exports),
        bundles=tuple(_traces(bundles, min(known, default=None))) if had_any else (),
    ).signed(secret)
    viewers.keep_certificate(certificate.erasure_id, json.dumps(to_dict(certificate)))
    return certificate


def _store(place: str, erased: Erased, remainder: str) -> StoreErasure:
    return StoreErasure(place, erased.events, erased.requests, erased.sessions, not remainder, remainder)


def _beside(bundles: Iterable[Path], place: StatePlace) -> Iterator[Path]:
    """Yield the files of viewers that trainings wrote beside bundles, but for the store itself."""
    own = file_of(place)
    for file in sorted({default_state(bundle) for bundle in bundles}):
        if file.is_file() and not (own is not None and own.exists() and file.samefile(own)):
            yield file


def _followed(viewers: ViewerStore, now: int) -> list[ExportErasure]:
    """Have every export of a store follow."""
    secret = viewers.secret()
    return [_follow(viewers, export, secret, now) for export in viewers.exports() if export.folder]


def _follow(viewers: ViewerStore, export: Export, secret: bytes, now: int) -> ExportErasure:
    """Have one export follow all that it has to; where it cannot be reached now, it does later."""
    folder = Path(export.folder)
    try:
        if not (folder / HEAD).is_file():
            raise FileNotFoundError(f"'{folder}' cannot be reached from here")
        names = Pseudonyms.read(Path(export.key_file)) if export.key_file else None
        with locked(folder / LOCK, wait=False):
            if read_head(folder).name != export.name:
                raise FileNotFoundError(f"'{folder}' is another export now")
            erasures = list(viewers.pending(export.name))
            link, rows = follow(folder, erasures, names, secret, now)
    except BlockingIOError:
        remainder = "an export is under way, and follows the erasure at its end"
        return ExportErasure(export.name, export.folder, done=False, remainder=remainder)
    except (OSError, FoveateError) as error:
        return ExportErasure(export.name, export.folder, done=False, remainder=f"{error}; {_LATER}")
    for erasure_id, _ in erasures:
        viewers.followed(erasure_id, export.name)
    return ExportErasure(export.name, export.folder, done=True, rows=rows, change=link.digest if link else "")


def _traces(bundles: Mapping[str, Path], first: int | None) -> Iterator[BundleTrace]:
    for bundle_id, path in sorted(bundles.items()):
        try:
            manifest = read_manifest(path)
        except FoveateError:
            yield BundleTrace(bundle_id, "unknown")
            continue
        if first is None or manifest.learned_until is None or first < manifest.learned_until:
            yield BundleTrace(bundle_id, "yes", manifest.data_hash)


def _digest(nonce: str, user_id: str) -> str:
    return hashlib.sha256(f"{nonce}:{user_id}".encode("utf-8", "surrogatepass")).hexdigest()
