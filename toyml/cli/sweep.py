"""``toyml sweep``: the product of seeds and settings of one experiment."""

from __future__ import annotations

import argparse
import contextlib
import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml

from toyml.errors import UserError

DESCRIPTION = """\
Train an experiment from many seeds and settings at once, and say what became of each.

The product of all seeds and values is trained. What replicas of one program can differ in (the
seed, the optimizer's numbers, entries of the initial parameters) is trained as one program; every
other key (widths, an activation, the data) makes cells, one program each. Any other setting is
given as for fit: --trainer.max_steps 2000.
"""
EPILOG = """\
values:
  0,0.5,0.9                      a list
  linspace(0,1,5)                5 values from 0 to 1, both included
  logspace(-2,0,25)              25 values from 10^-2 to 10^0
  range(1,6)  range(0,10,2)      1 2 3 4 5;  0 2 4 6 8
  [2,1,1],[2,3,1]                lists, class paths (torch.nn.ReLU,torch.nn.Tanh), true,false

examples:
  toyml sweep --config configs/rings_seeds.yaml
  toyml sweep --config configs/xor.yaml --seeds 1000
  toyml sweep --config configs/xor.yaml --seeds 100 --vary 'model.optimizer.lr=logspace(-2,0,25)' \\
      --vary model.optimizer.momentum=0,0.5,0.9 --trainer.max_steps 2000
  toyml sweep --config configs/sgd.yaml --vary 'initial.linear.weight[0,0]=linspace(-5,8,101)' \\
      --vary 'initial.linear.bias[0]=linspace(-5,8,101)'
  toyml sweep --config configs/rings_seeds.yaml --engine ray --address auto

An interrupted sweep goes on where it stopped when the same command is given again. Its folder,
runs/EXPERIMENT/sweep_<i>, holds table.parquet (one row per training), summary.json, report.html.
"""
ENGINES = ("local", "ray")
COLUMNS = ("replica", "seed", "steps", "outcome", "step", "loss")
COUNTS = ("outcomes", "rate", "threshold")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Raise.

        Raises:
            UserError: Always.
        """
        raise UserError(f"{message}; toyml sweep --help shows what there is")


def describe(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the options of ``sweep`` to a parser."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--config", "-c", action="append", metavar="FILE", help="the experiment; may be repeated")
    add("--seeds", metavar="N", help="number of seeds of the initial weights, or range(10,20)")
    add(
        "--vary",
        action="append",
        default=[],
        metavar="KEY=VALUES",
        help="a key of the config (init_args left out), or initial.<parameter>[i,j], and its "
        "values; may be repeated",
    )
    add("--part", type=int, metavar="N", help="most trainings in one program, and kept at a time")
    add(
        "--folder",
        type=Path,
        metavar="FOLDER",
        help="go on in this folder instead of the last interrupted one or a new one",
    )
    add("--engine", default="local", metavar="ENGINE", help="local (default) or ray")
    add("--address", metavar="HOST:PORT", help="a running Ray cluster; auto finds this machine's")
    add("--yes", action="store_true", help="train more than 100,000 if that many are asked for")
    add("--strict", action="store_true", help="exit with status 1 when a claim fails")
    return parser


def own_options() -> list[str]:
    """Names of the options that ``fit`` does not have."""
    parser = describe(argparse.ArgumentParser(add_help=False))
    return [o.removeprefix("--") for action in parser._actions for o in action.option_strings]


def sweep(words: Sequence[str]) -> Any:
    """Run a sweep, or go on with an interrupted one.

    Args:
        words: Words of the command line behind ``sweep``.

    Returns:
        The :class:`~toyml.sweep.folder.Sweep`.

    Raises:
        UserError: Something in the words or the config cannot be used.
        InterruptedFitError: Ctrl-C or SIGTERM.
        StrictError: ``--strict`` and a claim failed.
    """
    options, rest, own = split(words)
    vary = read_vary(options.vary)
    if options.engine not in ENGINES:
        raise UserError(f"engine {options.engine!r} is unknown; give {' or '.join(ENGINES)}")
    if options.address and options.engine != "ray":
        raise UserError(f"--address {options.address} is that of a Ray cluster; add --engine ray")

    from toyml.cli import InterruptedFitError
    from toyml.cli.trainer import complete_config
    from toyml.sweep.conduct import InterruptedSweepError, conduct, rehearse_sweep, terminable
    from toyml.sweep.folder import claim
    from toyml.sweep.local import Job
    from toyml.sweep.plan import make_plan
    from toyml.sweep.settings import read_settings

    config, root, name = complete_config(rest)
    section = dict(config.get("sweep") or {})
    asked = {"seeds": options.seeds, "part": options.part}
    section |= {key: value for key, value in asked.items() if value is not None}
    section["vary"] = {**(section.get("vary") or {}), **vary}
    for key, value in own.items():
        put(section, key.split("."), value)
    config["sweep"] = section
    settings = read_settings(section)
    plan = make_plan(config, settings.seeds, settings.vary, settings.part, options.yes)
    noted = reached(config, settings.noted, plan)
    threads = settings.threads or int(config.get("threads") or 1)
    job = Job(config, settings.outcomes, noted, threads)
    callbacks = chosen_callbacks(config, {v.key: v.values for v in plan.vary})
    engine = make_engine(options.engine, options.address)
    each = rehearse_sweep(plan, job)
    if section.get("part") is None:
        plan = plan.fitted(each)
    text = yaml.safe_dump(config, sort_keys=False)
    folder = claim(root, name, text, plan, options.folder)
    bar = bool((config.get("trainer") or {}).get("enable_progress_bar") is not False)
    try:
        with progress_bar(plan, bar) as watch:
            found = conduct(folder, plan, job, engine, watch)
    except InterruptedSweepError as error:
        raise InterruptedFitError(str(error)) from None
    try:
        with terminable():
            return report_sweep(found, callbacks, options.strict)
    except KeyboardInterrupt:
        raise InterruptedFitError(
            f"interrupted while drawing; the sweep is finished, and toyml report {folder} draws "
            "the rest"
        ) from None


def reached(config: dict[str, Any], noted: Sequence[int], plan: Any) -> tuple[int, ...]:
    """The steps to be noted that every training reaches."""
    lengths = [v.values for v in plan.vary if v.key == "trainer.max_steps"]
    shortest = min(lengths[0] if lengths else [int(config["trainer"]["max_steps"])])
    return tuple(step for step in noted if step <= shortest)


def report_sweep(found: Any, callbacks: Sequence[Any], strict: bool) -> Any:
    """Draw, judge and report a finished sweep.

    Raises:
        StrictError: ``strict`` and a claim failed.
    """
    from toyml.callbacks.after import work_through
    from toyml.cli.report import refuse_failures

    work_through(found, callbacks)
    if strict:
        refuse_failures(found)
    return found


def report_again(folder: Path, strict: bool = False, trust: bool = False) -> Any:
    """Draw, judge and report a sweep again from its folder; nothing is trained.

    Raises:
        UserError: The folder holds no finished table.
        StrictError: ``strict`` and a claim failed.
    """
    from polars.exceptions import PolarsError

    from toyml.callbacks.figure import ANY_NUMBERS
    from toyml.sweep.folder import Sweep

    found = Sweep(folder, trust=trust)
    see_outcomes(found)
    callbacks = chosen_callbacks(found.config, found.varied, trust)
    try:
        return report_sweep(found, callbacks, strict)
    except UserError:
        raise
    except (*ANY_NUMBERS, PolarsError) as error:
        # Columns of other kinds, or keys that they do not have: whatever comes of it.
        if os.environ.get("TOYML_TRACEBACK"):
            raise
        raise UserError(
            f"{folder} holds a table, a summary or settings that do not belong together "
            f"({type(error).__name__}: {error}); move table.parquet away, and the command that the "
            "sweep was started with makes it anew from what is kept"
        ) from error


def see_outcomes(found: Any) -> None:
    """See that a sweep's table and summary hold what every page of one shows.

    Raises:
        UserError: There is no table, or one of the two is damaged.
    """
    for name, held, needed in (
        ("table.parquet", found.table.columns if len(found.table) else (), COLUMNS),
        ("summary.json", found.summary, COUNTS),
    ):
        if missing := [key for key in needed if key not in held]:
            raise UserError(
                f"{found.folder / name} is damaged: it has no {missing[0]!r}; move it away, and "
                "the command that the sweep was started with makes it anew from what is kept"
            )


def chosen_callbacks(
    config: dict[str, Any], varied: Mapping[str, Any], trust: bool = True
) -> list[Any]:
    """The callbacks that the config's ``sweep:`` names, or those that draw what there is.

    Raises:
        UserError: A class cannot be found or refuses its settings.
    """
    from toyml.callbacks.sweep_report import SweepReport, default_figures
    from toyml.configured import instantiate

    named = (config.get("sweep") or {}).get("callbacks")
    if named is None:
        return [*default_figures(varied), SweepReport()]
    wrapped = {"trainer": {"callbacks": copy.deepcopy(named)}}
    found: list[Any] = instantiate(wrapped, ["callbacks"], "sweep", trust)["callbacks"]
    return found


def make_engine(name: str, address: str | None) -> Any:
    """The engine of this name.

    Raises:
        UserError: Ray is asked for and not installed.
    """
    if name == "ray":
        from toyml.sweep.cluster import Ray

        return Ray(address)
    from toyml.sweep.local import Local

    return Local()


def split(words: Sequence[str]) -> tuple[argparse.Namespace, list[str], dict[str, Any]]:
    """The options of ``sweep`` itself, the words that are those of ``fit``, and ``--sweep.KEY``.

    Raises:
        UserError: An option without its value.
    """
    parser = describe(Parser(prog="toyml sweep", allow_abbrev=False))
    takes = {o: a.nargs != 0 for a in parser._actions for o in a.option_strings}
    own: list[str] = []
    rest: list[str] = []
    section: dict[str, Any] = {}
    i = 0
    while i < len(words):
        name, sign, value = words[i].partition("=")
        if name.startswith("--sweep."):
            if not sign and i + 1 == len(words):
                raise UserError(f"{name} has no value")
            key = name.removeprefix("--sweep.")
            section[key] = yaml.safe_load(value if sign else words[i + 1])
            i += 1 if sign else 2
            continue
        if name not in takes:
            rest.append(words[i])
            i += 1
            continue
        count = 2 if takes[name] and not sign else 1
        # --config is fit's option too.
        (rest if name in ("--config", "-c") else own).extend(words[i : i + count])
        i += count
    return parser.parse_args(own), rest, section


def put(section: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Write a value into a nested mapping, in place."""
    for part in path[:-1]:
        inner = section.get(part)
        section[part] = dict(inner) if isinstance(inner, Mapping) else {}
        section = section[part]
    section[path[-1]] = value


def read_vary(given: Sequence[str]) -> dict[str, str]:
    """Values by key.

    Raises:
        UserError: One that is not KEY=VALUES, or a key twice.

    Example:
        >>> read_vary(["model.optimizer.lr=0.1,0.2"])
        {'model.optimizer.lr': '0.1,0.2'}
    """
    found: dict[str, str] = {}
    for text in given:
        key, sign, values = text.partition("=")
        if not sign or not key.strip():
            raise UserError(f"--vary {text} is not KEY=VALUES, such as model.optimizer.lr=0.1,0.2")
        if key.strip() in found:
            raise UserError(f"{key.strip()} is varied twice; give all its values at once")
        found[key.strip()] = values
    return found


@contextlib.contextmanager
def progress_bar(plan: Any, shown: bool) -> Iterator[Any]:
    """A bar of trainings done, with the time left, on standard error."""
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("trainings"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        refresh_per_second=5,
    ) as bar:
        task = bar.add_task("sweep", total=plan.replicas)
        yield lambda done, _: bar.update(task, completed=done)
