"""A run folder that someone has taken apart: a correct answer or one clear line, never a guess."""

from __future__ import annotations

import pickle
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from tests.conftest import ROOT
from toyml import Run
from toyml.cli import main
from toyml.errors import UserError

STEPS = 40
PART = """\
trainer:
  callbacks:
    - toyml.callbacks.LastCheckpoint
    - toyml.callbacks.Recorder
    - {class_path: toyml.callbacks.Report, init_args: {question: "What is left?"}}
"""
ADAM = "--model.optimizer torch.optim.Adam --model.optimizer.lr 0.1"


def fit(folder: Path, words: str) -> Run:
    (folder / "part.yaml").write_text(PART)
    config = f"--config {ROOT}/configs/perceptron.yaml --config {folder}/part.yaml"
    run = main(shlex.split(f"fit {config} --trainer.logger.root {folder}/runs {words}"))
    assert isinstance(run, Run)
    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["toyml"])
        return fit(tmp_path_factory.mktemp("damage"), f"--trainer.max_steps {STEPS}")


@pytest.fixture
def copy(finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished run that may be taken apart."""
    monkeypatch.setattr("sys.argv", ["toyml"])
    folder = tmp_path / "runs/perceptron/version_0"
    shutil.copytree(finished.folder, folder)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def page(folder: Path) -> str:
    return re.sub(r"<[^>]+>", "", (folder / "report.html").read_text())


def go_on(folder: Path, words: str = "", steps: int = 60, path: str = "last") -> Run:
    return fit(folder.parents[2], f"--trainer.max_steps {steps} --ckpt_path {path} {words}")


def refused(folder: Path, words: str, message: str, **settings: Any) -> None:
    """Continuing ends in one line, and every file is as it was."""
    before = contents(folder.parents[1])
    with pytest.raises(UserError, match=message) as caught:
        go_on(folder, words, **settings)
    assert "\n" not in str(caught.value)
    after = contents(folder.parents[1])
    assert {name: after.pop(name) for name in before} == before
    assert not b"".join(after.values()), "nothing was recorded"


# -- each file removed -----------------------------------------------------------------------

# What `report` says, and what `--ckpt_path last` does: goes on in place ("here"), in a folder of
# its own ("new"), or refuses with these words.
REMOVED = {
    "config.yaml": ("has no config.yaml", "new"),
    "summary.json": (None, "here"),
    "metrics.csv": (None, "here"),
    "report.html": (None, "here"),
    "checkpoints/last.ckpt": (None, "there is no checkpoint below"),
    "trajectory/layout.json": ("holds no trajectory", "holds rows but no layout.json"),
    "trajectory/rows.bin": (None, "ends at step -1, before the checkpoint of step 40"),
    "trajectory": ("is not a run: it holds no trajectory", "is not a run: it holds no trajectory"),
}


@pytest.mark.parametrize("name", REMOVED)
def test_without_one_of_its_files(name: str, copy: Path, finished: Run) -> None:
    says, does = REMOVED[name]
    gone = copy / name
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    if says is None:
        run = main(["report", str(copy)])
        assert isinstance(run, Run)
        whole = name not in ("summary.json", "trajectory/rows.bin")
        assert run.finished == whole
        assert ("stopped at step" in page(copy)) != whole
    else:
        before = contents(copy)
        with pytest.raises(UserError, match=says):
            main(["report", str(copy)])
        assert contents(copy) == before
    if does == "here":
        joined = go_on(copy)
        assert joined.folder == copy
        assert joined.trajectory.steps.tolist() == list(range(61))
        assert joined.finished
    elif does == "new":
        joined = go_on(copy)
        assert joined.folder.name == "version_1"
        assert joined.trajectory.steps.tolist() == list(range(40, 61))
        assert np.array_equal(
            joined.trajectory.parameters.flat[0], finished.trajectory.parameters.flat[-1]
        )
    else:
        refused(copy, "", does)


# -- the config cut --------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["model", "data"])
def test_a_config_cut_by_hand_is_refused(part: str, copy: Path) -> None:
    path = copy / "config.yaml"
    path.write_text(re.split(rf"^{part}:", path.read_text(), flags=re.M)[0])
    before = contents(copy)
    with pytest.raises(UserError, match=f"{re.escape(str(path))} is not whole: .*no {part}"):
        main(["report", str(copy)])
    assert contents(copy) == before


def test_a_config_without_a_report_gets_a_page_all_the_same(copy: Path) -> None:
    config = yaml.safe_load((copy / "config.yaml").read_text())
    listed = config["trainer"]["callbacks"]
    config["trainer"]["callbacks"] = [c for c in listed if not c["class_path"].endswith("Report")]
    assert len(config["trainer"]["callbacks"]) == len(listed) - 1
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    (copy / "report.html").unlink()
    main(["report", str(copy)])
    assert "What happened in perceptron?" in page(copy)


# -- the trajectory cut ----------------------------------------------------------------------

ROW = 8 + 3 * 8  # step and three parameters in float64
CUTS = [0, 1, 7, 8, 9, 20, ROW - 1, ROW, ROW + 1, 20 * ROW, 20 * ROW + 5, STEPS * ROW + ROW - 1]


@pytest.mark.parametrize("size", CUTS)
def test_a_trajectory_that_was_cut(size: int, copy: Path, finished: Run) -> None:
    path = copy / "trajectory/rows.bin"
    path.write_bytes(path.read_bytes()[:size])
    run = Run.load(copy)
    left = size // ROW
    assert run.trajectory.steps.tolist() == list(range(left))
    assert np.array_equal(
        run.trajectory.parameters.flat, finished.trajectory.parameters.flat[:left]
    )
    assert run.status == f"unfinished at step {max(left - 1, 0)}"
    main(["report", str(copy)])
    assert f"stopped at step {max(left - 1, 0)}" in page(copy)
    assert path.stat().st_size == size, "reading changes nothing"
    if left < STEPS:  # the checkpoint's own step can be put back, the ones before it cannot
        with pytest.raises(UserError, match=rf"ends at step {left - 1}, before the checkpoint"):
            go_on(copy)
        assert path.stat().st_size == size, "what is refused is left as it was"
        new = go_on(copy, path=str(copy / "checkpoints/last.ckpt"))
        assert new.folder.name == "version_1"
    else:
        joined = go_on(copy)
        assert joined.trajectory.steps.tolist() == list(range(61))


def test_more_rows_than_the_summary_knows(copy: Path) -> None:
    path = copy / "trajectory/rows.bin"
    rows = path.read_bytes()
    path.write_bytes(rows + rows[-ROW:])
    for words in (["report", str(copy)],):
        with pytest.raises(UserError, match="is damaged: its steps do not increase"):
            main(words)
    with pytest.raises(UserError, match="is damaged: its steps do not increase"):
        go_on(copy)
    assert path.read_bytes() == rows + rows[-ROW:]


def test_the_rows_of_another_run_are_left_as_they_were(copy: Path) -> None:
    path = copy / "trajectory/rows.bin"
    path.write_bytes(b"".join(bytes([i] * 8) + bytes(33) for i in range(9, 0, -1)))
    for _ in range(2):
        refused(copy, "", r"rows.bin is damaged: its steps do not increase")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("summary.json", '{"steps": NaN}'),
        ("summary.json", "[" * 99_999),
        ("metrics.csv", "loss,accuracy\n1,2\n"),
        ("metrics.csv", "step,loss\n1,a\n"),
    ],
)
def test_a_damaged_file_is_refused_before_anything_is_touched(
    name: str, content: str, copy: Path
) -> None:
    (copy / name).write_text(content)
    refused(copy, "", name)


# -- the checkpoint --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--model.net toyml.models.MLP --model.net.widths [2,3,1]",
            "checkpoint is of another net: net.hidden1.bias is absent there and",
        ),
        (
            "--data toyml.data.DampedSine --model.net.inputs 1 --model.loss torch.nn.MSELoss "
            "--model.metrics {}",
            r"another net: net.linear.weight is \[1, 2\] there and \[1, 1\] here",
        ),
        (ADAM, "saved by torch.optim.sgd.SGD, whose state torch.optim.adam.Adam cannot go on from"),
    ],
)
def test_a_checkpoint_of_another_training(words: str, message: str, copy: Path) -> None:
    alone = copy.parents[2] / "alone.ckpt"  # no config beside it that would tell
    shutil.copy(copy / "checkpoints/last.ckpt", alone)
    refused(copy, words, message, path=str(alone))


def test_a_checkpoint_that_is_none(copy: Path) -> None:
    path = copy / "checkpoints/last.ckpt"
    whole = path.read_bytes()
    saved = torch.load(path, weights_only=True)
    for content in (b"", b"no checkpoint", whole[:100], whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(content)
        refused(copy, "", "is not a checkpoint of a fit")
    torch.save({"state_dict": saved["state_dict"]}, path)
    refused(copy, "", "is not a checkpoint of a fit")
    torch.save({"global_step": 40}, path)
    refused(copy, "", "is not a checkpoint of a fit")


@pytest.mark.parametrize(
    "changed",
    [
        {"loops": {}},
        {"loops": "none"},
        {"callbacks": "none"},
        {"pytorch-lightning_version": "the newest"},
        {"pytorch-lightning_version": "0.8.0"},
    ],
    ids=str,
)
def test_a_checkpoint_with_other_values_under_its_keys(changed: dict[str, Any], copy: Path) -> None:
    path = copy / "checkpoints/last.ckpt"
    torch.save({**torch.load(path, weights_only=True), **changed}, path)
    refused(copy, "", f"{re.escape(str(path))} is damaged, and no fit can go on from it")


def test_a_pickle_is_refused_without_a_word_of_torchs(copy: Path) -> None:
    path = copy / "checkpoints/last.ckpt"
    path.write_bytes(pickle.dumps({"a": Path("b")}, protocol=4))
    refused(copy, "", "is not a checkpoint of a fit")  # a warning would be an error here


def test_an_older_run_is_named_when_it_is_the_one_that_goes_on(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    later = copy.with_name("version_1")
    shutil.copytree(copy, later)
    (later / "checkpoints/last.ckpt").unlink()
    assert go_on(copy).folder == copy
    said = capsys.readouterr().out
    assert f"continuing {copy}; version_1 has no checkpoint to continue from" in said
