"""A page in the system's Chromium: how long it takes until it answers.

python -m benchmarks.browser runs/perceptron/version_0/report.html ...
"""

from __future__ import annotations

import shutil
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, sync_playwright

FLAGS = (
    "--no-sandbox",  # containers seldom allow one
    "--use-angle=swiftshader",  # 3-D without a graphics card
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str | None:
    """Path of the system's browser; ``None`` without one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


@contextmanager
def browser() -> Iterator[Browser]:
    """The system's browser without a window, closed at the end of the block."""
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        try:
            yield started
        finally:
            started.close()


def opening_time(path: Path, started: Browser) -> float:
    """Seconds from the begin of the navigation until the panels in view are drawn and answer.

    Args:
        path: The page.
        started: A browser; the page gets a fresh context without a network.
    """
    context: BrowserContext = started.new_context(
        offline=True, viewport={"width": 1440, "height": 900}
    )
    try:
        page = context.new_page()
        page.goto(path.resolve().as_uri())
        return float(page.evaluate("() => toyml.opened")) / 1000
    finally:
        context.close()


def main(paths: list[str], repeats: int = 3) -> None:
    """Print the median opening time and the size of each page."""
    with browser() as started:
        for path in map(Path, paths):
            times = [opening_time(path, started) for _ in range(repeats)]
            size = path.stat().st_size / 1e6
            print(f"{statistics.median(times):6.2f} s  {size:5.2f} MB  {path}")


if __name__ == "__main__":
    main(sys.argv[1:])
