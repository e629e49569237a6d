"""The command line: ``toyml fit``, ``report``, ``list`` and their kin.

This module answers ``--help``, ``--version`` and ``list`` by itself; torch and Lightning are
imported only by a command that needs them, because they take seconds.
"""

from __future__ import annotations

import argparse
import atexit
import errno
import io
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from toyml import __version__
from toyml.errors import UserError
from toyml.files import cache_home, open_private
from toyml.messages import did_you_mean
from toyml.terminal import plain

TRAINER_COMMANDS = {
    "fit": "train an experiment, draw it and write its report",
    "validate": "evaluate on held-out data",
    "test": "evaluate once on test data",
    "predict": "print the predictions on the data",
}
TRUST = (
    "build the classes that the run's config names, whatever they are: for your own classes, or a "
    "run whose maker you trust (without it, only toyml's and torch's are built)"
)
EPILOG = """\
examples:
  toyml list
  toyml fit --config configs/perceptron.yaml
  toyml fit --config configs/perceptron.yaml --model.optimizer.lr 0.5 --trainer.max_steps 10000
  toyml fit --config configs/perceptron.yaml --print_config
  toyml sweep --config configs/rings_seeds.yaml
  toyml report runs/perceptron/version_0 --strict
  toyml compare runs/perceptron/version_0 runs/perceptron/version_1

Each command explains itself: toyml fit --help, toyml sweep --help, toyml report --help.
"""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and what was meant, and exit."""
        if found := re.search(r"invalid choice: '([^']*)' \(choose from ", message):
            given = found[1]
            known = (
                [*(self._subparsers._group_actions[0].choices or ())] if self._subparsers else []
            )
            message = f"there is no command {given!r}" + (
                did_you_mean(given, known) or f"; there are {', '.join(known)}"
            )
        elif found := re.search(r"unrecognized arguments: (\S+)", message):
            message += did_you_mean(found[1].split("=")[0], self._option_string_actions)
        self.exit(2, f"{self.prog}: error: {message}\n")


def front() -> argparse.ArgumentParser:
    """The parser of the main level and of the commands that are not Lightning's."""
    parser = Parser(
        prog="toyml",
        description="A laboratory for training dynamics: one YAML file is one experiment.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"toyml {__version__}")
    parser.add_argument(
        "--print_completion",
        choices=("bash", "zsh", "tcsh"),
        metavar="SHELL",
        help="print a completion script for bash, zsh or tcsh and exit",
    )
    commands = parser.add_subparsers(dest="command", metavar="command")
    for name, text in TRAINER_COMMANDS.items():
        commands.add_parser(name, help=text, add_help=False)
    commands.add_parser(
        "sweep",
        help="train from many seeds and settings at once, and say what became of each",
        add_help=False,
    )
    report = commands.add_parser(
        "report",
        help="draw a run's figures and report again, without training",
        description="Draw every figure, judge every claim and write report.html again from what "
        "the run folder holds. The run itself is not trained again.",
    )
    report.add_argument("run", type=Path, help="run folder, such as runs/perceptron/version_0")
    report.add_argument(
        "--strict", action="store_true", help="exit with status 1 when a claim fails"
    )
    report.add_argument("--trust", action="store_true", help=TRUST)
    compare = commands.add_parser(
        "compare",
        help="say in what runs differ, and where they part",
        description="Compare runs: the settings that differ, loss curves and paths on shared axes, "
        "end values, the first step at which the parameters part. Nothing is trained.",
    )
    compare.add_argument(
        "runs", nargs="+", type=Path, metavar="run", help="run folders, two or more"
    )
    compare.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="where comparison.html goes (default: comparisons/<run>-<run>)",
    )
    compare.add_argument("--trust", action="store_true", help=TRUST)
    listing = commands.add_parser(
        "list",
        help="show the experiments: name, question, command",
        description="A table of the experiments in a folder: name, the question each answers, "
        "and the command that runs it.",
    )
    listing.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path("configs"),
        help="folder of configs (default: %(default)s)",
    )
    return parser


def main(args: Sequence[str] | None = None) -> object:
    """Run a command line from Python.

    Args:
        args: Words of the command line without the program's name; ``None`` takes ``sys.argv``.

    Returns:
        ``fit`` and ``report``: the :class:`~toyml.run.Run`. ``validate`` and ``test``: the list of
        metrics. ``predict``: the predictions. ``sweep``: the
        :class:`~toyml.sweep.folder.Sweep`. ``list``: the experiments. ``compare``: the
        :class:`~toyml.cli.compare.Comparison`.

    Raises:
        UserError: Something in the input cannot be used; one line says what and the way out.
        SystemExit: After ``--help`` and ``--version``, and for words argparse does not know.
    """
    words = list(sys.argv[1:] if args is None else args)
    if words and words[0] in (*TRAINER_COMMANDS, "sweep", "report", "compare"):
        settle_matplotlib()
    if words and words[0] in TRAINER_COMMANDS:
        from toyml.cli.trainer import run_trainer

        return run_trainer(words)
    if words and words[0] == "sweep":
        from toyml.cli.sweep import sweep

        return sweep(words[1:])
    parser = front()
    options = parser.parse_args(words)
    if options.print_completion:
        from toyml.cli.completion import completion

        print(completion(options.print_completion))
        return None
    if options.command == "list":
        from toyml.cli.experiments import show_experiments

        return show_experiments(options.folder)
    if options.command == "report":
        from toyml.cli.report import report

        return report(options.run, options.strict, options.trust)
    if options.command == "compare":
        from toyml.cli.compare import compare

        return compare(options.runs, options.out, options.trust)
    parser.print_help()
    return None


notes: list[str] = []
"""What is said at the end of a command that did what it was asked to."""


def settle_matplotlib() -> None:
    """Let matplotlib read settings and fonts only from where nobody else can put others.

    It looks for them when it is imported; where it would look in a folder that another user may
    write to, it gets a temporary one.
    """
    if "matplotlib" in sys.modules:
        return
    given = os.environ.get("MPLCONFIGDIR")
    try:
        if given:
            places = [Path(given)]
        elif sys.platform.startswith(("linux", "freebsd")):
            config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111
            places = [cache_home() / "matplotlib", Path(config) / "matplotlib"]
        else:
            places = [Path(os.path.expanduser("~/.matplotlib"))]  # noqa: PTH111
        for place in places:
            os.close(open_private(place.absolute()))
            if not os.access(place, os.W_OK):
                raise PermissionError(errno.EACCES, "it cannot be written to", str(place))
    except OSError as error:
        folder = tempfile.mkdtemp(prefix="matplotlib-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["MPLCONFIGDIR"] = folder
        notes.append(
            f"matplotlib's settings are not read and its fonts not kept ({error.filename}: "
            f"{error.strerror}); set MPLCONFIGDIR to a folder that only you can write to"
        )


def console() -> int:
    """Entry point of ``toyml`` and ``python -m toyml``: errors become one line and a status."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a letter shows a question mark instead of a trace-back.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if "" not in sys.path:
        # Classes beside the config are found, behind all that is installed: a folder from someone
        # else may hold a torch.py.
        sys.path.append("")
    ctrl_c = CtrlC()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, ctrl_c.note)
    try:
        code = ended(ctrl_c)
    except KeyboardInterrupt:
        code = 130  # somebody in a hurry, while the line about the first one was written
    # What Python still has to do ends by itself; broken off, it would complain.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    return code


def ended(ctrl_c: CtrlC) -> int:
    """The exit status of the command line, after its line if it ended in an error."""
    notes.clear()
    try:
        main()
        for note in notes:  # an error is one line, and this would be a second
            print(f"toyml: {plain(note)}", file=sys.stderr)
    except InterruptedFitError as error:
        print(f"toyml: {plain(error)}", file=sys.stderr)
        return 130
    except BaseException as error:
        if ctrl_c.came or isinstance(error, KeyboardInterrupt):
            return 130
        return status(error)
    return 0


class CtrlC:
    """Whether Ctrl-C came: in the middle of an import it becomes an ImportError, or anything."""

    came = False

    def note(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal."""
        self.came = True
        raise KeyboardInterrupt


def status(error: BaseException) -> int:
    """The exit status of an error, after its line; what is nobody's to mend is raised again."""
    if isinstance(error, BrokenPipeError):
        # The reader (head, less) has seen enough; Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if isinstance(error, StrictError):
        print(f"toyml: {plain(error)}", file=sys.stderr)
        return 1
    if isinstance(error, UserError | OSError) and not os.environ.get("TOYML_TRACEBACK"):
        print(f"toyml: error: {plain(' '.join(str(error).split()))}", file=sys.stderr)
        return 2
    raise error


class InterruptedFitError(Exception):
    """A fit was stopped by Ctrl-C or by SIGTERM; what was recorded is kept."""


class StrictError(Exception):
    """A claim failed and ``--strict`` asked for a non-zero exit."""
