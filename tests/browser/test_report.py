"""The report of a real sweep in a real browser: every plot is there and drawn, and nothing is asked of any network."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from foveate_cli.main import cli

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install 'foveate[dev]'")

PLOTS = ("curves", "front", "importance", "parallel", "cost")
DRAWN = {
    "curves": ".scatterlayer .trace path.js-line",
    "front": ".scatterlayer .trace path.point",
    "importance": ".barlayer .point path",
    "parallel": ".scatterlayer .trace path.js-line",
    "cost": ".barlayer .point path",
    "verdict": ".scatterlayer .trace path.point",
}
"""What a plot's marks are in the page."""
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Browser:
    """Headless Chromium that keeps what its pages ask for and complain of."""

    def __init__(self, chromium: str, chromedriver: str, profile: Path) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))

    def open(self, page: Path, *, width: int = 1100, scheme: str = "light") -> None:
        """Show a page as wide as a screen and as high as itself, so that a screenshot holds all of it."""
        colours = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": colours})
        self._resize(width, 900)
        self.driver.get(page.as_uri())
        self._resize(width, int(self.ask("return document.documentElement.scrollHeight")))

    def ask(self, script: str, *words: Any) -> Any:
        """Return what a script in the page returns."""
        return self.driver.execute_script(script, *words)

    def requested(self) -> list[str]:
        """Return the addresses of all requests since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [str(url) for url in sent]

    def complaints(self) -> list[str]:
        """Return what stands in the console since the last call."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser")]

    def box(self, plot: str) -> dict[str, float]:
        """Return where a plot lies on the page."""
        found: dict[str, float] = self.ask(
            "return document.querySelector(arguments[0]).getBoundingClientRect().toJSON()", f"#{plot} .plot .main-svg"
        )
        return found

    def drawn(self, plot: str) -> int:
        """Count the marks of a plot that cover some of the page."""
        count: int = self.ask(
            """return [...document.querySelectorAll(arguments[0])].filter((mark) => {
                 const box = mark.getBoundingClientRect();
                 return box.width + box.height > 1;
               }).length""",
            f"#{plot} .plot {DRAWN[plot]}",
        )
        return count

    def cells(self, column: str) -> list[str]:
        """Return the texts of a column of the leaderboard."""
        texts: list[str] = self.ask(
            """const heads = [...document.querySelectorAll("#leaderboard th")].map((head) => head.textContent);
               const at = heads.indexOf(arguments[0]);
               const rows = [...document.querySelectorAll("#leaderboard tbody tr")];
               return rows.map((row) => row.cells[at].textContent)""",
            column,
        )
        return texts

    def _resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """The browser that the machine has."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    chromedriver = shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("no Chromium with its driver on this machine: apt-get install chromium chromium-driver")
    browser = Browser(chromium, chromedriver, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.driver.quit()


@pytest.fixture(scope="module")
def swept(small_sweep: tuple[Any, Path]) -> Path:
    """Folder of a real sweep."""
    return small_sweep[1]


@pytest.fixture(scope="module")
def report(swept: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the small sweep."""
    page = tmp_path_factory.mktemp("report") / "pages" / "report.html"
    done = CliRunner().invoke(cli, ["report", str(swept), "--out", str(page)], catch_exceptions=False)
    assert str(page) in done.output
    return page


def rows(sweep: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((sweep / "leaderboard.json").read_text())["rows"]
    return found


def test_every_plot_is_there_and_drawn(browser: Browser, report: Path, swept: Path, tmp_path: Path) -> None:
    browser.open(report)
    trials = len(rows(swept))
    boxes = [browser.box(plot) for plot in PLOTS]
    assert all(box["width"] > 300 and box["height"] > 150 for box in boxes)
    places = sorted((box["top"], box["bottom"]) for box in boxes)
    assert all(upper[1] <= lower[0] for upper, lower in itertools.pairwise(places))
    drawn = {plot: browser.drawn(plot) for plot in PLOTS}
    assert drawn.pop("importance") > 0
    assert drawn == dict.fromkeys(drawn, trials)
    screenshot = tmp_path / "report.png"
    assert browser.driver.save_screenshot(str(screenshot))
    assert screenshot.stat().st_size > 20_000


def test_nothing_is_asked_of_a_network_and_nothing_complained_of(browser: Browser, report: Path) -> None:
    browser.requested(), browser.complaints()
    browser.open(report)
    browser.ask("document.querySelector('#leaderboard button').click()")
    asked = browser.requested()
    assert report.as_uri() in asked
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert browser.complaints() == []


def test_no_plot_offers_to_send_its_data_away(browser: Browser, report: Path) -> None:
    browser.open(report)
    titles = browser.ask("return [...document.querySelectorAll('.modebar-btn')].map((b) => b.dataset.title || b.title)")
    assert titles
    assert not [title for title in titles if "cloud" in title.lower() or "edit" in title.lower()]


def test_the_leaderboard_holds_every_trial_and_can_be_sorted(browser: Browser, report: Path, swept: Path) -> None:
    browser.open(report)
    names = [row["trial"] for row in rows(swept)]
    assert browser.cells("trial") == [*names, "popularity"]
    seconds = browser.cells("seconds")
    head = "[...document.querySelectorAll('#leaderboard th')].find((h) => h.textContent === 'seconds')"
    browser.ask(f"{head}.querySelector('button').click()")
    shown = browser.cells("seconds")
    assert shown[-1] == ""
    assert [float(text) for text in shown[:-1]] == sorted(float(text) for text in seconds[:-1])
    assert browser.ask(f"return {head}.getAttribute('aria-sort')") == "ascending"


def test_a_narrow_screen_scrolls_what_is_wide_and_not_the_page(browser: Browser, report: Path) -> None:
    browser.open(report, width=400)
    assert browser.ask("return document.documentElement.scrollWidth") == 400
    assert all(browser.box(plot)["width"] >= 300 for plot in PLOTS)


def test_pictures_follow_the_colours_of_the_page(browser: Browser, report: Path) -> None:
    colours = {}
    for scheme in ("light", "dark"):
        browser.open(report, scheme=scheme)
        colours[scheme] = browser.ask(
            """const text = document.querySelector("#curves .plot .xtitle");
               return [getComputedStyle(document.body).backgroundColor, getComputedStyle(text).fill]"""
        )
    assert colours["light"] == ["rgb(255, 255, 255)", "rgb(27, 31, 36)"]
    assert colours["dark"] == ["rgb(20, 23, 26)", "rgb(230, 233, 236)"]


def test_a_sweep_that_was_broken_off_is_shown_as_far_as_it_came(browser: Browser, swept: Path, tmp_path: Path) -> None:
    half = shutil.copytree(swept, tmp_path / "half")
    (half / "leaderboard.json").unlink()
    last = max((half / "trials").iterdir())
    (last / "ended.json").unlink()
    told = (last / "result.json").read_text().splitlines()
    (last / "result.json").write_text(json.dumps(json.loads(told[0]) | {"done": False}) + "\n" + told[1][:40])
    CliRunner().invoke(cli, ["report", str(half)], catch_exceptions=False)
    browser.open(half / "report.html")
    assert "This sweep is not finished" in browser.ask("return document.querySelector('.notice').textContent")
    assert browser.cells("ended")[browser.cells("trial").index(last.name)] == "unfinished"
    assert all(browser.drawn(plot) > 0 for plot in PLOTS)


def test_a_verdict_is_drawn_with_its_intervals(browser: Browser, swept: Path, tmp_path: Path) -> None:
    judged = shutil.copytree(swept, tmp_path / "judged")
    winner = rows(judged)[0]["trial"]
    interval = {"mean": 0.01, "low": -0.02, "high": 0.04}
    chosen = {"mean": interval, "by_seed": [0.1, 0.2], "epochs": 3, "searched_epochs": 9, "chosen": "by hand"}
    comparison = {"against": "default", "verdict": "not distinguishable", "difference": interval, "p": 0.5}
    told = {"trial": winner, "metric": "ndcg@10", "viewers": 91, "seeds": [0, 1], "rule": "a rule"}
    contenders = [{"name": name, **chosen} for name in (winner, "default")]
    verdict = {**told, "contenders": contenders, "comparisons": [comparison]}
    (judged / "verdict.json").write_text(json.dumps(verdict))
    CliRunner().invoke(cli, ["report", str(judged)], catch_exceptions=False)
    browser.complaints()
    browser.open(judged / "report.html")
    assert browser.drawn("verdict") == 1
    assert browser.box("verdict")["height"] > 100
    words = browser.ask("return document.querySelector('#verdict').textContent")
    assert f"{winner} is not distinguishable from default" in words
    assert browser.complaints() == []
