"""Nothing that a config or a run folder says is obeyed by the terminal it is shown in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from toyml.callbacks import report
from toyml.cli import compare, console, main
from toyml.report import Page, TableItem, VerdictRow

# Renames the window, colours, goes back, and is no markup that rich can read.
ATTACK = "\x1b]0;taken\x1b\\ \x1b[31mred\x07\x08\x9b2J [bold]bold[/red] [/nothing]"
PAGE = Page(
    title=ATTACK,
    question=ATTACK,
    answer=[ATTACK],
    verdicts=[
        VerdictRow(ATTACK, ATTACK, ATTACK, None, "holds"),
        VerdictRow("b", 1.0, None, 1.0, "not applicable", ATTACK),
    ],
    tables=[TableItem(ATTACK, ["", ATTACK], [[ATTACK, 1.0], ["b", ATTACK]], ATTACK)],
)


def listed(folder: Path) -> None:
    (folder / "a.yaml").write_text(f"# {ATTACK}\n#\n# toyml fit {ATTACK}\n")
    main(["list", str(folder)])


def refused(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["toyml", "report", f"{folder}/{ATTACK}"])
        patch.setattr("sys.path", list(sys.path))
        assert console() == 2


SHOWN: list[Callable[[Path], None]] = [
    lambda folder: report.show(PAGE, f"{folder}/{ATTACK}"),
    lambda folder: compare.show(PAGE, folder / ATTACK),
    listed,
    refused,
]


@pytest.mark.parametrize("show", SHOWN, ids=["report", "compare", "list", "an error"])
def test_it_is_shown_and_not_obeyed(
    show: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show(tmp_path)
    said = "".join(capsys.readouterr())
    assert not {"\x1b", "\x07", "\x08", "\x9b"} & set(said)
    assert r"\x1b]0" in said.replace("\n", "")
