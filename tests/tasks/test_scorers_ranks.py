"""Scores of a set that two processes share are those of one process, with parts of unequal length."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

SCRIPT = textwrap.dedent(
    """
    import json, os, sys
    import torch
    import torch.distributed as dist
    from swath.tasks.metrics import ClassScorer
    from swath.tasks.metrics_multilabel import MultilabelScorer
    from swath.tasks.metrics_regression import RegressionScorer

    rank, world, store = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 3, generator=draw)
    truth = torch.randint(-1, 3, (7,), generator=draw)
    labels = torch.randint(0, 2, (7, 3), generator=draw)
    values = torch.randn(7, 3, generator=draw)
    mine = slice(rank, None, world)  # 4 and 3 records
    out = []
    for scorer, target in (
        (ClassScorer("abc"), truth), (MultilabelScorer("abc"), labels), (RegressionScorer("abc"), values)
    ):
        scorer.update(logits[mine], target[mine])
        out.append(scorer.compute().to_dict())
    print(json.dumps(out, sort_keys=True))
    """
)


@pytest.mark.slow
def test_two_processes_score_as_one(tmp_path):
    def start(rank: int, world: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", SCRIPT, str(rank), str(world), str(tmp_path / "store")]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    alone = json.loads(start(0, 1).communicate(timeout=120)[0])
    both = [p.communicate(timeout=120)[0] for p in [start(0, 2), start(1, 2)]]
    for text in both:
        for got, wanted in zip(json.loads(text), alone, strict=True):
            flat = {k: v for k, v in got.items() if isinstance(v, float)}
            assert flat == pytest.approx({k: wanted[k] for k in flat}, rel=1e-12)
            assert got.get("confusion") == wanted.get("confusion") and got["count"] == wanted["count"]
