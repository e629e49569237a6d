"""Bad input: one line that names the value, no run folder, no trace-back."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from toyml.cli import main
from toyml.errors import DivergedError, UserError

PERCEPTRON = f"fit --config {ROOT}/configs/perceptron.yaml"

WRONG = [
    (f"{PERCEPTRON} --model.optimizer.lrr 3", "model.optimizer.lrr is 3: Option 'lrr' is not acc"),
    (f"{PERCEPTRON} --model.optimizer.lr abc", "model.optimizer.lr is abc: expected float"),
    (f"{PERCEPTRON} --model.optimizer.lr -1", "Invalid learning rate: -1.0"),
    (f"{PERCEPTRON} --model.optimizer.lr 0", "lr is 0.0; it has to be positive"),
    (f"{PERCEPTRON} --model.optimizer torch.optim.Foo", "model.optimizer is torch.optim.Foo"),
    (f"{PERCEPTRON} --model.net toyml.models.Foo", "toyml.models' has no attribute 'Foo'"),
    (f"{PERCEPTRON} --model.net.inputs abc", "model.net.inputs is abc: expected int"),
    (f"{PERCEPTRON} --model.net.inputs 3", "inputs of shape [2, 2]"),
    (f"{PERCEPTRON} --model.net.outputs 2", "output has shape [2, 2] but the targets have [2, 1]"),
    (
        f"{PERCEPTRON} --model.net.outputs 2 --model.loss torch.nn.MSELoss",
        "MSELoss would broadcast",
    ),
    (f"{PERCEPTRON} --model.net.output_activation null", "torch.nn.Identity"),
    (f"{PERCEPTRON} --model.loss torch.nn.Foo", "'torch.nn' has no attribute 'Foo'"),
    (f"{PERCEPTRON} --model.loss torch.nn.Linear", "model.loss"),
    (f"{PERCEPTRON} --trainer.max_steps 0", "trainer.max_steps is 0; give a positive number"),
    (f"{PERCEPTRON} --trainer.max_steps -5", "trainer.max_steps is -5"),
    (f"{PERCEPTRON} --trainer.max_steps -1", "would never end"),
    (f"{PERCEPTRON} --trainer.max_steps 1e4", "trainer.max_steps is 10000.0: expected int"),
    (f"{PERCEPTRON} --trainer.max_stps 5", "did you mean trainer.max_steps?"),
    (f"{PERCEPTRON} --trainer.precision 17", "trainer.precision is 17"),
    (f"{PERCEPTRON} --trainer.accelerator gpu", "leave it at auto"),
    (f"{PERCEPTRON} --trainer.logger.root /proc/no", "cannot make a run folder in /proc/no"),
    (f"{PERCEPTRON} --threads 0", "threads is 0"),
    (f"{PERCEPTRON} --data.labels [1,2]", "labels are [1.0, 2.0]; each has to be 0 or 1"),
    (f"{PERCEPTRON} --data.batch_size 0", "batch_size is 0"),
    (f"{PERCEPTRON} --data toyml.data.Moons --data.noise -1", "noise is -1.0"),
    (f"{PERCEPTRON} --data toyml.data.Moons --data.n 1", "n is 1"),
    (f"{PERCEPTRON} --ckpt_path last", "there is no checkpoint below runs/perceptron"),
    (f"{PERCEPTRON} --ckpt_path /no/such.ckpt", "/no/such.ckpt: there is no such file"),
    (f"{PERCEPTRON} --lr_scheduler StepLR", "unrecognized arguments: --lr_scheduler StepLR"),
    (f"{PERCEPTRON} --optimizer Adam", "unrecognized arguments: --optimizer Adam"),
    (f"{PERCEPTRON} --trainer.callbacks+=Timer", "for a time limit: --trainer.max_time"),
    (f"{PERCEPTRON} --trainer.logger false", "trainer.logger is off"),
    (f"{PERCEPTRON} --trainer.limit_train_batches 0", "the fit had no step to do"),
    (f"{PERCEPTRON} --trainer.accumulate_grad_batches 0", "accumulate_grad_batches is 0"),
    (f"{PERCEPTRON} --seed_everything -1", "-1 is not in bounds, numpy accepts from 0 to"),
    (f"{PERCEPTRON} --data null", "there is no data"),
    (f"{PERCEPTRON} --model.optimizer.lr .inf", "lr is inf"),
    (f"{PERCEPTRON} --model.loss torch.nn.CrossEntropyLoss", "is 0 whatever the weights are"),
    (f"{PERCEPTRON} --model.loss torch.nn.TripletMarginLoss", "TripletMarginLoss does not take"),
    (f"{PERCEPTRON} --model.loss torch.nn.ReLU", "ReLU does not take"),
    (f"{PERCEPTRON} --model.loss.reduction none", "where one number is needed"),
    (f"{PERCEPTRON} --model.net 2", "model.net is 2: expected a class path"),
    (f"{PERCEPTRON} --trainer.callbacks+=BatchSizeFinder", "set data.batch_size"),
    (f"{PERCEPTRON} --model.optimizer.lr [0.5]", "lr holds [0.5]; one number"),
    (f"{PERCEPTRON} --model.optimizer.weight_decay [1]", "weight_decay holds [1.0]"),
    (f"{PERCEPTRON} --model.optimizer.lr NaN", "expected float"),
    (f"{PERCEPTRON} --model.loss.weight abc", "model.loss.weight is abc"),
    (f"{PERCEPTRON} --model.loss.weight [[1],[1,2]]", "expected a number, or lists"),
    (f"{PERCEPTRON} --trainer.logger [toyml.logger.RunLoger]", "has no attribute 'RunLoger'"),
    (f"{PERCEPTRON} --trainer.logger.init_args [3]", "trainer.logger"),
    (f"{PERCEPTRON} --data.labels.2 1", "data.labels has 2 items, numbered from 0"),
    (f"{PERCEPTRON} --data.labels.-1 1", "data.labels has 2 items, numbered from 0"),
    (f"{PERCEPTRON} --data.labels.1 abc", "data.labels is [1, 'abc']: expected"),
    (f"{PERCEPTRON} --data.labels.1", "--data.labels.1 has no value"),
    (f"{PERCEPTRON} --data.seed.1 3", "the config has no 'data.seed.1'"),
    ("validate", "there is no model; give an experiment"),
    ("fit --config nope.yaml", "nope.yaml"),
    ("fit", "there is no model; give an experiment"),
    ("report nope", "nope is not a folder"),
    ("report .", "is not a run"),
    ("list nope", "nope is not a folder"),
]


MEANT = [
    (f"fit --config {ROOT}/configs/perceptrn.yaml", "configs/perceptron.yaml"),
    (f"validate --config {ROOT}/confgs/xor.yaml", "configs/xor.yaml"),
    (f"sweep --seeds 2 --config {ROOT}/configs/ring_seeds.yaml", "configs/rings_seeds.yaml"),
    (f"report {ROOT}/confgs", "configs"),
    (f"compare {ROOT}/confgs {ROOT}/tests", "configs"),
    (f"list {ROOT}/confgs", "configs"),
    (f"{PERCEPTRON} --model.net.output_activation torch.nn.Tnah", "torch.nn.Tanh"),
    (f"{PERCEPTRON} --model.net toyml.modls.MLP", "toyml.models"),
    (f"{PERCEPTRON} --model.net tomyl.models.MLP", "toyml"),
    (f"{PERCEPTRON} --data toyml.data.Mons", "toyml.data.Moons"),
    (f"{PERCEPTRON} --trainer.callbacks+=toyml.callbacks.Bondary", "toyml.callbacks.Boundary"),
    (f"{PERCEPTRON} --trainer.callbacks+=Bondary", "toyml.callbacks.Boundary"),
    (f"{PERCEPTRON} --model.loss MSELos", "torch.nn.MSELoss"),
    (f"{PERCEPTRON} --model.optimizer torch.optim.Adma", "torch.optim.Adam"),
    (f"{PERCEPTRON} --model.optimizer.momentm 0.3", "momentum"),
    (f"{PERCEPTRON} --model.net.inpts 3", "inputs"),
    (f"{PERCEPTRON} --modle.net.inputs 3", "model.net.inputs"),
    (f"{PERCEPTRON} --dta.labels [1,0]", "data.labels"),
    (f"{PERCEPTRON.replace('fit', 'test')} --trainer.max_stps 3", "trainer.max_steps"),
    (f"{PERCEPTRON.replace('fit', 'predict')} --data toyml.data.Mons", "toyml.data.Moons"),
    (f"{PERCEPTRON.replace('fit', 'sweep')} --seds 3", "seeds"),
    (f"{PERCEPTRON.replace('fit', 'sweep')} --model.net.inpts 3", "inputs"),
    (
        f"{PERCEPTRON.replace('fit', 'sweep')} --vary "
        "model.net.output_activation=torch.nn.Tnah,torch.nn.ReLU",
        "torch.nn.Tanh",
    ),
]


@pytest.mark.parametrize(
    ("words", "meant"), MEANT, ids=[w.replace(str(ROOT), "") for w, _ in MEANT]
)
def test_a_wrong_name_is_answered_with_the_one_that_was_meant(
    words: str, meant: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=rf"did you mean \S*{re.escape(meant)}\?$") as caught:
        main(shlex.split(words))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "meant"),
    [("trainer: {max_stps: 3}", "trainer.max_steps"), ("dtaa: {class_path: a.B}", "data")],
)
def test_a_wrong_key_in_a_file_is_answered_with_the_one_that_was_meant(
    content: str, meant: str
) -> None:
    Path("wrong.yaml").write_text(content)
    with pytest.raises(UserError, match=rf"did you mean {meant}\S*\?$"):
        main(shlex.split(f"{PERCEPTRON} --config wrong.yaml"))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("fitt --config a.yaml", "toyml: error: there is no command 'fitt'; did you mean fit?"),
        ("reprt runs", "toyml: error: there is no command 'reprt'; did you mean report?"),
        ("list --hlp", "toyml: error: unrecognized arguments: --hlp; did you mean --help?"),
    ],
)
def test_a_wrong_command_is_one_line(
    words: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(shlex.split(words))
    assert stop.value.code == 2
    assert capsys.readouterr().err == line + "\n"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("words", "message"), WRONG, ids=[w.split("/configs/")[-1] for w, _ in WRONG]
)
def test_one_line_and_nothing_left(words: str, message: str, tmp_path: Path) -> None:
    import torch

    if "accelerator gpu" in words and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(UserError) as caught:
        main(shlex.split(words))
    text = str(caught.value)
    assert message in text
    assert "\n" not in text
    assert len(text) < 500
    assert not list(tmp_path.iterdir()), "a run folder was left behind"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"model: [1, 2\n", "wrong.yaml is not readable as YAML: while parsing"),
        (b"", "wrong.yaml is not a config: it is empty"),
        (b"# nothing yet\n", "wrong.yaml is not a config: it is empty"),
        (b"- 1\n- 2\n", "wrong.yaml is not a config: it holds list"),
        (b"5", "wrong.yaml is not a config: it holds int"),
        (b"model: \xff\xfe\n", "wrong.yaml is not readable as YAML: it is not UTF-8"),
        (b"model: !!python/object/apply:os.getcwd []\n", "wrong.yaml is not readable as YAML"),
        (b"a: &a [*a, *a]\n", "wrong.yaml is not a config: its aliases unfold"),
    ],
)
@pytest.mark.parametrize("words", ["fit --config wrong.yaml", f"{PERCEPTRON} --config=wrong.yaml"])
def test_a_file_that_is_no_config_is_named(
    content: bytes, message: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "wrong.yaml").write_bytes(content)
    with pytest.raises(UserError) as caught:
        main(shlex.split(words))
    assert str(caught.value).startswith(message)
    assert [p.name for p in tmp_path.iterdir()] == ["wrong.yaml"]


def test_a_list_of_experiments_survives_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_bytes(b"# Why\xff?\n")
    (tmp_path / "right.yaml").write_text("# Why?\n")
    found = main(["list", str(tmp_path)])
    assert [e.name for e in found] == ["right", "wrong"]  # type: ignore[attr-defined]


def test_divergence_keeps_the_run_and_says_so(tmp_path: Path) -> None:
    words = (
        f"{PERCEPTRON} --model.loss torch.nn.MSELoss --model.optimizer.lr 100 "
        "--model.net.output_activation torch.nn.Identity --trainer.max_steps 3000"
    )
    page = "runs/perceptron/version_0/report.html"
    with pytest.raises(
        DivergedError,
        match=rf"at step \d+ .*smaller --model.optimizer.lr.*; {page} shows what there is",
    ):
        main(shlex.split(words))
    from toyml import Run

    run = Run.load("runs/perceptron/version_0")
    assert run.status.startswith("diverged at step")
    drawn = (run.folder / "report.html").read_text()
    assert "Diverged at step" in drawn
    assert "Try a learning rate below" in drawn
    assert 'id="answer"' not in drawn


def test_a_divergence_without_a_report_says_how_to_draw_one(tmp_path: Path) -> None:
    words = (
        f"{PERCEPTRON} --model.loss torch.nn.MSELoss --model.optimizer.lr 100 "
        "--model.net.output_activation torch.nn.Identity --trainer.max_steps 3000 "
        "--trainer.callbacks toyml.callbacks.Recorder"
    )
    with pytest.raises(DivergedError, match="; toyml report runs/perceptron/version_0 draws"):
        main(shlex.split(words))


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["report", "nope"], 2),
        (["list", str(ROOT / "configs")], 0),
        (["--version"], 0),
        (["--nope"], 2),
    ],
)
def test_exit_status(words: list[str], status: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "toyml", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    if status and words[0] == "report":
        assert done.stderr.startswith("toyml: error: nope")
        assert len(done.stderr.splitlines()) == 1


def test_a_bad_fit_exits_with_2_and_one_line() -> None:
    words = shlex.split(f"{PERCEPTRON} --model.optimizer.lr -1")
    done = subprocess.run(
        [sys.executable, "-m", "toyml", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if line] == [
        "toyml: error: optimizer: Invalid learning rate: -1.0; "
        "see the ranges in torch.optim's pages"
    ]


FAILS = """
import lightning.pytorch as pl
from toyml.errors import UserError

class Fails(pl.Callback):
    def __init__(self, process: int):
        self.process = process

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_rank == self.process and trainer.global_step > 2:
            raise UserError("this one is out of ink; refill it")
"""


@pytest.mark.slow
@pytest.mark.parametrize("process", [0, 1])
def test_an_error_in_one_of_two_processes_is_one_line_each(process: int, tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(FAILS)
    words = f"""{PERCEPTRON} --trainer.accelerator cpu --trainer.strategy ddp --trainer.devices 2
        --trainer.callbacks+=failing.Fails --trainer.callbacks.process={process}
        --trainer.enable_progress_bar=false"""
    done = subprocess.run(
        [sys.executable, "-m", "toyml", *shlex.split(words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("toyml: error:")]
    assert "toyml: error: this one is out of ink; refill it" in lines
    assert len(lines) == 2
    assert any("another process of this fit ended" in line for line in lines)
