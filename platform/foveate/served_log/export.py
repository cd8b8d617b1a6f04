"""From a store to a served log: what is new since the last time, once, whatever breaks off in between.

The folder's chain says up to where the store was read. Parts are written first, then the change that names them, and
last the store's cursor moves, which lets it drop what was read. A run that is killed before the change leaves strays,
which the next one removes; after one that is killed later the next moves the cursor.
"""

from __future__ import annotations

import io
import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl

from foveate.core.config import to_dict
from foveate.core.errors import ConfigError, StorageError
from foveate.core.progress import Progress
from foveate.data.overlay import WITHDRAWN, CatalogOverlay
from foveate.data.served.chain import (
    CHAIN,
    HEAD,
    ITEMS_FILE,
    Head,
    Link,
    check_signed,
    commit,
    read_chain,
    read_head,
    remove_strays,
)
from foveate.served_log.following import follow
from foveate.served_log.joining import Joiner
from foveate.served_log.parts import PartWriter
from foveate.served_log.pseudonyms import Pseudonyms
from foveate.state.base import (
    Export,
    ImpressionStore,
    KeptEvent,
    KeptRequest,
    ViewerStore,
    impression_id,
    request_of,
    utc_micros,
)
from foveate.state.connect import StatePlace, open_impressions, open_items, open_viewers, unhurried
from foveate.state.items import ItemStore
from foveate.state.overlay import followed
from foveate.storage.files import check_free, locked, sync_folder, write_durably
from foveate.storage.folder import reason
from foveate.storage.transfer import is_address

LOCK: Final = ".lock"
SETTLE_S: Final = 0.3
"""Seconds that are waited for impressions of a moment ago: a server writes them in batches, after its answers."""


@dataclass(frozen=True)
class Exported:
    """What one export added.

    Parameters
    ----------
    requests, impressions, events
        How many are new in the folder.
    joined
        How many of the events answer a known impression.
    parts
        Files that were added.
    erasures
        Erasures that were followed, now or in this run.
    """

    requests: int = 0
    impressions: int = 0
    events: int = 0
    joined: int = 0
    parts: int = 0
    erasures: int = 0

    def __str__(self) -> str:
        return (
            f"{self.impressions:,} impressions of {self.requests:,} requests and {self.events:,} events"
            f" ({self.joined:,} of them joined) are new, in {self.parts:,} parts"
        )


def export_log(
    state: StatePlace,
    out: str | Path,
    *,
    since: int | None = None,
    pseudonyms: str | Path | None = None,
    progress: Progress | None = None,
    clock: Callable[[], int] = utc_micros,
    settle_s: float = SETTLE_S,
) -> Exported:
    """Add what is new in a store to a served log, a folder that is made where it is absent.

    Parameters
    ----------
    state
        The store: a file, or a server's address. It may serve meanwhile.
    out
        The folder. Parts that are there are never changed, but for erasures.
    since
        UTC microseconds: what the store took before is passed over.
    pseudonyms
        A file of a key by which viewers' ids are replaced; texts of comments are then left out. The same key must be
        given every time.
    progress
        Called with one line of news a step.

    Returns
    -------
    Exported
        What is new.

    Raises
    ------
    StateError
        The store cannot be used.
    ConfigError
        The key cannot be used, or is another one than before; or ``out`` is an address.
    OutputExistsError
        ``out`` holds something else.
    DataError
        The chain of the folder is damaged, or was not made with this store.
    StorageError
        The disk is full.

    Examples
    --------
    >>> import foveate, tempfile
    >>> from foveate.state.base import ViewerEvent
    >>> from foveate.state.connect import open_viewers
    >>> folder = tempfile.mkdtemp()
    >>> with open_viewers(f"{folder}/state.sqlite") as store:
    ...     _ = store.append([ViewerEvent("u1", "v1", "like")])
    >>> foveate.export_log(f"{folder}/state.sqlite", f"{folder}/log").events
    1
    >>> foveate.export_log(f"{folder}/state.sqlite", f"{folder}/log").events
    0
    """
    if is_address(str(out)):
        raise ConfigError(f"out '{out}': a served log is written on a disk, where erased parts can be written anew")
    folder, place = Path(out), unhurried(state)
    names = None if pseudonyms is None else Pseudonyms.read(Path(pseudonyms))
    with ExitStack() as opened, _naming(folder):
        viewers = opened.enter_context(open_viewers(place, create=False))
        viewers.prepare()
        impressions = opened.enter_context(open_impressions(place, create=False))
        head = _head(folder, names)
        opened.enter_context(locked(folder / LOCK, progress))
        key_file = "" if pseudonyms is None else str(Path(pseudonyms).resolve())
        viewers.register_export(Export(head.name, str(folder.resolve()), key_file))
        run = _Run(folder, head, viewers, impressions, names, clock)
        followed = run.follow()
        time.sleep(settle_s)
        added = run.export(since, progress or _silent)
        _write_items(folder, opened.enter_context(open_items(place, create=False)))
        # Whoever erased a viewer while this ran may have found the folder locked.
        followed += run.follow()
        return Exported(**{**vars(added), "erasures": followed})


@dataclass
class _Run:
    """One export, in a folder that nobody else changes meanwhile."""

    folder: Path
    head: Head
    viewers: ViewerStore
    impressions: ImpressionStore
    names: Pseudonyms | None
    clock: Callable[[], int]
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("requests", "impressions", "events", "joined"), 0)
    )

    def follow(self) -> int:
        """Follow the erasures that are noted for this export."""
        erasures = self.viewers.pending(self.head.name)
        if erasures:
            secret = self.viewers.secret()
            follow(self.folder, erasures, self.names, secret, self.clock())
        for erasure_id, _ in erasures:
            self.viewers.followed(erasure_id, self.head.name)
        if erasures:
            self.viewers.wipe()
        return len(erasures)

    def export(self, since: int | None, say: Progress) -> Exported:
        """Write what is new, and tell the store."""
        links, secret, store = read_chain(self.folder), self.viewers.secret(), self.viewers.store_id()
        check_signed(self.folder, links, secret)
        remove_strays(self.folder, links)
        cursors = dict(links[-1].cursors) if links else {}
        events, requests = cursors.get(store, (0, 0))
        self._tell(events, requests)
        until = self.viewers.version()
        writer = PartWriter(self.folder, len(links) + 1)
        joiner = Joiner(self.impressions)
        for shown in self.impressions.since(requests):
            requests = shown[-1].sequence if shown else requests
            self._shown([one for one in shown if since is None or one.kept_at >= since], writer, joiner)
            say(f"read {self.counts['requests']:,} requests")
        for part in self.viewers.since(events, until):
            self._followed([one for one in part if since is None or one.received_at >= since], writer, joiner)
            say(f"read {self.counts['events']:,} events")
        parts = writer.finish()
        if parts or cursors.get(store) != (until, requests):
            cursors[store] = (until, requests)
            previous = links[-1].digest if links else ""
            link = Link(len(links) + 1, previous, self.clock(), "export", cursors, parts)
            commit(self.folder, link.signed(secret))
        self._tell(until, requests)
        return Exported(**self.counts, parts=len(parts))

    def _tell(self, events: int, requests: int) -> None:
        """Tell the store what this export has on the disk."""
        self.viewers.move_export(self.head.name, events)
        self.impressions.move_export(self.head.name, requests)

    def _shown(self, requests: list[KeptRequest], writer: PartWriter, joiner: Joiner) -> None:
        for kept in requests:
            joiner.remember(kept.served)
            self.counts["requests"] += 1
            for row in _shown_rows(kept, self.names):
                self.counts["impressions"] += 1
                writer.add("impressions", kept.kept_at, row)

    def _followed(self, events: list[KeptEvent], writer: PartWriter, joiner: Joiner) -> None:
        for kept in events:
            known, joined_by = joiner.join(kept)
            self.counts["events"] += 1
            self.counts["joined"] += known is not None
            writer.add("events", kept.received_at, _event_row(kept, known, joined_by, self.names))


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Say where it was that the disk failed."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"'{folder}' cannot be written: {reason(error)}") from error


def _write_items(folder: Path, store: ItemStore) -> None:
    """Write what is known of the items that were put and not withdrawn."""
    overlay = followed(CatalogOverlay(), store)
    if overlay.version:
        items, staged = io.BytesIO(), folder / f".{ITEMS_FILE}"
        overlay.frame.filter(~pl.col(WITHDRAWN)).drop(WITHDRAWN).write_parquet(items)
        write_durably(staged, items.getvalue())
        staged.replace(folder / ITEMS_FILE)
        sync_folder(folder)


def _head(folder: Path, names: Pseudonyms | None) -> Head:
    """Return what a folder is, made where it is absent."""
    fingerprint = "" if names is None else names.fingerprint
    if not (folder / HEAD).exists():
        # What a run that broke off at once has left is no reason to refuse.
        if not folder.is_dir() or not {one.name for one in folder.iterdir()} <= {LOCK, CHAIN, f".{HEAD}"}:
            check_free(folder)
        (folder / CHAIN).mkdir(parents=True, exist_ok=True)
        with locked(folder / LOCK):
            # Another export may have begun it meanwhile.
            if not (folder / HEAD).exists():
                staged = folder / f".{HEAD}"
                write_durably(staged, json.dumps(to_dict(Head(uuid.uuid4().hex[:16], fingerprint))).encode())
                staged.replace(folder / HEAD)
                sync_folder(folder)
    head = read_head(folder)
    if head.pseudonyms != fingerprint:
        was = f"the key {head.pseudonyms}" if head.pseudonyms else "no key"
        raise ConfigError(f"'{folder}' was begun with {was} of pseudonyms, and this is another: ids would not agree")
    return head


def _shown_rows(kept: KeptRequest, names: Pseudonyms | None) -> list[tuple[Any, ...]]:
    slate, context = kept.served.slate, kept.served.context
    user_id = slate.user_id or None
    if user_id is not None and names is not None:
        user_id = names.of(user_id)
    return [
        (
            impression_id(slate.request_id, item.position),
            slate.request_id,
            user_id,
            item.item_id,
            item.position,
            context.surface,
            context.now,
            kept.kept_at,
            kept.sequence,
            slate.bundle_id,
            None,
            slate.policy_id,
            item.policy,
            item.propensity,
            slate.feature_schema,
            item.features.tolist(),
            list(item.sources),
            item.score,
            slate.state_version,
            list(slate.degraded),
        )
        for item in slate.items
    ]


def _event_row(kept: KeptEvent, known: str | None, joined_by: str | None, names: Pseudonyms | None) -> tuple[Any, ...]:
    event = kept.event
    user_id, event_id, text = event.user_id, event.event_id, event.text
    if names is not None:
        # A client may make ids of events of its viewers' ids, and nobody knows what a comment says.
        user_id, event_id, text = names.of(user_id), event_id and names.of(event_id), None
    return (
        event_id,
        known,
        joined_by,
        request_of(known) if known else event.request_id,
        user_id,
        event.item_id,
        event.kind,
        event.value,
        text,
        event.occurred_at,
        kept.received_at,
        kept.version,
    )


def _silent(line: str) -> None:
    del line
