"""The chain of a served log: one small file a change of the folder, each with the hash of the one before.

::

    DIR/export.json                    what the folder is
        chain/000001.json              what was added and removed, up to where the store was read, and a signature
        impressions/2026-12-01/000001-0000.parquet
        events/2026-12-01/000001-0000.parquet

A change counts once its file in ``chain`` is there. A part that no file names is left of a run that broke off.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from foveate.core.config import from_dict, to_dict
from foveate.core.errors import ConfigError, ReaderError
from foveate.data.served.columns import COLUMNS, Table
from foveate.storage.files import sha256_of, sync_folder, write_durably

FORMAT: Final = 1
HEAD: Final = "export.json"
ITEMS_FILE: Final = "items.parquet"
"""What is known of the items that were put into the catalogue while it served; it names no viewer, and is replaced."""
CHAIN: Final = "chain"

Reason = Literal["export", "erasure"]


@dataclass(frozen=True)
class Head:
    """What a served log is.

    Parameters
    ----------
    name
        Under which the store knows it.
    pseudonyms
        The fingerprint of the key by which viewers' ids were replaced; empty where they are as they were.
    """

    name: str
    pseudonyms: str = ""
    format: int = FORMAT


@dataclass(frozen=True)
class Part:
    """One file of rows; ``path`` is within the folder, ``date`` the UTC day on which the store took its rows."""

    path: str
    table: Table
    date: str
    rows: int
    sha256: str


@dataclass(frozen=True)
class Link:
    """One change of a served log.

    Parameters
    ----------
    number
        Counted from 1.
    previous
        SHA-256 of the file of the change before; empty for the first.
    made_at
        UTC microseconds.
    reason
        ``export`` for what is new in the store; ``erasure`` where parts were written anew without a viewer.
    cursors
        By the store's id, up to which event and which request it was read.
    added, removed
        Parts that came, and the paths of those that went.
    erasures
        The ids of the erasures that this change follows.
    signature
        HMAC-SHA256 of all the rest under the store's own secret: only who has the store can make a change.
    """

    number: int
    previous: str
    made_at: int
    reason: Reason
    cursors: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    added: tuple[Part, ...] = ()
    removed: tuple[str, ...] = ()
    erasures: tuple[str, ...] = ()
    signature: str = ""

    def signed(self, secret: bytes) -> Link:
        """Return the change with its signature."""
        return replace(self, signature=self._signature(secret))

    def is_signed(self, secret: bytes) -> bool:
        """Whether the signature is the store's."""
        return hmac.compare_digest(self.signature, self._signature(secret))

    def content(self) -> bytes:
        """Return the bytes of its file."""
        return (json.dumps(to_dict(self), indent=1, sort_keys=True) + "\n").encode()

    @property
    def digest(self) -> str:
        """SHA-256 of its file."""
        return hashlib.sha256(self.content()).hexdigest()

    def _signature(self, secret: bytes) -> str:
        return hmac.new(secret, replace(self, signature="").content(), hashlib.sha256).hexdigest()


def read_head(folder: Path) -> Head:
    """Read what a served log is.

    Raises
    ------
    ReaderError
        The folder holds none, or one that a newer Foveate wrote.
    """
    try:
        head = from_dict(Head, json.loads((folder / HEAD).read_text(encoding="utf-8")))
    except OSError as error:
        remedy = "'foveate log export' makes one"
        raise ReaderError(f"'{folder}' is no served log: {HEAD}: {error.strerror}; {remedy}") from error
    except (ValueError, ConfigError) as error:
        raise ReaderError(f"'{folder / HEAD}' cannot be read: {error}") from error
    if head.format != FORMAT:
        raise ReaderError(f"'{folder}' is a served log of format {head.format}, this Foveate reads {FORMAT}")
    return head


def read_chain(folder: Path) -> list[Link]:
    """Read all changes of a served log, oldest first.

    Raises
    ------
    ReaderError
        One is missing, damaged or altered.
    """
    links: list[Link] = []
    previous = ""
    for number, path in enumerate(sorted((folder / CHAIN).glob("*.json")), start=1):
        content = path.read_bytes()
        try:
            link = from_dict(Link, json.loads(content))
        except (ValueError, ConfigError) as error:
            raise ReaderError(f"'{path}' is damaged: {error}") from error
        if (link.number, link.previous, link.content()) != (number, previous, content):
            raise ReaderError(f"'{path}' does not follow the change before it: a file of the chain was lost or altered")
        links.append(link)
        previous = link.digest
    return links


def check_signed(folder: Path, links: Sequence[Link], secret: bytes) -> None:
    """See that changes of a served log were made with this store.

    Raises
    ------
    ReaderError
        One was not.
    """
    for link in links:
        if not link.is_signed(secret):
            raise ReaderError(
                f"change {link.number} of '{folder}' is not signed by this store: it was made with another one, or"
                " altered; export into a folder of its own"
            )


def parts_of(links: Sequence[Link]) -> list[Part]:
    """Return the parts that are there after these changes, in the order in which they came."""
    parts: dict[str, Part] = {}
    for link in links:
        for path in link.removed:
            del parts[path]
        parts.update({part.path: part for part in link.added})
    return list(parts.values())


def check_part(folder: Path, part: Part) -> None:
    """See that a part is what the chain says.

    Raises
    ------
    ReaderError
        It is not.
    """
    try:
        found = sha256_of(folder / part.path)
    except OSError as error:
        raise ReaderError(f"part '{folder / part.path}': {error.strerror}; copy the served log again") from error
    if found != part.sha256:
        raise ReaderError(f"part '{folder / part.path}' is not what the chain says: copy the served log again")


def commit(folder: Path, link: Link) -> None:
    """Add a change whose parts are on the disk; it is there as a whole, on the disk, or not at all."""
    chain = folder / CHAIN
    staged = folder / f".{link.number:06d}.json"
    write_durably(staged, link.content())
    staged.replace(chain / f"{link.number:06d}.json")
    sync_folder(chain)


def remove_strays(folder: Path, links: Sequence[Link]) -> None:
    """Remove the parts that no change names, or that one has removed."""
    known = {part.path for part in parts_of(links)}
    for table in COLUMNS:
        for path in sorted((folder / table).glob("*/*")):
            if path.relative_to(folder).as_posix() not in known:
                path.unlink()
                sync_folder(path.parent)
    for path in folder.glob(".*.json"):
        path.unlink()
