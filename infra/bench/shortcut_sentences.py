"""Whether the sentence of the shortcut audit holds on the test window too, on data sets that are given as folders.

``foveate audit --shortcuts`` says by the validation window whether a log needs a model. Here the same rule reads the
test window, with shortcuts and encoder fitted up to it: those figures are the rows of the table of ``foveate evaluate``
without a recipe. Where both say the same, the sentence agrees with the table.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from foveate.audit.shortcuts import Shortcuts, shortcuts
from foveate.data.dataset import Dataset, open_dataset
from foveate.data.importing.import_dataset import import_dataset
from foveate.data.readers.base import Reader
from lab.held_out import real_data

SETS = {"ml-100k": "recbole", "ml-latest-small": "movielens"}
"""What is asked about where nothing is given, and who reads it: sets on which an encoder takes a minute."""


def agrees(validation: Shortcuts, test: Shortcuts) -> bool:
    """Whether both windows lead to the same answer."""
    return validation.needs_model == test.needs_model


def opened(folders: Sequence[Path], scratch: Path) -> Iterator[Dataset]:
    """Open dataset folders; without any, import the small sets that are at hand."""
    yield from map(open_dataset, folders)
    for name, reader in SETS.items() if not folders else ():
        if (real_data() / name).exists():
            yield import_dataset(Reader.variants[reader](), real_data() / name, scratch / name)


def measured(dataset: Dataset, viewers: int) -> list[dict[str, Any]]:
    """Return one row a protocol: what both windows say."""
    validation = shortcuts(dataset, viewers=viewers)
    rows = []
    for one in validation:
        [test] = shortcuts(dataset, [one.protocol], viewers=viewers, window="test")
        figures = {"validation": one.to_json(), "test": test.to_json(), "agrees": agrees(one, test)}
        rows.append({"data": dataset.title, "protocol": one.protocol, **figures})
        print(f"{dataset.title}\n  {one.sentence}\n  {test.sentence}", flush=True)
        print(f"  {'agree' if agrees(one, test) else 'DISAGREE'}; {one.seconds:.0f} s to train the encoder", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="*", help="dataset folders; without any, the small real sets")
    parser.add_argument("--viewers", type=int, default=0, help="ask so many at most; 0 asks all")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        datasets = opened(options.data, Path(scratch))
        rows = [row for dataset in datasets for row in measured(dataset, options.viewers)]
    if not rows:
        print(f"skipped: no data at {real_data()}")
        return
    share = sum(row["agrees"] for row in rows) / len(rows)
    ratios = [{"name": "shortcut_sentences_that_agree", "value": share, "goal": ">= 1"}]
    if options.json:
        options.json.write_text(json.dumps({"ratios": ratios, "rows": rows}, indent=2) + "\n")
    print(f"{len(rows)} sentences in {time.monotonic() - start:.0f} s")
    print(f"ratio shortcut_sentences_that_agree {share:.3f} goal >= 1")


if __name__ == "__main__":
    main()
