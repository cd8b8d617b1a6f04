"""A cluster started as the launcher starts it: it lets nobody in without its token, and listens where it is said to."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from clusters.hosts import Host, NoHostsError, hosts
from foveate.bundle import Bundle, default_state
from foveate.data.dataset import Dataset
from foveate_serve.http.keys import Keys, Scope

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

DASHBOARD = "http://127.0.0.1:8265"
ASK = {"user_id": "u00017", "k": 2}
EVENTS = {"events": [{"user_id": "u00017", "item_id": "v00001", "kind": "like"}]}


@dataclass(frozen=True)
class Secured:
    """Two hosts on which Foveate serves, asking for keys."""

    head: Host
    other: Host
    environment: Mapping[str, str]
    keys: Mapping[str, str]

    def verb(self, *words: str, **changed: str) -> subprocess.Popen[str]:
        """Start a verb on the head, in a changed environment."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return self.head.start(command(*words), {**self.environment, **changed}, **pipes)


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", "from foveate_cli.main import main; main()", *words]


def ray_start(kind: str, repository: Path, head: str) -> list[str]:
    """Return the launcher's own command, without the autoscaler's file, which the launcher writes to the head."""
    config = yaml.safe_load((repository / "infra" / "launcher" / "onprem.yaml").read_text())
    [line] = [one for one in config[f"{kind}_start_ray_commands"] if "ray start" in one]
    line = line.replace(" --autoscaling-config=~/ray_bootstrap_config.yaml", "")
    return ["sh", "-c", f"RAY_HEAD_IP={head}; {line} --num-cpus=2"]


@pytest.fixture(scope="module")
def secured(small_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Secured]:
    root = tmp_path_factory.mktemp("secured")
    home = root / "home"
    (home / ".ray").mkdir(parents=True)
    (home / ".ray" / "auth_token").write_text("5" * 64)
    # The launcher installs Foveate there on every host.
    (home / "foveate").symlink_to(Path(sys.executable).parents[1])
    (home / "ray.sh").write_text((repository / "infra" / "launcher" / "ray.sh").read_text())
    state = root / "state.sqlite"
    state.write_bytes(default_state(small_bundle.path).read_bytes())
    keys, secrets = Keys(), {}
    scopes: tuple[Scope, ...] = ("read", "write")
    for scope in scopes:
        keys, _, secrets[scope] = keys.added(scope, [scope])
    keys.write(root / "keys.json")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "WANDB_"))}
    environment = {**kept, "HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment["COLUMNS"] = "200"
    try:
        with hosts(2, root) as [head, other]:
            head.run(ray_start("head", repository, head.address), environment)
            other.run(ray_start("worker", repository, head.address), environment)
            words = ["--bundle", str(small_bundle.path), "--state", str(state), "--keys", str(root / "keys.json")]
            words += ["--address", DASHBOARD, "--host", "0.0.0.0", "ingress.resources={foveate_state: 0.01}"]  # noqa: S104
            with (root / "said").open("w") as said:
                server = head.start(command("serve", *words), environment, stdout=said, stderr=said)
            give_up = time.monotonic() + 120
            while "serving at" not in (root / "said").read_text():
                assert time.monotonic() < give_up, (root / "said").read_text()
                time.sleep(0.2)
            yield Secured(head, other, environment, secrets)
            # Hosts end what runs on them; we only have to collect it.
            server.kill()
            server.wait()
    except NoHostsError as error:
        pytest.skip(str(error))


def test_without_the_token_each_verb_ends_with_one_line_and_starts_nothing(
    secured: Secured, small_world: Dataset, small_bundle: Bundle, tmp_path: Path
) -> None:
    gcs = f"{secured.head.address}:6379"
    tune = ["tune", "--data", str(small_world.path), "--address", gcs, "--out"]
    others = [["serve", "--bundle", str(small_bundle.path), "--address", DASHBOARD], ["job", "list"]]
    others += [["scale", "ranker=2", "--address", DASHBOARD]]
    started = []
    for name, without in {"none": {"HOME": str(tmp_path)}, "wrong": {"RAY_AUTH_TOKEN": "6" * 64}}.items():
        verbs = [[*tune, str(tmp_path / f"{name}-sweep")], *others]
        started += [(words[0], secured.verb(*words, **without)) for words in verbs]
    for verb, process in started:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 2, (verb, out, err)
        last = err.strip().splitlines()[-1]
        assert re.search("let(s)? us in", last), (verb, err)
        assert "is RAY_AUTH_TOKEN that of the cluster?" in last
        assert "Traceback" not in err
        assert "gcs_client" not in err
    assert not list(tmp_path.glob("*-sweep"))
    told = ended(secured, "scale", "--address", DASHBOARD)
    assert re.search(r"ranker +1 +1 +1", told), told


def test_with_the_token_they_work(secured: Secured, small_world: Dataset, tmp_path: Path) -> None:
    gcs = f"{secured.head.address}:6379"
    words = ["tune", "--data", str(small_world.path), "--out", str(tmp_path / "sweep"), "--address", gcs, "--dry-run"]
    assert f"the cluster at {gcs}, 2 nodes" in ended(secured, *words)
    assert ended(secured, "job", "list") == ""
    assert re.search(r"ranker +1 +2 +2", ended(secured, "scale", "ranker=2", "--address", DASHBOARD))


def ended(secured: Secured, *words: str) -> str:
    process = secured.verb(*words)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return str(out)


def test_every_port_that_answers_http_asks_for_a_key(secured: Secured) -> None:
    ports = [8000, 8500, *(port for _, port in listening(secured.head, secured) if 30000 <= port <= 31000)]
    assert len(ports) >= 3
    for port in ports:
        with httpx.Client(base_url=f"http://{secured.head.address}:{port}", timeout=60) as http:
            answer = http.post("/v1/recommend", json=ASK)
            assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json"), port
            reads = {"authorization": f"Bearer {secured.keys['read']}"}
            assert http.post("/v1/recommend", json=ASK, headers=reads).status_code == 200
            refused = http.post("/v1/events", json=EVENTS, headers=reads)
            assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
            assert http.get("/health/live").status_code == 200
            assert http.get("/health/ready").json()["ready"]
            assert http.get("/v1/shadow").status_code == 401


def test_a_node_listens_where_the_table_of_ports_says_and_nowhere_else(secured: Secured, repository: Path) -> None:
    table = ports_of((repository / "infra" / "README.md").read_text())
    for host, is_head in ((secured.head, True), (secured.other, False)):
        found = listening(host, secured)
        wrong = [one for one in found if not any(row.allows(*one, host.address, is_head) for row in table)]
        assert not wrong, f"{host.name} listens at {wrong}, which the table does not say"
    heads = listening(secured.head, secured)
    # The table names nothing that is not there, either.
    idle = [row for row in table if not any(row.allows(*one, secured.head.address, True) for one in heads)]
    assert not idle, f"nothing listens at {idle}"


@dataclass(frozen=True)
class Row:
    """One row of the table: a range of ports, the kinds of address, and whether only the head has it."""

    ports: range
    on: frozenset[str]
    head_only: bool

    def allows(self, address: str, port: int, node: str, is_head: bool) -> bool:
        """Whether a node may listen there."""
        kinds = {"127.0.0.1": "loopback", node: "node"}
        return port in self.ports and kinds.get(address, "all") in self.on and (is_head or not self.head_only)


def ports_of(readme: str) -> list[Row]:
    """Read the table ``Ports``."""
    section = readme.split("## Ports", 1)[1].split("\n\n", 2)[1]
    rows: list[Row] = []
    for line in section.splitlines()[2:]:
        ports, on, where = (cell.strip() for cell in line.strip("|").split("|")[:3])
        kinds = frozenset(word.strip() for word in re.sub(r"\(.*\)", "", on).split(","))
        assert kinds <= {"all", "node", "loopback"}, line
        for part in ports.split(","):
            first, _, last = part.partition(" to ")
            rows.append(Row(range(int(first), int(last or first) + 1), kinds, where == "head"))
    return rows


def listening(host: Host, secured: Secured) -> Sequence[tuple[str, int]]:
    """Return address and port of all that listens on a host."""
    lines = host.run(["ss", "-ltnH"], secured.environment).splitlines()
    ends = [line.split()[3].rpartition(":") for line in lines]
    return [(address.strip("[]").removeprefix("::ffff:"), int(port)) for address, _, port in ends]


def test_the_launcher_and_kuberay_pin_the_same_ports(repository: Path) -> None:
    launched = {"head": "", "worker": ""}
    for kind in launched:
        launched[kind] = shlex.join(ray_start(kind, repository, "192.0.2.1"))
    told = [
        (repository / "infra" / "kuberay" / "base" / name).read_text() for name in ("rayservice.yaml", "sweep.yaml")
    ]
    names = ("node-manager", "object-manager", "runtime-env-agent", "dashboard-agent-grpc", "min-worker", "max-worker")
    for name in names:
        [port] = {found for line in launched.values() for found in re.findall(rf"--{name}-port=(\d+)", line)}
        for text in told:
            assert text.count(f'{name}-port: "{port}"') == text.count("rayStartParams:")
