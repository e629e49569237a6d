"""Report pages in a real browser: they open without a word or a request, and everything moves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from toyml import Run
from toyml.cli import main

playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
from benchmarks.browser import browser, chromium  # noqa: E402 - it imports playwright

pytestmark = pytest.mark.skipif(
    chromium() is None, reason="no chromium on this machine; install one to test the pages in it"
)

SIZES = {"phone": (390, 844), "tablet": (820, 1180), "desktop": (1440, 900)}
RECORDER = '[{"class_path": "toyml.callbacks.Recorder"}]'
ONLY_THE_PAGE = """[{"class_path": "toyml.callbacks.Recorder"},
{"class_path": "toyml.callbacks.Report", "init_args": {"question": "Why?"}}]"""
CONFIGS = sorted(path.stem for path in (ROOT / "configs").glob("*.yaml"))
QUICK = {"perceptron": 101, "rings": 150}
"""Steps of the fits in the quick tests."""


@dataclass
class Seen:
    """An open page, what it complained about and what it asked for."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def shown(self, panel: str) -> Any:
        """The data of a panel as the reader sees them, as numbers."""
        return self.page.evaluate(
            """(name) => JSON.parse(JSON.stringify(
                toyml.panels.find((p) => p.spec.name === name).place.data,
                (key, value) => ArrayBuffer.isView(value) ? Array.from(value) : value))""",
            panel,
        )

    def cursor(self, panel: str) -> float:
        """Where the line of the present step stands in a panel over the steps."""
        return self.page.evaluate(
            "(name) => toyml.panels.find((p) => p.spec.name === name).place.data.at(-1).x[0]",
            panel,
        )

    def names(self) -> list[str]:
        return self.page.evaluate("() => toyml.panels.map((p) => p.spec.name)")

    def settle(self) -> None:
        """Let what was asked for be drawn."""
        self.page.evaluate(
            "() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))"
        )

    def at_rest(self, expression: str) -> Any:
        """What an expression comes to once it has not changed for a while."""
        found, before = self.page.evaluate(expression), None
        while found != before:
            self.page.wait_for_timeout(300)
            self.settle()
            found, before = self.page.evaluate(expression), found
        return found

    def draw_all(self) -> None:
        """Scroll to every panel, so that all are drawn and stay in reach."""
        self.page.evaluate(
            """async () => {
                for (const panel of toyml.panels) {
                    panel.figure.scrollIntoView({ block: "center" });
                    for (let i = 0; i < 100 && !(panel.near && panel.place.data); i++) {
                        await new Promise((r) => setTimeout(r, 30));
                    }
                }
                document.getElementById("lab").scrollIntoView();
            }"""
        )
        self.settle()

    def go(self, frame: int) -> None:
        self.page.evaluate(
            """(frame) => {
                for (const panel of toyml.panels) panel.near = true;
                toyml.stage.go(frame);
            }""",
            frame,
        )
        self.settle()


@pytest.fixture(scope="module")
def started() -> Iterator[Any]:
    with browser() as running:
        yield running


@contextmanager
def opened(started: Any, path: Path, **settings: Any) -> Iterator[Seen]:
    """Open a page without a network; at the end nothing may have gone wrong in it."""
    settings = {"viewport": {"width": 1440, "height": 900}, **settings}
    context = started.new_context(offline=True, **settings)
    try:
        seen = Seen(context.new_page())
        seen.page.on(
            "console",
            lambda m: seen.complaints.append(m.text) if m.type in ("error", "warning") else None,
        )
        seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        seen.page.on("request", lambda request: seen.requests.append(request.url))
        seen.page.goto(path.resolve().as_uri())
        seen.page.evaluate("() => toyml.opened")
        yield seen
        # Plotly reads its own canvas back for pictures; Chromium would like to be told before.
        complaints = [c for c in seen.complaints if "willReadFrequently" not in c]
        assert complaints == []
        outside = [url for url in seen.requests if not url.startswith(("file:", "data:", "blob:"))]
        assert outside == []
    finally:
        context.close()


def make_page(name: str, steps: int | None, folder: Path, monkeypatch: Any) -> Run:
    monkeypatch.chdir(folder)
    words = ["fit", "--config", str(ROOT / "configs" / f"{name}.yaml")]
    words += ["--trainer.callbacks", ONLY_THE_PAGE]
    words += ["--trainer.max_steps", str(steps)] if steps else []
    run = main(words)
    assert isinstance(run, Run)
    return run


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages of the quick fits, each made once."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, steps in QUICK.items():
            run = make_page(name, steps, tmp_path_factory.mktemp(name), patch)
            found[name] = run.folder.resolve() / "report.html"
    return found


@pytest.fixture(scope="module")
def perceptron(started: Any, pages: dict[str, Path]) -> Iterator[Seen]:
    """The perceptron's page with all its panels, for tests that leave it open."""
    with opened(started, pages["perceptron"], color_scheme="light") as seen:
        seen.draw_all()
        yield seen


@pytest.mark.parametrize("name", QUICK)
def test_the_slider_and_the_keys_move_every_panel(
    name: str, started: Any, pages: dict[str, Path]
) -> None:
    with opened(started, pages[name]) as seen:
        everything_moves(seen)
        page = seen.page
        page.locator("[data-control=slider]").focus()
        last = page.evaluate("() => toyml.stage.steps.length - 1")
        page.keyboard.press("Home")
        assert page.evaluate("() => toyml.stage.committed") == 0
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowLeft")
        assert page.evaluate("() => toyml.stage.committed") == 1
        page.keyboard.press("End")
        assert page.evaluate("() => toyml.stage.committed") == last
        page.locator("[data-control=slider]").fill("0")
        assert page.evaluate("() => toyml.stage.committed") == 0
        assert "step 0 of" in page.locator("[data-control=step]").inner_text()


def everything_moves(seen: Seen) -> None:
    """Each panel shows something else at the first step than at the last, and the same again."""
    seen.draw_all()
    last = seen.page.evaluate("() => toyml.stage.steps.length - 1")
    names = seen.names()
    assert {"loss", "weights"} <= set(names)
    seen.go(last)
    end = {name: seen.shown(name) for name in names}
    told = seen.page.locator(".bar .now").inner_text()
    seen.go(0)
    start = {name: seen.shown(name) for name in names}
    for name in names:
        assert start[name] != end[name], f"{name} does not move"
    assert seen.page.locator(".bar .now").inner_text() != told
    assert seen.cursor("loss") == pytest.approx(0)
    seen.go(last)
    assert {name: seen.shown(name) for name in names} == end
    seen.go(last // 2)
    for name in names:
        drawn = seen.page.evaluate(DRAWN, name)
        assert drawn["contour"] == drawn["contours"], f"the ground of {name} is gone"
        assert drawn["bars"] == drawn["bar"]
        # Traces without a value there have no place, all others have one.
        assert drawn["lines"] > 0


DRAWN = """(name) => {
    const place = toyml.panels.find((panel) => panel.spec.name === name).place;
    const count = (type) => place.data.filter((trace) => trace.type === type).length;
    return {
        contour: count("contour"), contours: place.querySelectorAll(".contour").length,
        bar: count("bar"), bars: place.querySelectorAll(".trace.bars").length,
        lines: place.querySelectorAll(".scatterlayer .trace").length,
    };
}"""


def test_what_is_shown_is_what_was_recorded(perceptron: Seen, pages: dict[str, Path]) -> None:
    run = Run.load(pages["perceptron"].parent)
    steps = run.trajectory.steps
    seen = perceptron
    for frame in (0, 7, -1):
        stops = seen.page.evaluate("() => toyml.stage.steps")
        seen.go(frame % len(stops))
        weights = seen.shown("weights")[-2]["y"]
        place = int((steps == stops[frame]).argmax())
        assert weights == pytest.approx(run.trajectory.parameters.flat[place].tolist(), rel=1e-6)
        text = seen.page.locator("#panel-weights .readings").inner_text()
        assert f"{weights[0]:.5g}".replace("-", "−") in text


def test_a_click_on_the_loss_jumps_and_the_pointer_previews(perceptron: Seen) -> None:
    seen = perceptron
    page = seen.page
    last = page.evaluate("() => toyml.stage.steps.length - 1")
    seen.go(last)
    page.locator("#panel-loss").scroll_into_view_if_needed()
    box = page.locator("#panel-loss .nsewdrag").first.bounding_box()
    middle, height = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(middle, height)
    page.wait_for_function("last => toyml.stage.frame < last", arg=last)
    previewed = seen.at_rest("() => [toyml.stage.frame, toyml.stage.committed]")
    assert 0 < previewed[0] < last
    assert previewed[1] == last
    page.mouse.move(box["x"] - 200, box["y"] - 150)
    page.wait_for_function("last => toyml.stage.frame === last", arg=last)
    page.mouse.move(middle, height)
    page.wait_for_function("frame => toyml.stage.frame === frame", arg=previewed[0])
    page.mouse.click(middle, height)
    page.wait_for_function("last => toyml.stage.committed !== last", arg=last)
    assert page.evaluate("() => toyml.stage.committed") == previewed[0]


def test_time_is_linear_or_logarithmic(perceptron: Seen) -> None:
    seen = perceptron
    page = seen.page
    page.locator("[data-control=linear]").click()
    seen.settle()
    seen.go(1)
    assert page.locator("[data-control=linear]").get_attribute("aria-pressed") == "true"
    assert seen.cursor("loss") == pytest.approx(page.evaluate("() => toyml.stage.steps[1]"))
    early = int(page.locator("[data-control=slider]").input_value())
    page.locator("[data-control=log]").click()
    seen.settle()
    assert page.locator("[data-control=log]").get_attribute("aria-pressed") == "true"
    assert seen.cursor("loss") == pytest.approx(0.30103, abs=1e-4)  # log10(1 + 1)
    assert int(page.locator("[data-control=slider]").input_value()) > early
    steps = seen.shown("loss")[0]["x"]
    assert steps[-1] == pytest.approx(2.0086, abs=1e-4)  # log10(1 + 101)


def test_play_advances_and_pauses(perceptron: Seen) -> None:
    seen = perceptron
    page = seen.page
    play = page.locator("[data-control=play]")
    seen.go(0)
    page.locator("[data-control=speed]").select_option("1")  # eight seconds to the end
    play.click()
    assert play.get_attribute("aria-label") == "Pause"
    page.wait_for_function("() => toyml.stage.committed > 0")
    play.click()
    assert play.get_attribute("aria-label") == "Play"
    reached = page.evaluate("() => toyml.stage.committed")
    assert reached > 0
    page.wait_for_timeout(200)
    assert page.evaluate("() => toyml.stage.committed") == reached


def test_the_space_of_three_units_can_be_turned(started: Any, pages: dict[str, Path]) -> None:
    with opened(started, pages["rings"]) as seen:
        page = seen.page
        seen.draw_all()
        page.locator("#panel-hidden button", has_text="Space").click()
        page.locator("#panel-hidden .plot canvas").first.wait_for()
        page.locator("#panel-hidden").scroll_into_view_if_needed()
        seen.at_rest("() => scrollY")
        kinds = {trace["type"] for trace in seen.shown("hidden")}
        assert kinds == {"scatter3d", "mesh3d"}
        camera = "() => document.querySelector('#panel-hidden .plot')._fullLayout.scene.camera.eye"
        before = page.evaluate(camera)
        box = page.locator("#panel-hidden .plot").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        for _ in range(10):  # until the space is there to be turned
            page.mouse.move(x, y)
            page.mouse.down()
            page.mouse.move(x + 60, y + 10, steps=4)
            page.mouse.up()
            if seen.at_rest(camera) != before:
                break
        assert page.evaluate(camera) != before
        first = seen.shown("hidden")[0]["x"]
        seen.go(0)
        assert seen.shown("hidden")[0]["x"] != first


def test_a_kind_of_trace_waits_until_a_panel_has_one(started: Any, pages: dict[str, Path]) -> None:
    waiting = "() => Object.keys(Plotly.waiting)"
    with opened(started, pages["rings"]) as seen:
        seen.draw_all()
        flat = set(seen.page.evaluate(waiting))
        assert flat >= {"scatter3d", "surface", "pie", "scattermap"}
        assert not flat & {"scatter", "contour"}
        seen.page.locator("#panel-hidden button", has_text="Space").click()
        seen.page.locator("#panel-hidden .plot canvas").first.wait_for()
        assert flat - set(seen.page.evaluate(waiting)) == {"scatter3d", "mesh3d"}
        # A kind that has no name there comes with all of them.
        seen.page.evaluate("() => learn('scattergl')")
        assert seen.page.evaluate(waiting) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_screen(
    scheme: str, started: Any, pages: dict[str, Path], tmp_path: Path
) -> None:
    with opened(started, pages["rings"], color_scheme=scheme) as seen:
        for size, (width, height) in SIZES.items():
            seen.page.set_viewport_size({"width": width, "height": height})
            seen.draw_all()
            # Plotly follows the window after a moment.
            seen.at_rest(
                "() => [...document.querySelectorAll('.main-svg')].map((x) => x.clientWidth)"
            )
            fits = "() => document.documentElement.scrollWidth <= innerWidth"
            assert seen.page.evaluate(fits), f"the page is wider than the {size}"
            for name in seen.names():
                assert seen.page.evaluate(INSIDE, name), f"{name} sticks out on the {size}"
            bar = seen.page.locator(".bar").bounding_box()
            assert bar["y"] >= 0, "the slider is out of view"
            assert bar["y"] + bar["height"] <= height + 1
            seen.page.screenshot(path=tmp_path / f"{size}.png")
            assert (tmp_path / f"{size}.png").stat().st_size > 10_000


WIDTHS = "() => [...document.querySelectorAll('.main-svg')].map((svg) => svg.clientWidth)"
INSIDE = """(name) => {
    const figure = document.getElementById(`panel-${name}`);
    const plot = figure.querySelector(".main-svg").getBoundingClientRect();
    const box = figure.getBoundingClientRect();
    return plot.left >= box.left && plot.right <= box.right && plot.height > 150;
}"""


TOOLS_INSIDE = """(name) => {
    const figure = document.getElementById(`panel-${name}`);
    const box = figure.getBoundingClientRect();
    return [...figure.querySelectorAll(".tools > *")].every(
        (tool) => tool.getBoundingClientRect().right <= box.right);
}"""


def test_the_ground_changes_while_the_page_is_open(perceptron: Seen) -> None:
    ink = "() => document.querySelector('#panel-loss .plot')._fullLayout.font.color"
    seen = perceptron
    assert seen.at_rest(ink) == "#24292F"
    seen.page.emulate_media(color_scheme="dark")
    assert seen.at_rest(ink) == "#E4E6E9"


def test_without_javascript_the_page_says_so(started: Any, pages: dict[str, Path]) -> None:
    context = started.new_context(offline=True, java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto(pages["perceptron"].as_uri())
        assert page.locator("h1").inner_text() == "Why?"
        assert not page.locator(".bar").is_visible()
        assert page.locator("noscript").first.is_visible()
    finally:
        context.close()


def test_several_runs_move_together_and_one_that_ended_holds(
    started: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    optimizers = ["0.1", "0.1 --model.optimizer.momentum 0.9 --trainer.max_steps 40"]
    folders = []
    for words in optimizers:
        config = str(ROOT / "configs" / "sgd.yaml")
        asked = ["--trainer.callbacks", RECORDER, "--model.optimizer.lr", *words.split()]
        run = main(["fit", "--config", config, *asked])
        assert isinstance(run, Run)
        folders.append(str(run.folder))
    main(["compare", *folders, "--out", "both"])
    with opened(started, Path("both/comparison.html")) as seen:
        seen.draw_all()
        assert set(seen.names()) == {"fit", "landscape", "loss", "weights", "curvature"}
        everything_moves(seen)
        stops = seen.page.evaluate("() => toyml.stage.steps")
        assert stops[-1] == 100
        seen.go(len(stops) - 1)
        assert "sgd/version_1 ended at step 40" in seen.page.locator(".bar .now").inner_text()
        marks = seen.shown("loss")[2:4]
        times = [10 ** mark["x"][0] - 1 for mark in marks]
        assert times == pytest.approx([100, 40], rel=1e-3)
        said = seen.page.locator(".key li").all_inner_texts()
        assert said == [
            "sgd/version_0 max_steps 100, momentum 0.0",
            "sgd/version_1 max_steps 40, momentum 0.9",
        ]
        colors = seen.page.locator(".key li").evaluate_all(
            "(items) => items.map((item) => getComputedStyle(item).borderLeftColor)"
        )
        assert len(set(colors)) == 2
        before = seen.shown("weights")[0]["y"]
        seen.page.locator("#panel-weights select").select_option("1")
        assert seen.shown("weights")[0]["y"] != before
        assert seen.shown("weights")[0]["y"][0] == pytest.approx(-3)


def test_the_units_of_several_runs_are_chosen_from_a_menu(
    started: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folders = []
    for lr in ("0.1", "0.2"):
        asked = ["--trainer.callbacks", RECORDER, "--model.optimizer.lr", lr]
        asked += ["--trainer.max_steps", "20"]
        run = main(["fit", "--config", str(ROOT / "configs" / "xor.yaml"), *asked])
        assert isinstance(run, Run)
        folders.append(str(run.folder))
    main(["compare", *folders, "--out", "two"])
    with opened(started, Path("two/comparison.html")) as seen:
        everything_moves(seen)
        for name in seen.names():
            assert seen.page.evaluate(TOOLS_INSIDE, name), f"the choices of {name} stick out"
        menu = seen.page.locator("#panel-hidden .menu")
        assert menu.locator("option").all_inner_texts()[-1] == "xor/version_1: space"
        menu.select_option("3")
        seen.page.locator("#panel-hidden .plot canvas").first.wait_for()
        assert {trace["type"] for trace in seen.shown("hidden")} == {"scatter3d"}
        assert menu.evaluate("(menu) => menu === document.activeElement")
        assert menu.input_value() == "3"
        last = seen.shown("hidden")[0]["x"]
        seen.go(0)
        assert seen.shown("hidden")[0]["x"] != last


def test_below_the_losses_the_distance_moves_with_a_line_of_its_own(
    started: Any, pages: dict[str, Path]
) -> None:
    with opened(started, pages["rings"]) as seen:
        seen.draw_all()
        seen.page.locator("#panel-landscape button", has_text="Trust").click()
        seen.go(3)
        traces = seen.shown("landscape")
        at = seen.page.evaluate("() => toyml.stage.time.at(toyml.stage.steps[3])")
        for line in traces[-2:]:
            assert line["x"] == pytest.approx([at, at])
        assert traces[5]["x"] == pytest.approx([at])
        assert traces[5]["y"][0] > 0
        assert "holds" in seen.page.locator("#panel-landscape .trust").first.inner_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_every_experiment_moves_in_full(
    name: str, started: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_page(name, None, tmp_path, monkeypatch)
    page = run.folder / "report.html"
    assert page.stat().st_size < 8e6
    with opened(started, page) as seen:
        everything_moves(seen)
