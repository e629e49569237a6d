"""The commands do what their help says."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from tests.conftest import ROOT, plain_loop
from toyml import Run, cli
from toyml.cli import StrictError, main
from toyml.errors import UserError
from toyml.run import lookup
from toyml.views import boundary_view

CONFIG = f"{ROOT}/configs/perceptron.yaml"
# The same training without figures, for tests that are not about them.
BARE = """\
trainer:
  callbacks:
    - class_path: toyml.callbacks.Progress
    - class_path: toyml.callbacks.LastCheckpoint
    - class_path: toyml.callbacks.Recorder
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def bare(words: str = "") -> Run:
    Path("bare.part").write_text(BARE)
    return fit(f"--config bare.part {words}")


def fit(words: str = "") -> Run:
    run = main(["fit", "--config", CONFIG, *shlex.split(words)])
    assert isinstance(run, Run)
    return run


def test_fit_leaves_a_complete_run_and_nothing_else(tmp_path: Path) -> None:
    run = fit()
    assert str(run.folder) == "runs/perceptron/version_0"
    names = {p.name for p in run.folder.iterdir()}
    assert names >= {"config.yaml", "trajectory", "metrics.csv", "checkpoints", "figures"}
    assert names >= {"summary.json", "report.html"}
    assert run.finished
    assert [p.name for p in tmp_path.iterdir()] == ["runs"], "no config.yaml in the working folder"
    assert len(run.trajectory) == 102


def test_a_second_fit_gets_a_folder_of_its_own() -> None:
    first, second = bare("--trainer.max_steps 5"), bare("--trainer.max_steps 5")
    assert (first.folder.name, second.folder.name) == ("version_0", "version_1")
    assert np.array_equal(first.trajectory.parameters.flat, second.trajectory.parameters.flat)


def test_running_the_saved_config_again_gives_the_same_bits() -> None:
    first = bare("--model.optimizer.lr 0.3 --trainer.max_steps 40")
    again = main(["fit", "--config", str(first.folder / "config.yaml")])
    assert isinstance(again, Run)
    assert again.folder.parent == first.folder.parent
    assert np.array_equal(first.trajectory.parameters.flat, again.trajectory.parameters.flat)
    a, b = (yaml.safe_load((r.folder / "config.yaml").read_text()) for r in (first, again))
    assert a == b


@pytest.mark.parametrize(
    "settings",
    [
        "",
        "--model.optimizer torch.optim.Adam --model.optimizer.lr 0.1",
        "--model.optimizer.momentum 0.9",
        "--data toyml.data.Moons --data.batch_size 32 --model.optimizer.momentum 0.9",
        "--model.lr_scheduler torch.optim.lr_scheduler.CosineAnnealingLR "
        "--model.lr_scheduler.T_max 90",
    ],
)
def test_resume_is_bit_equal(settings: str) -> None:
    settings += " --data.block_size 30"
    whole = bare(settings + " --trainer.max_steps 91")
    bare(settings + " --trainer.logger.experiment b --trainer.max_steps 44")
    joined = bare(
        settings + " --trainer.logger.experiment b --trainer.max_steps 91 --ckpt_path last"
    )
    assert str(joined.folder) == "runs/b/version_0"
    assert np.array_equal(whole.trajectory.steps, joined.trajectory.steps)
    assert np.array_equal(whole.trajectory.parameters.flat, joined.trajectory.parameters.flat)
    assert whole.metrics == joined.metrics


def test_a_continued_fit_stays_on_its_route(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toyml.engine.training.COMPILE_FROM", 60)
    whole = bare("--trainer.max_steps 80")
    bare("--trainer.logger.experiment c --trainer.max_steps 40")
    longer = bare("--trainer.logger.experiment c --trainer.max_steps 120 --ckpt_path last")
    eager = bare("--trainer.logger.experiment e --trainer.max_steps 120 --model.compiled false")
    assert "eager" in longer.summary["route"]
    assert np.array_equal(longer.trajectory.parameters.flat, eager.trajectory.parameters.flat)
    assert whole.summary["route"] != "eager blocks"


def test_a_folder_that_holds_a_run_is_refused() -> None:
    first = bare("--trainer.max_steps 9")
    rows = (first.folder / "trajectory/rows.bin").read_bytes()
    with pytest.raises(UserError, match="already holds another recorded run"):
        bare("--trainer.max_steps 5 --model.optimizer.lr 0.1 --trainer.logger.version 0")
    assert (first.folder / "trajectory/rows.bin").read_bytes() == rows
    assert first.summary["status"] == "finished"
    assert Run.load(first.folder).setting("model.optimizer.lr") == 1.0


def test_a_fit_without_a_logger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"trainer\.logger is off"):
        main(["fit", "--config", CONFIG, "--trainer.logger", "false"])
    assert not list(tmp_path.iterdir())


OWN = "{class_path: toyml.logger.RunLogger, init_args: {root: kept, version: 4}}"
CSV = "{class_path: lightning.pytorch.loggers.CSVLogger, init_args: {save_dir: table}}"


@pytest.mark.parametrize(
    ("loggers", "folder"),
    [
        (f"[{OWN}, {CSV}]", "kept/perceptron/version_4"),
        (f"[{CSV}, {OWN}]", "kept/perceptron/version_4"),
        (f"[{OWN}]", "kept/perceptron/version_4"),
        (f"[{CSV}]", "runs/perceptron/version_0"),
        (CSV, "runs/perceptron/version_0"),
        ("[]", "runs/perceptron/version_0"),
        ("null", "runs/perceptron/version_0"),
        ("true", "runs/perceptron/version_0"),
    ],
)
def test_toymls_logger_works_beside_others(loggers: str, folder: str) -> None:
    Path("loggers.part").write_text(f"trainer:\n  logger: {loggers}\n")
    run = bare("--config loggers.part --trainer.max_steps 60")
    assert str(run.folder) == folder
    assert run.metrics["loss"]["step"] == [0, 50, 60]
    others = list(Path("table").rglob("metrics.csv"))
    assert len(others) == ("CSVLogger" in loggers)
    for path in others:
        header, *rows = path.read_text().splitlines()
        values = dict(zip(header.split(","), rows[0].split(","), strict=True))
        assert float(values["loss"]) == run.metrics["loss"]["value"][0]
    assert "version: 4" not in (run.folder / "config.yaml").read_text()
    more = bare("--config loggers.part --trainer.max_steps 70 --ckpt_path last")
    assert more.folder == run.folder
    assert more.trajectory.steps[-1] == 70
    assert main(["validate", "--config", CONFIG, "--config", "loggers.part"])


WEIGHTED = """\
model:
  class_path: toyml.tasks.Supervised
  init_args:
    net: {class_path: toyml.models.MLP, init_args: {widths: [2, 4, 1]}}
    loss: {class_path: torch.nn.BCEWithLogitsLoss, init_args: {pos_weight: [3.3]}}
    optimizer: {class_path: torch.optim.Adam, init_args: {lr: 0.02}}
data: {class_path: toyml.data.Moons, init_args: {n: 30}}
trainer: {max_steps: 60, callbacks+: [toyml.callbacks.Recorder]}
"""


@pytest.mark.parametrize("precision", ["32-true", "64-true"])
@pytest.mark.parametrize("how", ["", "--model.compiled true", "--trainer.gradient_clip_val 1e9"])
def test_weights_of_a_loss_are_numbers_in_the_config(precision: str, how: str) -> None:
    Path("weighted.yaml").write_text(WEIGHTED)
    words = ["fit", "--config", "weighted.yaml", "--trainer.precision", precision, *how.split()]
    run = main(words)
    assert isinstance(run, Run)
    saved = Run.load(run.folder)
    assert saved.setting("model.loss.pos_weight") == [3.3]
    dtype = torch.float64 if precision == "64-true" else torch.float32
    assert torch.equal(saved.loss.pos_weight, torch.tensor([3.3], dtype=dtype))  # type: ignore[arg-type]
    x, y = (rows.to(dtype) for rows in saved.data)
    net, loss = (
        saved.net.to(dtype),
        torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor([3.3], dtype=dtype)),
    )
    net.load_state_dict({k: torch.as_tensor(v) for k, v in saved.trajectory.at(0).items()})
    plain_loop(net, loss, partial(torch.optim.Adam, lr=0.02), lambda _: (x, y), 60)
    mine = torch.cat([p.detach().reshape(-1) for p in net.parameters()]).numpy()
    assert np.array_equal(saved.trajectory.parameters.flat[-1], mine)
    again = main(["fit", "--config", str(run.folder / "config.yaml")])
    assert isinstance(again, Run)
    assert np.array_equal(again.trajectory.parameters.flat, run.trajectory.parameters.flat)


def test_a_sweep_takes_the_weights_of_a_loss() -> None:
    Path("weighted.yaml").write_text(WEIGHTED)
    run = main(["fit", "--config", "weighted.yaml"])
    found: Any = main(["sweep", "--config", "weighted.yaml", "--seeds", "2"])
    assert isinstance(run, Run)
    assert found.table["loss"][0] == pytest.approx(run.metrics["loss"]["value"][-1], rel=1e-5)


def test_validation_rows_survive_a_resume() -> None:
    moons = "--data toyml.data.Moons --data.validation 20 --data.block_size 20"
    whole = bare(f"{moons} --trainer.max_steps 60")
    bare(f"{moons} --trainer.logger.experiment b --trainer.max_steps 40")
    joined = bare(f"{moons} --trainer.logger.experiment b --trainer.max_steps 60 --ckpt_path last")
    assert whole.metrics == joined.metrics
    assert whole.metrics["val_loss"]["step"] == [20, 40, 60]


def test_a_resume_with_nothing_to_do_is_no_success() -> None:
    first = bare("--trainer.max_steps 20")
    with pytest.raises(UserError, match=r"stands at step 20, trainer\.max_steps is 20"):
        bare("--trainer.max_steps 20 --ckpt_path last")
    assert [p.name for p in first.folder.parent.iterdir()] == ["version_0"]
    assert len(first.trajectory) == 21


@pytest.mark.parametrize(
    "settings",
    [
        "--trainer.precision 32-true",
        "--model.optimizer torch.optim.Adam --model.optimizer.lr 0.1",
        "--model.net toyml.models.MLP --model.net.widths [2,3,1]",
        "--model.decay_bias false",
    ],
)
def test_a_checkpoint_of_another_net_is_refused(settings: str) -> None:
    first = bare("--trainer.max_steps 20")
    for path in ("last", str(first.folder / "checkpoints/last.ckpt")):
        with pytest.raises(UserError, match=r"was saved with .* and now it is"):
            bare(f"--trainer.max_steps 30 {settings} --ckpt_path {path}")
    assert [p.name for p in first.folder.parent.iterdir()] == ["version_0"]
    with pytest.raises(UserError, match="is not a checkpoint of a fit"):
        bare(f"--ckpt_path {first.folder / 'config.yaml'}")


@pytest.mark.parametrize(
    "settings",
    ["--trainer.enable_progress_bar false", "--trainer.enable_checkpointing false"],
)
def test_our_own_defaults_can_be_switched_off(settings: str) -> None:
    assert bare(f"--trainer.max_steps 7 {settings}").finished


def test_a_second_recorder_replaces_the_first() -> None:
    words = "--trainer.callbacks+ toyml.callbacks.Recorder --trainer.callbacks.every 3"
    assert bare(f"--trainer.max_steps 7 {words}").trajectory.steps.tolist() == [0, 3, 6, 7]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_one_line_and_can_be_continued(kind: signal.Signals) -> None:
    Path("bare.part").write_text(BARE)
    words = ["fit", "--config", CONFIG, "--config", "bare.part", "--trainer.max_steps", "90000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "toyml", *words, "--data.block_size", "100"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    rows = Path("runs/perceptron/version_0/trajectory/rows.bin")
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and not (rows.exists() and rows.stat().st_size > 50_000):
        time.sleep(0.02)
    process.send_signal(kind)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "interrupted at step" in errors
    assert "Traceback" not in errors
    done = len(Run.load("runs/perceptron/version_0").trajectory)
    more = f"--data.block_size 100 --trainer.max_steps {done + 50} --ckpt_path last"
    run = bare(more)
    assert str(run.folder) == "runs/perceptron/version_0"
    assert np.array_equal(run.trajectory.steps, np.arange(done + 51))


def test_a_setting_changed_on_resume_counts_and_gets_a_folder_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = bare("--trainer.max_steps 40")
    before = (first.folder / "metrics.csv").read_bytes()
    for path in ("last", str(first.folder / "checkpoints/last.ckpt")):
        second = bare(f"--trainer.max_steps 41 --model.optimizer.lr 0.25 --ckpt_path {path}")
        assert second.folder != first.folder
        w, v = (r.trajectory.parameters["linear.weight"] for r in (first, second))
        assert np.array_equal(v[0], w[40])
        x, y = first.data
        net = first.net
        net.load_state_dict(first.trajectory.at(40))
        first.loss(net(x), y).backward()
        gradient = net.linear.weight.grad  # type: ignore[union-attr]
        assert np.allclose(v[1], w[40] - 0.25 * gradient.numpy(), rtol=0, atol=1e-15)  # type: ignore[union-attr]
        net.zero_grad()
    assert "optimizer.init_args.lr was 1.0, is 0.25" in capsys.readouterr().out
    assert (first.folder / "metrics.csv").read_bytes() == before


def test_a_changed_lr_cannot_be_squared_with_a_scheduler() -> None:
    schedule = (
        "--model.lr_scheduler torch.optim.lr_scheduler.StepLR --model.lr_scheduler.step_size 9"
    )
    bare(f"{schedule} --trainer.max_steps 20")
    with pytest.raises(UserError, match=r"lr changed from 1.0 to 0.5 on resume"):
        bare(f"{schedule} --trainer.max_steps 30 --model.optimizer.lr 0.5 --ckpt_path last")


FINDER = "--trainer.callbacks+=LearningRateFinder"


def test_the_learning_rate_that_lightning_finds_is_that_of_the_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = bare(f"{FINDER} --trainer.max_steps 30")
    lr = found.setting("model.optimizer.lr")
    assert lr != 1.0
    assert f"LearningRateFinder found lr {lr:.6g}" in capsys.readouterr().out
    assert found.summary["start"] == {"step": 0, "lr": [lr]}
    given = bare(f"--model.optimizer.lr {lr!r} --trainer.max_steps 30")
    assert np.array_equal(found.trajectory.steps, np.arange(31))
    assert np.array_equal(found.trajectory.parameters.flat, given.trajectory.parameters.flat)
    assert found.metrics == given.metrics
    assert not list(Path().glob(".lr_find*"))
    with pytest.raises(UserError, match="goes on from a checkpoint; leave it out"):
        bare(f"{FINDER} --trainer.max_steps 40 --ckpt_path last")
    steps = "--model.lr_scheduler torch.optim.lr_scheduler.StepLR --model.lr_scheduler.step_size 9"
    with pytest.raises(UserError, match=r"model\.lr_scheduler sets others"):
        bare(f"{steps} {FINDER}")
    few = bare(f"{FINDER} --trainer.callbacks.num_training_steps=5 --trainer.max_steps 9")
    assert few.setting("model.optimizer.lr") == 1.0
    assert "found no lr" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        "--trainer.callbacks+=toyml.callbacks.Curves --trainer.callbacks.name=appended",
        "--config more.part",
    ],
)
def test_what_is_appended_after_the_report_is_on_the_page(words: str) -> None:
    values = "{statement: Appended too, step: 5, predicted: 0.5, tolerance: 9}"
    claim = f"{{class_path: toyml.claims.LossAt, init_args: {values}}}"
    Path("page.part").write_text(
        BARE + "    - {class_path: toyml.callbacks.Report, init_args: {question: Why?}}\n"
    )
    Path("more.part").write_text(
        "trainer:\n  callbacks+:\n"
        "    - {class_path: toyml.callbacks.Curves, init_args: {name: appended}}\n"
        f"    - {{class_path: toyml.callbacks.Verdicts, init_args: {{claims: [{claim}]}}}}\n"
    )
    run = fit(f"--config page.part {words} --trainer.max_steps 20")
    page = (run.folder / "report.html").read_text()
    drawn = json.loads((run.folder / "figures/appended.json").read_text())
    assert drawn["title"] in page
    assert ("Appended too" in page) == ("more.part" in words)


def test_report_draws_again_without_training() -> None:
    run = fit("--trainer.max_steps 12")
    page, figure = run.folder / "report.html", run.folder / "figures/boundary.png"
    old, picture = page.read_text(), figure.read_bytes()
    rows = (run.folder / "trajectory/rows.bin").read_bytes()
    page.unlink()
    figure.unlink()
    main(["report", str(run.folder)])
    assert page.read_text() == old
    assert figure.read_bytes() == picture
    assert (run.folder / "trajectory/rows.bin").read_bytes() == rows


def test_strict_report_complains_of_a_failed_claim() -> None:
    run = fit()
    main(["report", str(run.folder), "--strict"])
    config = run.folder / "config.yaml"
    config.write_text(config.read_text().replace("predicted: -13.17623", "predicted: -13.2"))
    with pytest.raises(StrictError, match=r"1 of .* claims failed"):
        main(["report", str(run.folder), "--strict"])
    assert "fails" in (run.folder / "report.html").read_text()


def test_validate_test_and_predict(capsys: pytest.CaptureFixture[str]) -> None:
    bare("--trainer.max_steps 50")
    metrics = main(["validate", "--config", CONFIG, "--ckpt_path", "last"])
    assert metrics[0]["val_accuracy"] == 1.0  # type: ignore[index]
    metrics = main(["test", "--config", CONFIG, "--ckpt_path", "last"])
    assert 0 < metrics[0]["test_loss"] < 0.2  # type: ignore[index]
    capsys.readouterr()
    predictions = main(["predict", "--config", CONFIG, "--ckpt_path", "last"])
    assert predictions[0].shape == (2, 1)  # type: ignore[index]
    assert len(capsys.readouterr().out.split()) == 2
    assert [p.name for p in Path("runs/perceptron").iterdir()] == ["version_0"]


def test_logits_and_probabilities_draw_the_same_boundary() -> None:
    a = bare()
    b = bare(
        "--model.loss torch.nn.BCEWithLogitsLoss --model.net.output_activation torch.nn.Identity"
    )
    assert np.allclose(a.trajectory.parameters.flat, b.trajectory.parameters.flat, atol=1e-12)
    assert np.allclose(boundary_view(a).field, boundary_view(b).field, atol=1e-10)


BETAS = "--model.optimizer torch.optim.Adam --model.optimizer.lr 0.1"


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        ("--data.points.1.0 -0.5", "data.points.1", [-0.5, 1.0]),
        ("--data.points.0=[5,6]", "data.points.0", [5.0, 6.0]),
        ("--data.labels.0 0 --data.labels.1=1", "data.labels", [0.0, 1.0]),
        (f"{BETAS} --model.optimizer.betas.1 9e-1", "model.optimizer.betas", [0.9, 0.9]),
        ("--trainer.callbacks.2.every 5", "trainer.callbacks.2.init_args.every", 5),
    ],
)
@pytest.mark.parametrize("command", ["fit", "validate"])
def test_an_item_of_a_list_is_set_by_its_number(
    command: str, words: str, key: str, value: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([command, "--config", CONFIG, *shlex.split(words), "--print_config"])
    assert lookup(yaml.safe_load(capsys.readouterr().out), key) == value


def test_two_configs_and_an_option_before_the_config(tmp_path: Path) -> None:
    Path("more.yaml").write_text("trainer:\n  max_steps: 7\n")
    run = main(["fit", "--model.optimizer.lr", "0.7", "--config", CONFIG, "--config", "more.yaml"])
    assert isinstance(run, Run)
    assert run.setting("model.optimizer.lr") == 0.7
    assert run.trajectory.steps[-1] == 7
    assert run.name == "perceptron"


def test_environment_variables_set_what_the_config_leaves_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOYML_FIT__TRAINER__LOG_EVERY_N_STEPS", "3")
    assert bare("--trainer.max_steps 7").metrics["loss"]["step"] == [0, 3, 6, 7]


@pytest.mark.parametrize("command", ["fit", "validate"])
def test_a_config_from_the_environment_is_one_from_the_command_line(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def printed(*words: str) -> str:
        with pytest.raises(SystemExit):
            main([command, *words, "--print_config"])
        return capsys.readouterr().out

    expected = printed("--config", CONFIG)
    assert "LastCheckpoint" in expected
    monkeypatch.setenv(f"TOYML_{command.upper()}__CONFIG", CONFIG)
    assert printed() == expected
    assert os.environ[f"TOYML_{command.upper()}__CONFIG"] == CONFIG
    assert "max_steps: 9\n" in printed("--trainer.max_steps", "9")
    monkeypatch.setenv(f"TOYML_{command.upper()}__TRAINER__MAX_STEPS", "7")
    assert printed() == expected.replace("max_steps: 101\n", "max_steps: 7\n")
    Path("more.yaml").write_text("trainer: {max_steps: 8}")
    assert "max_steps: 8\n" in printed("--config", "more.yaml")
    monkeypatch.setenv(f"TOYML_{command.upper()}__CONFIG", "nope.yaml")
    with pytest.raises(UserError, match=r"nope\.yaml"):
        main([command])


def test_a_run_from_the_environment_is_named_after_its_config(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOYML_FIT__CONFIG", CONFIG)
    run = main(["fit", "--trainer.max_steps", "3"])
    assert isinstance(run, Run)
    assert run.name == "perceptron"


def test_print_config_can_be_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", CONFIG, "--print_config"])
    assert not stop.value.code
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["model"]["init_args"]["optimizer"]["init_args"]["lr"] == 1.0
    assert not Path("runs").exists()


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_help_shows_the_real_defaults(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--trainer.max_epochs" in text
    assert "default: -1)" in text
    assert text.startswith(f"usage: toyml {command} --config EXPERIMENT.yaml")


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_commands_and_options(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--print_completion", shell])
    script = capsys.readouterr().out
    for word in ("report", "max_steps", "strict", "ckpt_path"):
        assert word in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_list_shows_question_and_command(capsys: pytest.CaptureFixture[str]) -> None:
    found = main(["list", f"{ROOT}/configs"])
    assert {e.name for e in found} == {p.stem for p in (ROOT / "configs").glob("*.yaml")}  # type: ignore[attr-defined]
    for experiment in found:  # type: ignore[attr-defined]
        assert experiment.question.endswith("?"), experiment.name
        assert f"configs/{experiment.name}.yaml" in experiment.command
    assert "perceptron" in capsys.readouterr().out


def test_summary_json_holds_the_figures_a_script_reads() -> None:
    run = fit()
    summary = json.loads((run.folder / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert summary["steps"] == 101
    assert summary["environment"]["torch"]
    assert summary["environment"]["seed"] == 0
    assert {c["verdict"] for c in summary["claims"]} == {"holds", "refuted", "not applicable"}


@pytest.mark.slow
def test_ddp_writes_one_run_and_agrees_with_one_process() -> None:
    words = f"fit --config {CONFIG} --trainer.max_steps 30 --trainer.accelerator cpu"
    one = main(shlex.split(words))
    assert isinstance(one, Run)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "toyml", *shlex.split(words)),
            *("--trainer.strategy", "ddp", "--trainer.devices", "2"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in Path("runs/perceptron").iterdir()) == ["version_0", "version_1"]
    two = Run.load("runs/perceptron/version_1")
    assert two.finished
    assert (two.folder / "report.html").exists()
    assert np.array_equal(one.trajectory.steps, two.trajectory.steps)
    assert np.allclose(
        one.trajectory.parameters.flat, two.trajectory.parameters.flat, rtol=0, atol=1e-13
    )
    assert np.allclose(one.metrics["loss"]["value"], two.metrics["loss"]["value"], rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_two_processes_with_one_report(kind: signal.Signals) -> None:
    words = f"fit --config {CONFIG} --trainer.max_steps 90000 --trainer.accelerator cpu"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "toyml", *shlex.split(words)),
            *("--trainer.strategy", "ddp", "--trainer.devices", "2"),
        ],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    folder = Path("runs/perceptron/version_0")
    rows = folder / "trajectory/rows.bin"
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and not (rows.exists() and rows.stat().st_size > 6_000):
        time.sleep(0.02)
    if kind == signal.SIGINT:
        os.killpg(process.pid, kind)  # a terminal tells both
    else:
        process.send_signal(kind)  # who ends a process knows of one
    try:
        _, errors = process.communicate(timeout=80)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    run = Run.load(folder)
    step = run.trajectory.steps[-1]
    assert f"interrupted at step {step}; --ckpt_path last goes on" in errors
    assert run.status == f"unfinished at step {step}"
    assert "Unfinished: stopped at step" in (folder / "report.html").read_text()
    saved = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    assert saved["global_step"] == step


@pytest.mark.slow
def test_a_killed_fit_loses_no_recorded_step() -> None:
    words = ["fit", "--config", CONFIG, "--trainer.max_steps", "90000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "toyml", *words],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    rows = Path("runs/perceptron/version_0/trajectory/rows.bin")
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and not (rows.exists() and rows.stat().st_size > 100_000):
        time.sleep(0.02)
    seen = rows.stat().st_size
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    run = Run.load("runs/perceptron/version_0")
    assert len(run.trajectory) * 32 >= seen - 32
    assert np.array_equal(run.trajectory.steps, np.arange(len(run.trajectory)))
    assert run.status == f"unfinished at step {run.trajectory.steps[-1]}"
    main(["report", str(run.folder)])
    assert "Unfinished: stopped at step" in (run.folder / "report.html").read_text()


# -- matplotlib's own files ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"])
def test_matplotlib_reads_nothing_that_another_user_may_write(
    name: str, kernels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "matplotlib")
    for other in ("MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(other, str(kernels / "private"))
    if name != "MPLCONFIGDIR":
        monkeypatch.delenv("MPLCONFIGDIR")
    cli.notes.clear()
    cli.settle_matplotlib()
    assert cli.notes == []
    assert os.environ.get("MPLCONFIGDIR") in (None, str(kernels / "private"))
    open_to_others = kernels / "shared"
    open_to_others.mkdir()
    open_to_others.chmod(0o1777)
    monkeypatch.setenv(name, str(open_to_others / "below"))
    cli.settle_matplotlib()
    assert len(cli.notes) == 1
    assert f"({open_to_others}: other users may write to it)" in cli.notes.pop()
    own = Path(os.environ["MPLCONFIGDIR"])
    assert own.stat().st_mode & 0o777 == 0o700
    assert list(own.iterdir()) == []


def test_list_reads_the_beginning_of_plain_files_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "a.yaml").write_text("# Why?\nmodel: 1\n")
    os.truncate(folder / "a.yaml", 2**42)
    os.mkfifo(folder / "b.yaml")
    (folder / "c.yaml").mkdir()
    assert [e.question for e in main(["list", str(folder)])] == ["Why?"]  # type: ignore[attr-defined]
    assert "Why?" in capsys.readouterr().out
