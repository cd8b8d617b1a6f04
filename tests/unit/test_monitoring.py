"""Alerts, dashboards and scrape configs: read by Prometheus's own tool, and made of names that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve.schema import ApplicationStatus

from foveate_serve.names import APPLICATION
from foveate_serve.telemetry.names import METRICS

FOLDER = Path(__file__).resolve().parents[2] / "infra" / "monitoring"
RULES = FOLDER / "rules" / "foveate.yaml"
# Read from the pages of a running server; the soak test of operations looks for Ray's on one again.
OTHERS = {
    "haproxy_backend_active_servers": {"proxy"},
    "ray_serve_application_status": {"application"},
    "ray_serve_deployment_replica_healthy": {"application", "deployment", "replica"},
    "ray_serve_http_request_latency_ms_bucket": {"application", "method", "route", "status_code", "le"},
    "ray_serve_num_http_error_requests_total": {"application", "method", "route", "error_code"},
    "ray_serve_num_http_requests_total": {"application", "method", "route", "status_code"},
    "ray_serve_replica_processing_queries": {"application", "deployment", "replica"},
}
SERVES_OWN = {"application", "deployment", "replica"}
ENDINGS = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


@pytest.fixture(scope="module")
def promtool() -> Callable[..., subprocess.CompletedProcess[str]]:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("no promtool: Debian's package prometheus brings it")
    return lambda *words: subprocess.run([tool, *map(str, words)], capture_output=True, text=True, check=False)


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def pictures() -> list[str]:
    """Return every query of every dashboard, over a fixed time in place of Grafana's own."""
    boards = [json.loads(file.read_text(encoding="utf-8")) for file in sorted((FOLDER / "grafana").glob("*.json"))]
    panels = [panel for board in boards for panel in board["panels"]]
    queries: list[str] = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    assert len(queries) > 20
    return [query.replace("$__rate_interval", "5m") for query in queries]


def known() -> dict[str, set[str]]:
    """Return the labels of every metric that there is, by the name that Prometheus sees."""
    own = {
        f"{metric.exported}{ending}": {*metric.tags, *SERVES_OWN, *(["le"] if ending == "_bucket" else [])}
        for metric in METRICS
        for ending in ENDINGS[metric.kind]
    }
    return {**own, **OTHERS}


def asked(query: str) -> list[tuple[str, set[str]]]:
    """Return each metric that a query names, with the labels that it is selected by."""
    found = re.findall(r"\b((?:ray|haproxy)_\w+)(?:\{([^}]*)\})?", query)
    return [(name, set(re.findall(r"(\w+)\s*[=!]", labels))) for name, labels in found]


def unknown(queries: Sequence[str]) -> list[str]:
    there = known()
    return [
        f"{name} {sorted(labels - there.get(name, set()))}"
        for query in queries
        for name, labels in asked(query)
        if name not in there or not labels <= there[name]
    ]


def test_every_query_names_metrics_and_labels_that_exist() -> None:
    queries = [*pictures(), *(rule["expr"] for rule in alerts())]
    assert not unknown(queries)
    assert unknown(['rate(ray_foveate_request_secondz_count{surface="home"}[5m])'])
    assert unknown(['ray_foveate_stage_seconds_count{surface="home"}'])
    for query in queries:
        grouped = {name.strip() for names in re.findall(r"by \(([^)]*)\)", query) for name in names.split(",")}
        assert grouped <= {label for name, _ in asked(query) for label in known()[name]}, query


def test_histograms_are_asked_for_buckets_that_they_have_and_never_for_their_sum() -> None:
    # Ray 2.60 makes the sum of the buckets' middles: a mean of it would be wrong by up to half a bucket, or more.
    bounds = {f"{metric.exported}_bucket": metric.buckets for metric in METRICS if metric.kind == "histogram"}
    for query in [*pictures(), *(rule["expr"] for rule in alerts())]:
        assert not [name for name, _ in asked(query) if name.endswith("_sum")]
        for name, bound in re.findall(r'(ray_foveate_\w+_bucket)\{[^}]*le="([^"]+)"', query):
            assert float(bound) in bounds[name]


def test_every_metric_of_foveate_is_in_a_dashboard() -> None:
    named = {name for query in pictures() for name, _ in asked(query)}
    forgotten = [metric.name for metric in METRICS if not any(name.startswith(metric.exported) for name in named)]
    assert not forgotten, "add them to infra/monitoring/dashboards.py"


def test_dashboards_are_those_that_their_source_makes() -> None:
    spec = spec_from_file_location("dashboards", FOLDER / "dashboards.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        # A dataclass looks its own module up.
        patch.setitem(sys.modules, "dashboards", module)
        spec.loader.exec_module(module)
    there = {file.name: file.read_text(encoding="utf-8") for file in (FOLDER / "grafana").iterdir()}
    assert there == module.rendered(), "run python infra/monitoring/dashboards.py"


def test_every_query_is_read_by_prometheus(promtool: Any, tmp_path: Path) -> None:
    rules = [{"record": f"foveate:picture_{at}", "expr": query} for at, query in enumerate(pictures())]
    file = tmp_path / "pictures.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "pictures", "rules": rules}]}))
    told = promtool("check", "rules", file)
    assert told.returncode == 0, told.stderr
    file.write_text(file.read_text().replace("histogram_quantile(0.5,", "histogram_quantile("))
    assert promtool("check", "rules", file).returncode != 0


def test_each_alert_is_raised_by_what_it_is_for(promtool: Any) -> None:
    checked = promtool("check", "rules", RULES)
    assert checked.returncode == 0, checked.stderr
    told = promtool("test", "rules", *sorted(RULES.parent.glob("*.test.yaml")))
    assert told.returncode == 0, told.stdout + told.stderr


def test_each_alert_has_a_test_a_remedy_and_somebody_to_tell() -> None:
    files = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in RULES.parent.glob("*.test.yaml")]
    tests = [test for file in files for test in file["tests"]]
    raised = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert raised == {rule["alert"] for rule in alerts()}
    for rule in alerts():
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert {"summary", "remedy"} == rule["annotations"].keys()


def test_the_number_of_a_running_application_is_rays() -> None:
    [rule] = [rule for rule in alerts() if rule["alert"] == "FoveateNotRunning"]
    assert rule["expr"].endswith(f"!= {ApplicationStatus.RUNNING.to_numeric()}")
    assert f'application="{APPLICATION}"' in rule["expr"]


@pytest.mark.parametrize("name", ["machines", "kubernetes"])
def test_prometheus_reads_its_config(name: str, promtool: Any, tmp_path: Path) -> None:
    shutil.copytree(FOLDER / "rules", tmp_path / "rules")
    config = yaml.safe_load((FOLDER / f"prometheus.{name}.yaml").read_text(encoding="utf-8"))
    for job in config["scrape_configs"]:
        # Debian's Prometheus is built without the discovery of pods: what is done with them is checked all the same.
        pods = job.pop("kubernetes_sd_configs", None)
        assert pods in (None, [{"role": "pod", "namespaces": {"names": ["foveate"]}}])
    file = tmp_path / "prometheus.yaml"
    file.write_text(yaml.safe_dump(config))
    told = promtool("check", "config", "--syntax-only", file)
    assert told.returncode == 0, told.stdout + told.stderr
    file.write_text(yaml.safe_dump({**config, "scrape_config": []}))
    assert promtool("check", "config", "--syntax-only", file).returncode != 0


def test_prometheus_looks_for_the_pods_and_ports_that_the_overlay_has(manifests: Any) -> None:
    [job] = yaml.safe_load((FOLDER / "prometheus.kubernetes.yaml").read_text(encoding="utf-8"))["scrape_configs"]
    [service] = manifests.of_kind("prod", "RayService")
    assert service["metadata"]["namespace"] == job["kubernetes_sd_configs"][0]["namespaces"]["names"][0]
    kept = {rule["source_labels"][0]: rule["regex"] for rule in job["relabel_configs"] if rule.get("action") == "keep"}
    ports = kept["__meta_kubernetes_pod_container_port_name"].split("|")
    name = kept["__meta_kubernetes_pod_label_app_kubernetes_io_name"]
    for pod in manifests.pods(service):
        assert pod["metadata"]["labels"]["app.kubernetes.io/name"] == name
        named = {port["name"]: port["containerPort"] for one in pod["spec"]["containers"] for port in one["ports"]}
        # KubeRay adds the other one, metrics, by itself.
        assert {name: number for name, number in named.items() if name in ports} == {"proxy-metrics": 9101}
