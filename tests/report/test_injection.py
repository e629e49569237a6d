"""Nothing from a config, a data set or a run folder can put a script or markup on a page."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from toyml import Run
from toyml.cli import main

ATTACKS = (
    "<script>window.pwned=1</script>",
    "</script><script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    '"><svg onload=window.pwned=1>',
    "'><a href='javascript:window.pwned=1' autofocus onfocus=window.pwned=1>x</a>",
    '<a href="javascript:window.pwned=1">x</a>',
    "]]><!--<script>window.pwned=1</script>--> ${window.pwned=1} {{ 7 * 7 }} %{x} é∞‮ \\ ' \"",
)
ALL = " ".join(ATTACKS)
NAME = "<img src=x onerror=window.pwned=1>'\"&"  # of a folder: it has no slash


class Elements(HTMLParser):
    """Every element of a page and its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the perceptron with one figure, a claim and a page."""
    folder = tmp_path_factory.mktemp("plain")
    claim = {"statement": "a", "step": 3, "predicted": 0.5, "tolerance": 1.0}
    listed: list[Any] = [
        "toyml.callbacks.Recorder",
        "toyml.callbacks.Curves",
        {
            "class_path": "toyml.callbacks.Verdicts",
            "init_args": {"claims": [{"class_path": "toyml.claims.LossAt", "init_args": claim}]},
        },
        {"class_path": "toyml.callbacks.Report", "init_args": {"question": "Why?"}},
    ]
    part = folder / "part.yaml"
    part.write_text(yaml.safe_dump({"trainer": {"max_steps": 12, "callbacks": listed}}))
    words = [f"--config={ROOT}/configs/perceptron.yaml", f"--config={part}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["toyml"])
        run = main(["fit", *words, f"--trainer.logger.root={folder}/runs"])
    assert isinstance(run, Run)
    return run.folder


@pytest.fixture(scope="module")
def pages(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Report and comparison of a run that says the worst wherever it can say anything."""
    folder = tmp_path_factory.mktemp("worst") / NAME / "version_0"
    shutil.copytree(plain, folder)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    verdicts, report = config["trainer"]["callbacks"][-2:]
    verdicts["init_args"]["claims"][0]["init_args"].update(statement=ALL, source=ALL)
    report["init_args"].update(question=ALL, answer=list(ATTACKS), source=ALL, title=ALL)
    config["trainer"]["default_root_dir"] = ALL
    config["model"]["init_args"]["metrics"] = {
        "plain": {"class_path": "torchmetrics.classification.BinaryAccuracy"}
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config) + f"# {ALL}\n")
    summary = json.loads((folder / "summary.json").read_text())
    summary["environment"] = {name: name for name in (*ATTACKS, *summary["environment"])}
    summary["route"] = ALL
    (folder / "summary.json").write_text(json.dumps(summary))
    metrics = f"step,loss,{ATTACKS[0]},{ATTACKS[2]}\n0,0.7,0.5,1\n12,0.2,0.9,2\n"
    (folder / "metrics.csv").write_text(metrics)
    words = {"title": ALL, "caption": ALL, "alt": ALL}
    (folder / "figures/another.json").write_text(json.dumps(words))
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="9pt" height="9pt" onload="window.pwned=1">'
    )
    svg += "<script>window.pwned=1; parent.pwned=1; top.pwned=1</script></svg>"
    (folder / "figures/another.svg").write_text(svg)
    (folder / "figures/left.json").write_text(json.dumps({"title": "x", "left_out": ALL}))
    main(["report", str(folder)])
    out = folder.parent / "comparison"
    main(["compare", str(folder), str(plain), "--out", str(out)])
    return folder / "report.html", out / "comparison.html"


def test_the_page_has_the_elements_of_a_harmless_one(
    pages: tuple[Path, Path], plain: Path, tmp_path: Path
) -> None:
    main(["compare", str(plain), str(plain), "--out", str(tmp_path / "out")])
    for page, harmless in zip(
        pages, (plain / "report.html", tmp_path / "out/comparison.html"), strict=True
    ):
        found = Elements(page.read_text(encoding="utf-8")).found
        right = Elements(harmless.read_text(encoding="utf-8")).found
        scripts, expected = ([t for t, _ in f].count("script") for f in (found, right))
        assert scripts == expected
        assert {tag for tag, _ in found} <= {tag for tag, _ in right} | {"ul", "li", "figure"}
        for tag, attributes in found:
            assert not [name for name in attributes if name.startswith("on")], tag
            for name in ("href", "src", "action", "data", "formaction", "srcdoc"):
                value = attributes.get(name) or "data:"
                assert value.startswith(("data:", "#")), (tag, value[:60])


def test_what_was_said_is_shown_as_it_is(pages: tuple[Path, Path]) -> None:
    class Text(HTMLParser):
        words = ""

        def handle_data(self, data: str) -> None:
            self.words += data

    text = Text()
    text.feed(pages[0].read_text(encoding="utf-8"))
    for attack in ATTACKS:
        assert attack in text.words


playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
from benchmarks.browser import browser, chromium  # noqa: E402 - it imports playwright

OPENED = """async () => {
    if (!window.toyml) return [];
    await toyml.opened;
    for (const panel of toyml.panels) {
        panel.figure.scrollIntoView({ block: "center" });
        for (let i = 0; i < 60 && !(panel.near && panel.place.data); i++)
            await new Promise((done) => setTimeout(done, 30));
    }
    return toyml.panels.map((panel) => panel.spec.name);
}"""


@pytest.mark.skipif(chromium() is None, reason="no chromium on this machine")
def test_a_browser_runs_none_of_it(pages: tuple[Path, Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(f"<!doctype html><p>{ATTACKS[2]}")
    with browser() as started:
        for path in (*pages, bad):
            page = started.new_page()
            asked: list[str] = []
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.goto(path.resolve().as_uri())
            names = page.evaluate(OPENED)
            page.keyboard.press("Tab")
            for details in page.query_selector_all("details"):
                details.evaluate("(it) => { it.open = true; }")
            page.wait_for_timeout(300)
            pwned = page.evaluate("() => [window.pwned, window.frames.length]")
            if path == bad:
                assert pwned[0] == 1, "the attack is a dud, so nothing was tested"
                continue
            assert pwned == [None, 0]
            assert all(url.startswith(("file:", "data:", "blob:")) for url in asked)
            assert sum(url.startswith("file:") for url in asked) == 1
            assert names or path != pages[0], "no panel was opened"
            scripts = page.evaluate("() => document.querySelectorAll('a[href^=javascript]').length")
            assert scripts == 0
            page.close()
