"""What a pretraining looks at while it runs, and what its page says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import swath
from swath.errors import ConfigError
from swath.training.metrics_log import read_metrics
from swath.verbs import watch
from swath.verbs.run_report import health_lines, warnings
from swath.weights.file import load, same_state


def test_pictures_health_and_a_probe_change_no_bit_and_are_kept(chain: Any, tmp_path: Path) -> None:
    options = chain.land.pretraining(tmp_path / "run")
    options["watch"] = {
        "pictures_every": 3,
        "health_every": 3,
        "samples": 8,
        "probe": {**chain.land.finetuning("none")["data"], "window": 8},
    }
    result = swath.pretrain(**options)
    assert same_state(load(result.weights).state, load(chain.pretrained.weights).state)
    folder = Path(result.folder)
    assert sorted(p.name for p in (folder / "pictures").iterdir()) == [
        "step-00000003-0.png",
        "step-00000006-0.png",
    ]
    seen = [(r["step"], r["health"]) for r in read_metrics(folder / "metrics.jsonl") if "health" in r]
    assert [step for step, _ in seen] == [3, 6]
    for _, numbers in seen:
        assert set(numbers) == {"feature_rank", "feature_spread", "collapsed", "knn", "linear"}
        assert 0 <= numbers["knn"] <= 1 and 0 <= numbers["linear"] <= 1 and numbers["feature_rank"] > 0
    page = (folder / "report.html").read_text("utf-8")
    assert "effective rank" in page.lower() or "How many dimensions" in page


def test_a_collapse_is_told(
    chain: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "pooled", lambda objective, batches: torch.ones(8, 4))

    class Feed:
        def take(self, first: int, count: int) -> None:
            return None

    look = watch._health(watch.WatchOptions(health_every=1, samples=8), Feed(), None)  # type: ignore[arg-type]
    assert look(torch.nn.Linear(1, 1), 5)["collapsed"] == 1.0
    assert "step 5: the features collapse" in caplog.text
    records = [
        {"step": 5, "health": {"collapsed": 1.0, "feature_rank": 0.0, "knn": 0.5}},
        {"step": 6, "skipped": 2},
    ]
    assert len(warnings(records)) == 2 and "last at step 5" in warnings(records)[0]
    assert set(health_lines(records)) == {"effective rank", "accuracy"}


def test_a_probe_that_cannot_tell_anything_is_refused_before_a_folder_is_made(
    land: Any, tmp_path: Path
) -> None:
    options = land.pretraining(tmp_path / "run")
    given = land.finetuning("none")["data"]
    probe = {**given, "classes": given["classes"][:1], "ignore": [5, 9]}
    options["watch"] = {"health_every": 2, "samples": 4, "probe": probe}
    with pytest.raises(ConfigError, match="too few labelled windows"):
        swath.pretrain(**options)
    assert not (tmp_path / "run").exists()
