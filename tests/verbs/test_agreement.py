"""What learning by agreement lacks in the data is said before the first step."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from swath.bands import sensor
from swath.contract import Normalisation, contract_for
from swath.cube import Cube, Encoding
from swath.feed.windows import RecordFeed
from swath.verbs.agreement import say_what_agreement_lacks
from swath.verbs.config import load_config
from swath.verbs.pretrain import PretrainConfig
from swath.verbs.scene_data import Pretraining

CONTRACT = contract_for("landsat7", ("B2", "B3"), Encoding("dn"), Normalisation("standard", "record"))


def data(dates: int, held: int, count: int = 3) -> Pretraining:
    """Images of so many dates, of which so many hold anything."""
    draw = np.random.default_rng(0)
    made = []
    for i in range(count):
        valid = np.ones((dates, 2, 8, 8), bool)
        valid[held:] = False
        pixels = draw.normal(size=valid.shape).astype(np.float32)
        bands, encodings = sensor("landsat7").select(("B2", "B3")), ((Encoding("dn"),) * 2,) * dates
        cube = Cube(pixels, valid, bands, (None,) * dates, encodings, source=f"r{i}")
        made.append(CONTRACT.convert(cube.with_statistics()))
    return Pretraining(CONTRACT, tuple(made), (None,) * count, ())


def said(
    caplog: pytest.LogCaptureFixture, given: Pretraining, objective: nn.Module | None = None, **options: Any
) -> list[str]:
    layout = {"name": "eurosat", "root": "x"}
    plain = {"run": {"folder": "r"}, "model": {"system": "simclr"}, "data": {"layout": layout}}
    config = load_config(PretrainConfig, [], {**plain, **options})
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="swath"):
        feed = RecordFeed(given.cubes, CONTRACT)
        say_what_agreement_lacks(config, objective or nn.Identity(), feed, (given,), len(given.cubes))
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(("dates", "held", "lacks"), [(1, 1, True), (3, 1, True), (3, 2, False)])
def test_seasons_need_a_second_date_with_data(
    caplog: pytest.LogCaptureFixture, dates: int, held: int, lacks: bool
) -> None:
    words = said(caplog, data(dates, held))
    assert len(words) == lacks and all(w.startswith("views.seasonal: no sample has two dates") for w in words)
    assert not said(caplog, data(dates, held), **{"views.seasonal": False})
    assert not said(caplog, data(dates, held), **{"model.system": "mae"})


def test_a_queue_longer_than_the_data_holds_the_sample_itself(caplog: pytest.LogCaptureFixture) -> None:
    class Queued(nn.Module):
        def __init__(self, keys: int) -> None:
            super().__init__()
            self.queue = np.zeros((keys, 2))

    seasons = data(2, 2)
    words = said(caplog, seasons, Queued(4), **{"model.system": "moco", "contrast.version": "v2"})
    assert len(words) == 1
    assert (
        words[0].startswith("contrast.queue: it holds 4 keys of data that have 3 samples")
        and "take 1" in words[0]
    )
    assert not said(caplog, seasons, Queued(3), **{"model.system": "moco", "contrast.version": "v2"})


def test_a_run_says_both(land: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import swath

    # The first step finds an empty queue, and nothing to compare with.
    options = land.pretraining(tmp_path / "run", steps=2, warmup_steps=0)
    vit = {"embed_dim": 24, "depth": 1, "heads": 2, "patch_size": 4}
    options |= {"model": {"system": "moco", "options": vit}, "mask": {}}
    options["contrast"] = {"hidden": 16, "embedding": 8, "version": "v2", "queue": 900}
    options["data"]["hold_out"] = []
    with caplog.at_level(logging.WARNING, logger="swath"):
        swath.pretrain(**options)
    starts = [r.getMessage().partition(":")[0] for r in caplog.records]
    assert "views.seasonal" in starts and "contrast.queue" in starts
