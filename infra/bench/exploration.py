"""A server that explores beside one that does not, on one machine in one run: requests a second of either.

Both serve one bundle, ``fused``, one replica a core, and are asked for slates of 20 out of about 200 candidates. They
are started in turn, round after round, each round in the other order than the one before; a figure is the median of the
rounds' ratios. ``--during`` names what else runs while slates are explored, again and again, such as an export of what
was served. The load comes from this process, on the same cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import shutil
import statistics
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from foveate.core.config import from_dict
from foveate.slate.exploration.config import Exploration
from foveate_cluster.ray_cluster import usable_cpus
from foveate_serve.app import start
from foveate_serve.config import DeploymentConfig, ServeConfig
from lab.load import Answers, closed
from lab.serving_world import SLATE, World, serving_world

CLIENTS = 32
GOAL = 0.95
EXPLORATION = from_dict(Exploration, {"policy": {"name": "plackett_luce"}, "budget": {"places": 0.3}})


@contextmanager
def again_and_again(command: str | None) -> Iterator[list[int]]:
    """Run a command over and over as long as the block lasts; yield the exit statuses so far."""
    statuses: list[int] = []
    if command is None:
        yield statuses
        return
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            statuses.append(subprocess.run(shlex.split(command), stdout=subprocess.DEVNULL, check=False).returncode)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield statuses
    finally:
        over.set()
        thread.join()


def measured(world: World, state: Path, config: ServeConfig, seconds: float, during: str | None) -> Answers:
    """Serve, warm up, and ask."""
    asks = [json.dumps({"user_id": user, "k": SLATE}).encode() for user in world.users]
    with start(world.bundle, state, config, progress=print) as url:
        asyncio.run(closed(f"{url}/v1/recommend", asks, CLIENTS, seconds / 2))
        with again_and_again(during) as statuses:
            answers = asyncio.run(closed(f"{url}/v1/recommend", asks, CLIENTS, seconds))
    if any(statuses) or set(answers.statuses) != {200}:
        raise RuntimeError(f"not all went well: answers {answers.statuses}, exit statuses {statuses}")
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scratch", type=Path, help="keep the served world here, for the next run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument(
        "--during", help="a command that runs while slates are explored; {state} is the file of viewers"
    )
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    plain = ServeConfig(port=0, topology="fused", ingress=DeploymentConfig(replicas=usable_cpus(), cpus=0.25))
    sides = {"off": plain, "on": replace(plain, exploration=EXPLORATION)}
    rates: dict[str, list[float]] = {"off": [], "on": []}
    with tempfile.TemporaryDirectory() as folder:
        world = serving_world(options.scratch or Path(folder))
        state = Path(shutil.copyfile(world.state, Path(folder) / "state.sqlite"))
        during = options.during and options.during.replace("{state}", str(state))
        for number in range(options.rounds):
            for side in ("off", "on") if number % 2 else ("on", "off"):
                answers = measured(world, state, sides[side], options.seconds, during if side == "on" else None)
                rates[side].append(answers.per_second)
                print(f"round {number + 1}: exploration {side:<3} {answers.per_second:7.0f} requests/s", flush=True)
    ratio = statistics.median(on / off for on, off in zip(rates["on"], rates["off"], strict=True))
    print(f"ratio explored_requests_over_plain {ratio:.3f} goal >= {GOAL:g}")
    if options.json:
        ratios = [{"name": "explored_requests_over_plain", "value": ratio, "goal": f">= {GOAL:g}"}]
        options.json.write_text(json.dumps({"ratios": ratios, "rates": rates}, indent=2) + "\n")


if __name__ == "__main__":
    main()
