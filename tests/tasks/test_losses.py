from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from swath.errors import ConfigError
from swath.tasks import losses
from swath.tasks.config import IGNORE, RegressionConfig, TaskConfig


def rows(seed: int, n: int = 12, k: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, k, generator=draw) * 3, torch.randint(-1, k, (n,), generator=draw)


@given(st.integers(0, 2**31))
def test_focal_without_power_is_the_cross_entropy_and_with_it_the_plain_sum(seed):
    logits, target = rows(seed)
    weights = torch.tensor([0.5, 1.0, 2.0, 0.0])
    plain = losses.cross_entropy(logits, target, weights, 0.0)
    torch.testing.assert_close(losses.focal(logits, target, weights, 0.0, 1.0).numerator, plain.numerator)
    wanted = torch.zeros(())
    for row, label in zip(logits, target.tolist(), strict=True):
        if label != IGNORE:
            p = row.softmax(0)[label]
            wanted = wanted - weights[label] * (1 - p) ** 2 * p.log()
    got = losses.focal(logits, target, weights, 2.0, 1.0)
    torch.testing.assert_close(got.numerator, wanted, rtol=1e-4, atol=1e-4)
    assert got.count == plain.count


@given(st.integers(0, 2**31), st.sampled_from([0.0, 0.1, 0.5]))
def test_shares_of_hard_labels_give_the_smoothed_cross_entropy(seed, smoothing):
    logits, target = rows(seed)
    shares = losses.smoothed(target, 4, smoothing)
    got = losses.soft_cross_entropy(logits, shares, None, 1.0)
    wanted = losses.cross_entropy(logits, target, None, smoothing)
    torch.testing.assert_close(got.numerator, wanted.numerator, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got.count, wanted.count)


def test_binary_cross_entropy_is_the_multilabel_soft_margin_loss():
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 5, generator=draw)
    truth = torch.randint(0, 2, (6, 5), generator=draw)
    torch.testing.assert_close(
        losses.binary_cross_entropy(logits, truth).mean, F.multilabel_soft_margin_loss(logits, truth.float())
    )
    truth[2] = IGNORE
    kept = [0, 1, 3, 4, 5]
    torch.testing.assert_close(
        losses.binary_cross_entropy(logits, truth).mean,
        F.multilabel_soft_margin_loss(logits[kept], truth[kept].float()),
    )


@pytest.mark.parametrize(
    ("kind", "reference"),
    [("mse", F.mse_loss), ("mae", F.l1_loss), ("huber", lambda p, y: F.huber_loss(p, y, delta=0.5))],
)
def test_regression_leaves_out_what_is_unknown_and_its_gradient_is_finite(kind, reference):
    draw = torch.Generator().manual_seed(1)
    predicted = torch.randn(3, 1, 4, 4, generator=draw, requires_grad=True)
    target = torch.randn(3, 1, 4, 4, generator=draw)
    target[0] = torch.nan
    part = losses.regression(predicted, target, kind, 0.5)
    torch.testing.assert_close(part.mean, reference(predicted[1:], target[1:]))
    part.mean.backward()
    assert predicted.grad is not None and torch.isfinite(predicted.grad).all()
    assert (predicted.grad[0] == 0).all() and (predicted.grad[1:] != 0).any()


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"dice": -1.0}, "dice"),
        ({"cross_entropy": 0.0}, "cross_entropy"),
        ({"focal": 2.0, "label_smoothing": 0.1}, "focal"),
        ({"mixup": float("nan")}, "mixup"),
    ],
)
def test_options_that_make_no_loss_are_refused(options, key):
    with pytest.raises(ConfigError, match=key):
        TaskConfig(("a", "b"), **options)


@pytest.mark.parametrize("options", [{"names": ()}, {"names": ("a", "a")}, {"names": ("a",), "delta": 0.0}])
def test_a_regression_needs_named_outputs_and_a_positive_delta(options):
    with pytest.raises(ConfigError):
        RegressionConfig(**options)
