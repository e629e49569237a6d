"""The parts of a sweep trained on a Ray cluster."""

from __future__ import annotations

import logging
import os
import socket
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from toyml.errors import UserError
from toyml.sweep.local import Engine, Job, Progress
from toyml.sweep.plan import Part

RETRIES = 5
"""How often a part is trained again after its worker or its machine died."""

# Ray collects usage statistics, hides GPUs from tasks without one, and says so on every start.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
}


class Ray(Engine):
    """Parts as Ray tasks: a part whose worker dies is trained again on another.

    The rows come back to this process, which alone writes them; so no folder has to be shared, and
    a part that was trained twice is kept once.

    Args:
        address: Address of a running cluster (``auto`` or ``host:6379``); ``None`` starts one of
            this machine's own and ends it again.
        workers: CPUs of that one; ``None`` takes all. Each part takes as many as the job has
            threads.

    Raises:
        UserError: Ray is not installed, or nobody listens at the address.
    """

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        self.address, self.workers = address, workers
        self._ray = load_ray()
        if address is not None:
            see_address(address)

    def train(
        self, job: Job, parts: Sequence[Part], progress: Progress
    ) -> Iterator[tuple[Part, pl.DataFrame]]:
        """Train parts on the cluster; they come in the order in which they are done.

        Raises:
            UserError: There is no cluster at the address, or a part's workers died too often.
        """
        ray = self._ray
        self._start(job)
        try:
            shared = ray.put(job)
            remote = ray.remote(num_cpus=job.threads, max_retries=RETRIES)(train_remotely)
            waiting = {remote.remote(shared, part): part for part in parts}
            while waiting:
                finished, _ = ray.wait(list(waiting), num_returns=1, timeout=0.5)
                for reference in finished:
                    part = waiting.pop(reference)
                    yield part, self._rows(reference, part)
        finally:
            ray.shutdown()

    def _start(self, job: Job) -> None:
        # Workers find toyml, and classes that lie beside the config, where this process does.
        paths = os.pathsep.join(dict.fromkeys(str(Path(p).resolve()) for p in sys.path))
        variables = {"OMP_NUM_THREADS": str(job.threads), **QUIET}
        settings: dict[str, Any] = {
            "address": self.address,
            "log_to_driver": False,
            "logging_level": logging.ERROR,
            "runtime_env": {"env_vars": variables},
        }
        if self.address is None:
            variables["PYTHONPATH"] = paths
            settings |= {"num_cpus": self.workers, "include_dashboard": False}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._ray.init(**settings)
        except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
            place = f"at {self.address}" if self.address else "on this machine"
            raise UserError(
                f"no Ray cluster {place}: {' '.join(str(error).split())[:200]}; start one with "
                "ray start --head, or leave --address out"
            ) from error

    def _rows(self, reference: Any, part: Part) -> pl.DataFrame:
        ray = self._ray
        try:
            rows: pl.DataFrame = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            raise (cause if isinstance(cause, Exception) else error) from None
        except ray.exceptions.RayError as error:
            raise UserError(
                f"part {part.number} was given up after {RETRIES} tries: "
                f"{' '.join(str(error).split())[:200]}; the same command goes on with it"
            ) from error
        return rows


def see_address(address: str) -> None:
    """See that somebody listens there; Ray itself would try for minutes and end the process.

    Raises:
        UserError: Nobody does, or it is no address.
    """
    if address in ("auto", "local"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(
            f"no Ray cluster at {address} ({' '.join(str(error).split())}); give HOST:PORT of one "
            "started with ray start --head, or leave --address out"
        ) from error


def train_remotely(job: Job, part: Part) -> pl.DataFrame:
    """Train one part in a Ray worker."""
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    return job.train(part)


def load_ray() -> Any:
    """Ray, quietly.

    Raises:
        UserError: It is not installed.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import ray
            import ray.exceptions
    except ImportError as error:
        raise UserError(
            "--engine ray needs Ray, which is not installed: pip install 'toyml[ray]'; or leave "
            "--engine out"
        ) from error
    return ray
