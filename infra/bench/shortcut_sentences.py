"""Whether the sentence of the shortcut audit holds on the test window too, on data sets that are given as folders.

``foveate audit --shortcuts`` says by the validation window whether a log needs a model. Here the same rule reads the
test window, with shortcuts and encoder fitted up to it: those figures are the rows of the table of ``foveate evaluate``
without a recipe. Where both say the same, the sentence agrees with the table.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from foveate.audit.shortcuts import Shortcuts, shortcuts
from foveate.data.dataset import open_dataset


def agrees(validation: Shortcuts, test: Shortcuts) -> bool:
    """Whether both windows lead to the same answer."""
    return validation.needs_model == test.needs_model


def measured(folder: Path, viewers: int) -> list[dict[str, Any]]:
    """Return one row a protocol: what both windows say."""
    dataset = open_dataset(folder)
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
    parser.add_argument("data", type=Path, nargs="+", help="dataset folders")
    parser.add_argument("--viewers", type=int, default=0, help="ask so many at most; 0 asks all")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    start = time.monotonic()
    rows = [row for folder in options.data for row in measured(folder, options.viewers)]
    share = sum(row["agrees"] for row in rows) / len(rows)
    ratios = [{"name": "shortcut_sentences_that_agree", "value": share, "goal": ">= 1"}]
    if options.json:
        options.json.write_text(json.dumps({"ratios": ratios, "rows": rows}, indent=2) + "\n")
    print(f"{len(rows)} sentences in {time.monotonic() - start:.0f} s")
    print(f"ratio shortcut_sentences_that_agree {share:.3f} goal >= 1")


if __name__ == "__main__":
    main()
