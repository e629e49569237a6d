"""``toyml report``."""

from __future__ import annotations

from pathlib import Path

from toyml.callbacks.after import work_through
from toyml.cli import StrictError
from toyml.configured import instantiate
from toyml.errors import UserError
from toyml.run import Run


def report(folder: Path, strict: bool = False) -> Run:
    """Draw a run's figures, judge its claims and write its report again.

    Args:
        folder: The run folder.
        strict: Complain when a claim fails.

    Raises:
        UserError: The folder is not a run, or holds no config.
        StrictError: ``strict`` and a claim failed.
    """
    run = Run.load(folder)
    if not run.config:
        raise UserError(
            f"{folder} has no config.yaml (a fit started from Python); call the callbacks' "
            "finish(run) yourself"
        )
    callbacks = instantiate(run.config, ["callbacks"], str(folder / "config.yaml"))["callbacks"]
    work_through(run, callbacks)
    failed = [v for v in run.summary.get("claims", []) if v["verdict"] == "fails"]
    if strict and failed:
        raise StrictError(
            f"{len(failed)} of {len(run.summary['claims'])} claims failed: "
            + "; ".join(v["statement"] for v in failed)
        )
    return run
