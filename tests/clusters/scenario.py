"""What a team does with a cluster, by Foveate's verbs, while viewers ask all the time: serve, sweep, promote, scale.

The same scenario is told on every kind of cluster; what goes wrong in it is up to the test.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import httpx

from foveate.bundle import Bundle, default_state
from foveate.data.dataset import Dataset
from foveate_serve.operations.cluster import free_ports
from lab.steady import Answer, Steady, summary

PER_SECOND: Final = 8.0
DEADLINE_S: Final = 5.0
TRIALS, EPOCHS = 3, 5
_SWEEP: Final = [
    *("--trials", str(TRIALS), "--epochs", str(EPOCHS), "--tracking", "none", "scheduler=none"),
    *("search.mixers=[mean_pool]", "search.scorers=[dot_product]"),
]
_BUNDLE: Final = ["sources=[attention, popularity]", "label_windows=1", "ranker.trees=10", "candidates=60"]


class Ground(Protocol):
    """A cluster that can be hurt."""

    address: str
    """Of its GCS."""
    dashboard: str
    """URL."""
    host: str
    """Of the head, where a server answers."""
    listen: str
    """Where it is told to listen."""
    env: Mapping[str, str]
    """What verbs find in their environment on it."""

    def start(self, command: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        """Start a command on the head."""
        ...

    def add(self) -> None:
        """Add a node."""
        ...

    def lose(self) -> None:
        """Kill a node that is not the head."""
        ...

    def without_gcs(self) -> AbstractContextManager[None]:
        """Have the head's GCS be gone during the block."""
        ...


@dataclass(frozen=True)
class Replica:
    """One that answers, and the id of its node."""

    deployment: str
    name: str
    node: str


@dataclass
class Scenario:
    """The verbs, told from the head.

    Parameters
    ----------
    ground
        Where.
    world
        What was watched.
    folder
        Of all that is made; every node reads it.
    settings
        Of serving, beside the usual ones.
    """

    ground: Ground
    world: Dataset
    folder: Path
    settings: Sequence[str] = ()
    losses: list[tuple[float, float]] = field(default_factory=list)
    """When nodes were lost: from just before to just after."""

    @property
    def registry(self) -> Path:
        """Where bundles are promoted to."""
        return self.folder / "registry"

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a verb; what it says goes to a file, for the other end of a pipe might not be read."""
        said = self.folder / f"{words[0]}.said"
        with said.open("a") as file:
            code = "from foveate_cli.main import main; main()"
            return self.ground.start([sys.executable, "-c", code, *words], stdout=file, stderr=file, cwd=self.folder)

    def said(self, verb: str) -> str:
        """Return all that a verb has printed."""
        return (self.folder / f"{verb}.said").read_text()

    def run(self, *words: str) -> None:
        """Run a verb, which must end well."""
        self.over(self.start(*words), words[0])

    def over(self, process: subprocess.Popen[str], verb: str) -> None:
        """Wait for the good end of a verb."""
        status = process.wait(180)
        assert status == 0, f"foveate {verb} ended with {status}:\n{self.said(verb)}"
        assert "Traceback" not in self.said(verb), self.said(verb)

    @contextmanager
    def serving(self, first: Bundle) -> Iterator[Steady]:
        """Serve what is promoted, ``first`` at first, and have viewers ask all the while."""
        self.run("promote", str(first.path), "--registry", str(self.registry), "--no-gate", "--because", "it is first")
        state = self.registry / "state.sqlite"
        state.write_bytes(default_state(first.path).read_bytes())
        [port] = free_ports(1)
        url = f"http://{self.ground.host}:{port}"
        where = ["--address", self.ground.dashboard, "--host", self.ground.listen, "--port", str(port)]
        settings = ["--replicas", "2", f"deadline_ms={DEADLINE_S * 1e3:.0f}", *self.settings]
        server = self.start("serve", "--follow", str(self.registry), "--every", "0.5", *where, *settings)
        try:
            until(lambda: _ready(url) or server.poll() is not None, 120, lambda: self.said("serve"))
            users = [f"u{number:05d}" for number in range(200)]
            with Steady(f"{url}/v1/recommend", users, PER_SECOND).running() as steady:
                yield steady
        finally:
            server.send_signal(signal.SIGINT)
            self.over(server, "serve")

    def sweep(self, lose_after: int) -> Path:
        """Sweep, and lose a node when so many epochs are told of; every trial must come to its end."""
        out = self.folder / "sweep"
        words = ["--data", str(self.world.path), "--out", str(out), "--address", self.ground.address]
        driver = self.start("tune", *words, *_SWEEP)
        until(lambda: _epochs(out) >= lose_after or driver.poll() is not None, 120, lambda: self.said("tune"))
        assert driver.poll() is None, self.said("tune")
        self.lose()
        self.over(driver, "tune")
        rows = json.loads((out / "leaderboard.json").read_text())["rows"]
        assert sorted(row["trial"] for row in rows) == [f"trial-{number:03d}" for number in range(TRIALS)]
        assert {row["state"] for row in rows} == {"finished"}
        assert _epochs(out) == TRIALS * EPOCHS
        return out

    def promote_best(self, sweep: Path, steady: Steady) -> str:
        """Train the best of a sweep, promote it, and wait until every answer is made by it; return its id."""
        bundle = self.folder / "bundle"
        self.run("train", "--data", str(self.world.path), "--from", str(sweep), "--out", str(bundle), *_BUNDLE)
        self.run("promote", str(bundle), "--registry", str(self.registry), "--no-gate", "--because", "a sweep chose it")
        name = Bundle.load(bundle).bundle_id
        self.answered_by(name, steady)
        return name

    def roll_back(self, first: Bundle, steady: Steady) -> None:
        """Go back to the bundle that was first."""
        self.run("rollback", "--registry", str(self.registry))
        self.answered_by(first.bundle_id, steady)

    def answered_by(self, bundle: str, steady: Steady) -> None:
        """Wait until a second's answers are all made by a bundle."""

        def all_by() -> bool:
            since = steady.since(time.monotonic() - 2.0)
            return len(since) > PER_SECOND and {one.bundle_id for one in since} == {bundle}

        until(all_by, 60, lambda: self.said("serve"))

    def scale(self, deployment: str, count: int) -> None:
        """Change a stage's size; no replica that was there may be restarted for it."""
        before = set(self.replicas())
        self.run("scale", f"{deployment}={count}", "--address", self.ground.dashboard)
        now = self.replicas()
        assert before <= set(now)
        assert self.sizes()[deployment] == count, now

    def lose(self) -> None:
        """Lose a node."""
        before = time.monotonic()
        self.ground.lose()
        self.losses.append((before, time.monotonic()))

    def replaced(self, **sizes: int) -> None:
        """Add a node for the lost one; wait until so many copies of each stage answer, none of them on a lost node."""
        self.ground.add()

        def whole() -> bool:
            told = self.told("/api/v0/nodes?limit=1000")["data"]["result"]["result"]
            dead = {node["node_id"] for node in told if node["state"] == "DEAD"}
            there = not any(one.node in dead for one in self.replicas())
            return len(dead) == len(self.losses) and there and self.sizes() == sizes

        until(whole, 90, lambda: f"{sizes} are wanted, there are {self.replicas()}\n{self.said('serve')}")

    def sizes(self) -> dict[str, int]:
        """Return how many copies of each stage answer."""
        return dict(Counter(one.deployment for one in self.replicas()))

    def replicas(self) -> list[Replica]:
        """Return the replicas that answer."""
        [application] = self.told("/api/serve/applications/")["applications"].values()
        return [
            Replica(name, one["replica_id"], one["node_id"])
            for name, deployment in application["deployments"].items()
            for one in deployment["replicas"]
            if one["state"] == "RUNNING"
        ]

    def pids(self, deployment: str) -> list[int]:
        """Return the processes of a deployment's replicas that answer."""
        [application] = self.told("/api/serve/applications/")["applications"].values()
        replicas = application["deployments"][deployment]["replicas"]
        return [int(one["pid"]) for one in replicas if one["state"] == "RUNNING"]

    def told(self, page: str) -> Any:
        """Return what the dashboard says on a page."""
        token = self.ground.env.get("RAY_AUTH_TOKEN")
        headers = {"authorization": f"Bearer {token}"} if token else {}
        answer = httpx.get(f"{self.ground.dashboard}{page}", headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def tally(self, answers: Sequence[Answer]) -> None:
        """Count what came of the requests into ``answers.json``; what failed must have met the loss of a node.

        Raises
        ------
        AssertionError
            Another one failed; the message says when each did, and counts all.
        """
        failed, how, stood_in = summary(answers)
        good = [one.milliseconds for one in answers if one.status == 200]
        counts = {"requests": len(answers), "failed": failed, "how": how, "stood in": stood_in}
        counts |= {"slowest": f"{max(good, default=float('nan')):,.0f} ms"}
        (self.folder / "answers.json").write_text(json.dumps(counts))
        others = [one for one in answers if one.status != 200 and not self._was_under_way(one)]
        began = answers[0].asked
        when = [f"{one.asked - began:.1f} s: {one.status}, {one.milliseconds:.0f} ms" for one in others]
        lost = [f"{before - began:.1f} s" for before, _ in self.losses]
        assert not others, f"{counts}; failed though no node was lost under them (at {', '.join(lost)}): {when}"

    def _was_under_way(self, answer: Answer) -> bool:
        over = answer.asked + answer.milliseconds / 1e3
        return any(answer.asked <= after and over >= before for before, after in self.losses)


def until(holds: Callable[[], bool], seconds: float, why: Callable[[], str]) -> None:
    """Wait until something holds; ``why`` is told where it does not in time."""
    give_up = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up, why()
        time.sleep(0.1)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def _epochs(sweep: Path) -> int:
    return sum(len(file.read_text().splitlines()) for file in sweep.glob("trials/trial-*/result.json"))
