"""Train every mixer with every scorer, and every head, at one budget, and write the table of what each comes to.

All are found by name in their registries. Each trains on what lies before each viewer's last item but one and must
foretell that item (the test is never read): full ranking over the whole catalogue, the seen left out, for as many
viewers as train.validation_viewers says, popularity on the same ones beside them. A row that stands in the JSON file
with the same settings, data and seed is kept as it is, so the command may be stopped and started again, and a new
variant costs its own rows alone.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foveate.attention.base import MixerConfig, ScorerConfig
from foveate.core.config import from_dict, load_yaml, to_dict
from foveate.core.overrides import apply_overrides
from foveate.data.fitting import FitContext
from foveate.encoder.heads.base import HeadConfig
from foveate.encoder.model import EncoderConfig
from foveate.encoder.trained import TrainedEncoder
from foveate.encoder.training.train import EpochReport, train_encoder
from foveate.encoder.training.validation import Validation
from foveate.recommend.recipe import Recipe
from foveate.retrieval.attention import Attention
from foveate.retrieval.base import SourceConfig
from foveate.retrieval.popularity import count_items
from lab.attention_page import Row, stored, table, write
from lab.held_out import BEAUTY, asked, full_ranking, leave_one_out, open_or_import, real_data

BENCH = Path(__file__).resolve().parent
TIMED, WARM_UP = 100, 5
"""Requests that are timed, and those before them that are not."""
TIMED_ROWS, TIMED_EPOCHS = 16_384, 3
"""Training that is timed; its first epoch is not."""


@dataclass(frozen=True)
class Variant:
    """One row of the table: what stands in its first two columns, and the encoder."""

    mixer: str
    matched: str
    encoder: EncoderConfig


@dataclass(frozen=True)
class Trial:
    """What all rows share."""

    source: Attention
    context: FitContext
    data: str
    seconds: float

    @property
    def training(self) -> FitContext:
        """Nothing is held out for stopping early: each takes the whole budget and is measured once, at its end."""
        return replace(self.context, validation=None)

    @property
    def asked(self) -> Validation:
        """The viewers that every row is measured on."""
        return asked(self.context, self.source.train.validation_viewers)

    def measured_on(self, variant: Variant) -> dict[str, Any]:
        """Return all that a row's quality depends on, as plain values."""
        return {
            "encoder": to_dict(variant.encoder),
            "train": to_dict(self.source.train),
            "seconds": self.seconds,
            "data": self.data,
            "seed": self.context.seed,
        }

    def key(self, variant: Variant) -> str:
        """Return the key of the row that this trial makes of a variant."""
        return json.dumps(self.measured_on(variant), sort_keys=True)


def variants(base: EncoderConfig, only: Sequence[str] = ()) -> Iterator[Variant]:
    """Yield every mixer with every scorer, and the base's own mixer with every head, where both are in ``only``."""
    scored = [
        Variant(mixer, scorer, replace(base, mixer=mixed(), scorer=matched(), head=None))
        for mixer, mixed in MixerConfig.variants.items()
        for scorer, matched in ScorerConfig.variants.items()
    ]
    own = type(base.mixer).name
    headed = [Variant(own, name, replace(base, head=head())) for name, head in HeadConfig.variants.items()]
    for variant in (*scored, *headed):
        if not only or {variant.mixer, variant.matched} <= set(only):
            yield variant


def measured(variant: Variant, trial: Trial) -> Row:
    """Train one variant and measure it."""
    done = 0

    def report_epoch(report: EpochReport) -> bool:
        nonlocal done
        done = report.epoch
        return not trial.seconds or time.perf_counter() - started < trial.seconds

    started = time.perf_counter()
    encoder = train_encoder(variant.encoder, trial.source.train, trial.training, on_epoch=report_epoch)
    every = sum(parameter.numel() for parameter in encoder.model.parameters())
    row = Row(
        mixer=variant.mixer,
        matched=variant.matched,
        metrics=trial.asked.measure(encoder),
        parameters=every - encoder.model.items.weight.numel(),
        with_items=every,
        epochs=done,
        rows_per_second=0.0,
        request_ms=0.0,
        measured_on=trial.measured_on(variant),
    )
    return timed(row, variant, trial)


def timed(row: Row, variant: Variant, trial: Trial) -> Row:
    """Return the row with both speeds measured, on a training of a few seconds."""
    speeds: list[float] = []

    def report_epoch(report: EpochReport) -> bool:
        speeds.append(report.rows_per_second)
        return True

    brief = replace(trial.source.train, epochs=TIMED_EPOCHS, epoch_rows=TIMED_ROWS)
    encoder = train_encoder(variant.encoder, brief, trial.training, on_epoch=report_epoch)
    return replace(row, rows_per_second=statistics.median(speeds[1:]), request_ms=request_ms(encoder, trial))


def request_ms(encoder: TrainedEncoder, trial: Trial) -> float:
    """Return the median milliseconds of encoding one viewer and scoring every item."""
    context = trial.context
    drawn = np.random.default_rng(context.seed).choice(trial.asked.users, TIMED + WARM_UP)
    took = []
    for user in drawn.tolist():
        viewer = context.histories.take(np.array([user]))
        started = time.perf_counter()
        encoder.scores(viewer)
        took.append(1e3 * (time.perf_counter() - started))
    return statistics.median(took[WARM_UP:])


def popularity(trial: Trial) -> dict[str, float]:
    histories = trial.context.histories
    everyone_U1, counts_I1 = np.ones((histories.n_users, 1), dtype=np.float32), count_items(histories)[:, None]
    return full_ranking(everyone_U1, counts_I1, trial.context, trial.source.train.validation_viewers)


def about(trial: Trial, popular: dict[str, float]) -> str:
    """Return what the rows have in common, in words."""
    train = trial.source.train
    budget = f"{train.epochs} epochs" + (f" or {trial.seconds:g} s, whichever ends first" if trial.seconds else "")
    return (
        f"Data: {trial.data}, leave-one-out on the last item but one of {len(trial.asked.users):,} viewers. "
        f"Budget: {budget}; threads: {train.threads}; torch {torch.__version__}; seed {trial.context.seed}. "
        "Nothing is tuned for any one row. "
        "*Parameters* leave the item vectors out, *all* counts them. *Rows/s* is training. *Request* is the median of "
        f"encoding one viewer and scoring every item. Popularity reaches "
        f"NDCG@10 {popular['ndcg@10']:.4f} and Recall@10 {popular['recall@10']:.4f}."
    )


def fill_in(trial: Trial, options: argparse.Namespace) -> None:
    """Measure the rows that are not stored, writing both files after each."""
    popular = popularity(trial)
    base = trial.source.encoder
    of_this_trial = {trial.key(variant) for variant in variants(base)}
    rows = {row.key: row for row in stored(options.json) if row.key in of_this_trial}
    wanted = list(variants(base, options.only))
    for number, variant in enumerate(wanted, start=1):
        key = trial.key(variant)
        row, note = _kept_or_measured(variant, trial, rows.get(key), again=options.again)
        rows[key] = row
        report_epoch = (
            f"NDCG@10 {row.metrics['ndcg@10']:.4f}, {row.rows_per_second:,.0f} rows/s, {row.request_ms:.2f} ms"
        )
        print(f"{number}/{len(wanted)} {row.mixer} x {row.matched}: {report_epoch}{note}", flush=True)
        payload = {"popularity": popular, "rows": [asdict(row) for row in rows.values()]}
        write(options.json, json.dumps(payload, indent=1) + "\n")
        write(options.out, table(list(rows.values()), popular, about(trial, popular), options.command))


def _kept_or_measured(variant: Variant, trial: Trial, kept: Row | None, *, again: bool) -> tuple[Row, str]:
    if kept is None:
        return measured(variant, trial), ""
    return (timed(kept, variant, trial), ", timed again") if again else (kept, ", kept")


def base_source(options: argparse.Namespace) -> Attention:
    """Return the settings that all rows share: a recipe's or the defaults, with the budget and overrides put in."""
    recipe = from_dict(Recipe, load_yaml(options.recipe)) if options.recipe else Recipe()
    given = to_dict(next(source for source in recipe.sources if isinstance(source, Attention)))
    given["train"] |= {"epochs": options.epochs, "patience": 0, "threads": options.threads}
    source = from_dict(SourceConfig, apply_overrides(given, options.overrides, SourceConfig))
    assert isinstance(source, Attention)
    return source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=BENCH / "attention_table.json", help="rows, kept between runs")
    parser.add_argument("--out", type=Path, default=BENCH / "attention_table.md", help="the table, as markdown")
    parser.add_argument("--data", type=Path, help="dataset folder, or Parquet file of (user, item) rows [beauty]")
    parser.add_argument("--recipe", type=Path, help="take the encoder's and training's settings of this recipe")
    parser.add_argument("--epochs", type=int, default=10, help="passes that each variant trains")
    parser.add_argument("--seconds", type=float, default=0.0, help="end a variant's training after so long; 0: never")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--seed", type=int, default=0)
    again_help = "time the kept rows again, without training them anew: for when the machine has nothing else to do"
    parser.add_argument("--again", action="store_true", help=again_help)
    only_help = "measure only rows whose mixer and scorer or head are named; may be given several times"
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help=only_help)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings of all, such as encoder.width=64")
    options = parser.parse_args()
    options.command = shlex.join(
        ["python", "infra/bench/attention_table.py", *(word for word in sys.argv[1:] if word != "--again")]
    )
    data = options.data or real_data() / BEAUTY
    if not data.exists():
        print(f"skipped: there is no {data}; set FOVEATE_DATA to the folder that holds {BEAUTY}, or give --data")
        return
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        dataset = open_or_import(data, Path(scratch))
        context = leave_one_out(dataset, options.seed)
        trial = Trial(base_source(options), context, f"{data.stem}, {dataset.title}", options.seconds)
        fill_in(trial, options)


if __name__ == "__main__":
    main()
