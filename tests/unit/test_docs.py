"""README and docs say what is so: bounds, counts, paths, commands, messages, metrics and pictures."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.shell_completion import BashComplete

import foveate
import foveate_serve
import foveate_tune
from command_line import parse
from foveate.attention.base import MixerConfig, ScorerConfig
from foveate.encoder.losses.base import LossConfig
from foveate.retrieval.base import SourceConfig
from foveate.slate.base import SlatePolicy
from foveate_cli.main import cli
from foveate_serve import client
from foveate_serve.http.problems import KINDS
from foveate_serve.telemetry.names import METRICS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MOST_LINES, MOST_WORDS = 120, 1000
GAP = "…"
"""Stands in a message for what differs from time to time."""


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_readme_is_short() -> None:
    readme = text("README.md")
    assert readme.count("\n") <= MOST_LINES
    assert len(readme.split()) <= MOST_WORDS


def test_the_readme_counts_variants_right() -> None:
    kinds = {"mixers": MixerConfig, "scorers": ScorerConfig, "losses": LossConfig, "sources": SourceConfig}
    kinds |= {"policies": SlatePolicy}
    for name, kind in kinds.items():
        counts = re.findall(rf"(\w+) {name}\b", text("README.md").lower())
        assert {str(len(kind.variants)), NUMBERS[min(len(kind.variants), 9)]} & set(counts), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_paths_of_a_page_are_there(page: Path) -> None:
    named = re.findall(r"`((?:platform|serve|tune|tests|infra|docs)/[\w./*-]+)", page.read_text(encoding="utf-8"))
    assert not [path for path in named if not (ROOT / path).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_command_line_reads_the_commands_in_prose(page: Path) -> None:
    prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for command in re.findall(r"`(foveate [^`]+)`", prose):
        words = shlex.split(command.replace("\n", " "))
        try:
            parse([word for word in words[1:] if word != "..."])
        except (click.MissingParameter, click.BadOptionUsage, click.exceptions.NoArgsIsHelpError):
            # Prose leaves out what does not matter there.
            continue
        except click.exceptions.Exit:
            # A page of help; a mistake is another exception.
            continue


def test_the_page_of_the_command_line_has_every_verb_and_completion_works() -> None:
    rows = re.findall(r"^\| (`[a-z].*?) \|", text("docs/command-line.md"), re.MULTILINE)
    verbs = [verb for row in rows for verb in re.findall(r"`([\w-]+)`", row)]
    assert sorted(verbs) == cli.list_commands(click.Context(cli))
    completion = BashComplete(cli, {}, "foveate", "_FOVEATE_COMPLETE")
    assert "_foveate_completion" in completion.source()
    assert [one.value for one in completion.get_completions([], "recom")] == ["recommend"]
    assert "--trials" in [one.value for one in completion.get_completions(["tune"], "--tr")]


def test_every_message_is_one_of_the_code() -> None:
    rows = [line for line in text("docs/errors.md").splitlines() if line.startswith("| `")]
    messages = [re.split(r"(?<!`)` \| ", row)[0].removeprefix("| `") for row in rows]
    said = [message for message in messages if " " in message and "`, `" not in message]
    assert len(said) > 30
    everything = list(texts())
    missing = [message for message in said if not any(fits(message, one) for one in everything)]
    assert not missing
    statuses = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", text("docs/errors.md"), re.MULTILINE))
    assert statuses == {name: str(kind.status) for name, kind in KINDS.items()}


def fits(message: str, known: str) -> bool:
    """Whether a text of the code has all parts of a message, in its order."""
    return re.search(".*".join(map(re.escape, message.split(GAP))), known, re.DOTALL) is not None


def texts() -> Iterator[str]:
    """Yield each text of the code, with a gap for what is put into it."""
    for root in ("platform", "serve", "tune"):
        for file in (ROOT / root).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value
                elif isinstance(node, ast.JoinedStr):
                    yield "".join(str(one.value) if isinstance(one, ast.Constant) else GAP for one in node.values)


def test_every_metric_is_on_the_page_of_operations() -> None:
    named = set(re.findall(r"`(ray_foveate_\w+)`", text("docs/operations.md")))
    assert named == {metric.exported for metric in METRICS}


def test_the_pictures_are_those_that_the_command_draws(tmp_path: Path) -> None:
    code = "import draw, sys; from pathlib import Path; draw.FOLDER = Path(sys.argv[1]); draw.main()"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT / "infra" / "docs", check=True)
    drawn = {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()}
    kept = {file.name: file.read_text(encoding="utf-8") for file in (ROOT / "docs" / "images").glob("*.svg")}
    assert drawn == kept
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert all(f"images/{name}" in pages for name in kept)


def test_the_reference_has_the_whole_public_surface() -> None:
    public = {
        f"{package.__name__}.{name}" for package in (foveate, foveate_tune, foveate_serve) for name in dir(package)
    }
    public |= {f"{client.__name__}.{name}" for name in client.__all__}
    described = set(re.findall(r"^\.\. auto\w+:: (\S+)", text("docs/api.md"), re.MULTILINE))
    assert described == public - {"foveate.__version__"}


def test_the_site_has_every_page_and_finds_its_own_files() -> None:
    configuration = text("infra/docs/conf.py")
    assert not [page.stem for page in PAGES[1:] if f'"docs/{page.stem}"' not in configuration]
    files = [file.name for file in (ROOT / "infra" / "docs" / "theme").iterdir()]
    assert files
    assert all(name in configuration for name in files)
