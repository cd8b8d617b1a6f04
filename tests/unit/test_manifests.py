"""Each overlay is built by kustomize and read by the schemas of those who will read it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, TypeAlias

import click
import jsonschema
import kubernetes_validate
import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from foveate.core.config import from_dict, load_yaml
from foveate.recommend.recipe import Recipe
from foveate_cli.main import cli
from foveate_serve.config import ServeConfig
from foveate_tune.config import SweepConfig

Resource: TypeAlias = dict[str, Any]

OVERLAYS = ("dev", "prod")
CUSTOM = {"RayService": "rayservices", "RayJob": "rayjobs"}


@pytest.fixture(scope="module")
def schema_of(shared_data: Path) -> Callable[[str], Resource]:
    folder = shared_data.parent / "schemas" / "kuberay"
    if not folder.is_dir():
        pytest.skip(f"no definitions of KubeRay's resources at {folder}")
    known: dict[str, Resource] = {}

    def schema(kind: str) -> Resource:
        if kind not in known:
            text = (folder / f"ray.io_{CUSTOM[kind]}.yaml").read_text()
            definition = yaml.load(text, yaml.CSafeLoader)
            [stored] = [one for one in definition["spec"]["versions"] if one["storage"]]
            # A budget over Ray's pods could state a share of them if there were a scale subresource.
            assert "scale" not in stored["subresources"]
            known[kind] = strict(stored["schema"]["openAPIV3Schema"])
        return known[kind]

    return schema


def strict(schema: Any) -> Any:
    """Refuse what a structural schema does not know: the API server would drop it without a word."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    known = {key: strict(value) for key, value in schema.items()}
    named = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    return {**known, "additionalProperties": False} if named and "additionalProperties" not in schema else known


def doubles(schema: Resource, value: Any, where: str = "") -> Iterator[str]:
    """Yield the places of lists that hold one key twice, which the API server refuses."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from doubles(schema.get("properties", {}).get(name, {}), inner, f"{where}.{name}")
    elif isinstance(value, list):
        names = schema.get("x-kubernetes-list-map-keys")
        keys = [tuple(str(one.get(name)) for name in names) for one in value] if names else []
        if len(set(keys)) < len(keys):
            yield where
        for inner in value:
            yield from doubles(schema.get("items", {}), inner, f"{where}[]")


def rendered(folder: Path, overlay: str) -> str:
    spec = spec_from_file_location("render", folder / "render.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    text: str = module.rendered(folder / "overlays" / overlay)
    return text


def unread(given: Any, kept: Any, where: str) -> Iterator[str]:
    """Yield what was given to a model and is not in it: Ray's own schema passes over what it does not know."""
    if isinstance(given, dict):
        yield from (f"{where}.{name}" for name in given if name not in kept)
        for name in given.keys() & kept.keys():
            yield from unread(given[name], kept[name], f"{where}.{name}")
    elif isinstance(given, list):
        for at, (one, other) in enumerate(zip(given, kept, strict=True)):
            yield from unread(one, other, f"{where}[{at}]")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_resource_is_read_by_the_schema_of_its_kind(
    overlay: str, manifests: Any, schema_of: Callable[[str], Resource]
) -> None:
    resources = manifests.built(overlay)
    assert {"RayService", "RayJob", "CronJob", "NetworkPolicy"} <= {one["kind"] for one in resources}
    for resource in resources:
        if resource["kind"] in CUSTOM:
            schema = schema_of(resource["kind"])
            jsonschema.validate(resource, schema)
            assert not list(doubles(schema, resource))
        else:
            kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)


def test_a_misspelt_field_a_wrong_type_and_a_double_name_are_refused(
    manifests: Any, schema_of: Callable[[str], Resource]
) -> None:
    [service] = manifests.of_kind("prod", "RayService")
    schema = schema_of("RayService")
    for path, value in (("enableInTreeAutoscalin", True), ("rayVersion", 2.6)):
        wrong = json.loads(json.dumps(service))
        wrong["spec"]["rayClusterConfig"][path] = value
        with pytest.raises(jsonschema.ValidationError, match=path if value is True else str(value)):
            jsonschema.validate(wrong, schema)
    wrong = json.loads(json.dumps(service))
    wrong["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["volumes"].append({"name": "tmp"})
    assert list(doubles(schema, wrong))
    [budget, *_] = manifests.of_kind("prod", "PodDisruptionBudget")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**budget, "specs": {}}, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_serve_is_told_what_foveate_itself_would_tell_it(overlay: str, manifests: Any) -> None:
    folder = manifests.folder / "overlays" / overlay
    text = (folder / "serve.yaml").read_text(encoding="utf-8")
    assert text == rendered(manifests.folder, overlay), "run python infra/kuberay/render.py"
    [service] = manifests.of_kind(overlay, "RayService")
    assert service["spec"]["serveConfigV2"] == text
    told = yaml.safe_load(text)
    [application] = told["applications"]
    config = from_dict(ServeConfig, application["args"]["config"])
    assert config == from_dict(ServeConfig, load_yaml(folder / "foveate.yaml"))
    read = ServeDeploySchema.model_validate(told).model_dump(exclude_unset=True, mode="json")
    assert not list(unread(told, read, "serve"))
    assert list(unread({"a": [{"b": 1}]}, {"a": [{}]}, "serve")) == ["serve.a[0].b"]
    # What a replica asks for beside CPUs has to be what a group of nodes offers.
    starts = [one["resources"] for one in manifests.named(service, "rayStartParams") if "resources" in one]
    offered = {name for one in starts for name in json.loads(shlex.split(one)[0])}
    assert offered == {name for size in config.deployments.values() for name in size.resources}


def test_every_command_is_one_that_foveate_has(manifests: Any) -> None:
    found = [shlex.split(job["spec"]["entrypoint"]) for job in manifests.of_kind("prod", "RayJob")]
    for pod in manifests.pods(manifests.built("prod")):
        found += [[*one.get("command", []), *one.get("args", [])] for one in manifests.containers(pod)]
    own = [words[1:] for words in found if words[:1] == ["foveate"]]
    assert sorted(verb for verb, *_ in own) == ["data", "log", "promote", "serve", "train", "train", "tune"]
    for words in own:
        command: click.Command | None = cli
        context = click.Context(cli)
        while isinstance(command, click.Group):
            _, command, words = command.resolve_command(context, list(words))  # noqa: PLW2901 - what is left of them
        assert command
        command.make_context(command.name, list(words))


def test_the_nightly_learning_receives_what_was_served(manifests: Any) -> None:
    """Each step reads what the one before it has written, and the first one reads the store that serves."""
    for overlay, mount in (("dev", "/state"), ("prod", "/etc/foveate/viewers")):
        [job] = manifests.of_kind(overlay, "CronJob")
        [pod] = manifests.pods([job])
        export, append, judged, served, promote = manifests.containers(pod)
        words = [[*one["command"], *one.get("args", [])] for one in (export, append, judged, served, promote)]
        log, data = words[0][words[0].index("--out") + 1], words[2][words[2].index("--data") + 1]
        assert words[1] == ["foveate", "data", "append", data, "served", log]
        assert all(data in one for one in words[2:])
        [state] = export["env"]
        assert state["valueFrom"]["configMapKeyRef"]["name"].startswith("foveate-serve")
        assert mount in {one["mountPath"] for one in export["volumeMounts"]}
        # Nobody but the first step has what opens the store.
        assert all(mount not in {m["mountPath"] for m in one["volumeMounts"]} for one in (append, judged, served))
        assert {one["name"] for one in export["volumeMounts"]} <= {one["name"] for one in pod["spec"]["volumes"]}


def test_sweep_and_recipe_are_read_by_what_reads_them(manifests: Any) -> None:
    folder = manifests.folder / "base" / "config"
    assert from_dict(SweepConfig, load_yaml(folder / "sweep.yaml")).trials == 32
    assert from_dict(Recipe, load_yaml(folder / "recipe.yaml")).candidates == 200
