"""What long work says of itself: lines, and how far it has come."""

from __future__ import annotations

import dataclasses
import io
import time
from typing import Any

import pytest
from rich.console import Console

from foveate.data.fitting import Headed
from foveate.encoder.model import EncoderConfig
from foveate.encoder.training.train import TrainConfig, train_encoder
from foveate_cli import common


class Seen:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[tuple[float, float]] = []

    def __call__(self, line: str) -> None:
        self.lines.append(line)

    def step(self, done: float, total: float) -> None:
        self.steps.append((done, total))


def test_a_training_shows_every_batch_and_tells_every_epoch(checkerboard: Any) -> None:
    seen = Seen()
    context = dataclasses.replace(checkerboard.context(), validation=None, progress=Headed("seed 1: ", seen))
    train_encoder(EncoderConfig(width=8), TrainConfig(epochs=2, batch_size=64, negatives=8), context)
    assert [line.split(": loss")[0] for line in seen.lines] == ["seed 1: epoch 1", "seed 1: epoch 2"]
    done = [step for step, _ in seen.steps]
    assert done == sorted(done)
    assert 0 < done[0] < 1
    assert len(done) > 4
    assert done[-1] == 2


def test_a_training_that_stops_early_shows_its_end(checkerboard: Any) -> None:
    seen = Seen()
    context = dataclasses.replace(checkerboard.context(), progress=seen)
    train = TrainConfig(epochs=50, batch_size=64, negatives=8)
    train_encoder(EncoderConfig(width=8), train, context, on_epoch=lambda report: report.epoch < 2)
    assert len(seen.lines) == 2
    assert seen.steps[-2:] == [(2.0, 50), (50, 50)]


def test_a_plain_hearer_is_told_lines_alone() -> None:
    lines: list[str] = []
    say = Headed("seed 1: ", lines.append)
    say("fitting")
    say.step(1, 2)
    assert lines == ["seed 1: fitting"]


def test_where_no_one_watches_news_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with common.telling(indent="  ") as say:
        say("fitting [attention]")
        say.step(0.5, 2)
        say("epoch 1: loss 2.0")
    assert capsys.readouterr().err == "  fitting [attention]\n  epoch 1: loss 2.0\n"


def drawn(shown: io.StringIO, start: int, text: str) -> str:
    """Wait until a text, and something after it, was drawn; return all that was since ``start``."""
    give_up = time.monotonic() + 120
    while not (found := shown.getvalue()[start:]).rpartition(text)[2] or text not in found:
        assert time.monotonic() < give_up, found
        time.sleep(0.02)
    return found


def test_on_a_terminal_a_bar_follows_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(common, "err", Console(file=shown, force_terminal=True, width=100))
    with common.telling() as say:
        say("epoch 1: loss 2.0 [attention]")
        say.step(1, 2)
        half = drawn(shown, 0, "50%")
        say.step(2, 2)
        say("ranker")
        later = drawn(shown, len(half), "ranker")
    assert "epoch 1: loss 2.0 [attention]" in half
    assert "50%" in half
    assert "ranker" in later
    assert "%" not in later.rsplit("ranker", 1)[1]
