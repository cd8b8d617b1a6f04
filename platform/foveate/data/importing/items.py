"""Replacing what a dataset knows of its items, without importing the log again."""

from __future__ import annotations

import dataclasses
import json

from foveate.core.config import to_dict
from foveate.data.cleaning.base import CleaningContext, Pipeline
from foveate.data.dataset import MANIFEST, Dataset, Growth, grown_hash, hash_tables, open_dataset
from foveate.data.importing.import_dataset import complete
from foveate.data.importing.report import ImportReport
from foveate.data.importing.report_builder import describe_items
from foveate.data.raw.files import plain_files
from foveate.data.readers.table import TableReader
from foveate.data.schema import ITEM_ID
from foveate.storage.folder import Place


def replace_items(dataset: Dataset, place: Place, reader: TableReader | None = None) -> Dataset:
    """Put a new table of items in place of a dataset's, which is changed where it lies.

    Items of the log that the new table does not describe stay, without a description.

    Parameters
    ----------
    dataset
        Opened from a folder.
    place
        The table, packed or not: a path or an address.
    reader
        How its columns are named (``item_columns``, ``item_names``, ...); None guesses.

    Raises
    ------
    DataError
        The table cannot be read or holds no ids of items.
    """
    folder = dataset.path
    if folder is None:
        raise ValueError("a dataset that lies in no folder has no items to replace")
    with plain_files(place, folder) as plain:
        found = (reader or TableReader()).read_items(plain)
    cleaning = Pipeline("items", CleaningContext())
    met = dataset.events.select(ITEM_ID).unique().collect()[ITEM_ID].sort().to_list()
    items = complete("items", cleaning.clean_all(found.frame), ITEM_ID, met)
    staged = folder / ".items.parquet"
    items.write_parquet(staged)
    staged.replace(folder / "items.parquet")
    manifest, growth = dataset.manifest, dataset.manifest.growth
    content_hash = hash_tables(folder)
    if growth:
        content_hash = grown_hash(manifest.content_hash, {}, folder)
        growth = (*growth, Growth(content_hash, manifest.content_hash, reader="items"))
    report = describe_items(manifest.source or ImportReport(), found, met)
    changed = dataclasses.replace(
        manifest,
        rows={**manifest.rows, "items": items.height},
        content_hash=content_hash,
        growth=growth,
        cleaning=(*(step for step in manifest.cleaning if step.table != "items"), *cleaning.reports()),
        source=report,
    )
    written = folder / f".{MANIFEST}"
    written.write_text(json.dumps(to_dict(changed), indent=2), encoding="utf-8")
    written.replace(folder / MANIFEST)
    return open_dataset(folder)
