from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from tests.conftest import ROOT
from toyml.cli import InterruptedFitError, StrictError, main
from toyml.cli.sweep import split
from toyml.errors import UserError
from toyml.sweep.folder import Sweep

XOR = str(ROOT / "configs/xor.yaml")
SHORT = ["--config", XOR, "--trainer.max_steps", "40", "--trainer.enable_progress_bar", "false"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def sweep(*words: str) -> Sweep:
    found = main(["sweep", *SHORT, *words])
    assert isinstance(found, Sweep)
    return found


def test_the_product_of_everything(capsys: pytest.CaptureFixture[str]) -> None:
    found = sweep(
        "--seeds", "3",
        "--vary", "model.optimizer.lr=logspace(-1,1,5)",
        "--vary", "model.optimizer.momentum=0,0.9",
        "--vary", "model.net.widths=[2,2,1],[2,5,1]",
    )  # fmt: skip
    assert found.folder == Path("runs/xor/sweep_0")
    assert len(found.table) == 3 * 5 * 2 * 2
    assert found.table["steps"].unique().to_list() == [40]
    files = {p.name for p in found.folder.iterdir()}
    assert files >= {
        "config.yaml", "sweep.yaml", "table.parquet", "summary.json", "report.html", "figures",
        "parts",
    }  # fmt: skip
    summary = json.loads((found.folder / "summary.json").read_text())
    assert (summary["status"], summary["asked"], summary["cells"]) == ("finished", 60, 2)
    assert sum(summary["outcomes"].values()) == 60
    drawn = {p.stem for p in (found.folder / "figures").glob("*.png")}
    assert drawn == {"sweep_rates", "sweep_outcomes", "sweep_steps"}
    page = (found.folder / "report.html").read_text()
    assert "What became of the trainings" in page
    assert "Converged, by lr" in page
    said = capsys.readouterr().out
    # Settings are pooled here; a table has each of them, with the interval of its three seeds.
    assert "95 % interval" not in said
    assert "Converged, by lr and momentum and hidden units" in page
    assert "Wilson" in page
    assert "report: runs/xor/sweep_0/report.html" in said


def test_its_own_config_repeats_it() -> None:
    found = sweep("--seeds", "2", "--vary", "model.optimizer.lr=0.1,1.0")
    again = main(["sweep", "--config", str(found.folder / "config.yaml")])
    assert isinstance(again, Sweep)
    assert again.folder != found.folder
    assert again.table.equals(found.table)


def test_a_sweep_whose_numbers_are_gone_is_one_line() -> None:
    folder = sweep("--seeds", "2").folder
    page = (folder / "report.html").read_bytes()
    summary = (folder / "summary.json").read_text()
    (folder / "summary.json").write_text('{"a": 1}')
    with pytest.raises(UserError, match=r"summary.json is damaged: it has no 'outcomes'"):
        main(["report", str(folder)])
    (folder / "summary.json").write_text(summary)
    table = pl.read_parquet(folder / "table.parquet")
    for damaged in (table.drop("step"), table.head(0)):
        damaged.write_parquet(folder / "table.parquet")
        with pytest.raises(UserError, match=r"table.parquet is damaged: it has no '\w+'"):
            main(["report", str(folder)])
    table.with_columns(pl.lit("x").alias("steps")).write_parquet(folder / "table.parquet")
    with pytest.raises(UserError, match="do not belong together"):
        main(["report", str(folder)])
    assert (folder / "report.html").read_bytes() == page


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_drawing_says_that_the_sweep_is_finished(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        signal.raise_signal(number)

    with monkeypatch.context() as patch:
        patch.setattr("toyml.callbacks.after.work_through", interrupted)
        line = r"the sweep is finished, and toyml report runs/xor/sweep_0 draws the rest"
        with pytest.raises(InterruptedFitError, match=line):
            sweep("--seeds", "2")
    assert Sweep(Path("runs/xor/sweep_0")).finished
    main(["report", "runs/xor/sweep_0"])
    assert Path("runs/xor/sweep_0/report.html").exists()


def test_report_draws_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    found = sweep("--seeds", "2")
    parts = [p.stat().st_mtime_ns for p in found.folder.glob("parts/*")]
    (found.folder / "report.html").unlink()
    again = main(["report", str(found.folder)])
    assert isinstance(again, Sweep)
    assert (found.folder / "report.html").exists()
    assert [p.stat().st_mtime_ns for p in found.folder.glob("parts/*")] == parts
    assert "2 seeds" in capsys.readouterr().out


def test_a_config_says_what_to_sweep_and_the_command_line_goes_on(tmp_path: Path) -> None:
    config = yaml.safe_load(Path(XOR).read_text())
    claim = {
        "class_path": "toyml.claims.OutcomeCount",
        "init_args": {"statement": "none: not one", "outcome": "diverged", "predicted": 5,
                      "tolerance": 0},
    }  # fmt: skip
    verdicts = {"class_path": "toyml.callbacks.Verdicts", "init_args": {"claims": [claim]}}
    config["sweep"] = {
        "seeds": 4,
        "vary": {"model.optimizer.lr": "0.1,0.2"},
        "noted": [10, 9000],
        "callbacks": [verdicts, "toyml.callbacks.SweepReport"],
    }
    Path("mine.yaml").write_text(yaml.safe_dump(config))
    words = ["sweep", "--config", "mine.yaml", *SHORT[2:]]
    found = main(words)
    assert isinstance(found, Sweep)
    assert found.folder == Path("runs/mine/sweep_0")
    assert len(found.table) == 8
    assert "loss_10" in found.table.columns
    assert "loss_9000" not in found.table.columns  # beyond the end
    assert [c["verdict"] for c in found.summary["claims"]] == ["fails"]
    assert found.summary["claims"][0]["statement"] == "none: not one"
    more = ["--seeds", "range(7,9)", "--vary", "model.optimizer.momentum=0.5", "--strict"]
    with pytest.raises(StrictError, match="1 of 1 claims failed: none: not one"):
        main([*words, *more, "--sweep.outcomes.converged", "0.2"])
    second = Sweep("runs/mine/sweep_1")
    assert second.table["seed"].unique().sort().to_list() == [7, 8]
    assert second.varied == {"model.optimizer.lr": [0.1, 0.2], "model.optimizer.momentum": [0.5]}
    assert second.summary["threshold"] == 0.2


def test_fit_trains_one_run_of_a_sweep_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(ROOT / "configs/xor_seeds.yaml")
    main(["fit", "--config", path, "--trainer.max_steps", "3"])
    assert f"toyml sweep --config {path} trains all" in capsys.readouterr().out
    assert Path("runs/xor_seeds/version_0/report.html").exists()


def case(words: list[str], said: str) -> object:
    # Parsing a whole config takes a second: of what can be wrong with one, two are tried always.
    quick = {"--seeds", "--engine", "--address", "--ckpt_path", "--folder"} & set(words)
    quick |= {"did you mean model.optimizer.momentum"} & {said}
    early = said in ("not KEY=VALUES", "varied twice", "expected one argument")
    return pytest.param(words, said, marks=[] if quick or early else pytest.mark.slow)


WRONG = [
    case(*pair)
    for pair in [
        (["--vary", "model.optimizer.momentumm=1"], "did you mean model.optimizer.momentum"),
        (["--vary", "model.optimizer.lr=range(3,1)"], "empty range"),
        (["--vary", "model.optimizer.lr"], "not KEY=VALUES"),
        (["--vary", "model.optimizer.lr=1", "--vary", "model.optimizer.lr=2"], "varied twice"),
        (["--seeds", "1000", "--vary", "model.optimizer.lr=linspace(1,2,200)"], "--yes"),
        (["--engine", "dask"], "'dask' is unknown; give local or ray"),
        (["--address", "auto"], "add --engine ray"),
        (["--seeds"], "expected one argument"),
        (["--ckpt_path", "last"], "--ckpt_path"),
        (["--folder", "here"], "not a sweep's folder"),
        (["--sweep.sed", "3"], "no 'sed'; did you mean seeds"),
        (["--trainer.max_stepz", "3"], "did you mean trainer.max_steps"),
        (["--model.net.widths", "[3,2,1]"], "3 inputs|first layer"),
        (["--vary", "initial.hidden1.weight[0,9]=1,2"], "no such entry"),
        (["--model.optimizer", "torch.optim.LBFGS"], "LBFGS"),
        (["--trainer.logger", "false"], "logger"),
    ]
]


@pytest.mark.parametrize(("words", "said"), WRONG)
def test_what_cannot_be_used_is_one_line_and_leaves_nothing(words: list[str], said: str) -> None:
    Path("here").mkdir()
    with pytest.raises(UserError, match=said) as caught:
        main(["sweep", *SHORT, *words])
    assert len(str(caught.value).splitlines()) == 1
    assert not Path("runs").exists()


def test_a_list_of_loggers_names_the_folder_of_a_sweep() -> None:
    csv = "{class_path: lightning.pytorch.loggers.CSVLogger, init_args: {save_dir: table}}"
    own = "{class_path: toyml.logger.RunLogger, init_args: {root: kept}}"
    Path("loggers.part").write_text(f"trainer: {{logger: [{csv}, {own}]}}")
    assert sweep("--seeds", "2", "--config", "loggers.part").folder == Path("kept/xor/sweep_0")


def test_another_sweeps_folder_is_refused() -> None:
    found = sweep("--seeds", "2")
    with pytest.raises(UserError, match=r"holds another sweep .*leave --folder out"):
        sweep("--seeds", "3", "--folder", str(found.folder))
    again = sweep("--seeds", "2", "--folder", str(found.folder))
    assert again.folder == found.folder


def test_an_error_on_the_command_line_has_status_2() -> None:
    words = ["--config", "nowhere.yaml", "--seeds", "3"]
    done = subprocess.run(
        [sys.executable, "-m", "toyml", "sweep", *words], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "nowhere.yaml" in done.stderr


def test_help_helps(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["sweep", "--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    for word in ("--vary", "logspace(-2,0,25)", "--seeds", "--engine", "goes on where it stopped"):
        assert word in said


def test_words_are_divided_between_sweep_and_fit() -> None:
    words = ["--config=a.yaml", "--seeds=3", "--vary=x=1,2", "--data.n", "5", "--yes"]
    options, rest, section = split([*words, "--sweep.noted", "[1, 2]", "--model.x", "-1"])
    assert (options.seeds, options.vary, options.yes) == ("3", ["x=1,2"], True)
    assert rest == ["--config=a.yaml", "--data.n", "5", "--model.x", "-1"]
    assert section == {"noted": [1, 2]}


def test_ray_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'toyml\[ray\]'"):
        sweep("--engine", "ray")
    assert not Path("runs").exists()


def test_another_model_than_ours_is_refused(tmp_path: Path) -> None:
    config: dict[str, Any] = {
        "model": "lightning.pytorch.demos.boring_classes.BoringModel",
        "data": "toyml.data.Xor",
        "trainer": {"max_steps": 3},
    }
    Path("boring.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match="BoringModel is not one"):
        main(["sweep", "--config", "boring.yaml"])
