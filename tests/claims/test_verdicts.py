"""Verdicts of several callbacks: none is lost, none is left from before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.claims.recorded import recorded
from tests.configs.fitting import Fit, fit
from tests.conftest import small_task, trainer, xor
from toyml.callbacks import Replay, Verdicts
from toyml.callbacks.verdicts import Judge, merged
from toyml.claims import Claim, LossAt, Verdict
from toyml.cli import main
from toyml.run import Run

__all__ = ["fit"]


def claim(statement: str, step: int = 0) -> Claim:
    """Holds at any step that the run has."""
    return LossAt(statement, step, 0.0, 1e9)


def told(run: Run) -> list[tuple[str, str]]:
    return [(v["statement"], v["verdict"]) for v in run.summary["claims"]]


def judges() -> list[Judge]:
    """A replay between two lists of claims, the later one with a statement of the earlier."""
    return [
        Verdicts([claim("a"), claim("b")]),
        Replay([claim("again", 3)], steps=3),
        Verdicts([claim("b", 99), claim("c")]),
    ]


MERGED = [("a", "holds"), ("b", "not applicable"), ("again", "holds"), ("c", "holds")]
STALE = [
    Verdict("of a callback that is gone", 1.0, 2.0, 0.1, "fails", "it is off", "nobody").as_dict()
]


def fitted(folder: Path, callbacks: list[Any], task: Any = None) -> Run:
    task, data = task or small_task(), xor()
    trainer(folder, 3, *callbacks).fit(task, datamodule=data)
    return Run(max(folder.glob("run/version_*")), task, data)


def test_a_fit_merges_the_verdicts_by_statement_in_order(tmp_path: Path) -> None:
    assert told(fitted(tmp_path, judges())) == MERGED


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_neither_replay_nor_verdicts_erases_the_other(tmp_path: Path, order: list[int]) -> None:
    both = judges()[:2]
    found = told(fitted(tmp_path, [both[i] for i in order]))
    assert [s for s, _ in found] == (["a", "b", "again"] if order[0] == 0 else ["again", "a", "b"])


def test_each_fit_and_each_report_starts_anew(tmp_path: Path) -> None:
    task = small_task()
    run = fitted(tmp_path, judges(), task)
    for _ in range(2):
        run.update_summary(claims=STALE)
        later = Run(run.folder, small_task(), run.datamodule)  # as a report opens it
        for callback in judges():
            callback.finish(later)
        assert told(run) == MERGED
        # Judged once more on the same Run: the same verdicts, each once.
        for callback in judges():
            callback.finish(later)
        assert told(run) == MERGED
    # The same task fitted again is a new pass too, even where the folder has verdicts.
    again = judges()[0]
    run.update_summary(claims=STALE)
    again.finish(Run(run.folder, task, run.datamodule))
    assert told(run) == [("a", "holds"), ("b", "holds")]


def test_a_run_without_a_task_is_judged_all_the_same(tmp_path: Path) -> None:
    class Word(Claim):
        predicted = "word"

        def measure(self, run: Run) -> str:
            return "word"

    run = recorded(tmp_path, [[0.0, 0.0, 0.0]])
    bare = Run(run.folder)
    bare.update_summary(claims=STALE)
    Verdicts([Word("a")]).finish(bare)
    Verdicts([Word("b")]).finish(bare)
    assert told(bare) == [("a", "holds"), ("b", "holds")]


def test_an_overlay_adds_claims_and_a_report_says_the_same(fit: Fit, tmp_path: Path) -> None:
    overlay = tmp_path / "more.yaml"
    overlay.write_text(
        "trainer:\n  callbacks+:\n    - class_path: toyml.callbacks.Verdicts\n      init_args:\n"
        "        claims:\n          - class_path: toyml.claims.LossAt\n            init_args:\n"
        "              {statement: mine, step: 0, predicted: 26.0, tolerance: 0.0}\n"
    )
    run = fit("l2_one_step", "--config", str(overlay))
    found = told(run)
    assert len(found) == 13
    assert found[-1] == ("mine", "holds")
    run.update_summary(claims=[*run.summary["claims"], *STALE])
    main(["report", str(run.folder)])
    assert told(run) == found


def test_a_statement_judged_again_keeps_its_place() -> None:
    verdicts = [{"statement": s, "verdict": v} for s, v in ("ax", "bx", "cx", "by", "dy")]
    found = merged(verdicts[:3], verdicts[3:])
    assert [v["statement"] + v["verdict"] for v in found] == ["ax", "by", "cx", "dy"]


def test_claims_are_worded_apart() -> None:
    for make in (lambda c: Verdicts(c), lambda c: Replay(c, 1)):
        with pytest.raises(ValueError, match="'a' is there twice; word them apart"):
            make([claim("a"), claim("b"), claim("a")])
