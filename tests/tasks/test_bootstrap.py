from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from swath.errors import ConfigError, InputError
from swath.rng import numpy_generator
from swath.tasks.block_scores import ClassBlocks, RegressionBlocks
from swath.tasks.bootstrap import BootstrapOptions, _t_quantile, _tail, bootstrap
from swath.tasks.metrics import Confusion

CLASSES = ("a", "b")


def collected(shares: np.ndarray, pixels: int, draw: np.random.Generator) -> ClassBlocks:
    """Blocks whose pixels are right with the given shares."""
    blocks = ClassBlocks(CLASSES)
    right = draw.random((len(shares), pixels)) < shares[:, None]
    truth = draw.integers(0, 2, right.shape)
    guess = torch.from_numpy(np.where(right, truth, 1 - truth))
    blocks.update_classes(guess, torch.from_numpy(truth), [f"block {i}" for i in range(len(shares))])
    return blocks


def test_the_numbers_are_those_of_a_plain_loop_over_drawn_blocks():
    draw = np.random.default_rng(0)
    truth = draw.integers(0, 2, (12, 40))
    guess = np.where(draw.random((12, 40)) < 0.7, truth, 1 - truth)
    blocks = ClassBlocks(CLASSES)
    blocks.update_classes(torch.from_numpy(guess), torch.from_numpy(truth), [str(i) for i in range(12)])
    options = BootstrapOptions(resamples=200, level=0.9, seed=3)
    found = bootstrap(blocks, options)

    times = numpy_generator(3, "bootstrap", 12).multinomial(12, np.full(12, 1 / 12), size=200)
    plain = []
    for row in times:
        again = Confusion(CLASSES)
        for block, count in enumerate(row):
            for _ in range(count):
                again.update(torch.from_numpy(guess[block]), torch.from_numpy(truth[block]))
        plain.append(again.compute())
    # Expanded percentiles, by scipy instead of by hand.
    tail = stats.norm.cdf(-stats.t.ppf(0.95, 11) * math.sqrt(12 / 11))
    for name in ("overall_accuracy", "macro_f1", "miou"):
        low, high = np.quantile([s.summary()[name] for s in plain], [tail, 1 - tail])
        assert (found[name].low, found[name].high) == pytest.approx((low, high))
    low, high = np.quantile([s.classes[1].iou for s in plain], [tail, 1 - tail])
    assert (found["iou.b"].low, found["iou.b"].high) == pytest.approx((low, high))


def test_blocks_hold_the_truth_as_often_as_they_say_and_pixels_do_not():
    draw = np.random.default_rng(1)
    tried, pixels, n = 300, 100, 25
    options = BootstrapOptions(resamples=300)
    inside = {"blocks": 0, "pixels": 0}
    for _ in range(tried):
        # What differs from block to block is all that matters: 0.5 to 1 of a block is right, 0.75 in truth.
        blocks = collected(draw.uniform(0.5, 1.0, n), pixels, draw)
        interval = bootstrap(blocks, options)["overall_accuracy"]
        inside["blocks"] += interval.low <= 0.75 <= interval.high
        share = blocks.compute().summary()["overall_accuracy"]
        half = 1.96 * math.sqrt(share * (1 - share) / (n * pixels))
        inside["pixels"] += abs(share - 0.75) <= half
    # Four standard errors of a share of 0.95 among 300.
    assert abs(inside["blocks"] / tried - 0.95) < 4 * math.sqrt(0.95 * 0.05 / tried)
    assert inside["pixels"] / tried < 0.6


def test_few_blocks_are_said_and_one_has_no_interval():
    draw = np.random.default_rng(2)
    few = bootstrap(collected(np.full(5, 0.8), 30, draw), unit="scene")
    assert few.blocks == 5 and any("5 scenes alone" in note for note in few.notes)
    assert few["overall_accuracy"].low < few["overall_accuracy"].high
    one = bootstrap(collected(np.full(1, 0.8), 30, draw), unit="scene")
    assert one.notes == ("all that was scored lies in one scene: there is nothing to draw, and no interval",)
    assert math.isnan(one["miou"].low)
    said = json.loads(json.dumps(one.to_dict(), allow_nan=False))
    assert said["intervals"]["miou"] is None and said["unit"] == "scene" and said["units"] == 1
    many = bootstrap(collected(np.full(40, 0.8), 30, draw))
    assert many.notes == ()


def test_a_class_that_most_sets_lack_has_no_interval_and_it_is_said():
    blocks = ClassBlocks(("a", "b", "rare"))
    truth = torch.zeros(3, 8, dtype=torch.long)
    truth[:, 4:] = 1
    guess = truth.clone()
    guess[:, 0] = 1
    blocks.update_classes(guess, truth, ["0", "1", "2"])
    blocks.update_classes(torch.full((1, 4), 2), torch.full((1, 4), 2), ["3"])
    found = bootstrap(blocks, BootstrapOptions(resamples=400))
    # One block of four is drawn in 1 - (3/4)^4 = 68 % of the sets.
    assert not math.isnan(found["recall.rare"].low)
    (note,) = [note for note in found.notes if "without a value in some of the drawn sets" in note]
    assert 25 <= int(note.split(" in ")[-1].removesuffix("%)")) <= 40
    blocks = ClassBlocks(("a", "b", "absent"))
    blocks.update_classes(guess, truth, ["0", "1", "2"])
    assert math.isnan(bootstrap(blocks)["iou.absent"].high)


def test_the_same_seed_draws_the_same_and_another_does_not():
    draw = np.random.default_rng(4)
    blocks = collected(draw.uniform(0.5, 1, 30), 20, draw)
    first, again = bootstrap(blocks, BootstrapOptions(seed=1)), bootstrap(blocks, BootstrapOptions(seed=1))
    assert first == again
    assert first["miou"] != bootstrap(blocks, BootstrapOptions(seed=2))["miou"]


def test_errors_of_regression_hold_their_truth():
    draw = np.random.default_rng(5)
    inside = 0
    for _ in range(100):
        shift = draw.normal(0.0, 1.0, (30, 1))
        truth = draw.normal(0.0, 1.0, (30, 50))
        blocks = RegressionBlocks(("height",))
        blocks.update(torch.from_numpy(truth + shift)[:, None, None], torch.from_numpy(truth)[:, None],
                      [str(i) for i in range(30)])  # fmt: skip
        interval = bootstrap(blocks, BootstrapOptions(resamples=200))["bias"]
        inside += interval.low <= 0.0 <= interval.high
    assert inside >= 87


@given(st.floats(0.75, 0.999), st.integers(1, 500))
def test_quantiles_of_t_are_scipys(p, freedom):
    assert _t_quantile(p, freedom) == pytest.approx(stats.t.ppf(p, freedom), rel=1e-4)


def test_tails_are_those_of_plain_percentiles_once_there_are_many_blocks():
    assert _tail(100_000, 0.95) == pytest.approx(0.025, abs=1e-4)
    assert _tail(5, 0.95) < 0.005


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ConfigError, match="resamples"):
        BootstrapOptions(resamples=10)
    with pytest.raises(ConfigError, match="level"):
        BootstrapOptions(level=1.0)
    with pytest.raises(InputError, match="nothing was scored"):
        bootstrap(ClassBlocks(CLASSES))
