"""A run folder from someone else is looked at without running anything it brings."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from torch import nn

from tests.conftest import ROOT
from toyml import Run
from toyml.cli import main
from toyml.configured import instantiate
from toyml.errors import UserError
from toyml.run import lookup
from toyml.trust import UntrustedError, restricted

HOSTILE = """
from pathlib import Path
import lightning.pytorch as pl
import torch
from toyml.callbacks import Figure
from toyml.data import TwoPoints
from toyml.models import Linear
from toyml.tasks import Supervised

(Path(__file__).parent / "was here").touch()

class Task(Supervised): ...
class Net(Linear): ...
class Data(TwoPoints): ...
class Loss(torch.nn.BCELoss): ...
class Watch(pl.Callback): ...
class Own(torch.optim.SGD): ...

class Drawn(Figure):
    def draw(self, run): raise NotImplementedError("drawn")

def optimizer(parameters) -> torch.optim.SGD: ...
def net() -> torch.nn.Linear: ...
"""
NET, LOSS = "model.init_args.net", "model.init_args.loss"
OPTIMIZER, CALLBACKS = "model.init_args.optimizer", "trainer.callbacks"
METRICS = "model.init_args.metrics"


def given(name: str, /, **settings: Any) -> dict[str, Any]:
    """A class path with its settings."""
    return {"class_path": name, "init_args": settings}


SHELL = given("subprocess.Popen", args="touch 'was here'", shell=True)
ATTACKS: list[tuple[str, Any, str]] = [
    ("model", "hostile.Task", "hostile.Task"),
    ("model", given("hostile.Task"), "hostile.Task"),
    ("model", '{"class_path": "hostile.Task"}', "hostile.Task"),
    ("data", "hostile.Data", "hostile.Data"),
    ("data", given("hostile.Data"), "hostile.Data"),
    (NET, "hostile.Net", "hostile.Net"),
    (NET, "hostile.net", "hostile.net"),
    (LOSS, "hostile.Loss", "hostile.Loss"),
    (LOSS, "toyml.data.memory.torch", "torch"),
    (LOSS, "torch.nn.utils.stateless.warnings", "torch.nn.utils.stateless.warnings"),
    (LOSS, given("torch.jit.ScriptModule"), "torch.jit.ScriptModule"),
    (LOSS, "lightning.pytorch.demos.boring_classes.BoringModel", "lightning.pytorch.demos"),
    (METRICS, {"a": given("torchmetrics.text.BERTScore")}, "torchmetrics.text.BERTScore"),
    (METRICS, {"a": "hostile.Loss"}, "hostile.Loss"),
    (OPTIMIZER, "hostile.optimizer", "hostile.optimizer"),
    (OPTIMIZER, "hostile.Own", "hostile.Own"),
    (OPTIMIZER, "os.system", "os.system"),
    (OPTIMIZER, "torch.load", "torch.load"),
    (OPTIMIZER, "torch.hub.load", "torch.hub.load"),
    (OPTIMIZER, "builtins.exec", "builtins.exec"),
    (OPTIMIZER, "jsonargparse.set_parsing_settings", "jsonargparse.set_parsing_settings"),
    (OPTIMIZER, SHELL, "subprocess.Popen"),
    (CALLBACKS, ["hostile.Watch"], "hostile.Watch"),
    (CALLBACKS, [given("hostile.Drawn", name="x")], "hostile.Drawn"),
    (CALLBACKS, '["hostile.Watch"]', "hostile.Watch"),
    (
        CALLBACKS,
        [given("toyml.callbacks.Replay", claims=[], steps=1, optimizer="hostile.optimizer")],
        "hostile.optimizer",
    ),
    (
        CALLBACKS,
        [given("toyml.callbacks.Verdicts", claims=[given("hostile.Watch")])],
        "hostile.Watch",
    ),
]
# What is never built: a logger, a callback of Lightning's, a dict in a setting that takes anything.
IGNORED: list[tuple[str, Any]] = [
    ("trainer.logger", given("hostile.Task")),
    ("trainer.plugins", ["hostile.Task"]),
    (CALLBACKS, [given("lightning.pytorch.callbacks.LambdaCallback", on_fit_end="os.system")]),
    (CALLBACKS, [given("lightning.pytorch.callbacks.ModelCheckpoint", dirpath="was here")]),
    (
        CALLBACKS,
        [given("toyml.callbacks.Verdicts", claims=[], given={"a": given("hostile.Task")})],
    ),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the perceptron without its figures."""
    folder = tmp_path_factory.mktemp("runs")
    part = folder / "bare.yaml"
    part.write_text("trainer:\n  max_steps: 12\n  callbacks: [toyml.callbacks.Recorder]\n")
    words = [f"--config={ROOT}/configs/perceptron.yaml", f"--config={part}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["toyml"])
        run = main(["fit", *words, f"--trainer.logger.root={folder}"])
    assert isinstance(run, Run)
    return run.folder


@pytest.fixture
def foreign(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it in a folder that holds a module of its maker's, where the user stands."""
    shutil.copytree(whole, tmp_path / "perceptron/version_0")
    (tmp_path / "hostile.py").write_text(HOSTILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "perceptron/version_0"
    sys.modules.pop("hostile", None)


def rewrite(folder: Path, key: str, value: Any) -> None:
    """Change a setting of a run's config."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    *path, last = key.split(".")
    place = config
    for part in path:
        place = place[part]
    place[last] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def files(folder: Path) -> dict[str, bytes]:
    """All files by name."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(("key", "value", "named"), ATTACKS, ids=lambda v: str(v)[:50])
def test_a_foreign_class_or_function_is_neither_imported_nor_called(
    key: str, value: Any, named: str, foreign: Path
) -> None:
    rewrite(foreign, key, value)
    before = files(foreign)
    with pytest.raises(UserError) as caught:
        main(["report", str(foreign)])
    line = str(caught.value)
    assert f"config.yaml names {named}" in line
    assert "--trust" in line
    assert "\n" not in line
    assert files(foreign) == before
    assert not Path("was here").exists()
    assert "hostile" not in sys.modules


@pytest.mark.parametrize(("key", "value"), IGNORED, ids=lambda v: str(v)[:50])
def test_what_no_report_needs_is_not_built(key: str, value: Any, foreign: Path) -> None:
    rewrite(foreign, key, value)
    main(["report", str(foreign)])
    assert not Path("was here").exists()
    assert "hostile" not in sys.modules


@pytest.mark.parametrize("value", ["other.yaml", "./other.yaml", "{there}/other.yaml"])
def test_a_config_cannot_pull_in_another_file(value: str, foreign: Path) -> None:
    Path("other.yaml").write_text("class_path: hostile.Net\n")
    rewrite(foreign, NET, value.format(there=Path.cwd()))
    with pytest.raises(UserError, match=r"net|other\.yaml"):
        Run.load(foreign).net  # noqa: B018
    assert not Path("was here").exists()


def test_the_same_from_python(foreign: Path) -> None:
    rewrite(foreign, NET, given("hostile.Net", inputs=2))
    run = Run.load(foreign)
    assert run.trajectory.steps[-1] == 12
    assert run.setting("model.net") == given("hostile.Net", inputs=2)
    for ask in (lambda: run.task, lambda: run.net, lambda: run.data):
        with pytest.raises(UntrustedError, match=r"hostile\.Net.*Run\.load\(folder, trust=True\)"):
            ask()
    assert not Path("was here").exists()


def test_with_trust_its_classes_are_built(foreign: Path) -> None:
    rewrite(foreign, NET, given("hostile.Net", inputs=2))
    rewrite(foreign, CALLBACKS, [given("hostile.Drawn", name="x"), "hostile.Watch"])
    run = main(["report", str(foreign), "--trust"])
    assert isinstance(run, Run)
    assert type(run.net).__module__ == "hostile"
    assert (foreign / "figures/x.json").exists()
    assert Path("was here").exists()  # so the other tests here would have seen it
    assert type(Run.load(foreign, trust=True).net).__name__ == "Net"


def test_compare_says_what_it_leaves_out_and_trust_brings_it(foreign: Path, whole: Path) -> None:
    rewrite(foreign, NET, given("hostile.Net", inputs=2, output_activation="torch.nn.Sigmoid"))
    found = main(["compare", str(whole), str(foreign)])
    assert not Path("was here").exists()
    assert any("hostile.Net" in word and "--trust" in word for word in found.left_out)  # type: ignore[attr-defined]
    found = main(["compare", str(whole), str(foreign), "--trust"])
    assert Path("was here").exists()
    assert list(found.left_out) == []  # type: ignore[attr-defined]


def test_a_fit_of_ones_own_classes_needs_no_word_of_trust(foreign: Path) -> None:
    words = ["fit", f"--config={ROOT}/configs/perceptron.yaml", "--model.net=hostile.Net"]
    words += ["--model.net.inputs=2", "--trainer.max_steps=3", "--trainer.callbacks=null"]
    run = main(words)
    assert run is None or isinstance(run, Run)
    assert Path("was here").exists()


# -- the allowlist -------------------------------------------------------------------------------


def shipped() -> list[Path]:
    return sorted(p for p in (ROOT / "configs").glob("*.yaml"))


def class_paths(value: Any) -> Iterator[str]:
    """All class paths in a config, and the words in it that look like one."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from class_paths(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from class_paths(inner)
    elif isinstance(value, str) and value.startswith(("torch.", "toyml.", "torchmetrics.")):
        yield value


@pytest.mark.parametrize("path", shipped(), ids=lambda p: p.stem)
def test_a_report_of_a_shipped_experiment_needs_no_trust(path: Path) -> None:
    config = yaml.safe_load(path.read_text())
    callbacks = config["trainer"].pop("callbacks+", None) or config["trainer"].get("callbacks")
    config["trainer"]["callbacks"] = callbacks
    built = instantiate(config, ("model", "data", "callbacks"), path.name)
    assert len(built["callbacks"]) == len(callbacks)
    assert set(class_paths(config)), "the search for class paths found none"


def test_the_restriction_ends_with_its_block_also_after_an_error() -> None:
    def module(value: str) -> Any:
        parser = ArgumentParser(exit_on_error=False)
        parser.add_argument("--a", type=nn.Module)
        return parser.instantiate_classes(parser.parse_object({"a": value})).a

    name = f"{__name__}.Mine"
    assert isinstance(module(name), Mine)
    with suppress(ZeroDivisionError), restricted():
        with pytest.raises(Exception, match="not allowed"):
            module(name)
        assert isinstance(module("torch.nn.ReLU"), nn.ReLU)
        raise ZeroDivisionError
    assert isinstance(module(name), Mine)


class Mine(nn.Module):
    """A module of this test's."""


def test_a_loaded_run_leaves_the_config_it_read_as_it_was(whole: Path) -> None:
    run = Run.load(whole)
    before = copy.deepcopy(run.config)
    assert run.net is not None
    assert run.config == before
    assert lookup(run.config, "model.net.inputs") == 2


# -- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../../evil", "/tmp/evil", "a/b", ".hidden", "", "a\x00b", "a\nb"]
)
def test_a_figures_name_stays_in_its_folder(name: str, foreign: Path) -> None:
    rewrite(foreign, CALLBACKS, [given("toyml.callbacks.Curves", name=name)])
    before = files(Path.cwd())
    with pytest.raises(UserError, match="a figure's name is that of its files"):
        main(["report", str(foreign)])
    assert files(Path.cwd()) == before


@pytest.mark.parametrize(
    "name", ["summary.json", "figures", "metrics.csv", "config.yaml", "trajectory/rows.bin", "x"]
)
def test_a_link_out_of_the_run_is_not_followed(name: str, foreign: Path, tmp_path: Path) -> None:
    path = foreign / name
    (tmp_path / "mine").mkdir()
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match=r"is a link to .*mine, outside the run.*--trust"):
        main(["report", str(foreign)])
    with pytest.raises(UserError, match="is a link to"):
        main(["compare", str(foreign), str(foreign)])
    assert not any((tmp_path / "mine").iterdir())


def test_a_link_within_the_run_or_with_trust_is_followed(foreign: Path, tmp_path: Path) -> None:
    (foreign / "also.csv").symlink_to("metrics.csv")
    Run.load(foreign)
    (foreign / "trajectory").rename(tmp_path / "disk")
    (foreign / "trajectory").symlink_to(tmp_path / "disk")
    assert Run.load(foreign, trust=True).trajectory.steps[-1] == 12
    away = tmp_path / "linked"
    (foreign / "trajectory").unlink()
    (tmp_path / "disk").rename(foreign / "trajectory")
    away.symlink_to(foreign)  # the run folder itself may be a link
    assert Run.load(away).trajectory.steps[-1] == 12


def test_a_pipe_is_refused_and_not_waited_for(foreign: Path) -> None:
    (foreign / "metrics.csv").unlink()
    os.mkfifo(foreign / "metrics.csv")
    with pytest.raises(UserError, match="neither a file nor a folder"):
        main(["report", str(foreign)])


def test_drafts_are_files_of_their_own(foreign: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    for name in ("summary.json.part", ".report.html.part", f".report.html.{os.getpid()}"):
        (foreign / name).symlink_to(tmp_path / "mine")
    main(["report", str(foreign), "--trust"])
    assert (tmp_path / "mine").read_text() == "precious"


class Bomb:
    """Pickled, it makes a file when it is loaded."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("was here").resolve(),))


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_a_checkpoint_is_loaded_without_pickle(command: str, foreign: Path) -> None:
    torch.save({"global_step": 3, "state_dict": {}, "loops": Bomb()}, "bomb.ckpt")
    words = [command, f"--config={ROOT}/configs/perceptron.yaml", "--ckpt_path=bomb.ckpt"]
    with pytest.raises(UserError, match=r"bomb\.ckpt is not a checkpoint of a fit"):
        main(words)
    assert not Path("was here").exists()
    torch.load("bomb.ckpt", weights_only=False)
    assert Path("was here").exists(), "the bomb is a dud, so nothing was tested"


def test_nothing_for_exchange_is_a_pickle(whole: Path) -> None:
    for path in sorted(p for p in whole.rglob("*") if p.is_file()):
        if path.suffix == ".ckpt":  # torch's own format, read with weights_only
            assert zipfile.is_zipfile(path)
            torch.load(path, weights_only=True)
        else:
            assert path.suffix in {".yaml", ".json", ".csv", ".bin", ".html", ".png", ".svg"}
            assert path.read_bytes()[:1] != pickle.PROTO


def test_a_module_in_the_working_folder_does_not_stand_in_for_an_installed_one(
    foreign: Path, tmp_path: Path
) -> None:
    for name in ("torch", "yaml", "lightning", "jsonargparse", "numpy", "rich", "argparse", "json"):
        (tmp_path / f"{name}.py").write_text("open('was here', 'w')\nraise SystemExit('taken')\n")
    entry = "import sys; sys.argv[0] = 'toyml'; from toyml.cli import console; sys.exit(console())"
    for words in (["-P", "-c", entry], ["-m", "toyml"]):
        done = subprocess.run(
            [sys.executable, *words, "report", str(foreign)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert done.returncode == 0, done.stderr
        assert not Path("was here").exists()


def test_no_other_python_is_started_to_read_a_config(foreign: Path) -> None:
    seen = "sys.addaudithook(lambda name, _: name == 'subprocess.Popen' and print('a child'))"
    entry = f"import sys; {seen}; from toyml.cli import console; sys.exit(console())"
    done = subprocess.run(
        [sys.executable, "-c", entry, "report", str(foreign)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert "a child" not in done.stdout


def test_a_name_that_is_half_a_formula_costs_its_figure_only(foreign: Path) -> None:
    report = given("toyml.callbacks.Report", question="Why?")
    rewrite(foreign, CALLBACKS, [given("toyml.callbacks.Curves"), report])
    (foreign / "metrics.csv").write_text("step,loss,$\\frac$\n0,0.7,1\n12,0.2,2\n")
    main(["report", str(foreign)])
    page = (foreign / "report.html").read_text()
    assert "The figure “curves” is left out: it cannot be drawn (ValueError" in page
