"""Retrieving 200 of a million items on one core: exactly, and out of an index, with what the index misses.

Items and viewers are drawn from a mixture of 1,000 clusters in 64 dimensions, as trained encoders lay items out, and
not from white noise, in which nothing is near anything. Both ways are timed in turn, request by request, after a
warm-up, by the time that the thread itself is at work.

(i) Exact: the product by the encoder's scorer and the best 200 without what the viewer has met, as the source retrieves
them, beside a bare torch product and torch's top-k, which leave nothing out. (ii) The index, along the lists that it
reads: its recall of the true 200, and how many times as fast as exact retrieval it is. It takes a minute or two to
build, of which k-means is most; what it takes to load it from a bundle is told too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from foveate.attention.dot_product import DotProduct
from foveate.retrieval.base import top_k
from foveate.retrieval.index.base import VectorIndex
from foveate.retrieval.index.inverted import Inverted

CLUSTERS, SEEN = 1000, 50
WITHIN, RECALL, FASTER = 1.2, 0.95, 5.0

Vectors = NDArray[np.float32]
Codes = NDArray[np.int32]


@dataclass(frozen=True)
class Point:
    """The index at so many lists: recall of the true best, median milliseconds, and exact retrieval over them."""

    lists: int
    recall: float
    milliseconds: float
    times_as_fast: float


def mixture(options: argparse.Namespace) -> tuple[Vectors, Vectors, list[Codes]]:
    """Return items, viewers, and what each viewer has met."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLUSTERS, options.width)).astype(np.float32)

    def near(count: int) -> Vectors:
        noise = rng.standard_normal((count, options.width), dtype=np.float32)
        return np.asarray(centres[rng.integers(0, CLUSTERS, count)] + np.float32(options.cluster_std) * noise)

    items, viewers = near(options.items), near(options.viewers)
    met = [np.sort(rng.choice(options.items, SEEN, replace=False)).astype(np.int32) for _ in range(options.viewers)]
    return items, viewers, met


def timed(calls: Sequence[Callable[[int], object]], requests: int, warm_up: int = 3) -> list[list[float]]:
    """Return the milliseconds that the thread was at work in each request, all ways in turn."""
    out: list[list[float]] = [[] for _ in calls]
    for request in [*range(warm_up), *range(requests)]:
        for call, own in zip(calls, out, strict=True):
            start = time.thread_time()
            call(request)
            own.append(1000.0 * (time.thread_time() - start))
    return [own[warm_up:] for own in out]


def exact_and_bare(
    items: Vectors, viewers: Vectors, met: list[Codes], k: int
) -> tuple[Callable[[int], Codes], Callable[[int], object]]:
    scorer = DotProduct().build(items.shape[1])
    item_ND, user_BD = torch.from_numpy(items), torch.from_numpy(viewers)

    def exact(row: int) -> Codes:
        with torch.inference_mode():
            scores = scorer(user_BD[row : row + 1], item_ND)[0].numpy()
        return top_k(scores, met[row], k)

    def bare(row: int) -> object:
        with torch.inference_mode():
            return (user_BD[row : row + 1] @ item_ND.T).topk(k)

    return exact, bare


def curve(
    index: VectorIndex, exact: Callable[[int], Codes], viewers: Vectors, met: list[Codes], options: argparse.Namespace
) -> list[Point]:
    """Measure the index along its lists, up to all but everything found."""
    truth = [set(exact(row).tolist()) for row in range(len(viewers))]
    points: list[Point] = []
    while not points or (points[-1].recall < 0.9995 and index.probes < index.most_probes):
        index.probes = min(2 * index.probes, index.most_probes) if points else 1

        def look_up(row: int) -> Codes:
            return index.search(viewers[row], options.k, met[row])

        own, others = timed([look_up, exact], len(viewers))
        shares = [len(best & set(look_up(row).tolist())) / len(best) for row, best in enumerate(truth)]
        milliseconds = statistics.median(own)
        faster = statistics.median(others) / milliseconds
        points.append(Point(index.probes, float(np.mean(shares)), milliseconds, faster))
        print(
            f"| {index.probes} | {points[-1].recall:.3f} | {milliseconds:.2f} | {faster:.0f} |",
            flush=True,
        )
    return points


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--cluster-std", type=float, default=0.5, help="the centres' own is 1")
    parser.add_argument("--viewers", type=int, default=50, help="requests of each kind that are timed")
    parser.add_argument("--k", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        items, viewers, met = mixture(options)
        exact, bare = exact_and_bare(items, viewers, met, options.k)
        own, other = timed([exact, bare], options.viewers)
        ratio = statistics.median(own) / statistics.median(other)
        print(f"exact {statistics.median(own):.1f} ms, bare product and top-k {statistics.median(other):.1f} ms")
        start = time.thread_time()
        index = Inverted().build(items, 0)
        built = time.thread_time() - start
        start = time.thread_time()
        index = Inverted().restore(items, index.arrays())
        loaded = time.thread_time() - start
        print(
            f"{index.most_probes:,} lists of {options.items:,} items: built in {built:.0f} s, loaded in {loaded:.1f} s"
        )
        print(f"\n| lists read | recall@{options.k} | ms | times as fast as exact |\n| ---: | ---: | ---: | ---: |")
        points = curve(index, exact, viewers, met, options)
    good = [point.times_as_fast for point in points if point.recall >= RECALL]
    figures = [
        ("exact_over_bare_product_and_top_k", ratio, f"<= {WITHIN:g}"),
        (f"index_speed_at_recall_{RECALL:g}", max(good, default=0.0), f">= {FASTER:g}"),
    ]
    if options.json:
        ratios = [{"name": name, "value": value, "goal": goal} for name, value, goal in figures]
        result = {"ratios": ratios, "points": [asdict(point) for point in points], "built_s": built, "loaded_s": loaded}
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    print()
    for name, value, goal in figures:
        print(f"ratio {name} {value:.2f} goal {goal}")


if __name__ == "__main__":
    main()
