"""What every input promises, asked of each one that the registry holds."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load, save
from torch import Tensor

from foveate.core.config import from_dict, to_dict
from foveate.core.errors import ConfigError
from foveate.core.messages import NO_TIME
from foveate.core.space import Choice
from foveate.data.catalog import Catalog
from foveate.data.events import Facts, Histories
from foveate.data.fitting import FitContext
from foveate.data.schema import EVENT_KINDS, ITEM_ID, ITEMS
from foveate.encoder.batch import EventArrays, SequenceBatch, newest_spans
from foveate.encoder.content import Content
from foveate.encoder.embedding.lookup import WholeTable
from foveate.encoder.inputs.base import InputConfig, ItemInputConfig, RequestInputConfig
from foveate.encoder.model import EncoderConfig, SequenceEncoder
from foveate.encoder.trained import TrainedEncoder
from foveate.encoder.training.train import EpochReport, TrainConfig, train_encoder

ITEM_COUNT, WINDOW = 9, 6
MINUTE = 60_000_000
START = 1_750_000_000_000_000
NOW = START + 50 * 60 * MINUTE
LENGTHS = [6, 2, 1]
INPUTS = dict(InputConfig.variants.items())
CPU = torch.device("cpu")


def configs() -> list[InputConfig]:
    """Each input with its defaults, and with each choice of its search space."""
    found = []
    for cls in INPUTS.values():
        choices = {k: d.values for k, d in cls.search_space().items() if isinstance(d, Choice)}
        changes = itertools.chain([{}], ({k: v} for k, values in choices.items() for v in values))
        found += [dataclasses.replace(cls(), **change) for change in changes]
    return found


@pytest.fixture(params=configs(), ids=lambda config: str(to_dict(config)))
def config(request: pytest.FixtureRequest) -> InputConfig:
    return request.param


def catalog_of(known: bool) -> Catalog:
    """Items that the source tells all of, but for the last; or nothing of any."""
    facts: dict[str, list[Any]] = {
        "title": [f"The {n}th Über-film, part {n % 3}" for n in range(ITEM_COUNT)],
        "channel_id": [f"c{n % 4}" for n in range(ITEM_COUNT)],
        "categories": [["music", f"g{n % 3}"] for n in range(ITEM_COUNT)],
        "tags": [[f"t{n}", f"t{n + 1}", "new"] for n in range(ITEM_COUNT)],
        "duration_seconds": [float(7 * 3**n) for n in range(ITEM_COUNT)],
    }
    told = {name: [value if known else None for value in values[:-1]] + [None] for name, values in facts.items()}
    columns = {ITEM_ID: [f"v{n}" for n in range(ITEM_COUNT)], **told}
    blanks = {name: [None] * ITEM_COUNT for name in ITEMS if name not in columns}
    return Catalog(pl.DataFrame({**columns, **blanks}, schema_overrides=ITEMS))


def histories_of(known: bool = True) -> Histories:
    """Three viewers of whom everything is known, or nothing but their items."""
    total = sum(LENGTHS)
    rng = np.random.default_rng(4)
    items = np.arange(total, dtype=np.int32) % (ITEM_COUNT - 1)
    times = START + np.cumsum(rng.integers(1, 300, total)) * MINUTE if known else np.full(total, NO_TIME)
    facts = Facts(
        kinds=rng.integers(0, len(EVENT_KINDS), total).astype(np.int8),
        watched=rng.uniform(0, 1.5, total).astype(np.float32),
        liked=rng.random(total) < 0.5,
    )
    offsets = np.cumsum([0, *LENGTHS]).astype(np.int64)
    return Histories(offsets, items, times, np.ones(total, np.float32), ITEM_COUNT, facts if known else None)


def encoder_of(*inputs: InputConfig, known: bool = True, **changes: Any) -> SequenceEncoder:
    """An encoder whose inputs speak as loudly as the items, with the same weights for the same parts."""
    config = EncoderConfig(width=8, blocks=1, max_len=WINDOW, dropout=0.0, inputs=inputs)
    content = Content.of(config.inputs_of(ItemInputConfig), catalog_of(known), np.ones(ITEM_COUNT, dtype=np.int64))
    torch.manual_seed(2)
    model = SequenceEncoder(config, ITEM_COUNT, content, **changes).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "_inputs" in name or name == "items.weight":
                weight.mul_(50)
    return model


def batch_of(histories: Histories, *, timed: bool = True) -> SequenceBatch:
    now = np.full(histories.n_users, NOW)
    events = EventArrays.of(histories, CPU, timed=timed, now=now)
    return events.batch(newest_spans(torch.tensor(histories.offsets), WINDOW))


def states(model: SequenceEncoder, histories: Histories) -> Tensor:
    return model.states(batch_of(histories, timed=bool(model.timed)))[0]


def test_a_config_survives_the_way_through_plain_values(config: InputConfig) -> None:
    assert from_dict(InputConfig, to_dict(config)) == config
    encoder = EncoderConfig(inputs=(config,))
    assert from_dict(EncoderConfig, to_dict(encoder)) == encoder


def test_what_is_added_has_the_shape_of_what_it_is_added_to(config: InputConfig) -> None:
    model = encoder_of(config)
    states_BLD = states(model, histories_of())
    assert states_BLD.shape == (len(LENGTHS), max(LENGTHS), 8)
    assert model.item_vectors().shape == (ITEM_COUNT, 8)
    assert torch.isfinite(states_BLD).all()
    assert torch.isfinite(model.item_vectors()).all()


@pytest.mark.parametrize("codes", [[4, 8, 0, 4], list(range(ITEM_COUNT)), []])
def test_some_items_are_known_by_what_they_are_among_all(config: InputConfig, codes: list[int]) -> None:
    model, items_N = encoder_of(config), torch.tensor(codes, dtype=torch.int64)
    known_ND = model.known_by(model.items.weight[items_N], items_N)
    torch.testing.assert_close(known_ND, model.item_vectors()[items_N])
    known_ND.sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters() if weight.grad is not None)


def test_what_is_known_makes_a_difference(config: InputConfig) -> None:
    with_it, without = (model(batch_of(histories_of())) for model in (encoder_of(config), encoder_of()))
    assert not torch.allclose(with_it, without, atol=1e-2)


def test_what_is_not_known_is_as_if_it_were_left_out(config: InputConfig) -> None:
    told, absent = encoder_of(config, known=False), encoder_of()
    nothing = batch_of(histories_of(known=False), timed=False)
    torch.testing.assert_close(told.states(nothing)[0], absent.states(nothing)[0])
    torch.testing.assert_close(told.item_vectors(), absent.item_vectors())


def test_where_the_clock_is_order_only_no_time_is_told(config: InputConfig) -> None:
    model, absent = encoder_of(config, timed=False), encoder_of(timed=False)
    with_times = TrainedEncoder(model.config, model).encode(histories_of(), np.full(3, NOW))
    undated = dataclasses.replace(histories_of(), times=np.full(sum(LENGTHS), NO_TIME))
    torch.testing.assert_close(with_times, TrainedEncoder(model.config, model).encode(undated))
    if config.needs_time:
        torch.testing.assert_close(with_times, TrainedEncoder(absent.config, absent).encode(undated))


@pytest.mark.parametrize("cut", range(1, 6))
def test_the_future_does_not_change_the_past(config: InputConfig, cut: int) -> None:
    histories = histories_of()
    facts = histories.facts
    later = slice(cut, LENGTHS[0])
    changed = dataclasses.replace(
        histories,
        items=_replaced(histories.items, later, 7 - histories.items[later]),
        times=_replaced(histories.times, later, histories.times[later] + 900 * MINUTE),
        facts=Facts(
            kinds=_replaced(facts.kinds, later, (facts.kinds[later] + 1) % len(EVENT_KINDS)),
            watched=_replaced(facts.watched, later, np.float32(0.05)),
            liked=_replaced(facts.liked, later, ~facts.liked[later]),
        ),
    )
    model = encoder_of(config)
    before, after = (states(model, h)[0] for h in (histories, changed))
    # The request of a position is the viewer's next event: its moment, and nothing else of it, is known by then.
    unchanged = cut - 1 if isinstance(config, RequestInputConfig) else cut
    torch.testing.assert_close(before[:unchanged], after[:unchanged])
    assert not torch.allclose(before[-1], after[-1], atol=1e-3)


def test_padding_changes_nothing(config: InputConfig) -> None:
    model, histories = encoder_of(config), histories_of()
    together = states(model, histories)
    for user, length in enumerate(LENGTHS):
        alone = states(model, histories.take(np.array([user])))
        torch.testing.assert_close(together[user, -length:], alone[0], atol=1e-5, rtol=1e-4)


def test_gradients_are_finite_and_reach_every_weight(config: InputConfig) -> None:
    model = encoder_of(config).train()
    batch, item_ID = batch_of(histories_of()), model.item_vectors()
    model.score(model.states(batch, WholeTable(item_ID))[0][batch.valid_BL], item_ID).square().mean().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
        if "_inputs" in name:
            assert weight.grad.any(), name


def test_it_trains_in_low_precision_and_goes_on_to_the_same_loss(config: InputConfig, tmp_path: Path) -> None:
    context = FitContext(histories_of(), catalog_of(known=True), NOW)
    encoder = EncoderConfig(width=8, blocks=1, max_len=WINDOW, inputs=(config,))
    train = TrainConfig(epochs=2, precision="bfloat16", average=0.5)
    whole, rest, path = [], [], tmp_path / "1.safetensors"

    def keep(report: EpochReport) -> bool:
        if report.epoch == 1:
            report.save(path)
        return whole.append(report.loss) is None

    straight = train_encoder(encoder, train, context, on_epoch=keep)
    resumed = train_encoder(encoder, train, context, on_epoch=lambda r: rest.append(r.loss) is None, resume=path)
    assert np.isfinite(whole).all()
    assert rest == whole[1:]
    now = np.full(len(LENGTHS), NOW)
    np.testing.assert_array_equal(straight.scores(histories_of(), now), resumed.scores(histories_of(), now))


def test_an_exported_encoder_needs_nothing_else(config: InputConfig) -> None:
    model = encoder_of(config)
    trained = TrainedEncoder(model.config, model)
    restored = TrainedEncoder.restore(model.config, load(save(trained.arrays())))
    now = np.full(len(LENGTHS), NOW)
    np.testing.assert_array_equal(restored.scores(histories_of(), now), trained.scores(histories_of(), now))
    np.testing.assert_array_equal(restored.item_vectors, trained.item_vectors)


def test_settings_can_be_tried_without_a_catalogue(config: InputConfig) -> None:
    SequenceEncoder(EncoderConfig(inputs=(config,)), n_items=1)


def test_inputs_differ_from_one_another() -> None:
    answers = {}
    for name, cls in INPUTS.items():
        model = encoder_of(cls())
        with torch.no_grad():
            torch.manual_seed(3)
            for part, weight in model.named_parameters():
                if "_inputs" in part:
                    weight.normal_()
        answers[name] = model(batch_of(histories_of()))
    for a, b in itertools.combinations(answers, 2):
        assert not torch.allclose(answers[a], answers[b], atol=1e-3), f"{a} answers as {b}"


def test_the_same_input_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="an input stands twice in inputs: time_gap, time_gap"):
        from_dict(EncoderConfig, {"inputs": ["time_gap", "time_gap"]})


def test_an_encoder_without_inputs_holds_nothing_of_them() -> None:
    names = encoder_of().state_dict()
    assert not [name for name in names if "input" in name or name == "trained_I"]


def _replaced(values: NDArray[Any], at: slice, new: Any) -> NDArray[Any]:
    out = values.copy()
    out[at] = new
    return out
