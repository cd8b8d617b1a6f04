"""The pages of ``infra/runbooks``, opened at a cluster: their commands are run as an operator would run them."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from clusters.scenario import Ground, Scenario, until
from foveate.bundle import Bundle, default_state
from foveate.state.sqlite.store import SqliteState
from lab.steady import Steady

PER_SECOND: Final = 8.0
FOLDER: Final = Path(__file__).resolve().parents[2] / "infra" / "runbooks"
FENCE: Final = re.compile(r"^```sh ?(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FIRST: Final = ("promote", "state", "keys")
"""What ``deploy`` does before it serves."""


def text(page: str) -> str:
    return (FOLDER / f"{page}.md").read_text(encoding="utf-8")


def commands(page: str, kind: str | None = None) -> list[list[str]]:
    """Return the words of each fenced command of a page, of one kind of fence or of all."""
    blocks = [block for told, block in FENCE.findall(text(page)) if kind in (None, told)]
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


class Book:
    """The pages, opened at a cluster on which a server is to run."""

    def __init__(self, ground: Ground, folder: Path, placed: dict[str, str]) -> None:
        self.folder, self.placed = folder, placed
        self.env = ground.env
        self.scenario = Scenario(ground, None, folder)  # type: ignore[arg-type] # nothing is swept here
        self.url = f"http://{placed['HOST']}:{placed['PORT']}"

    def words(self, words: Sequence[str]) -> list[str]:
        """Fill in what a page leaves to its reader."""
        capitals = "|".join(sorted(self.placed, key=len, reverse=True))
        place = re.compile(rf"(?<![A-Z])(?:{capitals})(?![A-Z])")
        found = [place.sub(lambda name: self.placed[name[0]], one) for one in words]
        return [sys.executable, "-m", "foveate_cli", *found[1:]] if found[0] == "foveate" else found

    def run(self, page: str, kind: str = "") -> str:
        """Run the commands of one kind of fence; each must end well."""
        said = ""
        for words in commands(page, kind):
            filled = self.words(words)
            done = subprocess.run(filled, env=self.env, cwd=self.folder, capture_output=True, text=True, check=False)
            assert done.returncode == 0, (page, words, done.stdout, done.stderr)
            said += done.stdout
        return said

    def bundles(self) -> set[str]:
        """Return by which bundles the parts answer, of a server that is ready."""
        try:
            answer = httpx.get(f"{self.url}/health/ready", timeout=5)
        except httpx.HTTPError:
            return set()
        return {part["bundle_id"] for part in answer.json()["parts"]} if answer.status_code == 200 else set()

    def wait_for(self, bundles: set[str]) -> None:
        until(lambda: self.bundles() == bundles, 120, lambda: self.scenario.said("serve"))

    def status(self, key: str) -> int:
        """Return how a request with a key is answered."""
        headers = {"authorization": f"Bearer {key}"}
        ask = {"user_id": self.placed["VIEWER"]}
        return httpx.post(f"{self.url}/v1/recommend", json=ask, headers=headers, timeout=30).status_code

    def slate(self) -> dict[str, Any]:
        """Return what the viewer is answered."""
        ask = {"user_id": self.placed["VIEWER"]}
        answer = httpx.post(f"{self.url}/v1/recommend", json=ask, headers=self._key(), timeout=30)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def sent(self, event: Mapping[str, Any]) -> httpx.Response:
        """Tell of an event, and return what came of it."""
        return httpx.post(f"{self.url}/v1/events", json={"events": [event]}, headers=self._key(), timeout=30)

    @contextmanager
    def asked(self) -> Iterator[Steady]:
        """Have the viewer ask all the while."""
        steady = Steady(f"{self.url}/v1/recommend", [self.placed["VIEWER"]], PER_SECOND, headers=self._key())
        with steady.running():
            yield steady

    def _key(self) -> dict[str, str]:
        # A server without keys asks for none.
        return {"authorization": f"Bearer {self.placed['OLDSECRET']}"} if "OLDSECRET" in self.placed else {}

    def well(self, page: str) -> bool:
        """Whether a page's commands end well by now."""
        try:
            self.run(page)
        except AssertionError:
            return False
        return True


def made_ready(bundle: Bundle, folder: Path) -> dict[str, str]:
    """Lay out a bundle with its histories; return what the pages call them."""
    shutil.copytree(bundle.path, folder / "bundle")
    shutil.copyfile(default_state(bundle.path), folder / "bundle.state.sqlite")
    (folder / "backup").mkdir()
    with SqliteState(folder / "bundle.state.sqlite") as state:
        [viewer] = state.users(1)
    placed = {"BUNDLE": "bundle", "KEYS": "keys.json", "BACKUP": "backup", "VIEWER": viewer}
    return placed | {"REGISTRY": "registry", "STATE": "registry/state.sqlite"}


def whole_again(steady: Steady) -> bool:
    """Whether the slates of the last two seconds that have had a second to come lack nothing."""
    since = steady.since(time.monotonic() - 3.0)[: -int(PER_SECOND)]
    return len(since) > PER_SECOND and all(one.status == 200 and not one.degraded for one in since)


def deployed(book: Book, bundle: Bundle, *, anew: bool = True) -> subprocess.Popen[str]:
    """Do what ``deploy`` says, or its last steps; a key of its own lets the first request in."""
    before = [words for words in commands("deploy", "") if words[:2] in (["foveate", one] for one in _FIRST)]
    after = [words for words in commands("deploy", "") if words not in before]
    assert before
    assert after
    said = ""
    for words in before if anew else []:
        done = subprocess.run(
            book.words(words), env=book.env, cwd=book.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (words, done.stderr)
        said = done.stdout.strip()
    [serve] = commands("deploy", "serve")
    server = book.scenario.start(*book.words(serve)[3:])
    book.wait_for({bundle.bundle_id})
    for words in after:
        subprocess.run(book.words(words), env=book.env, cwd=book.folder, check=True, capture_output=True)
    if anew:
        assert (book.status(said), book.status("none")) == (200, 401)
        book.placed["OLDSECRET"] = said
    return server
