"""Shards as deployments with nothing before them, and the folder that they read: a bundle of one file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from ray import serve
from ray.serve.handle import DeploymentHandle
from safetensors.numpy import save_file

from foveate._version import __version__
from foveate.bundle.manifest import FileEntry, Manifest, entry_of
from foveate.bundle.parts import source_file
from foveate.core.config import from_dict, to_dict
from foveate.encoder.model import SequenceEncoder
from foveate.encoder.trained import TrainedEncoder
from foveate.recommend.recipe import Recipe
from foveate.retrieval.attention import Attention
from foveate.retrieval.index.base import Vectors
from foveate.retrieval.shards import Shard
from foveate_serve.graph import ShardReplica
from foveate_serve.names import BUNDLE_KEY, shard_name

LARGEST_BATCH = 32


def config(width: int) -> Attention:
    """Return an encoder of plain dot products, of which every item is scored."""
    settings = {"encoder": {"width": width, "scorer": "dot_product"}, "index": "exact"}
    return from_dict(Attention, settings)


def write_bundle(folder: Path, items: Vectors) -> Manifest:
    """Write what a shard reads of a bundle: its manifest, and the file of the encoder's source."""
    attention = config(items.shape[1])
    few = TrainedEncoder(attention.encoder, SequenceEncoder(attention.encoder, 1)).arrays()
    name = source_file(attention.name)
    (folder / name).parent.mkdir(parents=True)
    save_file({**few, "items.weight": items}, folder / name)
    manifest = Manifest(
        bundle_id="",
        foveate=__version__,
        files={name: _entry(folder / name)},
        recipe=to_dict(from_dict(Recipe, {"sources": [to_dict(attention)]})),
        sources=(attention.name,),
        features=(),
        columns=(),
        feature_schema="",
        positive_kinds=(),
        items=len(items),
        data_hash="",
        simulated=True,
    ).identified()
    manifest.write(folder)
    return manifest


def _entry(path: Path) -> FileEntry:
    return entry_of(path.read_bytes())


class Measured(ShardReplica):
    """A shard that says which process it is, and how much memory its items take."""

    def __init__(self, number: int, count: int, largest: int) -> None:
        super().__init__(number, count, largest)
        warm_up()
        self._empty = own_memory()

    def process(self) -> tuple[int, int]:
        """Return the process id, and how many MiB it has taken since it began."""
        return os.getpid(), own_memory() - self._empty


class Root:
    """What Serve wants an application to begin with."""

    def __init__(self, *shards: DeploymentHandle[Any]) -> None:
        del shards


def warm_up() -> None:
    """Search among a few items, so that what the first search loads is not taken for theirs."""
    own = config(8)
    arrays = TrainedEncoder(own.encoder, SequenceEncoder(own.encoder, 3)).arrays()
    Shard.restore(own, arrays, 3, 0, 1).best(np.ones((1, 8), dtype=np.float32), [np.empty(0, dtype=np.int32)], [1])


def own_memory() -> int:
    """Return the MiB of this process that are not a file's, and so cannot be had again from there."""
    lines = Path("/proc/self/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("RssAnon")]
    return int(line.split()[1]) // 1024


def graph(folder: Path, count: int) -> serve.Application:
    """Return the application of ``count`` shards, one replica each."""
    settings: dict[str, Any] = {
        "ray_actor_options": {"num_cpus": 0.25},
        "max_ongoing_requests": 64,
        "user_config": {BUNDLE_KEY: str(folder)},
    }
    shards = [
        serve.deployment(name=shard_name(number), **settings)(Measured).bind(number, count, LARGEST_BATCH)
        for number in range(count)
    ]
    return serve.deployment(name="root", ray_actor_options={"num_cpus": 0.1})(Root).bind(*shards)
