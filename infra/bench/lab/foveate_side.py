"""Foveate's encoder beside :mod:`rectools_side`: trains, tells of each epoch, and waits before the next.

Its validation is by full ranking over the whole catalogue; the seconds are those of training alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from foveate.core.config import from_dict
from foveate.data.dataset import open_dataset
from foveate.encoder.training.train import EpochReport, train_encoder
from foveate.retrieval.attention import Attention
from foveate.retrieval.base import SourceConfig
from lab.held_out import leave_one_out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="dataset folder")
    parser.add_argument("settings", type=json.loads, help="settings of the attention source, as JSON")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    context = leave_one_out(open_dataset(options.data), options.seed)
    source = from_dict(SourceConfig, options.settings)
    assert isinstance(source, Attention)
    rows = int(np.maximum(np.diff(context.histories.offsets) - 1, 0).sum())

    def on_report(report: EpochReport) -> bool:
        point = {"epoch": report.epoch, "rows": rows, "seconds": rows / report.rows_per_second, **report.metrics}
        print(json.dumps(point), flush=True)
        return sys.stdin.readline().strip() == "go"

    train_encoder(source.encoder, source.train, context, on_epoch=on_report)


if __name__ == "__main__":
    main()
