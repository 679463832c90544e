"""Real worker processes: the same bits, whoever dies."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from swath.errors import InputError
from swath.scenes.job import WeightsJob
from swath.scenes.piece import Piece
from swath.scenes.runners.pool import share_out
from swath.scenes.runners.processes import ProcessWorker, run_processes


@pytest.mark.slow
def test_two_processes_one_of_them_killed_give_the_same_bits(
    job: WeightsJob, expected: dict[int, Piece]
) -> None:
    workers: list[ProcessWorker] = []
    got: dict[int, Piece] = {}

    def start() -> ProcessWorker:
        workers.append(ProcessWorker(job))
        return workers[-1]

    def put(piece: Piece) -> None:
        got[piece.record.block] = piece
        if len(got) == 2:
            os.kill(workers[0].pid, signal.SIGKILL)

    share_out(start, 2, range(job.plan.block_count), put)
    assert len(workers) == 3
    assert got == expected


@pytest.mark.slow
def test_what_a_worker_meets_is_told_in_one_line(job: WeightsJob, tmp_path: Path) -> None:
    wrong = replace(job, input=replace(job.input, files=str(tmp_path / "none.tif")))
    with pytest.raises(InputError, match=r"none\.tif: there is no such file; check the path"):
        run_processes(wrong, 2, range(4), lambda piece: None)
