"""``toyml compare``: in what runs differ, and where they part."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from toyml import measures, plots
from toyml.callbacks.figure import ANY_NUMBERS, save
from toyml.callbacks.stage import scene
from toyml.comparison import (
    MISSING,
    Difference,
    End,
    Parting,
    config_differences,
    distances,
    end,
    first_difference,
    losses,
    parameter_names,
)
from toyml.configured import see_classes
from toyml.errors import UserError
from toyml.palette import RUNS
from toyml.plots.style import SAVE_OPTIONS, STYLE
from toyml.report import FigureItem, Page, TableItem, format_value, write
from toyml.report.scene import Scene
from toyml.run import Run
from toyml.terminal import plain
from toyml.trust import UntrustedError

BEYOND = 1e-6  # a difference that is more than rounding of float32
DRAWN = 1500
NAMED = 5  # settings that say beside the slider what sets a run apart

# A run has one color in every figure and panel.
OF_RUNS = dataclasses.replace(STYLE, palette=tuple(STYLE.palette[place] for place in RUNS))


class Parted(NamedTuple):
    """Where a run parts from the first one.

    Attributes:
        first: At the first different bit; ``None`` if there is none.
        beyond: At the first difference above ``BEYOND``; ``None`` if there is none.
        obstacle: Why the two cannot be compared step by step; empty where they can.
    """

    first: Parting | None
    beyond: Parting | None
    obstacle: str = ""


class Comparison(NamedTuple):
    """What ``compare`` found.

    Attributes:
        runs: The runs by name, in the order given.
        differences: Settings that differ.
        ends: What each run came to.
        parted: For every run but the first, where it parts from the first.
        left_out: What could not be compared, and why.
        page: The page that was written.
    """

    runs: Mapping[str, Run]
    differences: Sequence[Difference]
    ends: Mapping[str, End]
    parted: Mapping[str, Parted]
    left_out: Sequence[str]
    page: Path


def compare(folders: Sequence[Path], out: Path | None = None, trust: bool = False) -> Comparison:
    """Compare runs; write a page and print the tables.

    Args:
        folders: Run folders, at least two.
        out: Folder of the page; ``comparisons/<run>-<run>`` by default.
        trust: Build whatever class the runs' configs name.

    Raises:
        UserError: Fewer than two runs, or a folder that is not a run.
    """
    if len(folders) < 2:
        raise UserError(
            f"compare needs at least two runs, and {folders[0] if folders else 'none'} is one; "
            "add another: toyml compare RUN RUN"
        )
    runs = named([Run.load(folder, trust) for folder in folders])
    for name, run in runs.items():
        if not len(run.trajectory):
            raise UserError(f"{name} has recorded no step yet; there is nothing to compare")
    first, *others = runs
    differences = config_differences(list(runs.values()))
    ends = {name: end(run) for name, run in runs.items()}
    parted = {name: part(runs[first], runs[name]) for name in others}
    folder = out or Path("comparisons") / "-".join(n.replace("/", "_") for n in runs)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make {folder} ({error.strerror}); choose another place with --out"
        ) from error
    left_out = [f"{n}, step by step: {p.obstacle}." for n, p in parted.items() if p.obstacle]
    left_out += [f"The loss of {n}: {why}." for n, run in runs.items() if (why := distrusted(run))]
    figures = []
    drawings = {
        "losses": draw_losses,
        "distances": draw_distances,
        "paths": draw_paths,
        "metrics": draw_metrics,
    }
    for stem, draw in drawings.items():
        for kind in SAVE_OPTIONS:  # an earlier comparison may have drawn what this one does not
            (folder / "figures" / f"{stem}.{kind}").unlink(missing_ok=True)
        try:
            with np.errstate(all="ignore"):  # a run that diverged, or anything else
                drawn = draw(runs, parted)
                if isinstance(drawn, str):
                    left_out += [drawn] if drawn else []
                    continue
                files = save(drawn[0], folder / "figures", stem)
        except UserError:
            raise
        except ANY_NUMBERS as error:
            if os.environ.get("TOYML_TRACEBACK"):
                raise
            words = " ".join(f"{type(error).__name__}: {error}".split())
            left_out.append(f"The figure “{stem}” is left out: it cannot be drawn ({words}).")
            continue
        figures.append(FigureItem(*drawn[1:], files["svg"].decode(), files["png"]))
    tables = [t for t in (setting_table(runs, differences), end_table(ends)) if t.rows]
    page = Page(
        title=", ".join(runs),
        kind="Comparison",
        question=question(runs, differences),
        findings=answers(runs, differences, parted, ends),
        notes=left_out,
        tables=tables,
        figures=figures,
        scene=moving(runs, differences),
        command="python -m toyml compare " + " ".join(str(run.folder) for run in runs.values()),
    )
    path = write(page, folder / "comparison.html")
    show(page, path)
    return Comparison(runs, differences, ends, parted, left_out, path)


def named(runs: Sequence[Run]) -> dict[str, Run]:
    """Runs by a short name that tells them apart: ``sgd/version_0``, or more of the path."""
    folders = [run.folder.resolve() for run in runs]
    for parts in range(2, max(len(folder.parts) for folder in folders) + 1):
        names = ["/".join(folder.parts[-parts:]) for folder in folders]
        if len(set(names)) == len(set(folders)):
            break
    found: dict[str, Run] = {}
    for name, run in zip(names, runs, strict=True):
        unique, count = name, 1
        while unique in found:
            count += 1
            unique = f"{name} ({count})"
        found[unique] = run
    return found


def distrusted(run: Run) -> str:
    """Why a run's net and data are not built; empty where they may be."""
    try:
        if run.config and not run.trust:
            see_classes(run.config, ("model", "data"), str(run.folder / "config.yaml"))
    except UntrustedError as error:
        return str(error)
    return ""


def part(first: Run, other: Run) -> Parted:
    """Where a run parts from another."""
    if first.trajectory.shapes != other.trajectory.shapes:
        return Parted(None, None, "its parameters have other names or shapes")
    if not np.intersect1d(first.trajectory.steps, other.trajectory.steps).size:
        return Parted(None, None, "no step was recorded in both")
    return Parted(first_difference(first, other), first_difference(first, other, BEYOND))


# -- words ---------------------------------------------------------------------------------------


def question(runs: Mapping[str, Run], differences: Sequence[Difference]) -> str:
    """What the page asks."""
    keys = [d.key.removesuffix(".class_path").split(".", 1)[-1] for d in differences]
    if not keys:
        return f"What do {len(runs)} runs of the same settings share?"
    if len(keys) > 4:
        keys = [*keys[:3], f"{len(keys) - 3} more settings"]
    if len(keys) == 1:
        return f"What does {keys[0]} change?"
    return f"What do {', '.join(keys[:-1])} and {keys[-1]} change?"


def answers(
    runs: Mapping[str, Run],
    differences: Sequence[Difference],
    parted: Mapping[str, Parted],
    ends: Mapping[str, End],
) -> list[str]:
    """The findings in sentences."""
    first = next(iter(runs))
    found = [] if differences else ["No setting of the training differs."]
    for name, where in parted.items():
        if where.obstacle:
            continue
        if where.first is None:
            mine, other = (runs[n].trajectory.steps for n in (first, name))
            both, last = len(np.intersect1d(mine, other)), int(max(mine[-1], other[-1]))
            where_equal = "every step" if both == last + 1 else f"all {both:,} steps both recorded"
            found.append(f"{name} has the parameters of {first} at {where_equal}, bit for bit.")
            continue
        step, parameter = where.first.step, where.first.parameter
        sentence = f"{name} parts from {first} at step {step:,} in {parameter}: " + " and ".join(
            shortest(runs[n], value)
            for n, value in zip((name, first), where.first.values[::-1], strict=True)
        )
        beyond = where.beyond
        if beyond is None:
            sentence += f"; no recorded difference exceeds {format_value(BEYOND)}."
        elif beyond.step > step:
            sentence += f"; beyond {format_value(BEYOND)} at step {beyond.step:,}."
        else:
            sentence += "."
        found.append(sentence)
    known = {name: e.loss for name, e in ends.items() if e.loss is not None}
    if known:
        words = ", ".join(f"{format_value(loss)} ({name})" for name, loss in known.items())
        found.append(f"The loss at the end is {words}.")
    return found


def shortest(run: Run, value: float) -> str:
    """A parameter in as many digits as tell it from its neighbours in the run's precision."""
    return str(run.trajectory.parameters.flat.dtype.type(value))


def moving(runs: Mapping[str, Run], differences: Sequence[Difference]) -> Scene | None:
    """What moves on the page, with what sets each run apart."""
    made = scene(runs)
    said = {name: own_settings(differences, i) for i, name in enumerate(runs)}
    return made and dataclasses.replace(made, about=said if any(said.values()) else {})


def own_settings(differences: Sequence[Difference], place: int) -> str:
    """The settings by which a run differs from others, in a few words.

    Example:
        >>> found = [
        ...     Difference("model.optimizer.class_path", ("torch.optim.SGD", "torch.optim.Adam")),
        ...     Difference("model.optimizer.momentum", (0.9, MISSING)),
        ... ]
        >>> own_settings(found, 0), own_settings(found, 1)
        ('SGD, momentum 0.9', 'Adam')
    """
    words = []
    for key, values in differences[:NAMED]:
        text = setting_words(values[place])
        if values[place] is MISSING:
            continue
        name = key.rsplit(".", 1)[-1]
        words.append(text.rsplit(".", 1)[-1] if name == "class_path" else f"{name} {text}")
    more = len(differences) - NAMED
    return ", ".join([*words, f"{more} more settings"] if more > 0 else words)


def setting_table(runs: Mapping[str, Run], differences: Sequence[Difference]) -> TableItem:
    """The settings that differ."""
    rows = [[d.key, *(setting_words(value) for value in d.values)] for d in differences]
    return TableItem("Settings that differ", ["setting", *runs], rows)


def setting_words(value: Any) -> str:
    """A setting as it is written in a config."""
    if value is MISSING:
        return "not set"
    if isinstance(value, Mapping) and "class_path" in value:
        return str(value["class_path"])
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    text = text.removesuffix("...\n").strip()
    return text if len(text) <= 60 else text[:57] + "..."


def end_table(ends: Mapping[str, End]) -> TableItem:
    """The end values."""
    each = list(ends.values())
    rows: list[list[float | str | None]] = [
        ["last step", *(e.step for e in each)],
        ["loss", *(e.loss for e in each)],
    ]
    for name in dict.fromkeys(key for e in each for key in e.parameters):
        rows.append([name, *(e.parameters.get(name) for e in each)])
    for name in dict.fromkeys(key for e in each for key in e.metrics):
        rows.append([f"{name} (last logged)", *(e.metrics.get(name) for e in each)])
    return TableItem(
        "Where they end", ["", *ends], rows, "The loss is each run's own, on its own training rows."
    )


def show(page: Page, path: Path) -> None:
    """Print the tables, the findings and where the page is."""
    console = Console()
    for item in page.tables:
        table = Table(title=Text(plain(item.title)), title_justify="left", box=None, padding=(0, 1))
        for index, column in enumerate(item.columns):
            table.add_column(
                Text(plain(column)), justify="right" if index else "left", overflow="fold"
            )
        for row in item.rows:
            table.add_row(*(Text(plain(format_value(cell))) for cell in row))
        console.print(table)
        console.print()
    for sentence in (*page.findings, *page.notes):
        console.print(Text(plain(f"  {sentence}")))
    console.print(Text(plain(f"page: {path}"), style="bold"), soft_wrap=True)


# -- figures -------------------------------------------------------------------------------------

Drawn = tuple[Canvas, str, str, str]  # canvas, title, caption, alternative text


def draw_losses(runs: Mapping[str, Run], parted: Mapping[str, Parted]) -> Drawn | str:
    """The loss curves, or why there are none."""
    curves: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
    for name, run in runs.items():
        chosen = run.trajectory.thinned(DRAWN)
        values = losses(run, chosen)
        if values is not None:
            curves[name] = (run.trajectory.steps[chosen], values)
        elif "loss" in run.metrics:
            column = run.metrics["loss"]
            curves[name] = (np.asarray(column["step"], np.int64), np.asarray(column["value"]))
    if not curves:
        return "Loss curves: no run has a loss that can be evaluated or was logged."
    kinds = sorted({loss_kind(run) for run in runs.values()} - {""})
    where = [p.first.step for p in parted.values() if p.first is not None]
    canvas = plots.new_figure(7.6, 4.6)
    ax = canvas.subplots()
    plots.plot_overlay(
        ax,
        curves,
        quantity=kinds[0] if len(kinds) == 1 else "loss (each run's own)",
        log_time=max(int(steps[-1]) for steps, _ in curves.values()) > 1000,
        log_value=True,
        part=where[0] if len(where) == 1 else None,
        order=list(runs),
        style=OF_RUNS,
    )
    plots.add_legend(ax, below=True)
    plots.set_title(ax, "The loss of every run")
    note = "" if len(kinds) < 2 else f" The runs minimise different losses ({', '.join(kinds)})."
    absent = [name for name in runs if name not in curves]
    note += f" Without a loss: {', '.join(absent)}." if absent else ""
    return (
        canvas,
        "Loss",
        f"The training loss of {', '.join(curves)} over the steps.{note}",
        f"Loss curves of {len(curves)} runs on shared axes.",
    )


def loss_kind(run: Run) -> str:
    """Class of the run's loss, as far as its config says."""
    setting = run.setting("model.loss")
    found = setting.get("class_path") if isinstance(setting, Mapping) else setting
    return str(found).rsplit(".", 1)[-1] if found else ""


def draw_distances(runs: Mapping[str, Run], parted: Mapping[str, Parted]) -> Drawn | str:
    """The distance of every run from the first; empty where there is none."""
    first = next(iter(runs))
    different = [n for n, p in parted.items() if p.first is not None]
    if not different:
        return ""  # they are equal, or cannot be compared, which is said elsewhere
    curves = {name: distances(runs[first], runs[name], DRAWN) for name in different}
    curves = {n: (steps, np.where(d > 0, d, np.nan)) for n, (steps, d) in curves.items()}
    canvas = plots.new_figure(7.6, 4.4)
    ax = canvas.subplots()
    plots.plot_overlay(
        ax,
        curves,
        quantity=f"distance from {first}",
        log_value=True,
        order=list(runs),
        style=OF_RUNS,
    )
    plots.add_legend(ax, below=True)
    plots.set_title(ax, "How far the parameters are apart")
    last = {name: d[-1] for name, (_, d) in curves.items()}
    words = ", ".join(f"{format_value(float(d))} ({name})" for name, d in last.items())
    return (
        canvas,
        "Distance of the parameters",
        f"Euclidean distance of all parameters from those of {first} at the same step; at the "
        f"last common step {words}. Steps at which they are equal have no point.",
        f"Distance of the parameters from {first} over the steps, logarithmic.",
    )


def draw_paths(runs: Mapping[str, Run], parted: Mapping[str, Parted]) -> Drawn | str:
    """All paths on the landscape of the first run, or why not; empty for more parameters."""
    first = next(iter(runs.values()))
    if first.trajectory.parameters.flat.shape[1] != 2:
        return ""
    names = parameter_names(first)
    same = [name for name, run in runs.items() if run.trajectory.shapes == first.trajectory.shapes]
    if len(same) < 2:
        return "Paths on one landscape: no other run has the same two parameters."
    paths = {
        name: np.asarray(
            runs[name].trajectory.parameters.flat[runs[name].trajectory.thinned(DRAWN)], np.float64
        )
        for name in same
    }
    try:
        x, y = (rows.double() for rows in first.data)
        loss = first.loss
    except UserError as error:
        return f"Paths on one landscape: {error}."
    xs, ys = window(list(paths.values()))
    plane = measures.plane_of_parameters(
        {k: v.double() for k, v in first.trajectory.at(int(first.trajectory.steps[0])).items()},
        *names,
    )
    surface = measures.landscape(
        first.net, {"loss": loss}, plane, torch.from_numpy(xs), torch.from_numpy(ys), x, y
    )["loss"].numpy()
    canvas = plots.new_figure(7.4, 7.0)
    ax = canvas.subplots()
    drawn = plots.plot_landscape(
        ax,
        xs,
        ys,
        surface,
        levels=plots.landscape_levels(surface, count=14, decades=2.8),
        xlabel=names[0],
        ylabel=names[1],
    )
    plots.plot_paths(ax, paths, order=list(runs), style=OF_RUNS)
    ax.set_aspect("equal")
    kind = type(loss).__name__
    plots.add_colorbar(ax, drawn.filled, f"{kind} of {same[0]}")
    plots.add_legend(ax, below=True)
    plots.set_title(ax, "The paths on one landscape")
    others = [name for name in runs if name not in same]
    note = f" Left out, with other parameters: {', '.join(others)}." if others else ""
    kinds = {loss_kind(runs[name]) for name in same}
    note += " The ground is the loss of the first run alone." if len(kinds) > 1 else ""
    return (
        canvas,
        "Paths on one landscape",
        f"Paths of {', '.join(same)} from circle to square over {names[0]} and {names[1]}.{note}",
        f"Contours of {kind} over two parameters with the paths of {len(same)} runs.",
    )


def window(paths: Sequence[NDArray[np.float64]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Axes [g] of a square that holds the paths, or the beginning of those that diverge."""
    starts = np.stack([path[0] for path in paths])
    reach = 10 * max(1.0, float(np.abs(starts).max()))
    points = np.concatenate(paths)
    points = points[(np.abs(points) <= reach).all(axis=1)]
    low, high = points.min(axis=0), points.max(axis=0)
    center, half = (low + high) / 2, max(float((high - low).max()) / 2 * 1.15, 1e-3)
    return (
        np.linspace(center[0] - half, center[0] + half, 121),
        np.linspace(center[1] - half, center[1] + half, 121),
    )


def draw_metrics(runs: Mapping[str, Run], parted: Mapping[str, Parted]) -> Drawn | str:
    """Logged metrics that at least two runs share, or why there are none; empty without any."""
    columns = [{k for k in run.metrics if k not in ("loss",)} for run in runs.values()]
    counted = {k: sum(k in c for c in columns) for c in columns for k in c}
    shared = sorted(k for k, count in counted.items() if count > 1)[:4]
    if not shared:
        return "Metrics: no two runs logged the same one." if sum(map(len, columns)) else ""
    canvas = plots.new_figure(7.6, 3.4 * len(shared) + 0.6)
    for ax, metric in zip(np.atleast_1d(canvas.subplots(len(shared), 1)), shared, strict=True):
        curves = {
            name: (run.metrics[metric]["step"], run.metrics[metric]["value"])
            for name, run in runs.items()
            if metric in run.metrics
        }
        plots.plot_overlay(ax, curves, quantity=metric, order=list(runs), style=OF_RUNS)
        plots.add_legend(ax)
    return (
        canvas,
        "Metrics",
        f"The logged {', '.join(shared)} over the steps.",
        f"Curves of {', '.join(shared)} for {len(runs)} runs on shared axes.",
    )
