"""Old names of modules: they import, with a warning, for one release."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final

MOVED: Final = {
    "foveate.api.places": "foveate.api.reading",
    "foveate.attention.temperature": "foveate.attention.base",
    "foveate.conditional": "foveate.storage.conditional",
    "foveate.config": "foveate.core.config",
    "foveate.data.contacts": "foveate.data.importing.contacts",
    "foveate.data.crew": "foveate.data.worker_group",
    "foveate.data.derive": "foveate.data.importing.derive",
    "foveate.data.followed": "foveate.training.examples",
    "foveate.data.importing.run": "foveate.data.importing.import_dataset",
    "foveate.data.ingest": "foveate.data.importing.import_dataset",
    "foveate.data.items": "foveate.data.importing.items",
    "foveate.data.once": "foveate.core.once",
    "foveate.data.parallel": "foveate.data.importing.import_dataset",
    "foveate.data.raw.opening": "foveate.data.raw.open_table",
    "foveate.data.readers.viewers": "foveate.data.readers.base",
    "foveate.data.report": "foveate.data.importing.report",
    "foveate.data.report_builder": "foveate.data.importing.report_builder",
    "foveate.data.rows": "foveate.data.catalog",
    "foveate.data.simulate": "foveate.data.world",
    "foveate.data.simulate.living": "foveate.data.world.sessions",
    "foveate.data.simulate.world": "foveate.data.world.simulate",
    "foveate.data.spool": "foveate.data.importing.spool",
    "foveate.data.stream": "foveate.data.importing.stream",
    "foveate.encoder.average": "foveate.encoder.training.run",
    "foveate.encoder.checkpoint": "foveate.encoder.training.checkpoint",
    "foveate.encoder.device": "foveate.encoder.training.device",
    "foveate.encoder.lookup": "foveate.encoder.embedding.lookup",
    "foveate.encoder.mapped": "foveate.encoder.embedding.mapped",
    "foveate.encoder.memory": "foveate.encoder.training.train",
    "foveate.encoder.objective": "foveate.encoder.training.objective",
    "foveate.encoder.rollout": "foveate.encoder.trained",
    "foveate.encoder.run": "foveate.encoder.training.run",
    "foveate.encoder.settings": "foveate.encoder.training.settings",
    "foveate.encoder.striped": "foveate.encoder.embedding.sharded",
    "foveate.encoder.table": "foveate.encoder.embedding.table",
    "foveate.encoder.target": "foveate.encoder.trained",
    "foveate.encoder.team": "foveate.encoder.distributed.process_group",
    "foveate.encoder.together": "foveate.encoder.distributed.training",
    "foveate.encoder.train": "foveate.encoder.training.train",
    "foveate.encoder.validation": "foveate.encoder.training.validation",
    "foveate.errors": "foveate.core.errors",
    "foveate.evaluate": "foveate.evaluation",
    "foveate.explain": "foveate.recommend.explain",
    "foveate.explain.history": "foveate.recommend.explain.history",
    "foveate.explain.judging": "foveate.recommend.explain.elimination",
    "foveate.explain.slate": "foveate.recommend.explain.observed_run",
    "foveate.explain.stages": "foveate.recommend.explain.observed_run",
    "foveate.explain.why_not": "foveate.recommend.explain.observed_run",
    "foveate.fallback": "foveate.recommend.fallback",
    "foveate.files": "foveate.storage.files",
    "foveate.fit": "foveate.training",
    "foveate.fit.training": "foveate.training.examples",
    "foveate.folder": "foveate.storage.folder",
    "foveate.grouped": "foveate.core.grouped",
    "foveate.messages": "foveate.core.messages",
    "foveate.metrics": "foveate.core.metrics",
    "foveate.model": "foveate.recommend.model",
    "foveate.overrides": "foveate.core.overrides",
    "foveate.parity": "foveate.replay.parity",
    "foveate.pipeline": "foveate.recommend.pipeline",
    "foveate.recipe": "foveate.recommend.recipe",
    "foveate.recommend.explain.run": "foveate.recommend.explain.observed_run",
    "foveate.recommend.surfaces.likeness": "foveate.recommend.surfaces.related",
    "foveate.registry": "foveate.core.registry",
    "foveate.releases.keeping": "foveate.releases.backend",
    "foveate.releases.live": "foveate.releases.viewer_state",
    "foveate.retrieval.asked": "foveate.retrieval.base",
    "foveate.retrieval.carried": "foveate.retrieval.attribution",
    "foveate.retrieval.neighbours": "foveate.retrieval.sparse",
    "foveate.slate.exploration.noise": "foveate.slate.exploration.config",
    "foveate.slate.greedy": "foveate.slate.choose",
    "foveate.space": "foveate.core.space",
    "foveate.state.connection": "foveate.state.redis.connection",
    "foveate.state.database": "foveate.state.sqlite.database",
    "foveate.state.erasure": "foveate.state.base",
    "foveate.state.event_table": "foveate.state.sqlite.event_table",
    "foveate.state.file_config": "foveate.state.sqlite.config",
    "foveate.state.group_commit": "foveate.state.sqlite.group_commit",
    "foveate.state.history": "foveate.state.base",
    "foveate.state.identity": "foveate.state.sqlite.database",
    "foveate.state.impressions": "foveate.state.sqlite.impressions",
    "foveate.state.impressions_v4": "foveate.state.sqlite.schema",
    "foveate.state.opening": "foveate.state.connect",
    "foveate.state.redis_impressions": "foveate.state.redis.impressions",
    "foveate.state.redis_schema": "foveate.state.redis.schema",
    "foveate.state.redis_script": "foveate.state.redis.schema",
    "foveate.state.retention": "foveate.state.sqlite.retention",
    "foveate.state.schema": "foveate.state.sqlite.schema",
    "foveate.state.sqlite.events": "foveate.state.sqlite.store",
    "foveate.state.sqlite.exports": "foveate.state.sqlite.retention",
    "foveate.state.sqlite.identity": "foveate.state.sqlite.database",
    "foveate.state.sqlite.impressions_v4": "foveate.state.sqlite.schema",
    "foveate.state.sqlite_events": "foveate.state.sqlite.store",
    "foveate.stored": "foveate.storage.transfer",
    "foveate.surfaces": "foveate.recommend.surfaces",
    "foveate.training.run": "foveate.training.two_stages",
    "foveate_capacity.fleet": "foveate_capacity.plan",
    "foveate_capacity.simulator.run": "foveate_capacity.simulator.simulated_service",
    "foveate_cli.import_report": "foveate_cli.data",
    "foveate_cli.live": "foveate_cli.trial_board",
    "foveate_cli.nearby": "foveate_cli.local_servers",
    "foveate_cli.verbosity": "foveate_cli.main",
    "foveate_cli.workers": "foveate_cluster.workers",
    "foveate_cluster.code_version": "foveate_cluster.wheel",
    "foveate_cluster.edges": "foveate_cluster.environment",
    "foveate_serve.access": "foveate_serve.config",
    "foveate_serve.bundles.holder": "foveate_serve.bundles.slots",
    "foveate_serve.bundles.rehearsal": "foveate_serve.bundles.loading",
    "foveate_serve.bundles.turning": "foveate_serve.replica",
    "foveate_serve.capacity": "foveate_capacity",
    "foveate_serve.capacity.around": "foveate_capacity.overhead",
    "foveate_serve.capacity.crews": "foveate_capacity.worker_groups",
    "foveate_serve.capacity.fit": "foveate_capacity.measure",
    "foveate_serve.capacity.limits": "foveate_capacity.plan",
    "foveate_serve.capacity.lines": "foveate_capacity.queueing",
    "foveate_serve.capacity.lookup": "foveate_capacity.measure",
    "foveate_serve.capacity.simulate": "foveate_capacity.simulator",
    "foveate_serve.capacity.simulate.batcher": "foveate_capacity.simulator.replicas",
    "foveate_serve.capacity.simulate.ground": "foveate_capacity.simulator.environment",
    "foveate_serve.capacity.tried": "foveate_capacity.simulated",
    "foveate_serve.capacity.ways": "foveate_capacity.search_methods",
    "foveate_serve.http.authorization": "foveate_serve.http.authentication",
    "foveate_serve.http.bodies": "foveate_serve.http.admission",
    "foveate_serve.http.key_file": "foveate_serve.http.keys",
    "foveate_serve.http.schemas.problem": "foveate_serve.http.schemas.base",
    "foveate_serve.operations.checks": "foveate_serve.app",
    "foveate_serve.sight": "foveate_serve.telemetry",
    "foveate_serve.sight.sight": "foveate_serve.telemetry.telemetry",
    "foveate_serve.stages.batched": "foveate_serve.stages.batcher",
    "foveate_serve.stages.breaker": "foveate_serve.stages.guarded",
    "foveate_serve.stages.event_writer": "foveate_serve.stages.writer",
    "foveate_serve.stages.hydrator": "foveate_serve.stages.local",
    "foveate_serve.stages.peers": "foveate_serve.stages.remote",
    "foveate_serve.stages.ranker": "foveate_serve.stages.local",
    "foveate_serve.stages.retriever": "foveate_serve.stages.local",
    "foveate_serve.stages.shadowing": "foveate_serve.stages.shadow",
    "foveate_serve.stages.starting": "foveate_serve.replica",
    "foveate_serve.telemetry.header": "foveate_serve.telemetry.spans",
    "foveate_serve.telemetry.meter": "foveate_serve.telemetry.telemetry",
    "foveate_serve.web": "foveate_serve.http",
    "foveate_serve.web.doorman": "foveate_serve.http.authentication",
    "foveate_serve.web.shadow": "foveate_serve.http.api",
    "foveate_serve.web.threshold": "foveate_serve.http.load_shedding",
    "foveate_serve.wire": "foveate_serve.http.schemas",
    "foveate_tune.checkpoints": "foveate_tune.trials.callback",
    "foveate_tune.chosen": "foveate_tune.levels.chosen_encoder",
    "foveate_tune.cluster": "foveate_cluster.connection",
    "foveate_tune.course": "foveate_tune.trials.record",
    "foveate_tune.crew": "foveate_cluster.distributed_encoder",
    "foveate_tune.facts": "foveate_tune.run_sweep",
    "foveate_tune.front": "foveate_tune.results.pareto",
    "foveate_tune.jobs": "foveate_cluster.jobs",
    "foveate_tune.journal": "foveate_tune.trials.journal",
    "foveate_tune.leaderboard": "foveate_tune.results.leaderboard",
    "foveate_tune.news": "foveate_tune.progress",
    "foveate_tune.pick": "foveate_tune.results.pick",
    "foveate_tune.pilot": "foveate_tune.trials.pilot",
    "foveate_tune.remembered": "foveate_tune.trials.recorded_searcher",
    "foveate_tune.remote": "foveate_cluster.remote",
    "foveate_tune.report.facts": "foveate_tune.report.page",
    "foveate_tune.run": "foveate_tune.run_sweep",
    "foveate_tune.running": "foveate_tune.trials.runner",
    "foveate_tune.second_stage": "foveate_tune.levels.second_stage",
    "foveate_tune.spread": "foveate_cluster.distributed_ranker",
    "foveate_tune.sweep": "foveate_tune.run_sweep",
    "foveate_tune.team": "foveate_cluster.worker_group",
    "foveate_tune.tensorboard": "foveate_tune.tracking.tensorboard",
    "foveate_tune.together": "foveate_tune.trials.runner",
    "foveate_tune.trackers": "foveate_tune.tracking.base",
    "foveate_tune.trial": "foveate_tune.trials.trial",
    "foveate_tune.trials.checkpoints": "foveate_tune.trials.callback",
    "foveate_tune.verdict": "foveate_tune.results.verdict",
    "foveate_tune.watch": "foveate_tune.trials.callback",
    "foveate_tune.wheel": "foveate_cluster.wheel",
}
"""The present name of each module or package that had another one."""


def present_name(name: str) -> str | None:
    """Return what a module is called now; None where it has kept its name."""
    head, tail = name, ""
    while head:
        if head in MOVED:
            return MOVED[head] + tail
        head, _, last = head.rpartition(".")
        tail = f".{last}{tail}"
    return None


def names_of(old: str, new: str) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for a package that has the name of a former module: its names are those of ``new``."""

    def find(name: str) -> Any:
        if name.startswith("__") or find_spec(f"{old}.{name}"):
            raise AttributeError(name)
        value = getattr(importlib.import_module(new), name)
        warnings.warn(f"{name} of '{old}' is in '{new}' now", DeprecationWarning, stacklevel=2)
        return value

    return find


class _OldNames(MetaPathFinder):
    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        new = present_name(fullname) if fullname.startswith("foveate") else None
        return ModuleSpec(fullname, _Alias(new)) if new else None


class _Alias(Loader):
    def __init__(self, new: str) -> None:
        self._new = new

    def exec_module(self, module: ModuleType) -> None:
        # Importlib returns what stands in ``sys.modules`` afterwards: the module itself, not a copy of it.
        sys.modules[module.__name__] = importlib.import_module(self._new)
        parent = sys.modules.get(module.__name__.rpartition(".")[0])
        if type(parent) is ModuleType:
            # The import system is about to bind the child's name in it.
            parent.__class__ = _Package
        warnings.warn(f"'{module.__name__}' is called '{self._new}' now", DeprecationWarning, stacklevel=2)


class _Package(ModuleType):
    """A package whose functions and classes stay when a former module of the same name is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        former = isinstance(value, ModuleType) and value.__name__ != f"{self.__name__}.{name}"
        public = name in getattr(self, "__all__", ()) or not isinstance(vars(self).get(name, value), ModuleType)
        if not (former and public):
            super().__setattr__(name, value)


def keep_public(name: str) -> None:
    """Keep the public names of a package from being hidden by a former module: ``foveate.evaluate`` is a function."""
    sys.modules[name].__class__ = _Package


def install() -> None:
    """Have Python know the old names."""
    if not any(isinstance(finder, _OldNames) for finder in sys.meta_path):
        sys.meta_path.insert(0, _OldNames())
