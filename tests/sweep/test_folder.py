from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from tests.conftest import ROOT
from tests.sweep.configs import config, written
from toyml.errors import UserError
from toyml.run import Run
from toyml.sweep.conduct import InterruptedSweepError, conduct, train_table
from toyml.sweep.curvature import best_end
from toyml.sweep.folder import (
    ASKED,
    TABLE,
    Sweep,
    alone,
    claim,
    done,
    joined,
    part_path,
    read_table,
    save_part,
    write_parquet,
)
from toyml.sweep.local import Engine, Job, Local, Progress
from toyml.sweep.outcome import Definition
from toyml.sweep.plan import Part, Plan, make_plan

KEYS = {"model.net.widths": "[2,2,1],[2,3,1],[2,4,1]", "model.optimizer.lr": "0.1,1.0"}


class Counting(Engine):
    """Trains here, counts, and may be interrupted after a number of parts."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.trained: list[int] = []
        self.stop_after = stop_after

    def train(
        self, job: Job, parts: Sequence[Part], progress: Progress
    ) -> Iterator[tuple[Part, pl.DataFrame]]:
        for part, rows in Local().train(job, parts, progress):
            if len(self.trained) == self.stop_after:
                raise KeyboardInterrupt
            self.trained.append(part.number)
            yield part, rows


def asked(folder: Path, **change: Any) -> tuple[Path, Plan, Job]:
    text = config(**change)
    plan = make_plan(text, 3, KEYS)
    return claim(folder, "xor", yaml.safe_dump(text), plan), plan, Job(text, Definition())


def test_an_interrupted_sweep_goes_on_where_it_stopped(tmp_path: Path) -> None:
    whole = conduct(*asked(tmp_path / "whole"), Counting())
    folder, plan, job = asked(tmp_path)
    with pytest.raises(InterruptedSweepError, match=r"6 of 18 trainings are kept in .*sweep_0"):
        conduct(folder, plan, job, Counting(stop_after=1))
    assert Sweep(folder).status == "unfinished: 6 of 18 trainings"
    assert not (folder / TABLE).exists()
    before = part_path(folder, 0).read_bytes()
    again = asked(tmp_path)
    assert again[0] == folder
    rest = Counting()
    sweep = conduct(*again, rest)
    assert rest.trained == [1, 2]
    assert part_path(folder, 0).read_bytes() == before
    assert sweep.status == "finished"
    assert sweep.table.equals(whole.table)
    assert sweep.table["replica"].to_list() == list(range(18))
    assert not list(folder.rglob("*.part"))
    # What is finished is not touched: the same command makes a new one.
    assert asked(tmp_path)[0].name == "sweep_1"


def test_threads_change_no_bit(tmp_path: Path) -> None:
    text = config()
    plan = make_plan(text, 9, {"model.optimizer.lr": "0.1,1.0"})
    (part,) = plan.parts()
    one, two = (Job(text, Definition(), threads=n).train(part) for n in (1, 2))
    assert one.equals(two)


def test_a_table_needs_no_folder(tmp_path: Path) -> None:
    folder, plan, job = asked(tmp_path)
    whole = conduct(folder, plan, job, Counting()).table
    keys = {key: list(v.values) for key, v in zip(KEYS, plan.vary, strict=True)}
    assert train_table(config(), 3, keys).drop("part").equals(whole.drop("part"))
    with pytest.raises(UserError, match="did you mean"):
        train_table(config(), 1, {"model.net.width": [1]})


def test_a_finished_folder_trains_nothing(tmp_path: Path) -> None:
    folder, plan, job = asked(tmp_path)
    conduct(folder, plan, job, Counting())
    again = claim(tmp_path, "xor", yaml.safe_dump(config()), plan, folder)
    engine = Counting()
    conduct(again, plan, job, engine)
    assert engine.trained == []


def test_another_sweep_gets_another_folder(tmp_path: Path) -> None:
    folder = asked(tmp_path)[0]
    assert asked(tmp_path, steps=31)[0].name == "sweep_1"
    assert asked(tmp_path)[0] == folder
    text, plan = yaml.safe_dump(config()), make_plan(config(), 4, KEYS)
    with pytest.raises(UserError, match=r"holds another sweep .*other seeds"):
        claim(tmp_path, "xor", text, plan, folder)
    same = make_plan(config(), 3, KEYS)
    with pytest.raises(UserError, match=r"trainer.max_steps was 30, is 31"):
        claim(tmp_path, "xor", yaml.safe_dump(config(steps=31)), same, folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="not a sweep's folder"):
        claim(tmp_path, "xor", text, same, tmp_path / "empty")
    assert claim(tmp_path, "xor", text, same, tmp_path / "own").name == "own"


def test_how_it_is_watched_makes_no_other_sweep(tmp_path: Path) -> None:
    text, plan = config(), make_plan(config(), 3, KEYS)
    folder = claim(tmp_path, "xor", yaml.safe_dump(text), plan)
    text["trainer"]["enable_progress_bar"] = False
    assert claim(tmp_path, "xor", yaml.safe_dump(text), plan) == folder


def test_two_processes_do_not_fill_one_folder(tmp_path: Path) -> None:
    folder, plan, job = asked(tmp_path)
    with alone(folder), pytest.raises(UserError, match="another process is filling"):
        conduct(folder, plan, job, Counting())
    conduct(folder, plan, job, Counting())


def test_a_part_is_written_once_and_whole(tmp_path: Path) -> None:
    save_part(tmp_path, 3, pl.DataFrame({"replica": [1]}))
    save_part(tmp_path, 3, pl.DataFrame({"replica": [2]}))
    assert joined(tmp_path)["replica"].to_list() == [1]
    assert done(tmp_path) == {3}
    part_path(tmp_path, 3).write_bytes(b"PAR1 torn")
    with pytest.raises(UserError, match=r"000003.parquet is not readable.*delete it"):
        joined(tmp_path)


def test_a_sweep_is_a_run_without_a_trajectory(tmp_path: Path) -> None:
    sweep = written(tmp_path, {"loss": [0.1, 0.2]})
    assert isinstance(sweep, Run)
    with pytest.raises(UserError, match="not their trajectories"):
        _ = sweep.trajectory
    assert sweep.name == "written"
    with pytest.raises(UserError, match="not a sweep"):
        Sweep(tmp_path)
    with pytest.raises(UserError, match="not a run"):
        Run(sweep.folder)
    (sweep.folder / TABLE).unlink()
    with pytest.raises(UserError, match="not there yet"):
        _ = Sweep(sweep.folder).table


def test_a_damaged_folder_is_one_line(tmp_path: Path) -> None:
    sweep = written(tmp_path, {"loss": [0.1, 0.2]})
    (sweep.folder / ASKED).write_text("[1, 2]")
    with pytest.raises(UserError, match="is not a config: it holds list"):
        _ = Sweep(sweep.folder).varied
    (sweep.folder / TABLE).write_bytes(b"nothing")
    with pytest.raises(UserError, match="not readable"):
        _ = Sweep(sweep.folder).table


def test_the_summary_counts_successes_and_failures(tmp_path: Path) -> None:
    lr = "model.optimizer.lr"
    losses = [0.01, 0.5, 0.5, np.nan, 0.01, 0.01]
    rates = [0.1] * 3 + [1.0] * 3
    sweep = written(
        tmp_path,
        {"loss": losses, lr: rates},
        {lr: [0.1, 1.0]},
        outcomes={"converged": 0.1},
    )
    summary = json.loads((sweep.folder / "summary.json").read_text())
    assert summary["outcomes"] == {"converged": 3, "plateau": 2, "moving": 0, "diverged": 1}
    assert summary["levels"] == [{"name": "0.5", "loss": 0.5, "count": 2}]
    assert [(r["value"], r["successes"], r["trials"]) for r in summary["rates"][lr]] == [
        (0.1, 1, 3),
        (1.0, 2, 3),
    ]
    assert sweep.table["outcome"].to_list() == [
        "converged", "plateau", "plateau", "diverged", "converged", "converged",
    ]  # fmt: skip
    assert sweep.table["step"].to_list() == [50, 50, 50, 7, 50, 50]
    assert sweep.table["level"].to_list() == [None, "0.5", "0.5", None, None, None]
    assert not {"trace", "trace_steps", "end"} & set(sweep.table.columns)


def test_cells_may_differ_in_steps_and_parameters(tmp_path: Path) -> None:
    vary = {"trainer.max_steps": "5,20", "model.net.widths": "[2,2,1],[2,9,1]"}
    text = config()
    plan = make_plan(text, 2, vary)
    folder = claim(tmp_path, "xor", yaml.safe_dump(text), plan)
    sweep = conduct(folder, plan, Job(text, Definition()), Local())
    assert sweep.table["steps"].to_list() == [5] * 4 + [20] * 4
    assert [len(end) for end in sweep.details["end"]] == [9, 9, 37, 37] * 2


def test_cells_of_small_and_large_nets_share_a_table(tmp_path: Path) -> None:
    # Only the small net's parameters are kept.
    asked = config(steps=3)
    plan = make_plan(asked, 2, {"model.net.widths": [[2, 3, 1], [2, 40, 1]]})
    job = Job(asked, Definition(converged=5.0))
    folder = claim(tmp_path, "xor", yaml.safe_dump(asked), plan)
    sweep = conduct(folder, plan, job, Local())
    assert sweep.table["replica"].to_list() == [0, 1, 2, 3]
    assert sweep.details["end"].list.len().to_list() == [13, 13, None, None]


def test_the_best_end_may_be_of_a_net_too_large_to_be_kept(tmp_path: Path) -> None:
    widths, low = {"model.net.widths": [[2, 3, 1], [2, 40, 1]]}, {"converged": 0.1}
    columns = {
        "loss": [0.01, 0.02],
        "end": [[0.5] * 13, None],
        "model.net.widths": ["[2, 3, 1]", "[2, 40, 1]"],
    }
    _, parameters = best_end(written(tmp_path / "small", columns, widths, outcomes=low))
    assert parameters["hidden1.weight"].shape == (1, 3, 2)
    columns["loss"] = [0.02, 0.01]
    with pytest.raises(UserError, match="too large"):
        best_end(written(tmp_path / "large", columns, widths, outcomes=low))


def test_a_table_is_written_beside_and_renamed(tmp_path: Path, monkeypatch: Any) -> None:
    write_parquet(tmp_path / TABLE, pl.DataFrame({"a": [1]}))

    def fail(*_: object) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        write_parquet(tmp_path / TABLE, pl.DataFrame({"a": [2]}))
    assert pl.read_parquet(tmp_path / TABLE)["a"].to_list() == [1]
    assert [p.name for p in tmp_path.iterdir()] == [TABLE]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_process_keeps_its_parts(tmp_path: Path, number: int) -> None:
    words = ["--config", str(ROOT / "configs/xor.yaml"), "--seeds", "1000", "--part", "50"]
    words += ["--trainer.max_steps", "20000"]
    command = [sys.executable, "-m", "toyml", "sweep", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
    folder = tmp_path / "runs/xor/sweep_0"
    until = time.monotonic() + 120
    while len(done(folder)) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(number)
    _, said = process.communicate(timeout=140)
    kept = done(folder)
    assert 2 <= len(kept) < 20
    if number != signal.SIGKILL:
        assert process.returncode == 130
        assert b"the same command goes on" in said
        assert b"Traceback" not in said
    before = {n: part_path(folder, n).stat().st_mtime_ns for n in kept}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert {n: part_path(folder, n).stat().st_mtime_ns for n in kept} == before
    sweep = Sweep(folder)
    assert sweep.finished
    assert sweep.table["seed"].to_list() == list(range(1000))


def test_a_table_of_too_many_rows_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / TABLE
    pl.select(pl.repeat(0, 50_000_001, dtype=pl.Int8, eager=False).alias("a")).write_parquet(path)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(UserError, match="is said to have 50,000,001 rows"):
        read_table(path)
    os.truncate(path, 2**42)
    with pytest.raises(UserError, match="is damaged: it has 4,398,046,511,104 bytes"):
        read_table(path)


def test_a_table_that_polars_panics_over_is_one_line(
    tmp_path: Path, monkeypatch: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    def panic(*_: object, **__: object) -> None:
        os.write(2, b"thread panicked\nnote: a backtrace\n")
        raise pl.exceptions.PanicException("index out of bounds")

    write_parquet(tmp_path / TABLE, pl.DataFrame({"a": [1]}))
    assert read_table(tmp_path / TABLE)["a"].to_list() == [1]
    monkeypatch.setattr(pl, "read_parquet", panic)
    with pytest.raises(UserError, match="is not readable: index out of bounds"):
        read_table(tmp_path / TABLE)
    assert capfd.readouterr().err == ""
    os.write(2, b"heard again")
    assert capfd.readouterr().err == "heard again"
