"""``toyml report``."""

from __future__ import annotations

from pathlib import Path

from toyml.callbacks.after import work_through
from toyml.cli import StrictError
from toyml.configured import instantiate, see_classes
from toyml.errors import UserError
from toyml.run import Run


def report(folder: Path, strict: bool = False, trust: bool = False) -> Run:
    """Draw a run's figures, judge its claims and write its report again.

    Args:
        folder: The run folder.
        strict: Complain when a claim fails.
        trust: Build whatever class the run's config names.

    Raises:
        UserError: The folder is not a run, holds no config, or names a class that is not trusted.
        StrictError: ``strict`` and a claim failed.
    """
    run = Run.load(folder, trust)
    if not run.config:
        raise UserError(
            f"{folder} has no config.yaml (a fit started from Python); call the callbacks' "
            "finish(run) yourself"
        )
    source = str(folder / "config.yaml")
    if not trust:  # first of all, so that a class that is not trusted leaves no half report
        see_classes(run.config, ("model", "data"), source)
    callbacks = instantiate(run.config, ["callbacks"], source, trust)["callbacks"]
    work_through(run, callbacks)
    failed = [v for v in run.summary.get("claims", []) if v["verdict"] == "fails"]
    if strict and failed:
        raise StrictError(
            f"{len(failed)} of {len(run.summary['claims'])} claims failed: "
            + "; ".join(v["statement"] for v in failed)
        )
    return run
