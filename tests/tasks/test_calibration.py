from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from swath.errors import InputError
from swath.tasks.calibration import (
    HIGH,
    calibration_error,
    fit_temperature,
    surprise_of_classes,
    surprise_of_labels,
)


def planted(seed: int, temperature: float, n: int = 20_000, k: int = 4):
    """Logits that are `temperature` times too sure, and classes drawn from what is true."""
    draw = torch.Generator().manual_seed(seed)
    true = torch.randn(n, k, generator=draw, dtype=torch.float64) * 1.5
    target = torch.multinomial(true.softmax(1), 1, generator=draw)[:, 0]
    return true * temperature, target


def surprise(logits, target):
    return lambda t: float(surprise_of_classes((logits / t).softmax(1), target).mean())


@settings(max_examples=8)
@given(st.integers(0, 1000), st.sampled_from([0.4, 1.0, 2.5, 6.0]))
def test_a_planted_temperature_is_recovered(seed, temperature):
    logits, target = planted(seed, temperature)
    found = fit_temperature(surprise(logits, target))
    # Its standard error on so many draws is below 1 %.
    assert found.value == pytest.approx(temperature, rel=0.06)
    assert found.after <= found.before and found.note == ""
    right = logits.argmax(1) == target
    gap = calibration_error((logits / found.value).softmax(1).amax(1), right)
    assert gap < 0.02
    if temperature > 2:
        assert calibration_error(logits.softmax(1).amax(1), right) > 3 * gap


def test_the_least_is_that_of_scipy():
    logits, target = planted(1, 1.7, n=2000)
    f = surprise(logits, target)
    best = optimize.minimize_scalar(
        lambda x: f(math.exp(x)), bounds=(-3, 3), method="bounded", options={"xatol": 1e-6}
    )
    found = fit_temperature(f, tolerance=1e-4)
    assert found.value == pytest.approx(math.exp(best.x), rel=1e-3) and found.before == f(1.0)


def test_labels_are_fitted_alike():
    draw = torch.Generator().manual_seed(0)
    true = torch.randn(5000, 3, generator=draw, dtype=torch.float64)
    target = (torch.rand(5000, 3, generator=draw, dtype=torch.float64) < true.sigmoid()).long()
    found = fit_temperature(lambda t: float(surprise_of_labels((3 * true / t).sigmoid(), target).mean()))
    assert found.value == pytest.approx(3.0, rel=0.1)


def test_an_end_is_said_and_nonsense_refused():
    # Logits that say nothing of the truth: the flatter the better.
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(2000, 3, generator=draw, dtype=torch.float64) * 5
    target = torch.randint(0, 3, (2000,), generator=draw)
    found = fit_temperature(surprise(logits, target))
    assert found.value > 0.95 * HIGH and "at the end" in found.note
    with pytest.raises(InputError, match="no number"):
        fit_temperature(lambda t: math.nan)


def test_the_calibration_error_is_that_of_a_loop():
    draw = np.random.default_rng(0)
    confidence, right = draw.random(500), draw.random(500) < 0.6
    gap = 0.0
    for b in range(15):
        here = (confidence >= b / 15) & (confidence < (b + 1) / 15)
        if here.any():
            gap += here.mean() * abs(confidence[here].mean() - right[here].mean())
    assert calibration_error(torch.from_numpy(confidence), torch.from_numpy(right)) == pytest.approx(gap)
    assert calibration_error(torch.ones(4), torch.ones(4, dtype=torch.bool)) == 0
