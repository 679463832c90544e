"""Workers on a Ray cluster: one per GPU, or per group of CPU cores.

The blocks come back to this process, which alone writes: only the weights and the scene must be readable from
every machine. Each worker has one block at work, so what is in flight is bounded by the number of workers.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from swath.errors import ConfigError, SwathError
from swath.scenes.job import Job
from swath.scenes.piece import Piece
from swath.scenes.runners.pool import WorkerLost, share_out


class _Actor:
    """Lives on the cluster. Errors that a person can mend are returned: Ray would wrap them."""

    def __init__(self, job: Job) -> None:
        self._stack = ExitStack()
        self._error: SwathError | None = None
        try:
            self._worker = self._stack.enter_context(job.open())
        except SwathError as err:
            self._error = err

    def pid(self) -> int:
        return os.getpid()

    def run(self, index: int, following: int | None) -> Piece | SwathError:
        if self._error is not None:
            return self._error
        try:
            return self._worker.run(index, following)
        except SwathError as err:
            return err


class RayWorker:
    """One worker on the cluster.

    Args:
        ray: the module.
        job: what it works on.
    """

    def __init__(self, ray: Any, job: Job) -> None:
        self._ray = ray
        gpus = 1 if job.device == "cuda" else 0
        # No restarts by Ray: a lost worker is replaced here, so that its block is given to whoever is free.
        actor = ray.remote(num_cpus=job.threads, num_gpus=gpus, max_restarts=0)(_Actor)
        self._actor = actor.remote(job)

    def pid(self) -> int:
        """Of its process, on whichever machine."""
        return int(self._ray.get(self._actor.pid.remote()))

    def run(self, index: int, following: int | None) -> Piece:
        """The block of that number. Raises WorkerLost if the worker or its machine has gone."""
        try:
            answer = self._ray.get(self._actor.run.remote(index, following))
        except self._ray.exceptions.RayActorError as err:
            raise WorkerLost from err
        if isinstance(answer, SwathError):
            raise answer
        assert isinstance(answer, Piece)
        return answer

    def close(self) -> None:
        """End the worker."""
        self._ray.kill(self._actor)


def run_ray(
    job: Job, workers: int, todo: Sequence[int], put: Callable[[Piece], None], *, address: str = ""
) -> None:
    """Computes blocks on a Ray cluster and hands them on, in any order.

    Args:
        job: says how a worker begins.
        workers: how many; Ray waits until it has room for each.
        todo: numbers of the blocks.
        put: takes finished blocks, one at a time, in this process.
        address: of the cluster; empty: the one this machine belongs to (RAY_ADDRESS), else one is started here.

    Raises:
        ConfigError: Ray is not installed, or has no cluster of that address, or not the cores a worker needs.
        SwathError: the first of a worker or of `put`.
    """
    try:
        ray = importlib.import_module("ray")
    except ImportError as err:
        raise ConfigError(
            "Ray is not installed", where="engine", mend='pip install "swath[ray]", or use engine local'
        ) from err
    mine = not ray.is_initialized()
    if mine:
        try:
            ray.init(address=address or None, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as err:
            raise ConfigError(f"no cluster answers ({err})", where="ray_address") from err
    try:
        _check_room(ray, job, workers)
        share_out(lambda: RayWorker(ray, job), workers, todo, put)
    finally:
        if mine:
            ray.shutdown()


def _check_room(ray: Any, job: Job, workers: int) -> None:
    """Ray would wait for ever for what the cluster does not have."""
    have = ray.cluster_resources()
    wanted = {"CPU": job.threads * workers, "GPU": workers if job.device == "cuda" else 0}
    for name, need in wanted.items():
        if have.get(name, 0) < need:
            raise ConfigError(
                f"{workers} workers need {need} {name}s, the cluster has {have.get(name, 0):g}",
                where="workers",
                mend="use fewer workers or threads, or add machines to the cluster",
            )
