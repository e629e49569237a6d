"""A real Ray cluster on this machine: two workers, one of which is killed in its cell."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import yaml

from tests.sweep.configs import config
from toyml.errors import UserError
from toyml.sweep.conduct import conduct
from toyml.sweep.folder import Sweep, claim, done
from toyml.sweep.local import Job, Local
from toyml.sweep.outcome import Definition
from toyml.sweep.plan import make_plan

pytestmark = [
    pytest.mark.slow,
    # Ray's own threads and sockets are closed by its shutdown, some of them only at exit.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
KEYS = {"model.net.widths": "[2,2,1],[2,3,1],[2,4,1],[2,5,1]", "model.optimizer.lr": "0.1,1.0"}


def kill_the_waiting(folder: Path, killed: list[int]) -> None:
    until = time.monotonic() + 240
    while time.monotonic() < until:
        for path in folder.glob("waiting.*"):
            killed.append(int(path.name.split(".")[1]))
            os.kill(killed[0], signal.SIGKILL)
            return
        time.sleep(0.05)


def test_a_killed_workers_cell_is_trained_again(tmp_path: Path) -> None:
    from toyml.sweep.cluster import Ray

    asked = config(steps=200)
    asked["data"] = {
        "class_path": "tests.sweep.waiting.Waiting",
        "init_args": {"folder": str(tmp_path), "repeats": 1, "batch_size": None},
    }
    plan = make_plan(asked, 5, KEYS)
    job, text = Job(asked, Definition()), yaml.safe_dump(asked)
    local = conduct(claim(tmp_path / "local", "xor", text, plan), plan, job, Local())
    for path in tmp_path.glob("built.*"):
        path.unlink()
    (tmp_path / "armed").touch()
    killed: list[int] = []
    killer = threading.Thread(target=kill_the_waiting, args=(tmp_path, killed))
    killer.start()
    seen: list[int] = []
    folder = claim(tmp_path / "ray", "xor", text, plan)
    sweep = conduct(folder, plan, job, Ray(workers=2), lambda n, _: seen.append(n))
    killer.join()
    assert len(killed) == 1
    workers = {int(path.name.split(".")[1]) for path in tmp_path.glob("built.*")}
    assert killed[0] in workers
    assert len(workers) >= 2
    # Bit for bit what one process trains; nothing is lost and nothing double.
    assert sweep.table.equals(local.table)
    assert sweep.details["trace"].to_list() == local.details["trace"].to_list()
    assert sweep.table["replica"].to_list() == list(range(plan.replicas))
    assert done(folder) == {0, 1, 2, 3}
    assert seen == sorted(seen)
    assert seen[-1] == plan.replicas
    assert Sweep(folder).finished


def test_an_error_in_a_cell_is_the_users_one_line(tmp_path: Path) -> None:
    from toyml.sweep.cluster import Ray

    asked = config()
    plan = make_plan(asked, 1, {"model.net.widths": "[2,2,1],[2,0,1]"})
    folder = claim(tmp_path, "xor", yaml.safe_dump(asked), plan)
    with pytest.raises(UserError, match="width"):
        conduct(folder, plan, Job(asked, Definition()), Ray(workers=1))
    assert done(folder) <= {0}


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nowhere", "127.0.0.1:x"])
def test_no_cluster_at_the_address(address: str) -> None:
    from toyml.sweep.cluster import Ray

    with pytest.raises(UserError, match=f"no Ray cluster at {address}"):
        Ray(address)
