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
    source, events = dataset.manifest.content_hash, dataset.manifest.rows["events"]
    if source in store.imports():
        return Seeded(events, 0, known=True)
    table = dataset.events if dataset.manifest.own_event_ids else dataset.events.drop(EVENT_ID)
    new = store.import_events(table, source)
    store.remember_import(source, new)
    return Seeded(events, new)
