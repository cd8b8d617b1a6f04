"""What long work says of itself: lines, and how far it has come."""

from __future__ import annotations

import io
import pickle
import time

import pytest
from rich.console import Console

from foveate.data.fitting import Step, headed
from foveate_cli import common


def test_a_step_is_a_line_that_travels_whole() -> None:
    step = pickle.loads(pickle.dumps(Step("epoch 2", 2, 5)))  # noqa: S301 - our own bytes
    assert step == "epoch 2"
    assert (step.done, step.total) == (2, 5)


def test_a_head_leaves_a_step_a_step() -> None:
    assert headed("seed 1: ", "fitting") == "seed 1: fitting"
    step = headed("seed 1: ", Step("epoch 2", 2, 5))
    assert isinstance(step, Step)
    assert (step, step.done, step.total) == ("seed 1: epoch 2", 2, 5)
    # What has nothing to say is not made to say who says it.
    assert headed("seed 1: ", Step("", 2.5, 5)) == ""


def test_where_no_one_watches_news_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with common.telling(indent="  ") as say:
        say("fitting [attention]")
        say(Step("", 0.5, 2))
        say(Step("epoch 1: loss 2.0", 1, 2))
    assert capsys.readouterr().err == "  fitting [attention]\n  epoch 1: loss 2.0\n"


def test_on_a_terminal_a_bar_follows_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(common, "news", Console(file=shown, force_terminal=True, width=100))
    with common.telling() as say:
        say("fitting [attention]")
        say(Step("epoch 1: loss 2.0", 1, 2))
        time.sleep(0.25)
        half = shown.getvalue()
        say("ranker")
        time.sleep(0.25)
        later = shown.getvalue()[len(half) :]
    assert "epoch 1: loss 2.0" in half
    assert "50%" in half
    assert "ranker" in later
    assert "%" not in later.rsplit("ranker", 1)[1]
