"""RecTools' SASRec, eSASRec or HSTU in an environment of its own: trains, tells how long each epoch took, and waits.

Reads ``history.npz`` (``offsets``, ``items``, ``n_items``) in the folder it is given. After each epoch it leaves
``users.npy`` (viewer vectors, in the order of the viewers) and ``items.npy`` (item vectors, NaN for an item that was
never trained) there, prints one line of JSON, and waits for a line on standard input: ``go`` trains another epoch,
anything else ends. Waiting and writing are not part of the seconds.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import HSTUModel, SASRecModel
from rectools.models.nn.transformers.ligr import LiGRLayers
from rectools.models.rank import Distance

_ENCODED = 512
"""Viewers encoded together."""


class Pace(Callback):  # type: ignore[misc] # pytorch_lightning carries no types here
    """Times each epoch, counts its rows, and waits after it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows = 0
        self.started = 0.0

    def on_train_epoch_start(self, *_: object) -> None:
        self.rows, self.started = 0, time.perf_counter()

    def on_train_batch_start(self, _trainer: Trainer, _module: LightningModule, batch: Any, *_: object) -> None:
        self.rows += int((batch["y"] != 0).sum())

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        seconds = time.perf_counter() - self.started
        write_vectors(module, self.folder)
        epoch = trainer.current_epoch + 1
        print(json.dumps({"epoch": epoch, "rows": self.rows, "seconds": seconds}), flush=True)
        trainer.should_stop = sys.stdin.readline().strip() != "go"


def write_vectors(module: LightningModule, folder: Path) -> None:
    """Encode every viewer's newest events as RecTools does to recommend."""
    history = np.load(folder / "history.npz")
    preparator = module.data_preparator
    to_internal = preparator.item_id_map.to_internal
    # Where an item was never trained, RecTools knows no code; 0 is its padding.
    code_I = to_internal.reindex(np.arange(int(history["n_items"])), fill_value=0).to_numpy(dtype=np.int64)
    sessions = padded(history["offsets"], code_I[history["items"]], preparator.session_max_len)
    batches = [{"x": part} for part in torch.split(torch.from_numpy(sessions), _ENCODED)]
    users, items = module._get_user_item_embeddings(batches, "cpu")
    module.train()
    if getattr(module.torch_model.similarity_module, "distance", Distance.DOT) == Distance.COSINE:
        # What reads the vectors multiplies them.
        users, items = (torch.nn.functional.normalize(vectors, dim=1) for vectors in (users, items))
    vectors_ID = items.numpy()[code_I]
    vectors_ID[code_I == 0] = np.nan
    np.save(folder / "users.npy", users.numpy())
    np.save(folder / "items.npy", vectors_ID)


def padded(offsets: np.ndarray, items: np.ndarray, length: int) -> np.ndarray:
    """Return ``[U, length]`` each viewer's newest known items, padded with 0 on the left."""
    sessions = np.zeros((len(offsets) - 1, length), dtype=np.int64)
    for row, (start, end) in enumerate(pairwise(offsets)):
        own = items[start:end]
        own = own[own > 0][-length:]
        sessions[row, length - len(own) :] = own
    return sessions


def interactions(folder: Path) -> Dataset:
    history = np.load(folder / "history.npz")
    lengths = np.diff(history["offsets"])
    frame = pd.DataFrame(
        {
            Columns.User: np.repeat(np.arange(len(lengths)), lengths),
            Columns.Item: history["items"],
            Columns.Weight: 1.0,
            # The order of the rows is all the time there is.
            Columns.Datetime: pd.to_datetime(np.arange(len(history["items"])), unit="s"),
        }
    )
    return Dataset.construct(frame)


def model_of(name: str, settings: dict[str, Any]) -> SASRecModel | HSTUModel:
    """Return a model of RecTools.

    eSASRec is SASRec with LiGR layers and a sampled softmax: Tikhonovich et al. (RecSys 2025), arXiv 2508.06450. HSTU
    attends by relative position alone, for the log has no times.
    """
    if name == "hstu":
        return HSTUModel(**settings, relative_time_attention=False)
    layers = {"transformer_layers_type": LiGRLayers} if name == "esasrec" else {}
    return SASRecModel(**settings, **layers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("settings", type=json.loads, help="arguments of the model, as JSON")
    parser.add_argument("--model", choices=["sasrec", "esasrec", "hstu"], default="sasrec")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    torch.set_num_threads(options.threads)
    seed_everything(options.seed)
    pace = Pace(options.folder)

    def trainer() -> Trainer:
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        return Trainer(
            max_epochs=-1, accelerator="cpu", devices=1, callbacks=[pace], enable_checkpointing=False, **quiet
        )

    model_of(options.model, {**options.settings, "get_trainer_func": trainer}).fit(interactions(options.folder))


if __name__ == "__main__":
    main()
