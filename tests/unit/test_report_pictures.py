"""What a report makes of a sweep's folder, whatever state the sweep is in."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from foveate.core.config import from_dict, to_dict
from foveate.core.errors import ConfigError, StorageError
from foveate.storage.folder import Folder
from foveate_cli.main import cli
from foveate_tune.config import SweepConfig
from foveate_tune.levels.base import Level
from foveate_tune.report.base import Picture
from foveate_tune.report.drawing import short_names
from foveate_tune.report.page import render, write_report
from foveate_tune.report.pictures.importance import FEWEST_TRIALS, by_chance, importances
from foveate_tune.report.pictures.parallel import Parallel
from foveate_tune.report.record import UNFINISHED, read_sweep
from foveate_tune.trials.journal import Journal

ASKED: dict[str, Any] = {"trials": 3, "epochs": 4, "concurrent": 2, "gpus": 0.5}
TITLE = "a <b>log</b>"


class Written:
    """A sweep's folder, written as a sweep writes it."""

    def __init__(self, path: Path, level: str = "encoder", **asked: Any) -> None:
        self.path = path
        self.folder = Folder.at(path)
        self.level = Level.variants[level]()
        self.config = from_dict(SweepConfig, {**ASKED, **asked, "level": level})
        self.facts = {
            "foveate": "0.1.0",
            "data": {"title": TITLE, "hash": "0" * 64, "simulated": False},
            "protocol": "time",
            "validation_viewers": 1234,
            "seed": 7,
        }
        self.folder.make()
        self.folder.write("sweep.yaml", yaml.safe_dump({"sweep": "abc", **self.facts, "config": to_dict(self.config)}))
        self.journal = Journal(self.folder, self.config, {"sweep": "abc", **self.facts})

    def trial(self, number: int, figures: list[float], end: str | None = "finished", **settings: Any) -> None:
        """Write a trial that reported these figures, and how it ended."""
        drawn = {"encoder.mixer": "gated", "train.learning_rate": 0.001 * (number + 1), **settings}
        self.journal.proposed({"trial": number, **drawn}, f"id{number}", {})
        name = f"trial-{number:03d}"
        for epoch, value in enumerate(figures, 1):
            told = {one.name: value for one in self.level.figures}
            self.journal.reported(name, {**told, "epoch": epoch, "seconds": 2.0 * epoch, "loss": 1.0})
        if end is not None:
            self.journal.ended(name, end, "it broke" if end == "failed" else None)

    def finish(self) -> None:
        """Write what makes a sweep finished."""
        board = {"baselines": {"popularity": {"ndcg@10": 0.15, "recall@10": 0.2}}, "seconds": 9.0, "rows": []}
        self.folder.write("leaderboard.json", json.dumps(board))


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Three trials: one to its end, one stopped, one that broke before it reported."""
    sweep = Written(tmp_path / "sweep")
    sweep.trial(0, [0.1, 0.2, 0.3, 0.25])
    sweep.trial(1, [0.1, 0.12], "stopped early")
    sweep.trial(2, [], "failed")
    return sweep


def text_of(page: str, section: str) -> str:
    [found] = re.findall(rf'<section id="{section}">.*?</section>', page, flags=re.DOTALL)
    return re.sub(r"<script.*?</script>|<[^>]*>", " ", found, flags=re.DOTALL)


def figures_of(page: str) -> dict[str, dict[str, Any]]:
    pattern = r'<section id="(\w+)">(?:(?!</section>).)*?<script type="application/json">(.*?)</script>'
    return {name: json.loads(content) for name, content in re.findall(pattern, page, flags=re.DOTALL)}


def test_a_finished_sweep_is_read_as_it_was_written(written: Written) -> None:
    written.finish()
    sweep = read_sweep(written.folder)
    assert sweep.finished
    assert [trial.name for trial in sweep.trials] == ["trial-000", "trial-001", "trial-002"]
    best, stopped, failed = sweep.trials
    assert (best.best_epoch, best.metrics["ndcg@10"], best.seconds) == (3, 0.3, 8.0)
    assert [epoch["epoch"] for epoch in stopped.epochs] == [1, 2]
    assert (failed.state, failed.reason, failed.metrics) == ("failed", "it broke", {})
    assert sweep.columns() == ["train.learning_rate"]
    assert sweep.winner is best


def test_the_page_says_what_the_figures_say(written: Written) -> None:
    written.finish()
    page = render(read_sweep(written.folder))
    board = text_of(page, "leaderboard")
    assert "trial-000 is the best: ndcg@10 0.3000" in board
    assert "above popularity" in board
    assert "failed: it broke" in board
    curves = text_of(page, "curves")
    assert "1 trial trained all 4 epochs; asha stopped 1" in curves
    assert "12.0 CPU seconds, 6.0 GPU seconds" in text_of(page, "cost")
    assert "notice" not in page.partition("<main>")[0].partition("</style>")[2]
    drawn = figures_of(page)
    assert [trace["name"] for trace in drawn["curves"]["data"]] == ["stopped early", "best: trial-000"]
    assert drawn["curves"]["data"][0]["marker"]["symbol"][-1] == "x"


def test_what_a_stranger_wrote_stays_text(written: Written) -> None:
    written.trial(3, [0.2], None, **{"encoder.mixer": "</script><img src=x onerror=alert(1)>"})
    page = render(read_sweep(written.folder))
    assert "a &lt;b&gt;log&lt;/b&gt;" in page
    assert "<img" not in page
    assert "Content-Security-Policy\" content=\"default-src 'none'" in page
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', page.partition("<main>")[0])


def test_an_unfinished_sweep_is_shown_as_far_as_it_came(written: Written) -> None:
    written.trial(3, [0.4], None)
    with (written.path / "trials" / "trial-003" / "result.json").open("a") as stream:
        stream.write('{"ndcg@10": 0.9, "epo')
    before = {file: file.read_bytes() for file in written.path.rglob("*") if file.is_file()}
    sweep = read_sweep(written.folder)
    assert (sweep.winner.name, sweep.winner.state, len(sweep.winner.epochs)) == ("trial-003", UNFINISHED, 1)
    assert "This sweep is not finished: 4 of 3 trials have reported so far" in render(sweep)
    # The sweep may still write these files: whoever looks on leaves them alone.
    assert before == {file: file.read_bytes() for file in written.path.rglob("*") if file.is_file()}


def test_several_objectives_have_a_front_and_a_knee(tmp_path: Path) -> None:
    sweep = Written(tmp_path / "sweep", "slate")
    for number, (ndcg, coverage) in enumerate([(0.5, 0.1), (0.45, 0.4), (0.1, 0.5), (0.1, 0.1)]):
        sweep.trial(number, [], None)
        told = {"ndcg@10": ndcg, "coverage@10": coverage, "ild@10": 0.5, "rank_ms": 3.0, "recall@10": 0.1}
        sweep.journal.reported(f"trial-{number:03d}", {**told, "epoch": 1, "seconds": 1.0, "done": True})
    record = read_sweep(sweep.folder)
    assert record.front == {"trial-000", "trial-001", "trial-002"}
    assert record.winner.name == "trial-001"
    page = render(record)
    assert "trial-001 is the knee" in text_of(page, "leaderboard")
    assert 'id="curves"' not in page
    titles = {one["title"]["text"] for name, one in figures_of(page)["front"]["layout"].items() if "xaxis" in name}
    assert titles == {"coverage@10 (higher is better)", "ild@10 (higher is better)", "rank_ms (lower is better)"}


def test_one_trial_is_enough_for_a_page(tmp_path: Path) -> None:
    sweep = Written(tmp_path / "sweep")
    sweep.trial(0, [0.1], None)
    page = render(read_sweep(sweep.folder))
    assert all(f'<section id="{name}">' in page for name in set(Picture.variants) - {"verdict"})


def test_every_picture_says_what_one_sees(written: Written) -> None:
    sweep = read_sweep(written.folder)
    for name in Picture.variants:
        panel = Picture.variants[name]().draw(sweep)
        if panel is not None:
            assert len(panel.caption) > 20
            assert panel.caption.endswith((".", "!"))


def test_importance_finds_what_mattered_and_nothing_in_noise() -> None:
    rng = np.random.default_rng(0)
    settings = [{"mixer": str(rng.choice(["a", "b", "c"])), "rate": float(rng.uniform(1e-3, 1e-2))} for _ in range(60)]
    planted = [float(one["mixer"] == "a") + 0.1 * float(rng.normal()) for one in settings]
    found, chance = importances(settings, planted), by_chance(settings, planted)
    assert found["mixer"] > chance["mixer"]
    assert sum(found.values()) == pytest.approx(1)
    assert by_chance(settings, planted) == chance


def test_too_few_trials_are_said_to_be_too_few(tmp_path: Path) -> None:
    for trials, says in ((FEWEST_TRIALS - 1, "too few for this to mean anything"), (FEWEST_TRIALS, "chance")):
        sweep = Written(tmp_path / str(trials), trials=trials)
        for number in range(trials):
            sweep.trial(number, [number / 100], **{"encoder.width": 32 if number % 2 else 64})
        caption = text_of(render(read_sweep(sweep.folder)), "importance")
        assert says in caption
    assert "too few" not in caption


def test_lines_of_one_value_lie_apart_but_near(tmp_path: Path) -> None:
    sweep = Written(tmp_path / "sweep")
    for number in range(6):
        sweep.trial(number, [number / 10], **{"encoder.mixer": "gated" if number % 2 else "linear"})
    panel = Parallel().draw(read_sweep(sweep.folder))
    assert panel.figure is not None
    firsts = sorted(trace["y"][0] for trace in panel.figure.data)
    assert len(set(firsts)) == 6
    assert max(firsts[:3]) < 0.1
    assert min(firsts[3:]) > 0.9


def test_short_names_stay_apart() -> None:
    paths = ["encoder.mixer.heads", "encoder.scorer.heads", "encoder.width", "ranker.width", "trees"]
    shown = list(short_names(paths).values())
    assert shown == ["mixer.heads", "scorer.heads", "encoder.width", "ranker.width", "trees"]


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda sweep: sweep.folder.remove(), "there is no such folder"),
        (lambda sweep: (sweep.path / "sweep.yaml").unlink(), "holds no sweep"),
        (lambda sweep: (sweep.path / "sweep.yaml").write_text("config: [1"), "is damaged"),
        (lambda sweep: (sweep.path / "sweep.yaml").write_text("config: {trialz: 1}"), "cannot be read: .*trialz"),
        (lambda sweep: (sweep.path / "leaderboard.json").write_text("{"), "is damaged"),
        (lambda sweep: (sweep.folder / "trials").remove(), "no trial .* has reported anything yet"),
    ],
)
def test_a_folder_that_cannot_be_shown_is_refused_in_one_line(written: Written, break_it: Any, says: str) -> None:
    break_it(written)
    with pytest.raises(ConfigError, match=says):
        write_report(written.path)


def test_the_verb_writes_beside_the_sweep_or_where_it_is_told(written: Written, tmp_path: Path) -> None:
    told = CliRunner().invoke(cli, ["report", str(written.path)], catch_exceptions=False)
    assert told.output == f"report  {written.path / 'report.html'}\n"
    other = tmp_path / "pages" / "page.html"
    CliRunner().invoke(cli, ["report", str(written.path), "--out", str(other)], catch_exceptions=False)
    assert other.read_text() == (written.path / "report.html").read_text()
    with pytest.raises(StorageError, match="cannot be written"):
        write_report(written.path, tmp_path / "pages")
