import base64
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.claims.recorded import recorded
from toyml.callbacks.report import Report
from toyml.models import Linear
from toyml.report import FigureItem, MetricRow, Page, VerdictRow, format_value, render, write
from toyml.run import Run

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="360pt" height="180pt"><path d="M0 0"/></svg>'
VOID = {"meta", "link", "img", "br", "hr", "input"}
NASTY = "<script>alert('1')</script> \"quoted\" & 'é∞' {{ 7 * 7 }} </style>"


class Reader(HTMLParser):
    """Tags, attributes and text; fails on tags that are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open, self.tags, self.text = [], [], {}
        self.feed(html)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text[self.open[-1] if self.open else ""] = (
            self.text.get(self.open[-1] if self.open else "", "") + data
        )

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def page():
    return Page(
        title="perceptron",
        question="Why not the bisector?",
        answer=["The angle is −34.03°.", "It tends to −42.51°."],
        source="Soudry et al. 2018",
        steps=101,
        verdicts=[
            VerdictRow("angle", -34.028141, -34.0281409, 1e-6, "holds"),
            VerdictRow("weight", 1.0, 2.0, 1e-6, "fails", "too far"),
            VerdictRow("barely", "falls", "grows", None, "refuted", source="its author"),
            VerdictRow("later", 3.0, None, 1e-6, "not applicable", "needs step 1000"),
        ],
        figures=[FigureItem("Boundary", "Faint to strong.", "Lines that turn.", svg=SVG)],
        metrics=[MetricRow("loss", 0.7, 0.05, 0.04)],
        command="python -m toyml fit --config 'a b.yaml' && true",
        command_report="python -m toyml report runs/a",
        config_yaml="model:\n  lr: 1.0\n",
        environment={"torch": "2.13.0", "seed": 0, "time per step": "4 µs"},
    )


def test_every_part_is_on_the_page(page):
    reader = Reader(render(page))
    assert reader.text["h1"] == "Why not the bisector?"
    sections = [attrs["aria-labelledby"] for attrs in reader.all("section")]
    assert sections == ["answer", "claims", "figures", "metrics", "again"]
    assert "The angle is −34.03°." in reader.text["li"]
    assert "python -m toyml fit --config 'a b.yaml' && true" in reader.text["code"]
    assert "model:\n  lr: 1.0\n" in reader.text["code"]
    assert "2.13.0" in reader.text["td"]


def test_a_page_with_nothing_but_its_question_is_whole():
    reader = Reader(render(Page("empty", "Why?")))
    assert reader.all("section") == []
    assert reader.text["h1"] == "Why?"


def test_every_verdict_is_a_row_with_its_own_mark_and_words(page):
    html = render(page)
    rows = re.findall(r'<tr role="row" class="(\w+)">(.*?)</tr>', html, flags=re.S)
    assert [name for name, _ in rows] == ["holds", "fails", "refuted", "silent"]
    said = ["Holds", "Fails", "Refuted, as announced", "Not applicable"]
    assert all(word in row for word, (_, row) in zip(said, rows, strict=True))
    assert "too far" in rows[1][1]
    assert "its author" in rows[2][1]
    assert page.counts == {"fails": 1, "holds": 1, "refuted": 1, "not applicable": 1}
    assert "Theory, which no training enters" not in html


def test_theory_is_shown_apart_from_what_the_run_shows(page):
    rows = [*page.verdicts, VerdictRow("the limit", 0.97, 0.97, 0.01, "holds", theory=True)]
    whole = replace(page, verdicts=rows)
    html = render(whole)
    run, theory = html.split("Theory, which no training enters")
    assert run.count('<tr role="row" class="') == len(page.verdicts)
    assert theory.count('<tr role="row" class="holds"') == 1
    assert "the training itself is not looked at" in theory
    assert (whole.counts, len(whole.theory)) == (page.counts, 1)
    assert 'data-label="Computed"' in theory


def test_both_values_show_the_digits_that_the_tolerance_asks_for(page):
    cells = re.findall(r'data-label="(?:Predicted|Measured)">(.*?)</td>', render(page))
    assert cells[:2] == ["−34.0281410", "−34.0281409"]
    assert cells[4:6] == ["falls", "grows"]


@pytest.mark.parametrize(
    ("status", "words"),
    [("unfinished", "Unfinished: stopped at step 101."), ("diverged", "Diverged at step 101.")],
)
def test_a_run_without_an_end_says_so(page, status, words):
    assert words in render(replace(page, status=status))
    assert words not in render(page)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"])) | st.just(NASTY))
def test_every_text_is_shown_as_it_is_and_never_run(text):
    page = Page(
        title=text,
        question=text,
        answer=[text],
        source=text,
        verdicts=[VerdictRow(text, text, text, None, "holds", text, text)],
        figures=[FigureItem(text, text, text + "!", svg=SVG)],
        metrics=[MetricRow(text, 1, 2)],
        command=text,
        command_report=text,
        config_yaml=text,
        environment={text: text},
    )
    reader = Reader(render(page))
    assert reader.text.get("h1", "") == text
    assert reader.all("img")[0]["alt"] == text + "!"
    assert len(reader.all("script")) == 1
    assert len(reader.all("style")) == 1


def test_the_page_fetches_nothing(page):
    html = render(page)
    reader = Reader(html)
    addresses = [
        value
        for _, attrs in reader.tags
        for name, value in attrs.items()
        if name in {"src", "href", "srcset", "action", "poster", "data", "xlink:href"}
    ]
    assert addresses
    assert all(address.startswith("data:") for address in addresses)
    assert "@import" not in html
    assert "url(" not in html
    assert "fetch(" not in html
    policy = next(a for a in reader.all("meta") if a.get("http-equiv"))["content"]
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_headings_descend_one_level_at_a_time_and_ids_are_unique(page):
    reader = Reader(render(page))
    levels = [int(tag[1]) for tag, _ in reader.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - level <= 1 for level, later in pairwise(levels))
    ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    named = {attrs["aria-labelledby"] for _, attrs in reader.tags if "aria-labelledby" in attrs}
    assert named <= set(ids)
    assert all("scope" in attrs for attrs in reader.all("th"))


def test_figures_carry_picture_size_and_words(page):
    (image,) = Reader(render(page)).all("img")
    kind, data = image["src"].split(",")
    assert kind == "data:image/svg+xml;base64"
    assert base64.b64decode(data).decode() == SVG
    assert (image["width"], image["height"]) == ("480", "240")
    assert image["alt"] == "Lines that turn."


def test_a_png_tells_its_size_in_css_pixels():
    header = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes([0, 0, 4, 0, 0, 0, 2, 0])
    item = FigureItem("t", "c", "a", png=header)
    assert item.size == (614, 307)
    assert item.source.startswith("data:image/png;base64,")


NO_SIZES = {
    "tags without an end": "<svg " * 50_000,
    "widths without an end": "<svg" + ' width="' * 30_000,
    "spaces": "<svg" + " " * 249_000,
    "too large for a float": SVG.replace("360pt", "1e400pt"),
    "of 400 digits": SVG.replace("360pt", "9" * 400 + "pt"),
    "wider than any": SVG.replace("360pt", "99999pt"),
    "nothing": SVG.replace("360pt", "0pt"),
    "two points": SVG.replace("360pt", "1.2.3pt"),
    "below zero": SVG.replace("360pt", "-360pt"),
    "in a later tag": '<svg><svg width="360pt" height="180pt"></svg></svg>',
}


@pytest.mark.parametrize("kind", NO_SIZES)
def test_an_svg_without_sizes_is_refused_at_once(kind):
    assert SVG.count("360pt") == 1
    with pytest.raises(ValueError, match="of a size that is none"):
        FigureItem("t", "c", "a", svg=NO_SIZES[kind]).size  # noqa: B018


@pytest.mark.parametrize("sides", [bytes(8), b"\xff" * 8, b"\x00\x00\x04\x00"])
def test_a_png_without_sizes_is_refused(sides):
    header = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + sides
    with pytest.raises(ValueError, match="of a size that is none"):
        FigureItem("t", "c", "a", png=header).size  # noqa: B018


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: FigureItem("t", "c", "a"), "give svg or png"),
        (lambda: FigureItem("t", "c", " ", svg=SVG), "give alt"),
        (lambda: FigureItem("t", "c", "a", png=b"GIF89a").size, "'t' is no SVG"),
        (lambda: VerdictRow("s", 1, 1, 1, "maybe"), "'maybe' is unknown"),
        (lambda: Page("t", "q", status="lost"), "'lost' is unknown"),
    ],
)
def test_what_cannot_be_shown_is_refused(make, why):
    with pytest.raises(ValueError, match=why):
        make()


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0.0, 12, "0"),
        (float("nan"), None, "not a number"),
        (float("-inf"), None, "−∞"),
        (True, None, "yes"),
        (-1.7e-16, 14, "−1.7 × 10⁻¹⁶"),
        (3e12, None, "3 × 10¹²"),
        (1.0, None, "1"),
        (999999.5, None, "1,000,000"),
        (0.000123456789, None, "0.000123457"),
        (11.0, 2, "11.00"),
        (100_000, None, "100,000"),
    ],
)
def test_numbers_have_sensible_digits(value, decimals, text):
    assert format_value(value, decimals) == text


def test_write_replaces_the_page_and_leaves_no_draft(page, tmp_path):
    target = tmp_path / "report.html"
    target.write_text("old")
    assert write(page, target) == target
    assert target.read_text(encoding="utf-8") == render(page)
    assert list(tmp_path.iterdir()) == [target]


def test_what_is_no_letter_is_written_by_its_number(page, tmp_path):
    broken = replace(page, question="Why \ud800?", command="toyml report runs/\udcff")
    text = write(broken, tmp_path / "page.html").read_text(encoding="utf-8")
    assert r"Why \ud800?" in text
    assert r"runs/\udcff" in text


def test_a_page_that_cannot_be_drawn_leaves_the_old_one(page, tmp_path):
    target = tmp_path / "report.html"
    target.write_text("old")
    broken = replace(page, figures=[FigureItem("t", "c", "a", svg="<svg/>")])
    with pytest.raises(ValueError, match="no SVG with sizes"):
        write(broken, target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_loss_of_the_page_is_over_all_rows_whatever_was_logged(tmp_path):
    made = recorded(tmp_path, [[0.0, 0.0, 0.0], [1.0, 1.0, -3.5]])
    (tmp_path / "metrics.csv").write_text("step,loss,val_loss\n0,0.0,0.75\n1,9.0,0.25\n")
    shown = Report("What?").page(Run(tmp_path, made.task, made.datamodule))
    found = {row.name: (row.first, row.last) for row in shown.metrics}
    assert found["loss"] == pytest.approx((math.log(2), math.log1p(math.exp(-1.5))))
    assert found["val_loss"] == (0.75, 0.25)
    assert shown.findings[0] == (
        "The loss of both rows went from 0.693147 at step 0 to 0.201413 at step 1."
    )
    assert shown.answer == []


def test_a_finite_divergence_is_one_on_the_page_too(tmp_path):
    theta = [[0.0, 0.0, 0.0], [-1e7, -1e7, 0.0], [1.0, 1.0, -3.5]]
    net = Linear(2, 1)
    made = recorded(tmp_path, theta, net=net, loss=torch.nn.MSELoss())
    made.update_summary(status="finished", steps=2)
    shown = Report("What?", answer=["It settles."]).page(made)
    assert (shown.status, shown.steps, shown.answer) == ("diverged", 1, [])
    html = render(shown)
    assert "Diverged at step 1." in html
    assert "stopped being finite" not in html


def test_answer_findings_and_notes_each_have_their_place(page):
    html = render(replace(page, findings=["It fell."], advice="Try more.", notes=["Thinned."]))
    places = [html.index(f'id="{name}"') for name in ("answer", "shown", "claims", "notes")]
    assert places == sorted(places)
    assert ">What this run shows<" in html
    assert html.index("It fell.") < html.index("Try more.") < html.index('id="claims"')
    alone = render(replace(page, answer=[], aside="Not shown.", findings=["It fell."]))
    assert 'id="answer"' not in alone
    assert alone.index("Not shown.") < alone.index("It fell.")
    sweep = render(replace(page, kind="Sweep", findings=["All fell."]))
    assert ">What this sweep shows<" in sweep
