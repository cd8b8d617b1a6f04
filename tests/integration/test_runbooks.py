"""The pages of ``infra/runbooks``: what they name is there, and their commands do on a cluster what they promise."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
from pathlib import Path

import click
import pytest
import yaml

from clusters.book import FENCE, FOLDER, Book, commands, deployed, made_ready, text
from clusters.nodes import Nodes, nodes
from clusters.scenario import until
from command_line import parse
from foveate.bundle import Bundle
from foveate_serve.http.keys import Keys
from foveate_serve.operations.cluster import free_ports
from foveate_serve.stages import guarded
from foveate_serve.telemetry import names

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("deploy", "upgrade", "roll-back", "scale", "restore", "rotate-keys", "lose-a-node", "lose-the-head")
PAGES = (*PAGES, "lose-the-store", "learn")


def spoken(page: str) -> list[list[str]]:
    """Return the words of each whole command of ours in its prose."""
    prose = FENCE.sub("", text(page))
    found = [shlex.split(one.replace("\n", " ")) for one in re.findall(r"`(foveate [^`]+)`", prose)]
    return [words for words in found if any(word.startswith("--") or "/" in word for word in words)]


def test_every_page_is_there_and_is_linked() -> None:
    assert {file.stem for file in FOLDER.iterdir()} == set(PAGES)
    readme = (ROOT / "infra" / "README.md").read_text(encoding="utf-8")
    assert all(f"(runbooks/{page}.md)" in readme for page in PAGES)
    for page in PAGES:
        for part in ("**When.**", "**What one sees.**", "**It worked**", "**Back.**"):
            assert part in text(page), (page, part)


@pytest.mark.parametrize("page", PAGES)
def test_the_command_line_reads_every_command(page: str) -> None:
    given = {"PORT": "8000", "DASHBOARD": "http://127.0.0.1:8265"}
    ours = [words for words in (*commands(page), *spoken(page)) if words[0] == "foveate"]
    assert ours
    for words in ours:
        parse([given.get(word, word) for word in words[1:]])
    with pytest.raises(click.ClickException):
        parse([*ours[0][1:], "--no-such-option"])


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_is_there(page: str) -> None:
    words = text(page)
    rules = yaml.safe_load((ROOT / "infra" / "monitoring" / "rules" / "foveate.yaml").read_text(encoding="utf-8"))
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    assert set(re.findall(r"`(Foveate[A-Z]\w+)`", words)) <= alerts
    metrics = {metric.exported for metric in names.METRICS}
    assert set(re.findall(r"`(ray_\w+)`", words)) <= metrics
    assert all((ROOT / path).exists() for path in re.findall(r"infra/[\w./-]*\w", words))
    assert all((FOLDER / path).exists() for path in re.findall(r"\]\(([^)]+)\)", words))
    reasons = {name for _, name in guarded._REASONS}
    degraded = {
        "history_unavailable",
        *(f"{stage}_{reason}" for stage in ("retriever", "ranker") for reason in reasons),
    }
    assert set(re.findall(r"`((?:history|ranker|retriever)_\w+)`", words)) <= degraded


@pytest.mark.cluster
@pytest.mark.soak
def test_the_pages_do_what_they_promise(small_bundle: Bundle, tmp_path: Path) -> None:
    placed = made_ready(small_bundle, tmp_path) | {"NEWBUNDLE": "second"}
    placed |= {"HOST": "127.0.0.1", "LISTEN": "127.0.0.1", "PORT": str(free_ports(1)[0])}
    second = Bundle.save(small_bundle.model, tmp_path / "second", data_hash="", parent=small_bundle.bundle_id)
    with nodes(2, tmp_path) as ground:
        book = Book(ground, tmp_path, placed | {"DASHBOARD": ground.dashboard})
        server = deployed(book, small_bundle)
        a_bundle_is_exchanged_and_taken_back(book, small_bundle, second)
        said = book.run("scale")
        assert re.search(r"ranker +1 +2 +2", said), said
        assert re.search(r"ranker +2 +1 +1", said), said
        keys_are_exchanged(book)
        nodes_are_lost(book, ground)
        book.run("restore", "backup")
        book.run("lose-the-store")
        server.send_signal(signal.SIGINT)
        book.scenario.over(server, "serve")
        shutil.rmtree(tmp_path / "registry")
        said = "".join(book.run("restore", kind) for kind in ("registry", "file", "state", "check"))
        assert small_bundle.bundle_id in said
        assert "cold" not in said
        again = deployed(book, small_bundle, anew=False)
        again.send_signal(signal.SIGINT)
        book.scenario.over(again, "serve")


def a_bundle_is_exchanged_and_taken_back(book: Book, first: Bundle, second: Bundle) -> None:
    before = set(book.scenario.replicas())
    for page, bundle in (("upgrade", second), ("roll-back", first)):
        book.run(page)
        book.wait_for({bundle.bundle_id})
        assert bundle.bundle_id in book.run(page, "check")
    assert set(book.scenario.replicas()) == before


def keys_are_exchanged(book: Book) -> None:
    old = book.placed["OLDSECRET"]
    [key] = Keys.read(book.folder / "keys.json").keys
    book.placed["KEYID"] = key.key_id
    [new] = [line for line in book.run("rotate-keys").splitlines() if line.startswith("fv_")]
    until(lambda: book.status(old) == 401, 10, lambda: "the old key is let in still")
    assert book.status(new) == 200
    book.placed["SECRET"] = new


def nodes_are_lost(book: Book, ground: Nodes) -> None:
    book.scenario.lose()
    book.scenario.replaced(ingress=1, retriever=1, ranker=1)
    until(lambda: bool(book.bundles()), 60, lambda: book.scenario.said("serve"))
    until(lambda: book.well("lose-a-node"), 60, lambda: "the page of a lost node does not end well")
    with ground.without_gcs():
        assert book.status(book.placed["SECRET"]) == 200
    until(lambda: book.well("lose-the-head"), 60, lambda: "the page of a lost head does not end well")
