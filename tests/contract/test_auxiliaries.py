"""What every auxiliary promises, asked of each one that the registry holds."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from foveate.core.config import from_dict, to_dict
from foveate.core.errors import ConfigError
from foveate.core.messages import NO_TIME
from foveate.core.space import Choice
from foveate.data.catalog import Catalog
from foveate.data.events import Facts, Histories
from foveate.data.fitting import FitContext
from foveate.data.schema import ITEMS
from foveate.encoder.auxiliaries.base import AuxiliaryConfig, Step
from foveate.encoder.batch import EventArrays, training_spans
from foveate.encoder.embedding.lookup import WholeTable
from foveate.encoder.losses.full_softmax import FullSoftmax
from foveate.encoder.model import EncoderConfig, SequenceEncoder
from foveate.encoder.training.objective import Objective
from foveate.encoder.training.train import EpochReport, TrainConfig, train_encoder

ITEM_COUNT, WIDTH = 12, 8
AUXILIARIES = dict(AuxiliaryConfig.variants.items())
ENCODER = EncoderConfig(width=WIDTH, dropout=0.1)
TRAIN = TrainConfig(epochs=3, batch_size=16, threads=1)


def configs() -> list[AuxiliaryConfig]:
    """Each auxiliary with its defaults, and with each choice of its search space."""
    found = []
    for cls in AUXILIARIES.values():
        choices = {k: d.values for k, d in cls.search_space().items() if isinstance(d, Choice)}
        changes = itertools.chain([{}], ({k: v} for k, values in choices.items() for v in values))
        found += [dataclasses.replace(cls(), **change) for change in changes]
    return found


@pytest.fixture(params=configs(), ids=lambda config: str(to_dict(config)))
def config(request: pytest.FixtureRequest) -> AuxiliaryConfig:
    return request.param


def histories_of(lengths: list[int], *, known: bool = True) -> Histories:
    total = sum(lengths)
    rng = np.random.default_rng(4)
    watched = np.where(rng.random(total) < 0.7, rng.uniform(0, 1.5, total), np.nan).astype(np.float32)
    facts = Facts(np.full(total, 2, dtype=np.int8), watched, rng.random(total) < 0.5)
    items = rng.integers(0, ITEM_COUNT, total).astype(np.int32)
    plain = Histories.of(np.split(items, np.cumsum(lengths)[:-1]), ITEM_COUNT)
    return dataclasses.replace(plain, facts=facts if known else None)


def step_of(histories: Histories, model: SequenceEncoder) -> Step:
    events = EventArrays.of(histories, torch.device("cpu"))
    torch.manual_seed(6)
    spans = training_spans(torch.tensor(histories.offsets), ENCODER.max_len)
    batch, items = events.batch(spans), WholeTable(model.item_vectors())
    return Step(model, batch, items, model.states(batch, items)[0], events.successors(spans))


def fresh() -> SequenceEncoder:
    torch.manual_seed(5)
    return SequenceEncoder(ENCODER, ITEM_COUNT)


def test_a_config_survives_the_way_through_plain_values(config: AuxiliaryConfig) -> None:
    assert from_dict(AuxiliaryConfig, to_dict(config)) == config
    train = TrainConfig(auxiliaries=(config,))
    assert from_dict(TrainConfig, to_dict(train)) == train


def test_a_task_is_one_finite_number_and_its_gradients_reach_every_weight(config: AuxiliaryConfig) -> None:
    model, task = fresh(), config.build(WIDTH)
    loss = task(step_of(histories_of([7, 3, 2, 12]), model))
    assert loss.shape == ()
    assert loss > 0
    loss.backward()
    for name, weight in [*task.named_parameters(), *model.named_parameters()]:
        if weight.grad is not None:
            assert torch.isfinite(weight.grad).all(), name
    assert all(weight.grad is not None and weight.grad.any() for weight in task.parameters())
    assert model.items.weight.grad is not None
    assert model.items.weight.grad.any()


@pytest.mark.parametrize("lengths", [[2], [2, 2], [40, 2]])
def test_the_shortest_histories_and_unknown_facts_have_a_finite_answer(
    config: AuxiliaryConfig, lengths: list[int]
) -> None:
    model, task = fresh(), config.build(WIDTH)
    loss = task(step_of(histories_of(lengths, known=False), model))
    assert torch.isfinite(loss)
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in (*task.parameters(), *model.parameters()) if p.grad is not None)


def test_a_task_can_be_learned(config: AuxiliaryConfig) -> None:
    histories, model, task = histories_of([7, 3, 9, 12]), fresh().eval(), config.build(WIDTH)
    optimizer = torch.optim.Adam([*model.parameters(), *task.parameters()], lr=1e-2)

    def loss() -> torch.Tensor:
        torch.manual_seed(8)
        return task(step_of(histories, model))

    before = loss().detach()
    for _ in range(40):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert loss() < before * 0.95


def test_it_adds_its_weighted_loss(config: AuxiliaryConfig) -> None:
    loss = FullSoftmax().build(torch.ones(ITEM_COUNT), 1)
    step = step_of(histories_of([7, 3]), fresh().eval())
    totals = []
    for weight in (0.5, 1.5):
        torch.manual_seed(9)
        objective = Objective(loss, (dataclasses.replace(config, weight=weight),), WIDTH).eval()
        totals.append(objective(step))
    torch.manual_seed(9)
    task = config.build(WIDTH).eval()
    torch.testing.assert_close(totals[1] - totals[0], task(step))


def test_a_run_with_it_goes_on_to_the_same_loss(config: AuxiliaryConfig, checkerboard: Any, tmp_path: Path) -> None:
    lengths = np.diff(checkerboard.histories.offsets).tolist()
    histories = dataclasses.replace(checkerboard.histories, facts=histories_of(lengths).facts)
    context = FitContext(histories, checkerboard.catalog, checkerboard.context().now)
    train = dataclasses.replace(TRAIN, auxiliaries=(config,))
    whole, rest = [], []

    def keep(report: EpochReport) -> bool:
        whole.append(report.loss)
        report.save(tmp_path / f"{report.epoch}.safetensors")
        return True

    straight = train_encoder(ENCODER, train, context, on_epoch=keep)
    resumed = train_encoder(
        ENCODER, train, context, on_epoch=lambda r: rest.append(r.loss) is None, resume=tmp_path / "1.safetensors"
    )
    assert rest == whole[1:]
    plain = train_encoder(ENCODER, TRAIN, context)
    # It leaves nothing in the encoder but what that learned.
    assert straight.arrays().keys() == plain.arrays().keys()
    for name, value in straight.arrays().items():
        np.testing.assert_array_equal(resumed.arrays()[name], value)
    assert not np.array_equal(straight.arrays()["items.weight"], plain.arrays()["items.weight"])


def test_it_trains_in_low_precision(config: AuxiliaryConfig) -> None:
    context = FitContext(histories_of([7, 3, 9, 12]), Catalog(pl.DataFrame(schema=ITEMS)), NO_TIME)
    losses: dict[str, float] = {}
    for precision in ("float32", "bfloat16"):
        train = dataclasses.replace(TRAIN, epochs=1, auxiliaries=(config,), precision=precision)
        train_encoder(ENCODER, train, context, on_epoch=lambda r, p=precision: losses.update({p: r.loss}) is None)
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.05)


def test_a_weight_of_nothing_is_refused(config: AuxiliaryConfig) -> None:
    with pytest.raises(ConfigError, match="weight must be above 0"):
        from_dict(AuxiliaryConfig, {**to_dict(config), "weight": 0})


def test_the_same_auxiliary_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="an auxiliary stands twice in auxiliaries: like, like"):
        from_dict(TrainConfig, {"auxiliaries": ["like", {"name": "like", "weight": 0.3}]})
