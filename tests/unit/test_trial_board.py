"""The table that moves while a sweep runs, and what it says of the time left."""

from __future__ import annotations

import io
import os
import pty
import re
import threading
import time
from typing import Any

import pytest
from rich.console import Console

from foveate.core.progress import Listener, report_progress
from foveate_cli import common
from foveate_cli.trial_board import Board, following
from foveate_tune.config import SweepConfig
from foveate_tune.objective import Objective
from foveate_tune.progress import SweepPlan, TrialUpdate
from foveate_tune.trials.record import State, TrialRecord

FIRST = Objective("ndcg@10")
PLAN = SweepPlan(trials=4, slots=2, steps=10, first=FIRST)


def news(trial: int, state: State, epoch: int, value: float = 0.0, line: str | None = None, **more: Any) -> TrialUpdate:
    record = TrialRecord(
        f"trial-{trial:03d}", SweepConfig(epochs=10), {"encoder.mixer": "gated", "encoder.mixer.heads": trial}
    )
    for number in range(1, epoch + 1):
        telling = {"ndcg@10": value, "epoch": number, "seconds": 3.0 * number, "rows_per_second": 1234.5}
        record.add(telling | more)
    record.state = state
    return TrialUpdate(record, f"trial-{trial:03d} in words" if line is None else line)


class Board80(Board):
    """A board on paper of 80 by 24, with a clock that stands still."""

    def __init__(self, height: int = 24) -> None:
        self.paper = io.StringIO()
        self.now = 100.0
        super().__init__(Console(file=self.paper, width=80, height=height, force_terminal=True), lambda: self.now)

    def drawn(self) -> list[str]:
        shown = Console(file=io.StringIO(), width=80, height=24)
        shown.print(self)
        assert isinstance(shown.file, io.StringIO)
        return [line.rstrip() for line in shown.file.getvalue().splitlines()]


@pytest.fixture
def board() -> Board80:
    """A sweep of four trials on two slots was just begun."""
    board = Board80()
    board.show(PLAN)
    return board


def test_rows_show_the_running_first_and_then_the_best(board: Board80) -> None:
    for one in (news(0, "stopped early", 2, 0.1), news(1, "running", 3, 0.05), news(2, "finished", 10, 0.2)):
        board.show(one)
    lines = board.drawn()
    rows = [line for line in lines if "trial-" in line and "·" not in line]
    assert [row.split()[0] for row in rows] == ["trial-001", "trial-002", "trial-000"]
    assert rows[0].split() == ["trial-001", "running", "3/10", "0.0500", "0.0500", "1,234", "gated,", "heads", "1"]
    assert all(len(line) <= 80 for line in lines)
    assert "2 of 4 trials over, 1 running, 1 to come" in " ".join(lines)
    assert "best 0.2000 (trial-002)" in " ".join(lines)


def test_no_more_rows_than_the_terminal_has(board: Board80) -> None:
    small = Board80(height=10)
    small.show(SweepPlan(trials=30, slots=2, steps=10, first=FIRST))
    for trial in range(30):
        small.show(news(trial, "finished", 10, trial / 100))
    assert sum("finished" in line for line in small.drawn()) == 4
    assert "and 26 more" in small.drawn()


def test_time_left_is_unknown_then_at_most_then_an_estimate(board: Board80) -> None:
    assert board.left() == "time left unknown"
    board.show(news(0, "running", 0))
    assert board.left() == "time left unknown"
    board.show(news(0, "running", 1, 0.1))
    # 9 epochs of this one and 10 of each of three others, 3 s each, on two slots.
    assert board.left() == "at most 0:58 left"
    board.show(news(0, "stopped early", 2, 0.1))
    board.show(news(1, "running", 1, 0.1))
    # One of two has ended after 2 epochs: 1 for the one that runs, 2 for each of two more.
    assert board.left() == "about 0:08 left"
    board.show(news(1, "running", 4, 0.1))
    # It went farther than any before it, so it may go to its end: 6 epochs, and they cannot be shared out.
    assert board.left() == "about 0:18 left"
    for trial in range(4):
        board.show(news(trial, "finished", 10, 0.1))
    assert board.left() == "coming to its end"


def test_what_the_table_cannot_show_is_printed_above_it(board: Board80) -> None:
    board("W&B does not answer [really]")
    board.show(news(0, "running", 1, 0.1))
    board.show(news(1, "diverged", 1, line="trial-001 diverged: the loss is not a number"))
    board.show(news(1, "diverged", 1, line=""))
    printed = re.sub(r"\x1b\[[0-9;]*m", "", board.paper.getvalue()).splitlines()
    assert printed == ["W&B does not answer [really]", "trial-001 diverged: the loss is not a number"]


def test_where_no_one_watches_news_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with following() as say:
        assert not isinstance(say, Listener)
        say("popularity [on validation]")
        report_progress(say, PLAN)
        report_progress(say, news(0, "running", 0, line=""))
        report_progress(say, news(0, "running", 1, 0.1))
    assert capsys.readouterr().err == "popularity [on validation]\ntrial-000 in words\n"


def until(text: str, seen: list[bytes]) -> str:
    """Wait until a text was drawn; return all that was."""
    give_up = time.monotonic() + 20
    while text not in (drawn := b"".join(seen).decode(errors="ignore")):
        assert time.monotonic() < give_up, drawn
        time.sleep(0.05)
    return drawn


def test_on_a_terminal_the_table_moves_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    seen: list[bytes] = []

    def read() -> None:
        while chunk := os.read(ours, 65536):
            seen.append(chunk)
            if chunk.endswith(b"\0"):
                return

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(common, "err", Console(file=terminal, width=100, height=30))
        with following() as say:
            report_progress(say, PLAN)
            report_progress(say, news(0, "running", 1, 0.1))
            half = until("0.1000", seen)
            report_progress(say, news(0, "stopped early", 2, 0.3))
            whole = until("0.3000", seen)
        terminal.write("\0")
    reader.join(timeout=10)
    os.close(ours)
    assert "running" in half
    assert "0.3000" not in half
    assert "stopped early" in whole
    assert "in words" not in whole
    # What was drawn last is erased, line by line.
    assert "\x1b[1A\x1b[2K" in b"".join(seen).decode().rpartition("0.3000")[2]
