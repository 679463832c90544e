from __future__ import annotations

import pytest
import torch

from swath.models.layers import DropPath, Mlp


def test_mlp_keeps_the_shape() -> None:
    assert Mlp(6, 12)(torch.zeros(2, 3, 6)).shape == (2, 3, 6)


def test_drop_path_drops_whole_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    layer = DropPath(0.25).train()
    out = layer(torch.ones(4000, 2, 3))
    values = out.flatten(1)
    assert ((values == 0).all(1) | torch.isclose(values, torch.tensor(4 / 3)).all(1)).all()
    assert out.mean().item() == pytest.approx(1.0, abs=0.05)


def test_drop_path_does_nothing_in_eval_or_at_zero() -> None:
    x = torch.randn(3, 2)
    assert DropPath(0.5).eval()(x) is x
    assert DropPath(0.0).train()(x) is x
    assert "0.5" in repr(DropPath(0.5))
    with pytest.raises(ValueError, match="drop path"):
        DropPath(1.0)
