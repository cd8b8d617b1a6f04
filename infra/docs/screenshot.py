"""Takes the screenshot of README: ``python infra/docs/screenshot.py``.

It simulates a world, sweeps encoders over it, writes the report and opens it in Chromium, which must be installed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from selenium import webdriver

from draw import FOLDER

SIZE: Final = (1200, 1150)
FIRST: Final = "#leaderboard"
"""What stands at the top of the picture."""
FLAGS: Final = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-color-profile=srgb")
COMMANDS: Final = (
    "data simulate --out world --viewers 300 --items 300 --days 14 --seed 3",
    "tune --data world --out sweep --trials 8 --epochs 4 --tracking none",
    "report sweep --out report.html",
)


def main() -> None:
    """Make a report and take its picture."""
    with tempfile.TemporaryDirectory() as folder:
        for command in COMMANDS:
            subprocess.run([sys.executable, "-m", "foveate_cli", *command.split()], cwd=folder, check=True)
        photograph(Path(folder) / "report.html", FOLDER / "report.png")


def photograph(page: Path, picture: Path) -> None:
    """Write what a browser of 1,200 pixels shows of a page."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        sys.exit("no chromium and chromedriver: on Debian 'apt-get install chromium chromium-driver' brings both")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--window-size={SIZE[0]},{SIZE[1]}"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        browser.get(page.as_uri())
        browser.execute_script("document.querySelector(arguments[0]).scrollIntoView()", FIRST)
        browser.save_screenshot(str(picture))
    finally:
        browser.quit()


if __name__ == "__main__":
    main()
