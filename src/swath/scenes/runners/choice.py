"""Who computes a job's blocks, as a person has chosen."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from swath.scenes.job import Job
from swath.scenes.worker import Worker

if TYPE_CHECKING:
    from swath.scenes.mapping import Course


@dataclass(frozen=True)
class Runner:
    """How a job's work is shared out; the bits are the same for all.

    Attributes:
        engine: "local", or "ray" for a cluster.
        workers: that share the work; one local worker is this process itself.
        ray_address: of the cluster; empty: the one this machine belongs to, else one is started here.
    """

    engine: Literal["local", "ray"] = "local"
    workers: int = 1
    ray_address: str = ""

    def run(self, job: Job, course: Course, here: Callable[[], AbstractContextManager[Worker]]) -> None:
        """Computes what is left to do.

        Args:
            job: says how a worker elsewhere begins.
            course: of the work.
            here: opens a worker in this process, with what is at hand.

        Raises:
            SwathError: the first of a worker or of the course.
        """
        if self.engine == "ray":
            from swath.scenes.runners.ray import run_ray

            run_ray(job, self.workers, course.todo, course.put_whole, address=self.ray_address)
        elif self.workers > 1:
            from swath.scenes.runners.processes import run_processes

            run_processes(job, self.workers, course.todo, course.put_whole)
        else:
            from swath.scenes.runners.local import run_local

            with here() as worker:
                run_local(worker, course.todo, course.put, course.advance)
