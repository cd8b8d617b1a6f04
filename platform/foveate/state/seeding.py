"""The histories of a dataset, added to a store: each event once, whatever else was added before."""

from __future__ import annotations

from dataclasses import dataclass

from foveate.data.dataset import Dataset
from foveate.data.schema import EVENT_ID
from foveate.state.base import ViewerStore


@dataclass(frozen=True)
class Seeded:
    """What came of a dataset's events in a store.

    Parameters
    ----------
    events, new
        Of the dataset, and how many of them were added: those that the store did not have, of each viewer the newest
        that a history holds.
    known
        Whether the same dataset was added before: then nothing was added.
    """

    events: int
    new: int
    known: bool = False

    def __str__(self) -> str:
        if self.known:
            return f"this dataset was imported before: none of its {self.events:,} events is added again"
        return f"{self.new:,} of {self.events:,} events are added"


def seed(store: ViewerStore, dataset: Dataset) -> Seeded:
    """Add the events of a dataset to a store; one that broke off is begun again.

    Raises
    ------
    StateError
        The store cannot be used.
    """
    events, new, known = dataset.manifest.rows["events"], 0, store.imports()
    # A dataset that has grown is known by each of its parts.
    unknown = [one for one in dataset.histories() if one[0] not in known]
    for source, table, own_ids in unknown:
        added = store.import_events(table if own_ids else table.drop(EVENT_ID), source)
        store.remember_import(source, added)
        new += added
    return Seeded(events, new, known=not unknown)
