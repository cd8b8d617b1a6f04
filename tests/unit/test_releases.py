"""A registry of bundles: what serves is always a whole bundle, whatever was killed and when."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from foveate.bundle import Bundle, default_state, verify
from foveate.core.config import from_dict
from foveate.core.errors import BundleError, ReleaseError
from foveate.data.dataset import Dataset
from foveate.recommend.recipe import Recipe
from foveate.releases import Gate, Releases, Verdict
from foveate.releases.history import standing
from foveate.storage.files import locked
from foveate.training import fit_model
from foveate_cli.promote import show, verdict_lines

WHY = "for a test"


def verdict(passed: bool, judged: str = "new") -> Verdict:
    return Verdict(passed, judged, "old", "slate ndcg@10", 50, "made up", 0.2, 0.1, 100.0, 90.0, 110.0, 2.0)


def gate(passed: bool) -> Gate:
    return lambda new, old: verdict(passed, new.bundle_id)


@pytest.fixture(scope="module")
def bundles(small_world: Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four bundles of one small model under different ids; the last one is the twin of the one before it."""
    recipe = from_dict(Recipe, {"sources": ["popularity"], "ranker": "z_score", "features": [], "label_windows": 1})
    model = fit_model(small_world, recipe)
    root = tmp_path_factory.mktemp("bundles")
    for seed, upto in enumerate(["all", "all", "all", "test"]):
        Bundle.save(model, root / str(seed), data_hash="hash", upto=upto, seeds=(min(seed, 2),))
    return [root / str(seed) for seed in range(4)]


@pytest.fixture
def releases(bundles: list[Path], tmp_path: Path) -> Releases:
    """A registry whose first bundle serves."""
    releases = Releases(tmp_path / "registry")
    releases.promote(bundles[0], None, because=WHY)
    return releases


def ids(bundles: list[Path]) -> list[str]:
    return [verify(path).bundle_id for path in bundles]


def test_a_promoted_bundle_is_a_copy_that_serves(releases: Releases, bundles: list[Path], tmp_path: Path) -> None:
    moved = Path(shutil.copytree(bundles[1], tmp_path / "moved"))
    entry = releases.promote(moved, gate(True), who="me", because=WHY)
    shutil.rmtree(moved)
    assert (entry.action, entry.before, entry.who, entry.gate and entry.gate.passed) == (
        "promote",
        ids(bundles)[0],
        "me",
        True,
    )
    assert releases.current() == entry.bundle == Bundle.load(releases.root / "current").bundle_id
    assert releases.history()[-1] == entry
    # What viewers do outlives the bundle.
    shared = releases.root.resolve() / "state.sqlite"
    assert default_state(releases.root / "current") == default_state(releases.path(ids(bundles)[0])) == shared
    # The folder may be moved: the link is relative.
    shutil.move(releases.root, tmp_path / "elsewhere")
    assert verify(tmp_path / "elsewhere" / "current").bundle_id == entry.bundle


def test_a_refused_bundle_is_kept_out_and_remembered(releases: Releases, bundles: list[Path]) -> None:
    entry = releases.promote(bundles[1], gate(False))
    assert entry.action == "refuse"
    assert releases.current() == ids(bundles)[0]
    assert releases.history()[-1] == entry
    assert not releases.path(entry.bundle).exists()
    assert len(releases.changes()) == 1


def test_the_gate_is_asked_about_the_one_that_serves(releases: Releases, bundles: list[Path]) -> None:
    asked: list[tuple[str, list[str]]] = []

    def judge(new: Bundle, old: list[Bundle]) -> Verdict:
        asked.append((new.bundle_id, [one.bundle_id for one in old]))
        return verdict(True)

    first, second, whole, twin = ids(bundles)
    releases.promote(bundles[1], judge)  # type: ignore[arg-type]
    entry = releases.promote(bundles[2], judge, twin=bundles[3])  # type: ignore[arg-type]
    assert (entry.bundle, entry.twin) == (whole, twin)
    # A twin is kept: it may have to stand in for its like the next time.
    releases.promote(bundles[0], judge)  # type: ignore[arg-type]
    assert asked == [(second, [first]), (twin, [second]), (first, [whole, twin])]


def test_a_twin_of_another_training_is_refused(releases: Releases, bundles: list[Path]) -> None:
    with pytest.raises(ReleaseError, match=r"is none of .* their seeds differ"):
        releases.promote(bundles[1], gate(True), twin=bundles[3])


def test_past_the_gate_only_with_a_reason(bundles: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="--because"):
        Releases(tmp_path / "registry").promote(bundles[0], None, because=" ")
    assert not (tmp_path / "registry").exists()


def test_what_serves_already_is_left_alone(releases: Releases, bundles: list[Path]) -> None:
    before = (releases.root / "history.jsonl").read_bytes()
    assert releases.promote(bundles[0], gate(False)).because == WHY
    assert (releases.root / "history.jsonl").read_bytes() == before


def test_rollbacks_go_back_one_by_one_and_never_to_what_was_rolled_back(
    releases: Releases, bundles: list[Path]
) -> None:
    a, b, c, _ = ids(bundles)
    for path in bundles[1:3]:
        releases.promote(path, gate(True))
    assert releases.rollback(because="slow").bundle == b
    assert releases.rollback().bundle == a
    with pytest.raises(ReleaseError, match="no good bundle before"):
        releases.rollback()
    (releases.root / "bundles" / f"{c}.state.sqlite").touch()
    assert releases.rollback(c[:6]).bundle == c
    assert standing(releases.changes()) == [a, c]
    assert releases.rollback().bundle == a
    assert releases.current() == a


def test_a_rollback_passes_over_a_damaged_bundle(releases: Releases, bundles: list[Path]) -> None:
    a, b, _, _ = ids(bundles)
    for path in bundles[1:3]:
        releases.promote(path, gate(True))
    (releases.path(b) / "recipe.yaml").write_text("spoilt")
    said: list[str] = []
    with pytest.raises(BundleError, match=r"recipe\.yaml"):
        releases.rollback(b)
    assert releases.rollback(say=said.append).bundle == a
    assert "passed over" in said[0]


def test_folders_that_are_no_registry_are_told(releases: Releases, bundles: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="is no registry"):
        Releases(tmp_path / "nowhere").rollback()
    with pytest.raises(ReleaseError, match="holds something else"):
        Releases(bundles[0]).promote(bundles[1], None, because=WHY)
    with pytest.raises(ReleaseError, match="there is no such bundle"):
        releases.rollback("zzz")
    (releases.root / "history.jsonl").write_text('{"at": 1}\n')
    with pytest.raises(ReleaseError, match="line 1 is damaged"):
        releases.history()


def test_a_line_cut_short_gives_way(releases: Releases, bundles: list[Path]) -> None:
    history = releases.root / "history.jsonl"
    with history.open("a") as stream:
        stream.write('{"at": "20')
    assert len(releases.history()) == 1
    releases.promote(bundles[1], gate(True))
    assert [json.loads(line)["action"] for line in history.read_text().splitlines()] == ["promote", "promote"]


def test_one_at_a_time_and_the_other_is_told_to_wait(releases: Releases, bundles: list[Path]) -> None:
    said: list[str] = []
    waits = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        waits.set()

    other = threading.Thread(target=lambda: releases.promote(bundles[1], gate(True), say=say))
    with locked(releases.root / "lock", said.append):
        other.start()
        assert waits.wait(30)
        assert releases.current() == ids(bundles)[0]
    other.join(30)
    assert f"waiting: process {os.getpid()} is at work" in said[0]
    assert releases.current() == ids(bundles)[1]


KILLED = """
import os, signal, sys
from pathlib import Path
from foveate.bundle.manifest import read_manifest
from foveate.core.config import from_dict
from foveate.recommend.recipe import Recipe
from foveate.releases import Releases

# The variants are imported once; nothing is read, for a fork does not copy the threads that read tables.
from_dict(Recipe, read_manifest(Path(sys.argv[1])).recipe)

def dies_at(step, registry):
    # Python tells its audit hooks of every file that it is about to open, make, rename or remove.
    left = [step]
    def hook(event, args):
        writes = event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR)
        changes = event in ("os.mkdir", "os.chmod", "os.rename", "os.symlink", "os.remove", "os.rmdir", "os.utime")
        if (writes or changes) and any(registry in str(one) for one in args):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)

for line in sys.stdin:
    registry, bundle, step = line.split()
    child = os.fork()
    if not child:
        dies_at(int(step), registry)
        Releases(Path(registry)).promote(Path(bundle), None, because="for a test")
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
"""


def test_killed_at_any_step_a_whole_bundle_serves(bundles: list[Path], tmp_path: Path) -> None:
    old, new = ids(bundles)[:2]
    template = Releases(tmp_path / "template")
    template.promote(bundles[0], None, because=WHY)
    killer = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(bundles[0])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert killer.stdin
    assert killer.stdout
    seen: list[str] = []
    status = signal.SIGKILL.value
    while status == signal.SIGKILL:
        step = len(seen) + 1
        releases = Releases(Path(shutil.copytree(template.root, tmp_path / str(step), symlinks=True)))
        killer.stdin.write(f"{releases.root} {bundles[1]} {step}\n")
        status = int(killer.stdout.readline())
        current = releases.current()
        assert current in (old, new)
        assert verify(releases.root / "current").bundle_id == current
        assert [entry.bundle for entry in releases.changes()] == [old, new][: 1 + (current == new)]
        seen.append(current)
        recovers(releases, bundles, current)
        shutil.rmtree(releases.root)
    killer.communicate(timeout=30)
    assert status == 0
    # It died before each change, up to that of the link, and the last time came through.
    assert seen.count(old) > 10
    assert seen.count(new) == 1
    assert seen == [old] * seen.count(old) + [new] * seen.count(new)


def recovers(releases: Releases, bundles: list[Path], current: str | None) -> None:
    """What was left is cleared up, and the same promotion goes through."""
    releases.promote(bundles[1], gate(True))
    new = ids(bundles)[1]
    assert releases.current() == new
    assert sorted(path.name for path in releases.root.iterdir()) == ["bundles", "current", "history.jsonl", "lock"]
    assert {path.name for path in (releases.root / "bundles").iterdir()} == set(ids(bundles)[:2])
    assert [entry.bundle for entry in releases.changes()] == ids(bundles)[:2]
    interrupted = [entry for entry in releases.history() if entry.action == "interrupted"]
    assert [entry.bundle for entry in interrupted] in ([], [new])
    assert not (interrupted and current == new)
    assert releases.history()[-1].action == "promote" or current == new


def test_the_interval_that_is_shown_agrees_with_the_decision() -> None:
    refused = Verdict(False, "new", "old", "slate ndcg@10", 50, "made up", 0.1, 0.1, -0.7, -2.04, 0.61, 2.0)
    assert refused.change() == "-0.7 % (-2.1 to +0.7)"
    assert verdict_lines(refused)[-1].strip().startswith("the interval reaches below the margin")


def test_promoting_what_serves_says_that_nothing_was_done(
    releases: Releases, bundles: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    before = releases.current()
    entry = releases.promote(bundles[0], None, because=WHY)
    show(entry, before, releases.current())
    assert capsys.readouterr().out == f"serves   bundle {before} already: nothing was done\n"
