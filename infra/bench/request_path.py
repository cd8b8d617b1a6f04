"""How long the way of a request is: frames from the HTTP handler to the first source, and files of ours that run.

One request for a slate and one with an event are answered in this process by the ingress of ``topology=fused`` through
its whole HTTP interface, under Python's profiler (``sys.setprofile``, in every thread). A first request of each kind is
not counted: it fills caches.

A frame counts where its code lies in the packages of this repository. The first source is reached when a method of a
file of ``foveate.retrieval`` named in the bundle's recipe is called; the frames on the way are those of the handler's
chain of awaits, of the tasks that the request started, and of the thread that calls, both ends included. A file counts
where any function of it was called between the request's arrival in the application and the end of its answer.

A trial of a sweep over encoders runs in this process as well, without Ray: a file counts where any function of it was
called from the trial's draw on until the encoder's training begins.

``--list`` prints the frames and the files. The bundle is one of a small simulated world, or ``--bundle``.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, FrameType
from typing import Any

import httpx

import foveate
import foveate_serve
import foveate_tune
from foveate.bundle import Bundle, default_state
from foveate.core.config import from_dict, to_dict
from foveate.data.dataset import Dataset
from foveate.data.world.config import SimulateConfig
from foveate.data.world.simulate import simulate_dataset
from foveate.encoder.training.train import train_encoder
from foveate.recommend.recipe import Recipe
from foveate.retrieval.base import CandidateSource
from foveate.state.sqlite.store import SqliteState
from foveate.training import fit_model
from foveate_serve.config import ServeConfig
from foveate_serve.http.api import build_api
from foveate_serve.ingress import Ingress
from foveate_serve.names import BUNDLE_KEY
from foveate_tune.config import SweepConfig
from foveate_tune.trials.trial import Limits, run_draw

FRAMES, FILES, EVENT_FILES, TRIAL_FILES = 12, 30, 8, 20

_ROOTS = tuple(f"{package.__path__[0]}/" for package in (foveate, foveate_serve, foveate_tune))
_ROUTES = f"{foveate_serve.__path__[0]}/http/api.py"
_RECIPE = {
    "sources": [{"name": "attention", "train": {"epochs": 1}}, "covisitation", "popularity"],
    "candidates": 60,
    "label_windows": 1,
    "ranker": {"name": "lambdarank", "trees": 30, "members": 2, "min_rows": 20, "threads": 1},
}


@dataclass
class Watch:
    """Follows one request.

    Parameters
    ----------
    route
        Name of the function that handles it.
    sources
        Methods of candidate sources, which end the way that is counted.
    """

    route: str
    sources: frozenset[CodeType]
    files: set[str] = field(default_factory=set)
    way: list[CodeType] = field(default_factory=list)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        """Note a call; Python's profiler calls this."""
        del arg
        if event != "call" or not ours(frame.f_code):
            return
        self.files.add(frame.f_code.co_filename)
        if frame.f_code in self.sources and not self.way:
            self.way = [*self._awaited(), *reversed(list(_callers(frame)))]

    def _awaited(self) -> Iterator[CodeType]:
        """Yield the code that awaits the thread: the handler's chain, and other tasks of ours."""
        chains = [list(_chain(task.get_coro())) for task in asyncio.all_tasks(self.loop)]
        for chain in sorted(chains, key=lambda codes: not any(self._handles(code) for code in codes)):
            begin = next((i for i, code in enumerate(chain) if self._handles(code)), 0)
            yield from chain[begin:]

    def _handles(self, code: CodeType) -> bool:
        return code.co_name == self.route and code.co_filename == _ROUTES

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Profile the block, in this thread and in all others."""
        if sys.version_info >= (3, 12):
            threading.setprofile_all_threads(self)
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(None)
            if sys.version_info >= (3, 12):
                threading.setprofile_all_threads(None)


def ours(code: CodeType) -> bool:
    """Whether code lies in a package of this repository."""
    return code.co_filename.startswith(_ROOTS)


def _callers(frame: FrameType | None) -> Iterator[CodeType]:
    while frame is not None:
        if ours(frame.f_code):
            yield frame.f_code
        frame = frame.f_back


def _chain(coroutine: Any) -> Iterator[CodeType]:
    """Yield the code of ours along a chain of awaits, outermost first."""
    while coroutine is not None:
        code = getattr(coroutine, "cr_code", None) or getattr(coroutine, "ag_code", None)
        if code is not None and ours(code):
            yield code
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "ag_await", None)


def files_of_a_trial(world: Dataset) -> set[str]:
    """Run a trial of one epoch, and return the files of ours that run before its encoder trains."""
    config = SweepConfig(epochs=1)
    problem = config.level.prepare(world, config, lambda _: None)
    draw = problem.first(config.level.space(config))
    files: set[str] = set()

    def watch(frame: FrameType, event: str, arg: Any) -> None:
        del arg
        if frame.f_code is train_encoder.__code__:
            sys.setprofile(None)
        elif event == "call" and ours(frame.f_code):
            files.add(frame.f_code.co_filename)

    sys.setprofile(watch)
    try:
        run_draw(draw or {}, problem, lambda *_: None, limits=Limits(1, 60.0), cpus=1, resume=None)
    finally:
        sys.setprofile(None)
    return files


def small_bundle(world: Dataset, folder: Path) -> Bundle:
    """Train a bundle on a small simulated world; its viewers' histories lie beside it."""
    model = fit_model(world, from_dict(Recipe, _RECIPE), upto="all")
    bundle = Bundle.save(model, folder / "bundle", data_hash=world.manifest.content_hash, simulated=True)
    with SqliteState(default_state(bundle.path)) as state:
        state.import_events(world.events)
    return bundle


def methods_of(bundle: Bundle) -> frozenset[CodeType]:
    """Return the code of every method of a bundle's sources."""
    kinds = {CandidateSource, *(kind for source in bundle.model.sources for kind in type(source).__mro__)}
    found = (vars(kind).get(name) for kind in kinds for name in ("ask", "scores"))
    return frozenset(method.__code__ for method in found if method is not None and ours(method.__code__))


async def watched(bundle: Bundle) -> tuple[Watch, Watch]:
    """Answer a request for a slate and one with an event, and watch both."""
    with SqliteState(default_state(bundle.path)) as state:
        [user] = state.users(1)
    ingress = Ingress(to_dict(ServeConfig(topology="fused", deadline_ms=60_000)), str(default_state(bundle.path)))
    await ingress.reconfigure({BUNDLE_KEY: str(bundle.path)})
    asked = {"user_id": user, "k": 10}
    event = {"events": [{"user_id": user, "item_id": bundle.model.catalog.items.ids[0], "kind": "like"}]}
    slate, posted = Watch("recommend", methods_of(bundle)), Watch("events", frozenset())
    api = build_api(ingress, ingress.running)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://127.0.0.1") as client:
        for watch, path, body in ((slate, "/v1/recommend", asked), (posted, "/v1/events", event)):
            await _answered(client, path, body, watch)
    return slate, posted


async def _answered(client: httpx.AsyncClient, path: str, body: Mapping[str, Any], watch: Watch) -> None:
    # Before Python 3.12 a thread is profiled from its start on: the first request starts them, its calls are forgotten.
    threading.setprofile(watch)
    try:
        (await client.post(path, json=body)).raise_for_status()
    finally:
        threading.setprofile(None)
    watch.files.clear()
    watch.way.clear()
    with watch.watching():
        (await client.post(path, json=body)).raise_for_status()


def _name(path: str) -> str:
    root = next(root for root in _ROOTS if path.startswith(root))
    return f"{Path(root).name}/{path.removeprefix(root)}"


def main() -> None:
    """Print what was counted beside its goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        config = SimulateConfig(viewers=300, items=300, days=14, seed=3)
        world = simulate_dataset(config, Path(folder) / "world")
        bundle = Bundle.load(options.bundle) if options.bundle else small_bundle(world, Path(folder))
        slate, event = asyncio.run(watched(bundle))
        trial = files_of_a_trial(world)
    if options.list:
        for code in slate.way:
            print(f"frame {_name(code.co_filename)}:{code.co_firstlineno} {code.co_name}")
        for name, files in (("slate", slate.files), ("event", event.files), ("trial", trial)):
            print(*(f"{name} {path}" for path in sorted(map(_name, files))), sep="\n")
    print(f"ratio frames_from_handler_to_source {len(slate.way)} goal <= {FRAMES}")
    print(f"ratio files_of_a_request {len(slate.files)} goal <= {FILES}")
    print(f"ratio files_of_an_event {len(event.files)} goal <= {EVENT_FILES}")
    print(f"ratio files_of_a_trial_before_the_encoder {len(trial)} goal <= {TRIAL_FILES}")


if __name__ == "__main__":
    main()
