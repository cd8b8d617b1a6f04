"""Training steps over longer and longer histories: attention of linear cost beside multi-head attention.

A step is forward and backward through the two blocks of an encoder, for a fixed number of viewers of whom every other
one has a shorter history than the rest, as in training. All points are timed in turn and again, after a warm-up; the
figure is the largest growth of linear attention's step time per doubling of the length, each the median of the ratios
of neighbouring steps, memory being kept from step to step as ``train_encoder`` does. Peak memory is that of a fresh
process that takes one step.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn

from foveate.attention.base import MixerConfig, SequenceContext
from foveate.core.messages import NO_TIME
from foveate.encoder.model import Block, EncoderConfig
from foveate.encoder.training.train import kept_memory

MIXERS = ("linear", "multi_head")
LENGTHS = (512, 1024, 2048, 4096, 8192)
WIDTH = 64
GOALS = {2048: 2.3, 8192: 2.3}
"""Largest growth of linear attention's step time per doubling, up to a length."""

Point: TypeAlias = tuple[str, int]


class Step:
    """One point's training step, ready to be taken."""

    def __init__(self, point: Point, viewers: int) -> None:
        mixer, length = point
        torch.manual_seed(0)
        config = EncoderConfig(width=WIDTH, max_len=length, dropout=0.0, mixer=MixerConfig.variants[mixer]())
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.blocks)])
        self.x_BLD = torch.randn(viewers, length, WIDTH, requires_grad=True)
        shorter_B = torch.arange(viewers) % 2 * (length // 8)
        self.valid_BL = torch.arange(length) >= shorter_B[:, None]

    def run_once(self) -> float:
        """Return the seconds that it took."""
        start = time.perf_counter()
        undated = torch.full(self.valid_BL.shape, NO_TIME)
        context = SequenceContext(self.valid_BL, undated, torch.zeros_like(undated))
        y_BLD: Tensor = self.x_BLD
        for block in self.blocks:
            y_BLD, _ = block(y_BLD, context)
        y_BLD.square().mean().backward()  # type: ignore[no-untyped-call]
        return time.perf_counter() - start


def timed(points: list[Point], viewers: int, rounds: int) -> dict[Point, list[float]]:
    """Return each point's seconds, round by round."""
    steps = {point: Step(point, viewers) for point in points}
    for step in steps.values():
        step.run_once()
    seconds: dict[Point, list[float]] = {point: [] for point in points}
    for number in range(1, rounds + 1):
        for point, step in steps.items():
            seconds[point].append(step.run_once())
        print(f"round {number} of {rounds}: {sum(own[-1] for own in seconds.values()):.1f} s", flush=True)
    return seconds


def peak_gib(point: Point, options: argparse.Namespace) -> float:
    """Take one step in a fresh process."""
    mixer, length = point
    command = [sys.executable, __file__, "--point", mixer, str(length), "--viewers", str(options.viewers)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(answer.stdout)


def growth(seconds: dict[Point, list[float]], mixer: str, lengths: list[int]) -> dict[int, float]:
    """Return, by the longer length, how many times longer a step takes than at half of it."""
    found = {}
    for shorter, longer in itertools.pairwise(lengths):
        pairs = zip(seconds[mixer, shorter], seconds[mixer, longer], strict=True)
        found[longer] = statistics.median(b / a for a, b in pairs)
    return found


def show(seconds: dict[Point, list[float]], memory: dict[Point, float], lengths: list[int]) -> None:
    grown = {mixer: growth(seconds, mixer, lengths) for mixer in MIXERS}
    print("length" + "".join(f"  {mixer:>11s} ms  growth    GiB" for mixer in MIXERS))
    for length in lengths:
        cells = [
            f"  {1000 * statistics.median(seconds[mixer, length]):14.1f} {grown[mixer].get(length, float('nan')):7.2f}"
            f" {memory[mixer, length]:6.2f}"
            for mixer in MIXERS
        ]
        print(f"{length:6d}" + "".join(cells))


def goals(seconds: dict[Point, list[float]], lengths: list[int]) -> list[tuple[str, float, float]]:
    """Return name, value and goal of each figure."""
    grown = growth(seconds, "linear", lengths)
    upto = {end: [value for length, value in grown.items() if length <= end] for end in GOALS}
    return [(f"linear_growth_upto_{end}", max(values), GOALS[end]) for end, values in upto.items() if values]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS), help="each twice the one before")
    parser.add_argument("--viewers", type=int, default=2, help="histories a step")
    parser.add_argument("--rounds", type=int, default=10, help="how often every point is timed")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--point", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.point:
        Step((options.point[0], int(options.point[1])), options.viewers).run_once()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
        return
    if any(longer != 2 * shorter for shorter, longer in itertools.pairwise(options.lengths)):
        parser.error("each of --lengths must be twice the one before")
    points = [(mixer, length) for mixer in MIXERS for length in options.lengths]
    # First, for a process inherits the peak of the one that starts it.
    memory = {point: peak_gib(point, options) for point in points}
    with kept_memory():
        seconds = timed(points, options.viewers, options.rounds)
    show(seconds, memory, options.lengths)
    figures = goals(seconds, options.lengths)
    if options.json:
        ratios = [{"name": name, "value": value, "goal": f"<= {goal:g}"} for name, value, goal in figures]
        rows = [{"mixer": m, "length": n, "seconds": own, "gib": memory[m, n]} for (m, n), own in seconds.items()]
        options.json.write_text(json.dumps({"ratios": ratios, "points": rows}, indent=2) + "\n")
    for name, value, goal in figures:
        print(f"ratio {name} {value:.2f} goal <= {goal:g}")


if __name__ == "__main__":
    main()
