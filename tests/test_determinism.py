"""The same config gives the same bytes: weights, metrics, pictures, verdicts and page."""

from __future__ import annotations

import json
import locale
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from toyml.cli import main

TIMES = ("seconds", "seconds_per_step")
"""Keys of summary.json that say how long it took; nothing else in a run folder may differ."""
MEASURED = re.compile(r"(?<=<td>)[\d,.]+ (µs|s)(?=</td>)")
"""The same two on the page."""
PICTURED = """
trainer:
  max_steps: 40
  callbacks:
    - toyml.callbacks.Recorder
    - toyml.callbacks.LastCheckpoint
    - toyml.callbacks.Boundary
    - toyml.callbacks.Curves
    - class_path: toyml.callbacks.Verdicts
      init_args:
        claims:
          - class_path: toyml.claims.LossAt
            init_args: {statement: a, step: 3, predicted: 0.5, tolerance: 1}
    - class_path: toyml.callbacks.Report
      init_args: {question: "Is it the same?"}
"""


def left(folder: Path) -> dict[str, Any]:
    """What a fit left behind, without what is documented to differ."""
    found: dict[str, Any] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name, content = str(path.relative_to(folder)), path.read_bytes()
        if path.name == "summary.json":
            summary = json.loads(content)
            assert set(TIMES) <= summary.keys()
            found[name] = {k: v for k, v in summary.items() if k not in TIMES}
        elif path.suffix == ".html":
            text, count = MEASURED.subn("", content.decode())
            assert count == len(TIMES), "the page shows other times than documented"
            found[name] = text
        elif path.suffix != ".ckpt":  # torch's format: the same weights, other bytes
            found[name] = content
    return found


def differing(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Names of what differs."""
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))


def fit(folder: Path, *words: str, name: str = "perceptron") -> Path:
    """Fit in a folder of its own; the run folder."""
    folder.mkdir(parents=True)
    (folder / "part.yaml").write_text(PICTURED)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        line = ["fit", f"--config={ROOT}/configs/{name}.yaml", "--config=part.yaml", *words]
        patch.setattr("sys.argv", ["toyml", *line])
        main(line)
    return folder / f"runs/{name}/version_0"


def test_the_same_config_twice_leaves_the_same_bytes(tmp_path: Path) -> None:
    first, second = left(fit(tmp_path / "a")), left(fit(tmp_path / "b"))
    assert {"trajectory/rows.bin", "metrics.csv", "config.yaml", "report.html"} <= first.keys()
    assert {"figures/curves.png", "figures/curves.svg", "figures/boundary.png"} <= first.keys()
    assert differing(first, second) == []
    other = left(fit(tmp_path / "c", "--seed_everything=1"))
    assert {"trajectory/rows.bin", "figures/curves.png", "summary.json"} <= {
        *differing(first, other)
    }, "the comparison sees nothing"


def test_a_report_drawn_again_is_the_same(tmp_path: Path) -> None:
    run = fit(tmp_path / "a")
    before = left(run)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path / "a")
        main(["report", "runs/perceptron/version_0"])
    assert differing(before, left(run)) == []


def test_the_saved_config_gives_the_same_run(tmp_path: Path) -> None:
    first = left(run := fit(tmp_path / "a"))
    (tmp_path / "b").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path / "b")
        patch.setattr("sys.argv", ["toyml"])
        main(["fit", f"--config={run}/config.yaml"])
    second = left(tmp_path / "b/runs/perceptron/version_0")
    assert differing(first, second) == []


def terminal(folder: Path, words: str, **env: str) -> Path:
    """The same in a process of its own."""
    folder.mkdir(parents=True)
    (folder / "part.yaml").write_text(PICTURED)
    line = f"fit --config {ROOT}/configs/perceptron.yaml --config part.yaml {words}"
    done = subprocess.run(
        [sys.executable, "-m", "toyml", *shlex.split(line)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        check=False,
        errors="replace",
    )
    assert done.returncode == 0, done.stderr
    return folder / "runs/perceptron/version_0"


def german() -> list[str]:
    """A locale with a decimal comma, where the machine has one."""
    found = []
    before = locale.setlocale(locale.LC_ALL)
    for name in ("de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8"):
        try:
            locale.setlocale(locale.LC_ALL, name)
        except locale.Error:
            continue
        found = [name]
        break
    locale.setlocale(locale.LC_ALL, before)
    return found


@pytest.mark.slow
def test_nothing_around_a_fit_changes_what_it_leaves(tmp_path: Path) -> None:
    plain = left(terminal(tmp_path / "plain", "", PYTHONHASHSEED="0", LC_ALL="C.UTF-8", TZ="UTC"))
    around: dict[str, dict[str, str]] = {
        "hash": {"PYTHONHASHSEED": "12345"},
        "a folder/with ü": {},
        "C": {"LC_ALL": "C"},
        "POSIX": {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        "zone": {"TZ": "Pacific/Kiritimati"},
        **{name: {"LC_ALL": name} for name in german()},
    }
    for name, env in around.items():
        found = left(terminal(tmp_path / name, "", **{"PYTHONHASHSEED": "0", **env}))
        assert differing(plain, found) == [], name


@pytest.mark.slow
def test_threads_change_what_says_so_and_no_weight(tmp_path: Path) -> None:
    one = left(terminal(tmp_path / "one", "--threads 1"))
    two = left(terminal(tmp_path / "two", "--threads 2", OMP_NUM_THREADS="2"))
    # The number of threads is a setting, and is shown: config, environment, page.
    assert set(differing(one, two)) <= {"config.yaml", "summary.json", "report.html"}
    summaries = [found["summary.json"] for found in (one, two)]
    assert [s["environment"].pop("threads") for s in summaries] == [1, 2]
    assert summaries[0] == summaries[1]
    configs = [yaml.safe_load(found["config.yaml"]) for found in (one, two)]
    assert [config.pop("threads") for config in configs] == [1, 2]
    assert configs[0] == configs[1]
