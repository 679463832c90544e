from __future__ import annotations

import pytest
import torch

from swath.pretraining.objective import Part, total


def test_total_is_the_weighted_sum_of_means() -> None:
    parts = {
        "a": Part(torch.tensor(6.0), torch.tensor(3.0)),
        "b": Part(torch.tensor(4.0), torch.tensor(2.0), weight=0.5),
    }
    assert total(parts).item() == 3.0


def test_nothing_counted_is_zero_with_a_finite_gradient() -> None:
    x = torch.tensor(0.0, requires_grad=True)
    loss = total({"a": Part(x * 1.0, torch.tensor(0.0))})
    loss.backward()
    assert loss.item() == 0.0 and x.grad is not None and x.grad.isfinite()


def test_no_parts_is_a_bug() -> None:
    with pytest.raises(ValueError, match="part"):
        total({})
