"""What a log costs is measured on fits that do log, and do not."""

from __future__ import annotations

from benchmarks import all_rows


def test_a_ratio_comes_out() -> None:
    assert all_rows.measure(100, 1) > 0
