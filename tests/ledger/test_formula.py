from __future__ import annotations

import math

import pytest
import torch

from swath.ledger.formula import formula_input, formula_parameters, formula_values


def test_values_are_the_formula() -> None:
    values = formula_values(5, 3)
    for j, value in enumerate(values):
        x = math.sin(j * 12.9898 + 3 * 78.233) * 43758.5453
        assert value == pytest.approx(x - math.floor(x), abs=1e-9)


def test_scales_by_name_and_shape() -> None:
    shapes = {"b.weight": (64,), "a.bias": (64,), "pos_embed": (1, 8, 8), "c.weight": (4, 16, 1, 1)}
    out = formula_parameters(shapes)
    assert {name: tuple(t.shape) for name, t in out.items()} == shapes
    assert all(t.dtype == torch.float32 for t in out.values())
    centred = {**out, "b.weight": out["b.weight"] - 1}
    for name, scale in (("b.weight", 0.1), ("a.bias", 0.1), ("pos_embed", 0.3), ("c.weight", 0.25)):
        assert 0.8 * scale < float(centred[name].abs().max()) <= scale + 1e-6, name
    # A tensor's values follow from its place among the sorted names, not from the order given.
    again = formula_parameters(dict(reversed(shapes.items())))
    assert all(torch.equal(out[name], again[name]) for name in shapes)
    assert formula_input((1, 2, 4), 1000).shape == (1, 2, 4)
