"""``fit``, ``validate``, ``test`` and ``predict``: LightningCLI with its pitfalls closed."""

from __future__ import annotations

import argparse
import copy
import io
import json
import logging
import os
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import Any, NoReturn

import lightning.pytorch as pl
import torch
import yaml
from jsonargparse import Namespace, dict_to_namespace
from jsonargparse.typing import register_type
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import LearningRateFinder
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

from toyml.callbacks.after import work_through
from toyml.cli import TRAINER_COMMANDS, InterruptedFitError
from toyml.config import read_config
from toyml.configured import in_precision
from toyml.engine import Interruption, TogetherError, between_updates, hold_back
from toyml.errors import DivergedError, UserError
from toyml.files import first_free, replace
from toyml.logger import RunLogger, next_version, run_folder, run_logger
from toyml.messages import did_you_mean, nearest, readable
from toyml.run import Run, lookup
from toyml.trust import find_stubs_here

DEFAULTS = Path(__file__).parent.parent / "defaults.yaml"
RUN_LOGGER = "toyml.logger.RunLogger"
RECORDER = "toyml.callbacks.Recorder"
LAST_CHECKPOINT = "toyml.callbacks.LastCheckpoint"
# Settings that may differ when a fit is continued in its own folder: they say how long and how
# it is watched, not what is computed.
FREE_ON_RESUME = (
    "trainer.max_steps",
    "trainer.max_time",
    "trainer.enable_progress_bar",
    "trainer.logger",
    "ckpt_path",
    "config",
)


class Section:
    """A part of a config taken as it stands; the parser would read ``a: b`` in its texts."""

    def __init__(self, values: Any) -> None:
        if not isinstance(values, dict):
            raise ValueError(f"{values!r} holds no settings")
        self.values = values


register_type(Section, serializer=lambda section: section.values, deserializer=Section)


class SaveConfig(SaveConfigCallback):
    """Write the complete config into the run folder, once the fit has passed its checks."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Nothing yet: a fit that fails its checks must not leave a folder behind."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write ``config.yaml``; an older one, of a fit continued here, is kept beside it."""
        folder = run_folder(trainer)
        if not trainer.is_global_zero:
            return
        config = copy.deepcopy(self.config)
        if (found := getattr(pl_module, "found_lr", None)) is not None:
            config["model.init_args.optimizer.init_args.lr"] = found
            print(
                f"toyml: LearningRateFinder found lr {found:.6g}; the fit and config.yaml take it"
            )
        elif any(
            isinstance(callback, LearningRateFinder)
            and callback.optimal_lr is not None
            and callback.optimal_lr.suggestion() is None
            for callback in trainer.callbacks  # type: ignore[attr-defined]
        ):
            print(
                "toyml: LearningRateFinder found no lr in so few steps; the fit takes the config's"
            )
        text = dump(self.parser, config)
        path = folder / "config.yaml"
        if path.exists() and path.read_text(encoding="utf-8") != text:
            # Written before the new one replaces it: a kill in between leaves both the same.
            replace(first_free(folder / "config.before_resume.yaml"), path.read_bytes())
        folder.mkdir(parents=True, exist_ok=True)
        replace(path, text)
        page = folder / "report.html"
        if page.exists():  # of the fit that is continued: it would call this one finished
            page.rename(first_free(folder / "report.before_resume.html"))


def dump(parser: LightningArgumentParser, config: Namespace) -> str:
    """The config as YAML that repeats this fit from its start."""
    config = copy.deepcopy(config)
    if "ckpt_path" in config:
        config.ckpt_path = None
    if (logger := own_logger(config.trainer)) is not None:
        logger.init_args.version = None
    # It was validated when it was parsed; to do so again would take three times as long.
    try:
        return str(parser.dump(config, skip_none=False, format="yaml", skip_validation=True))
    except yaml.YAMLError as error:
        raise UserError(
            f"a setting cannot be written to config.yaml, so nobody could repeat the fit: {error}; "
            "leave out the callback it belongs to (for a time limit: --trainer.max_time)"
        ) from error


def own_logger(trainer: Namespace) -> Namespace | None:
    """The settings of toyml's logger, which stands alone or in a list with others."""
    loggers = trainer.logger if isinstance(trainer.logger, list) else [trainer.logger]
    return next((log for log in loggers if getattr(log, "class_path", None) == RUN_LOGGER), None)


class BetweenSteps(pl.Callback):
    """Where a fit stops when Ctrl-C or SIGTERM asks for it: between two steps.

    Inside a block the engine stops by itself. Once training is over the signals act at once: what
    is drawn is written beside and renamed.
    """

    blockwise = True

    def __init__(self, held: Interruption) -> None:
        self.held = held

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stop before a batch: the one before it is done and counted.

        Raises:
            TogetherError: Somebody asked; with several processes all stop at the same step.
        """
        if not between_updates(trainer):
            return  # gradients of several batches are lost when it stops between them
        asked = self.held.asked
        if trainer.world_size > 1:
            asked = trainer.strategy.reduce_boolean_decision(asked, all=False)
        if asked:
            self.held.asked = True
            raise TogetherError

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Hold nothing back any more: the last row and the last checkpoint are written."""
        self.held.release()


def stop_together(trainer: pl.Trainer) -> None:
    """Leave it to :class:`BetweenSteps` to stop a fit on SIGTERM.

    Lightning's handler lets its loop break off behind a batch, before what belongs to the end of
    the epoch: no checkpoint can be written there. With several processes it sends a broadcast from
    wherever the process happens to be; where another is in the middle of a reduction, both wait
    for ever.
    """
    trainer._signal_connector._sigterm_notifier_fn = lambda *_: None  # type: ignore[method-assign]


def outlive_the_others(trainer: pl.Trainer) -> None:
    """Go on alone.

    Lightning's launcher looks every few seconds whether a process that it has started has failed,
    and then kills this one, too. An interrupted one has stopped as it should.
    """
    launcher = trainer.strategy.launcher
    if isinstance(launcher, _SubprocessScriptLauncher):
        launcher.procs.clear()


class ToymlCLI(LightningCLI):
    """LightningCLI in subclass mode for model and data, for one subcommand."""

    def __init__(self, words: Sequence[str]) -> None:
        self.command = words[0]
        self.words = config_first(words)
        self.first_step = 0
        self.result: object = None
        find_stubs_here()
        super().__init__(
            save_config_callback=SaveConfig,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            parser_kwargs={
                "prog": "toyml",
                "exit_on_error": False,
                "default_env": True,
                "env_prefix": "TOYML",
                self.command: {
                    "prog": f"toyml {self.command}",
                    "usage": f"toyml {self.command} --config EXPERIMENT.yaml [--KEY VALUE ...]",
                    "exit_on_error": False,
                    "default_config_files": [str(DEFAULTS)],
                    "description": TRAINER_COMMANDS[self.command],
                },
            },
            args=self.words,
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Only the one that was asked for: each parser takes 25 ms to build."""
        return {self.command: LightningCLI.subcommands()[self.command]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add our own settings."""
        parser.add_argument(
            "--threads",
            type=int,
            default=1,
            help="torch threads; one is fastest for toy sizes (two can be ten times slower)",
        )
        parser.add_argument(
            "--sweep",
            type=Section | None,
            default=None,
            help="seeds and settings for `toyml sweep`; fit trains one run and leaves it alone",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse; a config from the environment is one that is named first on the command line.

        The parser's own way with it loses the defaults that ``callbacks+`` appends to.
        """
        prefix = f"TOYML_{self.command}__".upper()
        path = os.environ.pop(f"{prefix}CONFIG", None)
        try:
            if path is not None:
                others = [
                    f"--{action.dest}={os.environ[name]}"  # they beat this file, as they did
                    for action in self._parser(self.command)._actions
                    if (name := prefix + action.dest.replace(".", "__").upper()) in os.environ
                ]
                args = [self.command, f"--config={path}", *others, *self.words[1:]]
            items, rest = item_options(args)
            if items:
                args = [*rest, *self._whole_lists(parser, rest, items)]
            super().parse_arguments(parser, args)
        finally:
            if path is not None:
                os.environ[f"{prefix}CONFIG"] = path  # the processes of DDP read it, too

    def _whole_lists(
        self, parser: LightningArgumentParser, words: Sequence[str], items: dict[str, Any]
    ) -> list[str]:
        """Options for the lists in which items were given: the parser takes whole ones only.

        Raises:
            UserError: The settings hold no such item.
        """
        from toyml.sweep.keys import find, outermost_list, override  # it brings polars

        super().parse_arguments(parser, [w for w in words if not w.startswith("--print_config")])
        config = yaml.safe_load(dump(self._parser(self.command), self.config[self.command]))
        changed = override(config, items)
        places = dict.fromkeys(outermost_list(config, key) for key in items)
        return [f"--{place}={json.dumps(find(changed, place))}" for place in places]

    def _parse_ckpt_path(self) -> None:
        # Lightning would let hyper-parameters stored in a checkpoint beat the command line.
        pass

    # -- before ------------------------------------------------------------------------------

    def before_instantiate_classes(self) -> None:
        """Check and complete the settings before anything is built."""
        config = self.config[self.command]
        self._check(config)
        torch.set_num_threads(config.threads)
        self._spare(config.trainer)
        in_precision(config, config.trainer.precision)
        ours = own_logger(config.trainer)
        if ours is not None and ours.init_args.experiment is None:
            ours.init_args.experiment = self._stem(config)
        self.root = None if ours is None else Path(ours.init_args.root)
        self.name = None if ours is None else ours.init_args.experiment
        if config.ckpt_path is not None:
            self._resume(config)
        if self.command != "fit":
            config.trainer.logger = False  # an evaluation makes no run folder
        else:
            dump(self._parser(self.command), config)  # what cannot be saved is an error now
            self.hint(config)

    def hint(self, config: Namespace) -> None:
        """Say that there is more to an experiment that is a sweep than the one run of a fit."""
        if config.sweep:
            paths = " ".join(f"--config {path}" for path in config.get("config") or [])
            print(
                f"toyml: this trains one run; toyml sweep {paths} trains all its seeds and settings"
            )

    def _check(self, config: Namespace) -> None:
        trainer = config.trainer
        listed = trainer.callbacks if isinstance(trainer.callbacks, list) else [trainer.callbacks]
        if any("BatchSizeFinder" in callback.class_path for callback in listed if callback):
            raise UserError(
                "BatchSizeFinder looks for the largest batch that fits into memory, and toyml's "
                "data are there as a whole; leave it out and set data.batch_size"
            )
        if trainer.accumulate_grad_batches < 1:
            raise UserError(
                f"trainer.accumulate_grad_batches is {trainer.accumulate_grad_batches}; "
                "it has to be at least 1"
            )
        if config.get("data") is None:
            raise UserError("there is no data; give an experiment, or --data toyml.data.TwoPoints")
        if config.threads < 1:
            raise UserError(f"threads is {config.threads}; it has to be at least 1")
        for key in ("max_steps", "max_epochs"):
            value = trainer[key]
            if value is not None and (value == 0 or value < -1):
                raise UserError(
                    f"trainer.{key} is {value}; give a positive number (or -1 for no limit)"
                )
        endless = trainer.max_steps == -1 and trainer.max_epochs in (None, -1)
        if self.command == "fit" and trainer.logger is False and not trainer.fast_dev_run:
            raise UserError(
                "trainer.logger is off, so the run would have no folder; leave it out, or try a "
                "fit that leaves nothing with --trainer.fast_dev_run true"
            )
        if self.command == "fit" and endless and not trainer.max_time and not trainer.fast_dev_run:
            raise UserError("the fit would never end; set --trainer.max_steps, for example 1000")
        if config.get("model") is None:
            raise UserError(
                f"there is no model; give an experiment: toyml {self.command} "
                "--config configs/perceptron.yaml"
            )

    def _spare(self, trainer: Namespace) -> None:
        """Leave out those of our defaults that another setting switches off.

        Our logger is there beside any other: the run folder is its own.
        """
        if trainer.logger is not False and own_logger(trainer) is None:
            init = dict_to_namespace({"root": "runs", "experiment": None, "version": None})
            ours = dict_to_namespace({"class_path": RUN_LOGGER, "init_args": init})
            given = trainer.logger if isinstance(trainer.logger, list) else [trainer.logger]
            others = [logger for logger in given if not isinstance(logger, bool | None)]
            trainer.logger = [ours, *others] if others else ours
        switched_off = {
            "toyml.callbacks.Progress": trainer.enable_progress_bar is False,
            LAST_CHECKPOINT: trainer.enable_checkpointing is False,
        }
        if isinstance(trainer.callbacks, list):
            trainer.callbacks = [
                callback
                for callback in trainer.callbacks
                if not switched_off.get(callback.class_path, False)
            ]
            for name in (RECORDER, LAST_CHECKPOINT):
                same = [c for c in trainer.callbacks if c.class_path == name]
                for callback in same[:-1]:  # the last one is the one that was asked for
                    trainer.callbacks.remove(callback)

    def _stem(self, config: Namespace) -> str:
        paths = config.get("config") or []
        return Path(str(paths[0])).stem if paths else "run"

    def _resume(self, config: Namespace) -> None:
        """Turn ``--ckpt_path last`` into a path, and continue in the old folder if it fits."""
        path, folder = config.ckpt_path, None
        if path in ("last", "best", "hpc", "registry"):
            if path != "last":
                raise UserError(f"ckpt_path {path!r} is not kept here; give 'last' or a file")
            if self.root is None or self.name is None:
                raise UserError("--ckpt_path last needs toyml's own logger; give the file's path")
            found = sorted(
                (self.root / self.name).glob("version_*/checkpoints/last.ckpt"),
                key=lambda p: version(p.parent.parent),
            )
            if not found:
                raise UserError(
                    f"--ckpt_path last: there is no checkpoint below {self.root / self.name}; "
                    "leave the option out to start from the beginning"
                )
            path, folder = str(found[-1]), found[-1].parent.parent
            config.ckpt_path = path
            if (newest := next_version(folder.parent) - 1) > version(folder):
                print(
                    f"toyml: continuing {folder}; version_{newest} has no checkpoint to continue "
                    "from"
                )
        elif not Path(path).is_file():
            raise UserError(f"--ckpt_path {path}: there is no such file")
        self.first_step = checkpoint_step(Path(path))
        beside = Path(path).resolve().parent.parent
        known = (beside / "config.yaml").exists()
        changed = self._changed(config, beside) if known else []
        refuse_another_net(path, changed)
        if self.command != "fit" or folder is None:
            return
        if not known:
            print(f"toyml: continuing {path} in a new run folder, because its config.yaml is gone")
        elif changed:
            old = "; ".join(f"{key} was {a}, is {b}" for key, a, b in changed[:3])
            print(f"toyml: continuing {path} in a new run folder, because {old}")
        else:
            run = Run(folder, trust=True)
            _ = run.summary, run.metrics  # what cannot be continued is left untouched
            logger = own_logger(config.trainer)
            assert logger is not None
            logger.init_args.version = version(folder)

    def _changed(self, config: Namespace, folder: Path) -> list[tuple[str, Any, Any]]:
        new = yaml.safe_load(dump(self._parser(self.command), config))
        old = Run(folder, trust=True).config
        keys = sorted(set(flat_keys(new)) | set(flat_keys(old)))
        pairs = [(key, lookup(old, key), lookup(new, key)) for key in keys]
        changed = [
            (key, a, b)
            for key, a, b in pairs
            if a != b and not any(key == k or key.startswith(k + ".") for k in FREE_ON_RESUME)
        ]
        # The settings of one class are none of another's.
        other = [key.removesuffix("class_path") for key, _, _ in changed if "class_path" in key]
        return [
            (key, a, b)
            for key, a, b in changed
            if not any(key.startswith(f"{place}init_args.") for place in other)
        ]

    # -- the commands ------------------------------------------------------------------------

    def fit(self, model: pl.LightningModule, **kwargs: Any) -> None:
        """Train; a fit that fails before its first step leaves no folder.

        Raises:
            InterruptedFitError: Ctrl-C or SIGTERM; what there is has been drawn.
        """
        with hold_back(signal.SIGINT, signal.SIGTERM) as held:
            self.trainer.callbacks.insert(0, BetweenSteps(held))  # type: ignore[attr-defined]
            stop_together(self.trainer)
            try:
                self.trainer.fit(model, **kwargs)
                self._see_that_it_ended()
            except BaseException as error:
                logger = run_logger(self.trainer)
                if logger is not None:
                    logger.discard_if_empty()
                # Lightning turns Ctrl-C into exit(1) and SIGTERM into an exit of its own; in the
                # middle of an import it becomes an ImportError.
                if held.asked and not isinstance(error, UserError):
                    self._report_interrupted(model, kwargs.get("datamodule"))
                if isinstance(error, Exception) and not isinstance(error, UserError):
                    see_checkpoint(error, kwargs.get("ckpt_path"))
                    see_scheduler(error, self.trainer.global_step)
                folder = None if logger is None else logger.claimed
                if isinstance(error, DivergedError) and folder and holds_snapshots(folder):
                    self._report_diverged(error, Run(folder, model, kwargs.get("datamodule")))
                raise
        if self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        folder = run_folder(self.trainer)
        if self.trainer.is_global_zero and (folder / "trajectory").is_dir():
            self.result = Run(folder, model, kwargs.get("datamodule"))

    def _see_that_it_ended(self) -> None:
        """A fit that had nothing to do is no success."""
        trainer = self.trainer
        step = trainer.global_step
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        if step == self.first_step:
            raise UserError(
                f"the fit had no step to do: it stands at step {step}, trainer.max_steps is "
                f"{trainer.max_steps}; raise it, or loosen max_time and limit_train_batches"
            )

    def _report_interrupted(self, model: pl.LightningModule, datamodule: Any) -> NoReturn:
        """Draw what there is of a fit that was stopped; a second signal leaves that, too."""
        trainer = self.trainer
        words = f"interrupted at step {trainer.global_step}"
        if not trainer.is_global_zero:
            raise InterruptedFitError(f"{words} (process {trainer.global_rank})")
        outlive_the_others(trainer)
        logger = run_logger(trainer)
        folder = run_folder(trainer) if logger is None else logger.claimed
        if folder is None or not holds_snapshots(folder):
            raise InterruptedFitError("interrupted before the first step; nothing was recorded")
        drawn = f"toyml report {folder} draws"
        try:
            run = Run(folder, model, datamodule)
            if run.finished:
                raise InterruptedFitError(
                    f"interrupted while drawing; the fit is finished, and {drawn} the rest"
                )
            if (folder / "checkpoints" / "last.ckpt").exists():
                words += "; --ckpt_path last goes on"
            print(
                f"toyml: interrupted at step {trainer.global_step}; drawing what there is "
                "(Ctrl-C again stops at once)",
                file=sys.stderr,
            )
            work_through(run, trainer.callbacks)  # type: ignore[attr-defined]
        except KeyboardInterrupt:
            words += f"; {drawn} what there is"
        raise InterruptedFitError(words)

    def _report_diverged(self, error: DivergedError, run: Run) -> NoReturn:
        """Draw what there is of a fit that diverged, and name its page in the line that ends it."""
        words = f"{error}; toyml report {run.folder} draws what there is"
        if self.trainer.is_global_zero:
            page = run.folder / "report.html"
            with suppress(KeyboardInterrupt, UserError):  # the line then says how to draw it
                work_through(run, self.trainer.callbacks)  # type: ignore[attr-defined]
                if page.exists():
                    words = f"{error}; {page} shows what there is"
        raise DivergedError(words, error.step) from error

    def validate(self, model: pl.LightningModule, **kwargs: Any) -> None:
        """Evaluate on held-out data."""
        self.result = self.trainer.validate(model, **kwargs)

    def test(self, model: pl.LightningModule, **kwargs: Any) -> None:
        """Evaluate on test data."""
        self.result = self.trainer.test(model, **kwargs)

    def predict(self, model: pl.LightningModule, **kwargs: Any) -> None:
        """Print the predictions."""
        self.result = self.trainer.predict(model, **kwargs)
        for batch in self.result or []:
            for row in torch.as_tensor(batch).tolist():
                print(" ".join(f"{value:.9g}" for value in row))


def version(folder: Path) -> int:
    """The number of a run folder ``version_<i>``."""
    return int(re.sub(r"\D", "", folder.name) or 0)


def checkpoint_step(path: Path) -> int:
    """The step a checkpoint was saved at.

    Raises:
        UserError: The file is no checkpoint.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle it is
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        for key in ("state_dict", "optimizer_states", "loops", "pytorch-lightning_version"):
            checkpoint[key]
        return int(checkpoint["global_step"])
    except Exception as error:  # torch.load raises what its readers happen to raise
        raise UserError(f"{path} is not a checkpoint of a fit ({type(error).__name__})") from error


def holds_snapshots(folder: Path) -> bool:
    """Whether there is a trajectory to draw."""
    return (folder / "trajectory" / "layout.json").is_file()


def see_checkpoint(error: Exception, path: Any) -> None:
    """See whether it was Lightning's reading of a checkpoint that an error came from.

    Raises:
        UserError: It was: the file holds the keys of a checkpoint, and not their values.
    """
    if "checkpoint_connector.py" in files(error):
        words = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"{path} is damaged, and no fit can go on from it ({words}); start anew without "
            "--ckpt_path"
        ) from error


def see_scheduler(error: Exception, step: int) -> None:
    """See whether an error came from a schedule that a fit outlasts, which only the clock ends.

    Raises:
        UserError: It did.
    """
    if files(error)[-1] == "lr_scheduler.py":
        words = " ".join(str(error).split())
        raise UserError(
            f"model.lr_scheduler ends at step {step} ({words}); let it last as long as the fit, or "
            "set trainer.max_steps"
        ) from error


def files(error: Exception) -> list[str]:
    """Names of the source files that an error came through, the outermost first."""
    return [Path(frame.filename).name for frame in traceback.extract_tb(error.__traceback__)]


def refuse_another_net(path: str, changed: Sequence[tuple[str, Any, Any]]) -> None:
    """See that a checkpoint's weights and optimizer state fit what the settings ask for.

    Raises:
        UserError: They belong to another net, optimizer or precision.
    """
    fixed = ("model.init_args.net", "model.init_args.decay_bias", "trainer.precision")
    for key, old, new in changed:
        if key.startswith(fixed) or key == "model.init_args.optimizer.class_path":
            name = key.replace("init_args.", "")
            raise UserError(
                f"{path} was saved with {name} = {old}, and now it is {new}; leave it as it was, "
                "or start anew without --ckpt_path"
            )


class Settled(ToymlCLI):
    """The command line of ``fit`` up to its complete config; nothing is built or trained."""

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__(["fit", *words])
        settings = self.config["fit"]
        if settings.ckpt_path is not None:
            raise UserError("a sweep has no checkpoint to go on from; leave --ckpt_path out")
        if self.root is None or self.name is None:
            raise UserError("a sweep needs toyml's own logger for its folder; leave trainer.logger")
        self.complete: dict[str, Any] = yaml.safe_load(dump(self._parser("fit"), settings))

    def hint(self, config: Namespace) -> None:
        """Nothing: this is the sweep."""

    def instantiate_classes(self) -> None:
        """Nothing."""

    def after_instantiate_classes(self) -> None:
        """Nothing."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Nothing."""


def complete_config(words: Sequence[str]) -> tuple[dict[str, Any], Path, str]:
    """The complete config that the words of a ``fit`` ask for.

    Returns:
        The config, the folder of all runs and the experiment's name.

    Raises:
        UserError: Anything in the words or the config that cannot be used.
    """
    from toyml.cli.sweep import own_options

    with quiet(), one_line(own_options()):
        settled = Settled(words)
    assert settled.root is not None
    assert settled.name is not None
    return settled.complete, settled.root, settled.name


def run_trainer(words: Sequence[str]) -> object:
    """Run one of Lightning's subcommands; ``fit`` returns the :class:`~toyml.run.Run`.

    Raises:
        UserError: Anything in the words, the config or the settings that cannot be used.
    """
    with quiet(), one_line():
        try:
            return ToymlCLI(words).result
        except (UserError, argparse.ArgumentError, ValueError, TypeError, RecursionError):
            named = os.environ.get(f"TOYML_{words[0]}__CONFIG".upper(), "")
            for path in config_files([*words, f"--config={named}"]):
                read_config(path)  # a file that is no config explains the error better
            raise


# What Lightning says about every fit here and nobody can act upon: a block is a batch, so there
# are fewer batches than steps; nothing is held out, and a task need not look at it; its own call of
# a deprecated torch function; an evaluation has no logger; a checkpoint between blocks holds the
# state after global_step updates, as it should; LastCheckpoint brings a loader to its batch; the
# words of the command line are handed over sorted (sys.argv stays as it is, because DDP starts its
# processes with it).
NOISE = (
    ".*LightningCLI's args parameter is intended to run from within Python.*",
    ".*does not have many workers.*",
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*number of training batches .* is smaller than the logging interval.*",
    ".*Total length of `list` across ranks is zero.*",
    ".*You passed in a `val_dataloader` but have no `validation_step`.*",
    ".*You defined a `validation_step` but have no `val_dataloader`.*",
    ".*You called `self.log.*but have no logger configured.*",
    ".*your dataloader is not resumable.*",
    ".*Using ModelCheckpoint with manual optimization and every_n_train_steps.*",
    ".*isinstance\\(treespec, LeafSpec\\).*",
)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's notes on the machine and on data loaders out of the terminal."""
    logs = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in NOISE:
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def nearest_option(word: str, known: Sequence[str]) -> str:
    """A hint with the option meant; below ``model`` and ``data`` with its first part alone."""
    known = [key for key in known if not key.endswith(".help")]
    first, dot, rest = word.partition(".")
    begins = {key.split(".")[0] for key in known}
    meant = first if first in begins else nearest(first, begins)
    if meant != first and meant in ("model", "data"):
        return f"; did you mean {meant}{dot}{rest}?"
    return did_you_mean(f"{meant or first}{dot}{rest}", known)


@contextmanager
def one_line(others: Sequence[str] = ()) -> Iterator[None]:
    """Turn what the parser, the classes and Lightning raise about a setting into a UserError.

    Args:
        others: Names of options beside those of ``fit``.
    """
    try:
        yield
    except UserError:
        raise
    except (argparse.ArgumentError, MisconfigurationException, ValueError, TypeError) as error:
        if isinstance(error, TypeError | ValueError) and not _from_settings(error):
            raise
        message = readable(str(error))
        if unknown := re.match(r"unrecognized arguments: --([^\s=]+)", message):
            message += nearest_option(unknown[1], [*known_options(), *others])
        if unknown := re.search(r"does not accept option '([^']+)'", message):
            message = f"there is no setting {unknown[1]}" + nearest_option(
                unknown[1], known_options()
            )
        raise UserError(message) from error
    except RuntimeError as error:
        if "closed by peer" not in str(error) and "reset by peer" not in str(error):
            raise
        raise UserError(
            "another process of this fit ended, and this one with it; the line of that one says why"
        ) from error
    except ImportError as error:
        raise UserError(f"{error}; is the package it belongs to installed?") from error
    except FileNotFoundError as error:
        raise UserError(f"{error.filename or error}: there is no such file") from error


def _from_settings(error: BaseException) -> bool:
    """Whether an error comes from reading or building what was configured, not from running it."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_name in ("parse_arguments", "_set_seed", "instantiate_classes"):
            return True
        trace = trace.tb_next
    return False


def config_first(words: Sequence[str]) -> list[str]:
    """Move ``--config`` to the front: an option that needs its classes may then stand anywhere."""
    command, rest = words[0], list(words[1:])
    configs: list[str] = []
    others: list[str] = []
    i = 0
    while i < len(rest):
        if rest[i] in ("--config", "-c") and i + 1 < len(rest):
            configs += [rest[i], rest[i + 1]]
            i += 2
            continue
        (configs if rest[i].startswith("--config=") else others).append(rest[i])
        i += 1
    return [command, *configs, *others]


ITEM = re.compile(r"--([^=]+\.-?\d+(?:\.[^=]+)?)(?:=(.*))?", re.DOTALL)
"""An option for one item of a list, such as ``--model.net.widths.1``, perhaps with its value."""


def item_options(words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Values by key of the options for items of lists, and the other words.

    Raises:
        UserError: One without a value.

    Example:
        >>> item_options(["fit", "--model.net.widths.1", "7", "--trainer.max_steps=9"])
        ({'model.net.widths.1': 7}, ['fit', '--trainer.max_steps=9'])
    """
    items: dict[str, Any] = {}
    others: list[str] = []
    rest = iter(words)
    for word in rest:
        found = ITEM.fullmatch(word)
        if found is None:
            others.append(word)
            continue
        text = next(rest, None) if found[2] is None else found[2]
        if text is None or text.startswith("--"):
            raise UserError(f"--{found[1]} has no value")
        try:
            items[found[1]] = json.loads(text)
        except ValueError:
            items[found[1]] = yaml.safe_load(text)
    return items, others


def config_files(words: Sequence[str]) -> Iterator[Path]:
    """The files that ``--config`` names; it also takes YAML itself."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name = following if word in ("--config", "-c") else word.removeprefix("--config=")
        if name not in ("", word) and os.path.isfile(name):  # noqa: PTH113 - any text is asked
            yield Path(name)


def flat_keys(config: Any, prefix: str = "") -> Iterator[str]:
    """Dotted keys of all leaves of a config."""
    items: Any = ()
    if isinstance(config, dict):
        items = config.items()
    elif isinstance(config, list):
        items = enumerate(config)
    if not items:
        yield prefix[:-1]
    for key, value in items:
        yield from flat_keys(value, f"{prefix}{key}.")


def known_options() -> list[str]:
    """Names of the options of ``fit`` that do not depend on the classes chosen."""
    return [option.removeprefix("--") for option, _ in option_strings("fit")]


def option_strings(command: str) -> list[tuple[str, str]]:
    """Every ``--option`` of a subcommand and its help."""
    cli = ToymlCLI.__new__(ToymlCLI)
    cli.command = command
    cli.trainer_defaults, cli.seed_everything_default = {}, 0
    cli.trainer_class, cli.parser_class = pl.Trainer, LightningArgumentParser
    cli.model_class = cli.datamodule_class = None
    cli._model_class, cli._datamodule_class = pl.LightningModule, pl.LightningDataModule
    cli.subclass_mode_model = cli.subclass_mode_data = True
    cli.auto_configure_optimizers = False
    with redirect_stderr(io.StringIO()):
        cli.setup_parser(True, {}, {})
    parser = cli._subcommand_parsers[command]
    return [
        (option, action.help or "")
        for action in parser._actions
        for option in action.option_strings
        if option.startswith("--") and not option.startswith("--help") and "+" not in option
    ]


__all__ = ["RunLogger", "ToymlCLI", "run_trainer"]
