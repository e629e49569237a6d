"""Prose is shown where what it presupposes holds, with this run's numbers in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from toyml.callbacks.answer import Answer, statements
from toyml.config import read_config
from toyml.errors import UserError
from toyml.run import Run, lookup

CONFIG: dict[str, Any] = {
    "model": {"class_path": "M", "init_args": {"lr": 0.5, "width": 3}},
    "trainer": {
        "callbacks": [
            {
                "class_path": "toyml.callbacks.Verdicts",
                "init_args": {
                    "given": {"model.width": 3},
                    "claims": [
                        {"init_args": {"statement": "a: angle", "given": {"model.lr": 1.0}}},
                        {"init_args": {"claim": {"init_args": {"statement": "b"}}}},
                    ],
                },
            }
        ]
    },
}


def verdict(statement: str, measured: float | str | None, word: str, why: str = "") -> Any:
    return {
        "statement": statement,
        "predicted": 0.0,
        "measured": measured,
        "tolerance": None,
        "verdict": word,
        "why": why,
        "source": "",
    }


def run(folder: Path, *claims: Any, config: Any = CONFIG) -> Run:
    (folder / "trajectory").mkdir(exist_ok=True)
    if config:
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
    made = Run(folder)
    made.update_summary(claims=list(claims))
    return made


def test_numbers_are_what_the_claims_have_measured(tmp_path: Path) -> None:
    answer = Answer(
        ["It is {a:.2f}, on the {side} side."], quantities={"a": "a: angle", "side": "b"}
    )
    made = run(
        tmp_path, verdict("a: angle", -34.0281, "holds"), verdict("b", "left", "refuted", "so")
    )
    assert answer.tell(made).sentences == ["It is -34.03, on the left side."]
    assert answer.tell(made).aside == ""


def test_a_format_that_does_not_fit_gives_way(tmp_path: Path) -> None:
    made = run(tmp_path, verdict("b", "left", "holds"))
    answer = Answer(["On the {side:.2f}."], quantities={"side": "b"})
    assert answer.tell(made).sentences == ["On the left."]


def test_what_rests_on_another_setting_is_left_out_and_the_setting_named(tmp_path: Path) -> None:
    answer = Answer(
        ["It is {a:.2f}.", {"says": "Three units.", "given": {"model.width": 3}}],
        quantities={"a": "a: angle"},
    )
    away = verdict("a: angle", None, "not applicable", "stated for model.lr = 1.0; here it is 0.5")
    told = answer.tell(run(tmp_path, away))
    assert told.sentences == ["Three units."]
    assert told.aside == (
        "One part of the experiment's answer is not shown. These settings differ from the "
        "experiment's: model.lr is 0.5 instead of 1.0."
    )


def test_settings_of_the_verdicts_hold_for_the_whole_answer(tmp_path: Path) -> None:
    other = yaml.safe_load(yaml.safe_dump(CONFIG))
    other["model"]["init_args"]["width"] = 1
    told = Answer(["Three units enclose it."]).tell(run(tmp_path, config=other))
    assert told.sentences == []
    assert told.aside == (
        "The experiment's answer is not shown. These settings differ from the experiment's: "
        "model.width is 1 instead of 3."
    )


def test_its_own_given_adds_to_theirs(tmp_path: Path) -> None:
    told = Answer(["Fast."], given={"model.lr": 1.0}).tell(run(tmp_path))
    assert "model.lr is 0.5 instead of 1.0" in told.aside


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ([], "the claim “b” was not judged"),
        ([verdict("b", 2.0, "fails")], "the claim “b” does not hold here"),
        (
            [verdict("b", None, "not applicable", "needs step 9; the run has 7 steps")],
            "Why: needs step 9; the run has 7 steps.",
        ),
    ],
)
def test_a_sentence_needs_the_claims_that_it_rests_on(
    claims: list[Any], why: str, tmp_path: Path
) -> None:
    told = Answer([{"says": "They enclose it.", "holds": "b"}]).tell(run(tmp_path, *claims))
    assert told.sentences == []
    assert why in told.aside


def test_no_answer_is_about_a_training_that_diverged(tmp_path: Path) -> None:
    told = Answer(["It is stable."]).tell(run(tmp_path), lost=True)
    assert told.sentences == []
    assert "diverged" in told.aside


def test_texts_without_quantities_keep_their_braces(tmp_path: Path) -> None:
    assert Answer(["A set {a, b}."]).tell(run(tmp_path)).sentences == ["A set {a, b}."]


def test_without_a_config_there_is_nothing_to_compare(tmp_path: Path) -> None:
    assert Answer(["Always."]).tell(run(tmp_path, config=None)).sentences == ["Always."]
    told = Answer(["Sometimes."], given={"model.lr": 1.0}).tell(run(tmp_path, config=None))
    assert "started from Python" in told.aside


@pytest.mark.parametrize(
    ("parts", "quantities"),
    [
        (["It is {b}."], {"a": "b"}),
        ([{"says": "It is {a."}], {"a": "b"}),
        ([{"text": "It is."}], {}),
        ([{"says": "It is.", "when": "now"}], {}),
    ],
)
def test_what_cannot_be_filled_in_is_one_line_before_the_fit(
    parts: list[Any], quantities: dict[str, str]
) -> None:
    with pytest.raises(UserError):
        Answer(parts, quantities=quantities)


CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_answer_of_the_project_rests_on_claims_that_are_there(path: Path) -> None:
    config = read_config(path)
    known = dict(statements(config, {}))
    for section in ("trainer.callbacks+", "sweep.callbacks"):
        for callback in lookup(config, section) or []:
            settings = callback.get("init_args", {}) if isinstance(callback, dict) else {}
            if "question" not in settings:
                continue
            answer = Answer(
                settings.get("answer", ()), settings.get("given"), settings.get("quantities")
            )
            rests = [*answer.quantities.values(), *(s for a in answer.sentences for s in a.holds)]
            assert [statement for statement in rests if statement not in known] == []
            assert "(seed 0" not in settings.get("source", "")
