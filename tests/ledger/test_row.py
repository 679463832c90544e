from __future__ import annotations

import math

import pytest
import torch

from swath.ledger.row import EXACT, Tolerance, compare, failed


def test_passes_within_the_tolerance_of_every_number() -> None:
    expected = torch.tensor([0.0, 100.0])
    row = compare("f", "q", expected + torch.tensor([1e-3, 1e-2]), expected, Tolerance(2e-3, 1e-4))
    assert row.passed and row.error == pytest.approx(1e-2, rel=1e-3)
    row = compare("f", "q", expected + torch.tensor([1e-2, 0.0]), expected, Tolerance(2e-3, 1e-4))
    assert not row.passed and (row.atol, row.rtol) == (2e-3, 1e-4)


def test_axes_of_length_one_do_not_matter_but_other_shapes_do() -> None:
    x = torch.rand(1, 2, 3)
    assert compare("f", "q", x[0], x, EXACT).passed
    row = compare("f", "q", x[0].T, x, EXACT)
    assert not row.passed and row.error == math.inf and "shape" in row.note


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_fail(bad: float) -> None:
    good, broken = torch.ones(2), torch.tensor([1.0, bad])
    for a, b in ((good, broken), (broken, good), (broken, broken)):
        row = compare("f", "q", a, b, Tolerance(1.0, 1.0))
        assert not row.passed and row.error == math.inf


def test_what_could_not_be_compared_failed() -> None:
    assert not failed("f", "q", "why").passed
    assert compare("f", "q", torch.zeros(0), torch.zeros(0), EXACT).passed
