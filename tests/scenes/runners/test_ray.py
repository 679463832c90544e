"""A real Ray on this machine: two workers, one of them killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from local_ray import RAY_WARNINGS, local_cluster

from swath.errors import ConfigError, InputError
from swath.scenes.job import FeatureJob, WeightsJob
from swath.scenes.piece import Piece
from swath.scenes.runners.local import run_local
from swath.scenes.runners.pool import share_out
from swath.scenes.runners.ray import RayWorker, run_ray

pytestmark = [pytest.mark.slow, *RAY_WARNINGS]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with local_cluster(2) as ray:
        yield ray


def test_two_workers_one_of_them_killed_give_the_same_bits(
    cluster: Any, job: WeightsJob, expected: dict[int, Piece]
) -> None:
    pids: list[int] = []
    got: dict[int, Piece] = {}

    def start() -> RayWorker:
        worker = RayWorker(cluster, job)
        pids.append(worker.pid())
        return worker

    def put(piece: Piece) -> None:
        got[piece.record.block] = piece
        if len(got) == 2:
            os.kill(pids[0], signal.SIGKILL)

    share_out(start, 2, range(job.plan.block_count), put)
    assert len(pids) == 3
    assert got == expected


def test_the_runner_uses_the_cluster_that_is_there(
    cluster: Any, job: WeightsJob, expected: dict[int, Piece]
) -> None:
    got: dict[int, Piece] = {}
    run_ray(job, 2, [3, 4, 8], lambda p: got.update({p.record.block: p}))
    assert got == {i: expected[i] for i in (3, 4, 8)}
    assert cluster.is_initialized()


def test_features_are_the_same_bits_too(cluster: Any, features: FeatureJob) -> None:
    here: dict[int, Piece] = {}
    there: dict[int, Piece] = {}
    todo = range(features.plan.block_count)
    with features.open() as worker:
        run_local(worker, todo, lambda p: here.update({p.record.block: p}))
    run_ray(features, 2, todo, lambda p: there.update({p.record.block: p}))
    assert here == there and len(here) == 4


def test_errors_are_one_line(cluster: Any, job: WeightsJob, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="9 workers need 9 CPUs, the cluster has 2; use fewer"):
        run_ray(job, 9, [0], lambda p: None)
    wrong = replace(job, input=replace(job.input, files=str(tmp_path / "none.tif")))
    with pytest.raises(InputError, match=r"none\.tif: there is no such file; check the path"):
        run_ray(wrong, 1, [0], lambda p: None)
