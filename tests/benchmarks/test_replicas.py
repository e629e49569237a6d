"""The benchmark of replicas runs, and every side trains the way it says."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import replicas
from tests.compiled.test_kernel import needs_compiler


@needs_compiler
@pytest.mark.slow
def test_short_form_measures_every_side(tmp_path: Path) -> None:
    written, text = tmp_path / "found.json", io.StringIO()
    rows = replicas.main(["--short", "--json", str(written)], Console(file=text, width=200))
    sides = [side for group in replicas.all_sides(short=True).values() for side in group]
    assert [row.side for row in rows] == [side.name for side in sides]
    for row, side in zip(rows, sides, strict=True):
        if side.mapped:
            assert row.route.startswith("vmap(functional_call)")
        elif side.compiled is None:
            assert row.route.startswith("C kernel")
        else:
            assert row.route.startswith("batched chain, derivative written down")
        assert len(row.loops) == 1
        assert 0 < row.whole_loops[0] < row.loops[0], "set-up cannot take negative time"
        assert bool(row.relative) == bool(side.against)
    saved = json.loads(written.read_text())
    assert set(saved["memory"]) == {"imports", *replicas.PROBES}


@pytest.mark.parametrize("mapped", [False, True])
def test_one_side_is_a_whole_fit(mapped: bool) -> None:
    timed = replicas.fit(replicas.Side("", replicas.XOR, 3, 5, False, mapped=mapped))
    assert timed.route.startswith("vmap" if mapped else "batched chain")
    assert 0 < timed.seconds < timed.whole


def test_tables_name_what_was_agreed(tmp_path: Path) -> None:
    row = replicas.Row("C", "XOR", 1000, 10, 1, (300, 1300), "", "C kernel", 0.1)
    row.loops, row.whole_loops, row.stocks = [1000.0], [900.0], [20_000.0]
    lines = replicas.speed_lines([row])
    assert lines[1][4:] == ["1,000 (300)", "900", "20,000 (1,300)"]
    assert replicas.markdown(lines).splitlines()[1] == "|---|---|---|---|---|---|---|"
