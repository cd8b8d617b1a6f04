"""Sizes and prices of machines: a YAML file, which a user may replace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from foveate.core.config import from_dict, load_yaml
from foveate.core.errors import ConfigError

GIB = 1 << 30


@dataclass(frozen=True)
class Node:
    """A machine: cores, GiB of memory, and its price an hour."""

    cores: int
    memory_gib: float
    hourly: float

    def __post_init__(self) -> None:
        if self.cores < 1 or self.memory_gib <= 0 or self.hourly < 0:
            raise ConfigError("a node has cores and memory_gib above 0, and an hourly price of 0 or more")


@dataclass(frozen=True)
class Gpu:
    """A GPU: GiB of memory, how fast it reads that, and its price an hour beside the node's."""

    memory_gib: float
    gigabytes_a_second: float
    hourly: float

    def __post_init__(self) -> None:
        if self.memory_gib <= 0 or self.gigabytes_a_second <= 0 or self.hourly < 0:
            raise ConfigError("a GPU has memory and bandwidth above 0, and an hourly price of 0 or more")


@dataclass(frozen=True)
class Prices:
    """The table.

    Parameters
    ----------
    assumed
        Where each group of figures comes from, in words.
    date
        When they held.
    """

    nodes: Mapping[str, Node]
    gpus: Mapping[str, Gpu]
    assumed: Mapping[str, str]
    date: str
    hours_a_month: float = 730.0
    currency: str = "USD"

    def __post_init__(self) -> None:
        if not self.nodes:
            raise ConfigError("a price table needs at least one kind of node")

    def gpu(self, kind: str) -> Gpu:
        """Return a kind of GPU.

        Raises
        ------
        ConfigError
            The table does not have it.
        """
        if kind not in self.gpus:
            kinds = ", ".join(self.gpus) or "none"
            raise ConfigError(f"--gpu '{kind}' is not in the price table. Known: {kinds}; --prices FILE brings others.")
        return self.gpus[kind]


def read_prices(path: Path | None) -> Prices:
    """Read a table, or the one that comes with Foveate.

    Raises
    ------
    ConfigError
        The file is absent, or is no such table.
    """
    if path is not None:
        return _read(path)
    with as_file(files("foveate_capacity") / "prices.yaml") as own:
        return _read(own)


def _read(path: Path) -> Prices:
    data = load_yaml(path)
    # YAML takes an unquoted date for one.
    return from_dict(Prices, {**data, "date": str(data["date"])} if "date" in data else data, "prices")
