"""Lines through measurements, by least squares of the relative distance, with no slope below zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import nnls

from foveate_capacity.costs import Line, Point

GROWTH = 0.1
"""Least share by which a request must cost more over the largest catalogue than over the smallest to count as growth:
less is noise, and drawn out to a large catalogue it would drown the rest."""


def fit(points: Sequence[Point]) -> Line:
    """Return the line nearest to the points, small and large batches counting alike.

    Growth with the catalogue is told apart only where the points are of catalogues of several sizes. Source: Lawson and
    Hanson, Solving Least Squares Problems (1974), chapter 23: least squares without negative terms.

    Parameters
    ----------
    points
        At least two, of one stage.
    """
    line = _fitted(points, growing=len({point.items for point in points}) > 1)
    if line.per_item_s is None or _grows(line, points):
        return line
    return replace(_fitted(points, growing=False), per_item_s=0.0)


def _grows(line: Line, points: Sequence[Point]) -> bool:
    few, many = min(point.items for point in points), max(point.items for point in points)
    return line.seconds(1, many) > (1 + GROWTH) * line.seconds(1, few)


def _fitted(points: Sequence[Point], *, growing: bool) -> Line:
    requests = np.array([point.requests for point in points], dtype=np.float64)
    items = np.array([point.items for point in points], dtype=np.float64)
    seconds = np.array([point.seconds for point in points], dtype=np.float64)
    columns = [np.ones_like(requests), requests]
    if growing:
        columns += [requests * items, items]
    # Divided by what was measured, a row's distance is relative.
    rows = np.stack(columns, axis=1) / seconds[:, None]
    scale = rows.max(axis=0)
    terms, distance = nnls(rows / scale, np.ones_like(seconds))
    terms /= scale
    return Line(
        fixed_s=float(terms[0]),
        per_request_s=float(terms[1]),
        per_item_s=float(terms[2]) if growing else None,
        fixed_per_item_s=float(terms[3]) if growing else 0.0,
        items=int(items.max()),
        misfit=float(distance / np.sqrt(len(seconds))),
    )
