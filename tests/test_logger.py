"""The run folder is claimed once; its table is appended to and nothing in it is lost."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from threading import Barrier, Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toyml.errors import UserError
from toyml.logger import Metrics, RunLogger, next_version, read_metrics


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def table(path: Path) -> dict[str, dict[int, float]]:
    return {
        name: dict(zip(column["step"], column["value"], strict=True))  # type: ignore[arg-type]
        for name, column in read_metrics(path).items()
    }


# -- the table -------------------------------------------------------------------------------


def test_a_metric_that_comes_later_adds_a_column(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "metrics.csv")
    metrics.append(0, {"loss": 0.5})
    metrics.append(5, {"loss": 0.25, "accuracy": 1.0})
    metrics.append(5, {"val_loss": 0.75})
    metrics.append(10, {"accuracy": 0.5})
    metrics.close()
    assert lines(metrics.path) == [
        "step,loss,accuracy,val_loss",
        "0,0.5,,",
        "5,0.25,1.0,",
        "5,,,0.75",
        "10,,0.5,",
    ]
    assert table(metrics.path) == {
        "loss": {0: 0.5, 5: 0.25},
        "accuracy": {5: 1.0, 10: 0.5},
        "val_loss": {5: 0.75},
    }


def test_a_row_can_be_read_as_soon_as_it_is_written(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "metrics.csv")
    for step in range(3):
        metrics.append(step, {"loss": float(step)})
        assert table(metrics.path)["loss"] == {i: float(i) for i in range(step + 1)}
    metrics.close()


def test_lightnings_epoch_and_empty_rows_are_not_written(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "metrics.csv")
    metrics.append(0, {})
    metrics.append(0, {"epoch": 3.0, "step": 9.0})
    assert not metrics.path.exists()
    metrics.append(1, {"epoch": 3.0, "loss": 1.0})
    metrics.close()
    assert lines(metrics.path) == ["step,loss", "1,1.0"]


names = st.sampled_from(["loss", "accuracy", "val_loss", "grad norm"])
values = st.floats(allow_nan=False) | st.just(math.inf)
rows = st.lists(st.dictionaries(names, values, min_size=1), max_size=8)


@given(rows, st.integers(0, 8))
@settings(deadline=None, max_examples=40)
def test_every_value_is_read_back_exactly_also_after_opening_again(
    tmp_path_factory: pytest.TempPathFactory, written: list[dict[str, float]], again: int
) -> None:
    path = tmp_path_factory.mktemp("m") / "metrics.csv"
    metrics = Metrics(path)
    for step, row in enumerate(written):
        if step == again:
            metrics.close()
            metrics = Metrics(path)
        metrics.append(step, row)
    metrics.close()
    expected: dict[str, dict[int, float]] = {}
    for step, row in enumerate(written):
        for name, value in row.items():
            expected.setdefault(name, {})[step] = value
    assert table(path) == expected


def test_nan_is_kept_as_a_value(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "metrics.csv")
    metrics.append(0, {"loss": math.nan})
    metrics.close()
    assert math.isnan(table(metrics.path)["loss"][0])


WHOLE = "step,loss,accuracy\n0,0.5,\n10,0.25,0.75\n20,0.125,0.875\n"


@pytest.mark.parametrize("cut", range(len("step,loss,accuracy\n"), len(WHOLE) + 1))
def test_a_torn_last_line_is_not_read_and_not_continued(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(WHOLE[:cut])
    whole = WHOLE[:cut].count("\n") - 1
    kept = dict(list({0: 0.5, 10: 0.25, 20: 0.125}.items())[:whole])
    assert table(path).get("loss", {}) == kept
    metrics = Metrics(path)
    metrics.append(30, {"loss": 0.0625})
    metrics.close()
    assert table(path)["loss"] == {**kept, 30: 0.0625}
    assert len(lines(path)) == whole + 2


@pytest.mark.parametrize("cut", range(len("step,loss,accuracy\n")))
def test_a_torn_header_is_begun_again(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(WHOLE[:cut])
    assert read_metrics(path) == {}
    metrics = Metrics(path)
    metrics.append(30, {"loss": 0.0625})
    metrics.close()
    assert table(path) == {"loss": {30: 0.0625}}


def test_what_is_cut_is_kept_beside(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "metrics.csv")
    for step in (0, 10, 20, 30):
        metrics.append(step, {"loss": float(step)})
    metrics.cut_after(15)
    assert table(metrics.path)["loss"] == {0: 0.0, 10: 10.0}
    aside = tmp_path / "metrics.after_15.0.csv"
    assert table(aside)["loss"] == {20: 20.0, 30: 30.0}
    metrics.append(20, {"loss": -1.0, "accuracy": 0.5})
    metrics.cut_after(15)
    metrics.close()
    assert table(metrics.path)["loss"] == {0: 0.0, 10: 10.0}
    assert table(tmp_path / "metrics.after_15.1.csv")["loss"] == {20: -1.0}
    assert table(aside)["loss"] == {20: 20.0, 30: 30.0}, "the first cut is still there"


def test_cutting_behind_the_end_changes_nothing(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "metrics.csv")
    metrics.cut_after(5)
    assert not metrics.path.exists()
    metrics.append(0, {"loss": 1.0})
    metrics.cut_after(5)
    metrics.append(5, {"loss": 2.0})
    metrics.close()
    assert lines(metrics.path) == ["step,loss", "0,1.0", "5,2.0"]
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.csv"]


def test_a_torn_file_can_be_cut(tmp_path: Path) -> None:
    """A killed fit leaves any beginning of its table; the resume that follows cuts it first."""
    for cut in range(len(WHOLE)):
        path = tmp_path / f"{cut}.csv"
        path.write_text(WHOLE[:cut])
        metrics = Metrics(path)
        metrics.cut_after(15)
        metrics.append(15, {"loss": 9.0})
        metrics.close()
        found = table(path)
        assert found["loss"].pop(15) == 9.0
        assert found["loss"].items() <= {0: 0.5, 10: 0.25}.items(), cut
        assert found.get("accuracy", {}).items() <= {10: 0.75}.items(), cut


# -- the folder ------------------------------------------------------------------------------


def test_the_folder_is_claimed_by_the_first_row_and_not_before(tmp_path: Path) -> None:
    logger = RunLogger(str(tmp_path / "runs"), "a name with spaces")
    assert (logger.name, logger.save_dir) == ("a name with spaces", str(tmp_path / "runs"))
    logger.log_hyperparams({"lr": 1})
    logger.experiment.anything("is swallowed")
    logger.finalize("success")
    logger.discard_if_empty()
    assert not list(tmp_path.iterdir())
    logger.log_metrics({"loss": 1.0}, step=3)
    logger.finalize("success")
    folder = tmp_path / "runs/a name with spaces/version_0"
    assert lines(folder / "metrics.csv") == ["step,loss", "3,1.0"]
    assert logger.version == "version_0"


def test_the_default_name(tmp_path: Path) -> None:
    assert RunLogger(str(tmp_path)).folder == tmp_path / "run/version_0"


def test_a_given_version_is_taken_and_continued(tmp_path: Path) -> None:
    for step in (0, 1):
        logger = RunLogger(str(tmp_path), "x", version=7)
        logger.log_metrics({"loss": float(step)}, step=step)
        logger.finalize("success")
        assert logger.folder == tmp_path / "x/version_7"
    assert lines(tmp_path / "x/version_7/metrics.csv") == ["step,loss", "0,0.0", "1,1.0"]
    assert RunLogger(str(tmp_path), "x").folder == tmp_path / "x/version_8"


def test_the_next_version_is_above_the_highest(tmp_path: Path) -> None:
    assert next_version(tmp_path) == 0
    for name in ("version_2", "version_10", "version_x", "xversion_99", "version_11.bak"):
        (tmp_path / name).mkdir()
    assert next_version(tmp_path) == 11


def test_loggers_at_once_get_folders_of_their_own(tmp_path: Path) -> None:
    count = 16
    loggers = [RunLogger(str(tmp_path), "x") for _ in range(count)]
    start = Barrier(count)

    def claim(logger: RunLogger) -> None:
        start.wait()
        assert logger.folder.is_dir()

    threads = [Thread(target=claim, args=(logger,)) for logger in loggers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(log.folder.name[8:]) for log in loggers) == list(range(count))


@pytest.mark.slow
def test_processes_at_once_get_folders_of_their_own(tmp_path: Path) -> None:
    words = "import toyml.logger as l; print(l.RunLogger('.', 'x').folder)"
    started = [
        subprocess.Popen([sys.executable, "-c", words], cwd=tmp_path, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    found = {process.communicate(timeout=240)[0].decode().strip() for process in started}
    assert found == {f"x/version_{i}" for i in range(3)}


def test_a_folder_in_which_nothing_was_recorded_is_taken_away(tmp_path: Path) -> None:
    logger = RunLogger(str(tmp_path / "runs"), "x")
    (logger.folder / "config.yaml").write_text("a: 1\n")
    logger.discard_if_empty()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kept", ["metrics.csv", "trajectory", "my notes.txt"])
def test_a_folder_that_holds_something_stays(kept: str, tmp_path: Path) -> None:
    logger = RunLogger(str(tmp_path / "runs"), "x")
    (logger.folder / kept).mkdir()
    logger.discard_if_empty()
    assert (tmp_path / "runs/x/version_0" / kept).exists()


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(UserError, match=r"cannot make a run folder in .*--trainer.logger.root"):
        RunLogger(str(tmp_path / "runs"), "x").log_metrics({"loss": 1.0}, step=0)
    assert (tmp_path / "runs").read_text() == "a file"
