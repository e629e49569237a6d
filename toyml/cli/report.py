"""``toyml report``."""

from __future__ import annotations

from pathlib import Path

from toyml.callbacks import Report
from toyml.callbacks.after import work_through
from toyml.cli import StrictError
from toyml.configured import instantiate, see_classes
from toyml.errors import UserError
from toyml.run import Run

ASKED = "sweep.yaml"  # what a sweep's folder is known by


def report(folder: Path, strict: bool = False, trust: bool = False) -> Run:
    """Draw a run's figures, judge its claims and write its report again.

    A page is written also where the fit's config lists no ``Report``.

    Args:
        folder: The run folder.
        strict: Complain when a claim fails.
        trust: Build whatever class the run's config names.

    Raises:
        UserError: The folder is not a run, holds no whole config, or names a class that is not
            trusted.
        StrictError: ``strict`` and a claim failed.
    """
    if (folder / ASKED).is_file():
        from toyml.cli.sweep import report_again

        again: Run = report_again(folder, strict, trust)
        return again
    run = Run.load(folder, trust)
    if not run.config:
        raise UserError(
            f"{folder} has no config.yaml (a fit started from Python); call the callbacks' "
            "finish(run) yourself"
        )
    source = str(folder / "config.yaml")
    if missing := [part for part in ("model", "data") if not run.config.get(part)]:
        raise UserError(
            f"{source} is not whole: it has no {' and no '.join(missing)}; the config that the fit "
            "was started with can be put in its place"
        )
    # First of all, so that neither a damaged file nor a class without trust leaves half a report.
    _ = run.summary, run.metrics, run.trajectory
    if not trust:
        see_classes(run.config, ("model", "data"), source)
    callbacks = instantiate(run.config, ["callbacks"], source, trust)["callbacks"]
    if not any(isinstance(callback, Report) for callback in callbacks):
        callbacks.append(Report(f"What happened in {run.name}?"))
    work_through(run, callbacks)
    if strict:
        refuse_failures(run)
    return run


def refuse_failures(run: Run) -> None:
    """Complain when a claim failed.

    Raises:
        StrictError: One did.
    """
    claims = run.summary.get("claims", [])
    failed = [v for v in claims if v["verdict"] == "fails"]
    if failed:
        raise StrictError(
            f"{len(failed)} of {len(claims)} claims failed: "
            + "; ".join(v["statement"] for v in failed)
        )
