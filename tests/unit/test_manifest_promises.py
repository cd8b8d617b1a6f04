"""What the overlays promise beyond their schemas: who may reach what, as whom it runs, and what must be there."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
import yaml

from foveate import __version__
from foveate.state.redis.connection import Server, has_password
from foveate_serve.operations.cluster import THROUGHPUT

OVERLAYS = ("dev", "prod")
SECRETS = {"foveate-ray-token", "foveate-redis", "foveate-viewers", "foveate-keys", "foveate-wandb"}
LET_IN = {8000, 8080, 8265, 9101, 44217, 44227}
WRITABLE = {"/tmp", "/home/foveate"}  # noqa: S108 - where pods have room of their own


@pytest.fixture(scope="module")
def readme(manifests: Any) -> str:
    text: str = (manifests.folder.parent / "README.md").read_text(encoding="utf-8")
    return text


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_ray_starts_in_the_environment_that_foveate_serves_in(overlay: str, manifests: Any) -> None:
    maps = manifests.of_kind(overlay, "ConfigMap")
    [environment] = [one for one in maps if one["metadata"]["name"].startswith("foveate-ray-env-")]
    assert THROUGHPUT.items() <= environment["data"].items()
    nodes = 0
    for pod in manifests.pods(manifests.of_kind(overlay, "RayService", "RayJob")):
        for container in pod["spec"]["containers"]:
            if container["name"] in ("ray-head", "ray-worker"):
                nodes += 1
                assert container["envFrom"] == [{"configMapRef": {"name": environment["metadata"]["name"]}}]
                assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()
    assert nodes == {"dev": 4, "prod": 7}[overlay]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_a_pod_names_is_there_and_no_secret_is_in_the_repository(
    overlay: str, manifests: Any, readme: str
) -> None:
    resources = manifests.built(overlay)
    assert not manifests.of_kind(overlay, "Secret")
    maps = {one["metadata"]["name"] for one in manifests.of_kind(overlay, "ConfigMap")}
    wanted = [*manifests.named(resources, "configMapRef"), *manifests.named(resources, "configMap")]
    assert {one["name"] for one in wanted} <= maps
    claims = {one["metadata"]["name"] for one in manifests.of_kind(overlay, "PersistentVolumeClaim")}
    assert {one["claimName"] for one in manifests.named(resources, "persistentVolumeClaim")} == claims
    keys = {one["name"] for one in manifests.named(resources, "secretKeyRef")}
    assert keys | set(manifests.named(resources, "secretName")) <= SECRETS
    assert all(name in readme for name in SECRETS)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_pod_runs_as_root_or_writes_anywhere_but_where_it_has_room(overlay: str, manifests: Any) -> None:
    pods = manifests.pods(manifests.built(overlay))
    assert len(pods) >= 6
    for pod in pods:
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        rooms = {one["name"]: one["emptyDir"] for one in spec["volumes"] if "emptyDir" in one}
        assert all(one["sizeLimit"] for one in rooms.values())
        for container in manifests.containers(pod):
            mounts = container.get("volumeMounts", [])
            assert {one["name"] for one in mounts} <= {one["name"] for one in spec["volumes"]}
            closed = container["securityContext"]
            assert closed["allowPrivilegeEscalation"] is False
            assert closed["readOnlyRootFilesystem"] is True
            assert closed["capabilities"] == {"drop": ["ALL"]}
            for bound in ("requests", "limits"):
                assert {"cpu", "memory"} <= container["resources"][bound].keys()
            if container in spec["containers"]:
                assert {one["mountPath"] for one in mounts if one["name"] in rooms} == WRITABLE


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_the_documented_ports_are_let_in(overlay: str, manifests: Any, readme: str) -> None:
    found = manifests.of_kind(overlay, "NetworkPolicy")
    policies = {one["metadata"]["name"]: one["spec"] for one in found}
    closed = policies["foveate-closed"]
    assert closed["policyTypes"] == ["Ingress"]
    assert "ingress" not in closed
    for pod in manifests.pods(manifests.built(overlay)):
        assert closed["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    let_in = set()
    for name, policy in policies.items():
        for rule in policy.get("ingress", []):
            # A rule without a sender would let everyone in; one without ports is for nodes of the same cluster alone.
            assert rule["from"], name
            assert rule.get("ports") or rule["from"] == [{"podSelector": policy["podSelector"]}], name
            let_in |= {one["port"] for one in rule.get("ports", [])}
    assert let_in == LET_IN
    assert all(str(port) in readme for port in (*LET_IN, 8404, 10001, 30000))


def state_of(overlay: str, manifests: Any) -> str:
    """Return where replicas look for viewers' state; the follower must look there too."""
    [service] = manifests.of_kind(overlay, "RayService")
    [application] = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"]
    [follower] = manifests.of_kind(overlay, "Deployment")
    [container] = follower["spec"]["template"]["spec"]["containers"]
    command = container["command"]
    assert command[command.index("--state") + 1] == "$(STATE)"
    [reference] = [one["valueFrom"]["configMapKeyRef"] for one in container["env"] if one["name"] == "STATE"]
    [told] = [one["data"] for one in manifests.of_kind(overlay, "ConfigMap") if "state" in one["data"]]
    assert told["serve.yaml"] == service["spec"]["serveConfigV2"]
    assert reference["key"] == "state"
    state: str = application["args"]["state"]
    assert told["state"] == state
    return state


def mounted(pod: Any, kind: str, name: str) -> list[str]:
    """Return where the main containers of a pod have a volume that names so a secret or a claim."""
    names = {one["name"] for one in pod["spec"]["volumes"] if name in one.get(kind, {}).values()}
    mounts = [mount for one in pod["spec"]["containers"] for mount in one.get("volumeMounts", [])]
    return [one["mountPath"] for one in mounts if one["name"] in names]


def components(manifests: Any, overlay: str, kind: str, name: str) -> list[str]:
    """Return which pods mount it."""
    pods = manifests.pods(manifests.built(overlay))
    return [pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods if mounted(pod, kind, name)]


def test_viewers_state_of_prod_is_on_a_server_whose_password_only_those_have_who_ask_it(manifests: Any) -> None:
    address = state_of("prod", manifests)
    assert not has_password(address)
    config = Server(address).config
    assert sorted(components(manifests, "prod", "secret", "foveate-viewers")) == ["follower", "ingress"]
    for pod in manifests.pods(manifests.built("prod")):
        for place in mounted(pod, "secret", "foveate-viewers"):
            assert config.password_file == f"{place}/password"
    # A server that hangs must leave the other stages most of the time that a request has.
    [service] = manifests.of_kind("prod", "RayService")
    [application] = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"]
    assert 4 * config.timeout_s * 1000 <= application["args"]["config"]["deadline_ms"]
    assert not list(manifests.named(manifests.built("prod"), "podAffinity"))
    assert "foveate_state" not in str(manifests.built("prod"))
    claims = manifests.of_kind("prod", "PersistentVolumeClaim")
    assert [one["metadata"]["name"] for one in claims] == ["foveate-shared"]


def test_each_ingress_replica_of_prod_has_a_pod_of_its_own_and_they_spread(manifests: Any) -> None:
    [service] = manifests.of_kind("prod", "RayService")
    groups = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    [group] = [one for one in groups if one["groupName"] == "ingress"]
    [application] = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"]
    [ingress] = [one for one in application["deployments"] if one["name"] == "ingress"]
    assert ingress["num_replicas"] == group["minReplicas"] >= 2
    asked = ingress["ray_actor_options"]
    offered = json.loads(shlex.split(group["rayStartParams"]["resources"])[0])
    assert offered == asked["resources"] == {"foveate_ingress": 1}
    assert float(group["rayStartParams"]["num-cpus"]) == asked["num_cpus"]
    pod = group["template"]
    spread = {one["topologyKey"]: one["labelSelector"] for one in pod["spec"]["topologySpreadConstraints"]}
    assert spread.keys() == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    for selector in spread.values():
        assert selector["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert "annotations" not in pod["metadata"], "a node may be drained as far as the budget allows"


def test_dev_keeps_viewers_state_in_a_file_of_the_one_pod_that_has_the_ingress(manifests: Any) -> None:
    assert state_of("dev", manifests) == "/state/state.sqlite"
    assert sorted(components(manifests, "dev", "persistentVolumeClaim", "foveate-state")) == ["follower", "ingress"]
    for pod in manifests.pods(manifests.built("dev")):
        if mounted(pod, "persistentVolumeClaim", "foveate-state"):
            [near] = pod["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
            assert near["topologyKey"] == "kubernetes.io/hostname"


def test_budgets_state_a_whole_number_of_pods_that_there_are(manifests: Any) -> None:
    budgets = manifests.of_kind("prod", "PodDisruptionBudget")
    assert len(budgets) == 2
    assert not manifests.of_kind("dev", "PodDisruptionBudget")
    [service] = manifests.of_kind("prod", "RayService")
    groups = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    for budget in budgets:
        wanted = budget["spec"]["selector"]["matchLabels"].items()
        [group] = [one for one in groups if one["template"]["metadata"]["labels"].items() >= wanted]
        assert type(budget["spec"]["minAvailable"]) is int
        # One may be evicted at a time, and one is left at least.
        assert 2 <= budget["spec"]["minAvailable"] == group["minReplicas"] - 1


def test_versions_are_those_that_were_tested_together(manifests: Any) -> None:
    lines = (manifests.folder.parent / "constraints.txt").read_text(encoding="utf-8").splitlines()
    [ray] = [line.removeprefix("ray==") for line in lines if line.startswith("ray==")]
    resources = manifests.built("prod")
    assert set(manifests.named(resources, "rayVersion")) == {ray}
    images = {one["image"] for pod in manifests.pods(resources) for one in manifests.containers(pod)}
    assert images == {f"registry.example.org/{name}:{__version__}" for name in ("foveate", "foveate-cuda")}


def test_kuberay_accepts_what_its_schema_alone_does_not_tell(manifests: Any) -> None:
    [service] = manifests.of_kind("prod", "RayService")
    strategy, cluster = service["spec"]["upgradeStrategy"], service["spec"]["rayClusterConfig"]
    assert strategy["type"] == "NewClusterWithIncrementalUpgrade"
    assert cluster["enableInTreeAutoscaling"], "its operator refuses such an upgrade without"
    assert 0 < strategy["clusterUpgradeOptions"]["stepSizePercent"] <= 100
    assert cluster["authOptions"]["mode"] == "token"
    for pod in manifests.pods(service):
        # The second version of Ray's autoscaler replaces pods, and does not expect them to restart in place.
        assert pod["spec"]["restartPolicy"] == "Never"
    [job] = manifests.of_kind("prod", "RayJob")
    assert job["spec"]["suspend"]
    assert job["spec"]["shutdownAfterJobFinishes"], "only such a job may wait"
