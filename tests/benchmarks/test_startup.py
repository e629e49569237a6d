"""The stages of a fit are cut where they say."""

from __future__ import annotations

from benchmarks import startup


def test_stages_of_a_fit_are_in_their_order_and_cover_the_afterwork() -> None:
    stages = startup.stages(1)
    names = list(stages)
    assert names.index("steps") == names.index("Trainer.fit before the first step") + 1
    assert "afterwards: Report" in names
    assert all(value >= 0 for value in stages.values())
