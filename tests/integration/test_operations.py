"""A running server is followed, scaled, shadowed and watched: one cluster for all of it."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import ray
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from foveate.bundle import Bundle, default_state, golden
from foveate.bundle.manifest import entry_of, read_manifest
from foveate.core.errors import ConfigError
from foveate.releases import Releases
from foveate.releases.folder import point
from foveate.releases.watch import LocalRegistry
from foveate.replay.parity import parity
from foveate_cli.main import cli
from foveate_serve.app import started
from foveate_serve.config import AutoscalingConfig, DeploymentConfig, ServeConfig, ShadowConfig
from foveate_serve.operations.follow import Follower, first_good
from foveate_serve.operations.running import Running
from foveate_serve.operations.scaling import scale, sizes_of
from foveate_serve.telemetry import names

pytestmark = [pytest.mark.cluster, pytest.mark.soak]

WHY = "for a test"


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if holds():
            return True
        time.sleep(0.2)
    return holds()


def tampered(bundle: Bundle, to: Path) -> Path:
    """Make a bundle whose checksums hold and whose ranker answers otherwise than it says it does."""
    folder = Path(shutil.copytree(bundle.path, to))
    content = json.loads((folder / golden.FILE).read_text())
    content["requests"][1]["ranked"][0] += 1.0
    (folder / golden.FILE).write_text(json.dumps(content))
    manifest = read_manifest(folder)
    files = {name: entry_of((folder / name).read_bytes()) for name in manifest.files}
    manifest = replace(manifest, files=files).identified()
    manifest.write(folder)
    return folder.rename(folder.with_name(manifest.bundle_id))


class Served:
    def __init__(self, running: Running, follower: Follower, releases: Releases, said: list[str]) -> None:
        self.running = running
        self.follower = follower
        self.releases = releases
        self.said = said
        self.http = httpx.Client(base_url=running.url(), timeout=60)

    def ask(self, user: str) -> dict[str, Any]:
        answer = self.http.post("/v1/recommend", json={"user_id": user, "k": 5})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def pids(self) -> set[int]:
        deployments = self.running.application()["deployments"].values()
        return {replica["pid"] for one in deployments for replica in one["replicas"]}


class Collector:
    """What OpenTelemetry sends its spans to."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        spans = self.spans

        class Takes(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                content = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
                for resource in ExportTraceServiceRequest.FromString(content).resource_spans:
                    spans.extend(span for scope in resource.scope_spans for span in scope.spans)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Takes)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    collector = Collector()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        yield collector
    collector.close()


@pytest.fixture(scope="module")
def served(small_bundle: Bundle, collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("operations")
    releases = Releases(root / "registry")
    releases.promote(small_bundle.path, None, because=WHY)
    shutil.copyfile(default_state(small_bundle.path), releases.root / "state.sqlite")
    said: list[str] = []
    # The machine may be busy: a test must not fail for being slow.
    config = ServeConfig(
        port=0,
        deadline_ms=30_000,
        start_timeout_s=300,
        retriever=DeploymentConfig(autoscaling=AutoscalingConfig(1, 1)),
        shadow=ShadowConfig(bundle=str(small_bundle.path), share=1.0),
    )
    registry = LocalRegistry(releases.root)
    first = first_good(registry, said.append)
    with started(first.path, registry.state(), config, progress=said.append) as running:
        served = Served(running, Follower(registry, running, first, said.append), releases, said)
        with served.http:
            yield served


@pytest.fixture(scope="module")
def second(small_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("second") / "bundle"
    return Bundle.save(small_bundle.model, path, data_hash="", parent=small_bundle.bundle_id)


def test_a_shadow_answers_the_same_requests(served: Served, small_bundle: Bundle) -> None:
    for number in range(12):
        served.ask(f"u{number:05d}")

    def report() -> dict[str, Any]:
        found: dict[str, Any] = served.http.get("/v1/shadow").json()
        return found

    assert within(60, lambda: report()["compared"] > 0)
    found = report()
    assert found["bundle_id"] == small_bundle.bundle_id
    assert found["same"] == found["compared"]
    assert found["overlap"] == 1.0
    assert found["score_difference"] < 1e-4
    assert found["failed"] == 0


def test_replicas_are_added_and_taken_away_without_a_restart(served: Served) -> None:
    before = served.pids()
    with pytest.raises(ConfigError, match="no deployment 'rankr'; it has ingress, retriever, ranker, shadow"):
        scale(served.running, sizes_of(["rankr=2"]))
    with pytest.raises(ConfigError, match=r"the cluster has \d+ CPUs, but .* ranker 400 x 0.25"):
        scale(served.running, sizes_of(["ranker=400"]))
    with pytest.raises(ConfigError, match="fixed number of copies of ranker"):
        scale(served.running, sizes_of(["ranker=1..2"]))
    scaled = {one.deployment: one for one in scale(served.running, sizes_of(["ranker=2", "retriever=1..2"]))}
    assert (str(scaled["ranker"].before), str(scaled["ranker"].now), scaled["ranker"].running) == ("1", "2", 2)
    assert str(scaled["retriever"].now).startswith("1..2")
    # Every one that was there is there still.
    assert before <= served.pids()
    assert served.ask("u00001")["items"]


def test_what_is_promoted_serves_and_a_bad_bundle_does_not(
    served: Served, second: Bundle, small_bundle: Bundle, tmp_path: Path
) -> None:
    served.follower.look()
    assert served.ask("u00001")["bundle_id"] == small_bundle.bundle_id
    before = served.pids()
    served.releases.promote(second.path, None, because=WHY)
    served.follower.look()
    assert served.follower.serving.bundle_id == second.bundle_id
    assert served.ask("u00001")["bundle_id"] == second.bundle_id

    bad = tampered(small_bundle, tmp_path / "bad")
    place = Path(shutil.copytree(bad, served.releases.path(bad.name)))
    point(served.releases.root / "current", Path("bundles") / bad.name)
    served.follower.look()
    assert served.follower.refused == bad.name
    assert any("was refused: the ranker" in line and "golden request 2 of 4" in line for line in served.said)
    assert f"bundle {second.bundle_id}, the last good one, serves again" in served.said
    assert served.ask("u00001")["bundle_id"] == second.bundle_id
    # It is in the config too, for a replica that starts anew; and sizes are as they were scaled.
    deployments = served.running.application()["deployed_app_config"]["deployments"]
    wanted = {one["name"]: one["user_config"]["bundle"] for one in deployments}
    assert wanted["ranker"] == str(served.releases.path(second.bundle_id).resolve())
    assert wanted["shadow"] == str(small_bundle.path.resolve())
    assert {one["name"]: one.get("num_replicas") for one in deployments}["ranker"] == 2
    lines = len(served.said)
    served.follower.look()
    assert len(served.said) == lines
    shutil.rmtree(place)

    point(served.releases.root / "current", Path("bundles") / second.bundle_id)
    served.releases.rollback(because=WHY)
    served.follower.look()
    assert served.ask("u00001")["bundle_id"] == small_bundle.bundle_id
    assert served.follower.refused is None
    assert served.pids() == before


def test_what_was_served_is_remade(served: Served) -> None:
    state = served.releases.root / "state.sqlite"
    assert within(30, lambda: len(parity(state, tolerance=1e-4).compared) > 10)
    result = parity(state, tolerance=1e-4)
    assert not result.different, [one.differences for one in result.different]


def page_of(served: Served) -> str:
    texts = []
    for address in served.running.metrics():
        try:
            texts.append(httpx.get(address, timeout=10).text)
        except httpx.HTTPError:
            continue
    return "\n".join(texts)


def test_metrics_stand_on_rays_own_page(served: Served) -> None:
    def page() -> str:
        return page_of(served)

    told = (names.REQUEST_SECONDS, names.STAGE_SECONDS, names.BATCH_SIZE, names.CANDIDATES, names.SWAPS)
    told = (*told, names.REFUSALS, names.BUNDLE_TAKEN, names.BUNDLE_LEARNED, names.SHADOWED, names.SHADOW_OVERLAP)
    assert within(60, lambda: all(metric.exported in page() for metric in told)), [
        metric.exported for metric in told if metric.exported not in page()
    ]
    lines = [line for line in page().splitlines() if line.startswith(f"{names.STAGE_SECONDS.exported}_count")]
    for stage in names.STAGES:
        assert any(f'stage="{stage}"' in line and 'application="foveate"' in line for line in lines), stage


def test_what_dashboards_and_alerts_ask_of_ray_stands_there_too_and_gauges_stay(
    served: Served, repository: Path
) -> None:
    folder = repository / "infra" / "monitoring"
    texts = [(folder / name).read_text() for name in ("rules/foveate.yaml", "grafana/serving.json")]
    wanted = {name for text in texts for name in re.findall(r"\bray_serve_\w+", text)}
    assert len(wanted) > 5
    assert served.http.post("/v1/recommend", json={"k": "many"}).status_code == 422
    # Ray drops a gauge that was not set again for 20 seconds.
    time.sleep(25)
    wanted |= {names.BUNDLE_TAKEN.exported, names.BUNDLE_LEARNED.exported}
    assert within(60, lambda: not [name for name in wanted if f"\n{name}{{" not in page_of(served)]), [
        name for name in wanted if f"\n{name}{{" not in page_of(served)
    ]


def test_a_trace_goes_through_the_graph(served: Served, collector: Collector) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    header = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    answer = served.http.post("/v1/recommend", json={"user_id": "u00002", "k": 5}, headers=header)
    wanted = {names.REQUEST, *names.STAGES}

    def own() -> dict[str, Span]:
        return {span.name: span for span in collector.spans if span.trace_id.hex() == trace}

    assert within(60, lambda: own().keys() >= wanted), own().keys()
    spans = own()
    assert spans[names.REQUEST].parent_span_id.hex() == "00f067aa0ba902b7"
    told = {one.key: one.value.string_value for one in spans[names.REQUEST].attributes}
    assert told["request_id"] == answer.json()["request_id"]
    for stage in names.STAGES:
        assert spans[stage].parent_span_id == spans[names.REQUEST].span_id


def test_logs_are_json_and_say_why_a_bundle_was_refused(served: Served) -> None:
    folder = Path(ray._private.worker._global_node.get_logs_dir_path()) / "serve"

    def refusals() -> list[dict[str, Any]]:
        texts = [path.read_text() for path in folder.glob("replica_foveate_ranker_*")]
        lines = [json.loads(line) for text in texts for line in text.splitlines()]
        return [line for line in lines if "golden request" in line["message"]]

    assert within(20, lambda: bool(refusals()))
    assert refusals()[0]["levelname"] == "ERROR"
    assert refusals()[0]["deployment"] == "foveate_ranker"


def test_the_verbs_are_listed() -> None:
    listed = cli.list_commands(None)  # type: ignore[arg-type]
    assert {"parity", "scale", "shadow"} <= set(listed)
    assert "local-servers" not in listed
