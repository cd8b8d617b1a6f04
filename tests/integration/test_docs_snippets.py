"""Every shell, Python and YAML snippet of README and docs is run, or says above it why it is not.

``<!-- parsed: WHY -->`` above a fence has its commands read by the real command line alone; ``<!-- not run: WHY -->``
skips it.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from sybil import Document, Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser

from command_line import check_settings, parse
from foveate.bundle import Bundle, default_state
from foveate.core.config import from_dict
from foveate.core.errors import FoveateError
from foveate.data.dataset import Dataset
from foveate.recommend.recipe import Recipe
from foveate_cli.common import LocalPath
from foveate_cli.main import cli

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = ["README.md", "CONTRIBUTING.md", *(f"docs/{file.name}" for file in sorted((ROOT / "docs").glob("*.md")))]
MARK: Final = re.compile(r"<!-- (not run|parsed): (\S.*) -->\n\Z")
SERVER: Final = "http://localhost:8000"
MAKE, CURL = (shutil.which(name) or name for name in ("make", "curl"))
LANGUAGES: Final = {"python", "sh", "yaml", "text", "{eval-rst}"}
FENCE: Final = re.compile(r"^ *```(.*)$", re.MULTILINE)
EVERY: Final = ("watches", "films", "data", "bundle")
PREPARED: Final = {
    "docs/extending.md": (),
    "docs/own-data.md": ("films",),
    "docs/python.md": ("watches", "bundle"),
    "docs/quickstart.md": ("watches",),
}
"""What lies in the folder of a page before its first snippet; on every other page all of it."""


def mark(example: Example) -> str | None:
    """Return how a snippet wants to be treated, None for one that is run."""
    found = MARK.search(example.document.text[: example.start])
    return found[1] if found else None


def commands(source: str) -> list[list[str]]:
    """Return the words of each line of a shell snippet."""
    lines = source.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


class Runner:
    """Runs the snippets of one page in a folder of its own.

    Parameters
    ----------
    folder
        Where commands run.
    serving
        Answers requests by a bundle in this process.
    """

    def __init__(self, folder: Path, serving: Callable[[Bundle, Path], AbstractContextManager[Any]]) -> None:
        self._folder = folder
        self._serving = serving
        self._open = ExitStack()
        self._url = ""
        self._python = PythonEvaluator()

    def parsers(self) -> list[CodeBlockParser]:
        """Return what finds the snippets and runs them."""
        evaluators = {"python": self.python, "sh": self.shell, "yaml": self.recipe}
        return [CodeBlockParser(language, one) for language, one in evaluators.items()]

    def close(self) -> None:
        """End the server, if a snippet needed one."""
        self._open.close()

    def python(self, example: Example) -> None:
        """Run a snippet in the namespace of its page."""
        kind = mark(example)
        assert kind != "parsed", "Python is run, or not"
        if kind is None and SERVER in example.parsed:
            exec(compile(example.parsed.replace(SERVER, self.url()), example.path, "exec"), example.namespace)  # noqa: S102
        elif kind is None:
            self._python(example)

    def shell(self, example: Example) -> None:
        """Run each command, or have it read by the real command line."""
        kind = mark(example)
        for words in commands(example.parsed) if kind != "not run" else []:
            if words[0] == "make":
                assert kind == "parsed", "make would run the tests within a test"
                subprocess.run([MAKE, "--dry-run", *words[1:]], cwd=ROOT, check=True, capture_output=True)
            elif kind == "parsed":
                assert words[0] == "foveate", f"nothing reads '{words[0]}': run it, or say why it is not run"
                check_settings(*parse(words[1:]))
            elif words[0] == "curl":
                asked = [word.replace(SERVER.removeprefix("http://"), self.url()) for word in words[1:]]
                subprocess.run([CURL, "--fail-with-body", *asked], check=True, capture_output=True)
            else:
                assert words[0] == "foveate", f"nothing runs '{words[0]}'"
                done = CliRunner().invoke(cli, words[1:])
                assert done.exit_code == 0, (words, done.output, done.exception)

    def recipe(self, example: Example) -> None:
        """Read a YAML snippet as a recipe."""
        if mark(example) is None:
            from_dict(Recipe, yaml.safe_load(example.parsed))

    def url(self) -> str:
        """Return where a server answers by the page's own bundle."""
        if not self._url:
            place = self._folder / "runs" / "bundle"
            client = self._open.enter_context(self._serving(Bundle.load(place), default_state(place)))
            self._url = str(client.base_url).rstrip("/")
        return self._url


@pytest.fixture
def folder(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_world: Dataset
) -> Path:
    """A folder with what a page begins with."""
    wanted = PREPARED.get(request.param, EVERY)
    (tmp_path / "runs").mkdir()
    (tmp_path / "infra").symlink_to(ROOT / "infra")
    if "watches" in wanted:
        for name in ("watches.csv", "watch_log.csv"):
            (tmp_path / name).write_text(watches("viewer" if name == "watches.csv" else "customer"))
    if "films" in wanted:
        (tmp_path / "films").mkdir()
        (tmp_path / "films" / "ratings.dat").write_text(ratings())
        films = "".join(f"{code}::Film {code} (1999)::Drama|Crime\n" for code in range(1, 61))
        (tmp_path / "films" / "movies.dat").write_text(films)
    if "data" in wanted:
        assert small_world.path is not None
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "mine").symlink_to(small_world.path)
    if "bundle" in wanted:
        bundle = request.getfixturevalue("small_bundle")
        for place in (tmp_path / "runs" / "bundle", tmp_path / "bundle"):
            shutil.copytree(bundle.path, place)
            shutil.copyfile(default_state(bundle.path), default_state(place))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def watches(viewer: str) -> str:
    """80 viewers who watch 25 of 60 videos each, mostly of one of four groups."""
    return f"{viewer},video,watch_time_s,timestamp\n" + "".join(
        f"u{user},v{item},{5 + (user * item) % 290},{time}\n" for user, item, time in meetings()
    )


def ratings() -> str:
    """The same as ratings from 1 to 5."""
    return "".join(f"{user}::{item + 1}::{1 + (user + item) % 5}::{time}\n" for user, item, time in meetings())


def meetings() -> Iterator[tuple[int, int, int]]:
    rng = np.random.default_rng(4)
    for user in range(1, 81):
        times = 1_714_500_000 + np.cumsum(rng.integers(3600, 6 * 3600, 25))
        near = (user % 4) * 15 + np.abs(rng.normal(0, 6, 25)).astype(int) % 15
        items = np.where(rng.random(25) < 0.8, near, rng.integers(0, 60, 25))
        yield from ((user, int(item), int(time)) for item, time in zip(items, times, strict=True))


@pytest.fixture
def runner(folder: Path, serving: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    from foveate_serve.config import ServeConfig

    # What is only read must not be fetched from the store that it names.
    monkeypatch.setattr(LocalPath, "convert", lambda _self, value, _param, _ctx: Path(value))
    found = Runner(
        folder, lambda bundle, state: serving(bundle, state, ServeConfig(topology="fused", deadline_ms=60_000))
    )
    yield found
    found.close()


@pytest.mark.slow
@pytest.mark.parametrize(("page", "folder"), [(page, page) for page in PAGES], indirect=["folder"], ids=PAGES)
def test_the_snippets_of_a_page_run(page: str, runner: Runner) -> None:
    document: Document = Sybil(parsers=runner.parsers(), path=str(ROOT)).parse(ROOT / page)
    for example in document.examples():
        example.evaluate()


@pytest.mark.parametrize("page", PAGES)
def test_every_fence_says_what_it_holds_and_no_code_is_only_indented(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    opened = FENCE.findall(text)[::2]
    assert set(opened) <= LANGUAGES, "text is what nobody is to run"
    assert not re.search(r"^\n    \S", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    marks = re.findall(r"<!--.*-->\n(?:```(\w+))?", text)
    assert all(language in ("python", "sh", "yaml") for language in marks), "a mark stands right above a snippet"


@pytest.mark.parametrize(
    ("kind", "line", "fault"),
    [
        ("parsed", "foveate serve --bundel x", "No such option"),
        ("parsed", "foveate serve --bundle x topolgy=fused", "unknown setting"),
        ("parsed", "ls", "nothing reads 'ls'"),
        ("parsed", "make no-such-target", "non-zero exit status"),
        ("", "foveate recommend --bundle no-such --user 1", "is no bundle"),
        ("", "make test", "would run the tests"),
        ("", "python3 x.py", "nothing runs 'python3'"),
    ],
)
def test_a_wrong_snippet_is_noticed(kind: str, line: str, fault: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{f'<!-- {kind}: why -->' if kind else ''}\n```sh\n{line}\n```\n")
    runner = Runner(tmp_path, lambda bundle, state: ExitStack())
    [example] = Sybil(parsers=runner.parsers(), path=str(tmp_path)).parse(page).examples()
    noticed = (click.ClickException, FoveateError, AssertionError, subprocess.CalledProcessError)
    with pytest.raises(noticed, match=fault):
        example.evaluate()
