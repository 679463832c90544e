"""Losses, counts and scores of maps for each date, beside those of the same dates as samples of their own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, mean_squared_error, r2_score
from torch import Tensor, nn

from swath.tasks.config import IGNORE, RegressionConfig, TaskConfig
from swath.tasks.regression import RegressionTask
from swath.tasks.segmentation import SegmentationTask


class EachDate(nn.Module):
    """[B,T,K,H,W]: a linear map of each pixel of each date."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Conv2d(2, outputs, 1)

    def forward(
        self, pixels: Tensor, valid: object = None, days: object = None, wavelengths: object = None
    ) -> Tensor:
        out: Tensor = self.linear(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])
        return out  # fmt: skip


def drawn(seed: int, dates: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    pixels = torch.randn(2, dates, 2, 4, 5, generator=draw)
    valid = torch.rand(2, dates, 1, 4, 5, generator=draw) < 0.6
    return pixels, valid.expand(pixels.shape)


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 3), st.sampled_from(["mse", "mae", "huber"]))
def test_numbers_of_each_date_count_as_samples_do(seed: int, dates: int, outputs: int, loss: str) -> None:
    torch.manual_seed(seed)
    task = RegressionTask(EachDate(outputs), RegressionConfig(tuple("abc"[:outputs]), loss))  # type: ignore[arg-type]
    pixels, valid = drawn(seed, dates)
    target = torch.randn(2, dates, outputs, 4, 5)
    target[torch.rand(target.shape) < 0.3] = torch.nan
    given_target = target[:, :, 0] if outputs == 1 and seed % 2 else target
    out = task(pixels, valid, target=given_target)
    alone = task(
        pixels.flatten(0, 1)[:, None], valid.flatten(0, 1)[:, None], target=target.flatten(0, 1)[:, None]
    )
    torch.testing.assert_close(out.parts[loss].numerator, alone.parts[loss].numerator)
    assert out.parts[loss].count == alone.parts[loss].count == task.counts(valid, given_target)[loss]
    seen = valid.any(2, keepdim=True) & torch.isfinite(target)
    assert out.parts[loss].count == seen.sum()


@given(st.integers(0, 10_000), st.integers(1, 4))
def test_classes_of_each_date_count_as_samples_do(seed: int, dates: int) -> None:
    torch.manual_seed(seed)
    config = TaskConfig(("a", "b", "c"), (0.5, 1.0, 2.0), dice=0.5)
    task = SegmentationTask(EachDate(3), config)
    pixels, valid = drawn(seed, dates)
    target = torch.randint(-1, 3, (2, dates, 4, 5))
    out = task(pixels, valid, target=target)
    alone = task(
        pixels.flatten(0, 1)[:, None], valid.flatten(0, 1)[:, None], target=target.flatten(0, 1)[:, None]
    )
    for name, part in out.parts.items():
        torch.testing.assert_close(part.numerator, alone.parts[name].numerator)
        assert part.count == task.counts(valid, target)[name]


def test_scores_over_all_dates_are_those_of_scikit_learn() -> None:
    torch.manual_seed(0)
    pixels, _ = drawn(0, 3)
    classes = SegmentationTask(EachDate(3), TaskConfig(("a", "b", "c")))
    target = torch.randint(-1, 3, (2, 3, 4, 5))
    scorer = classes.scorer()
    logits = classes.output(pixels)
    scorer.update(logits, target)
    known = (target != IGNORE).numpy()
    expected = confusion_matrix(target.numpy()[known], logits.argmax(2).numpy()[known])
    np.testing.assert_array_equal(scorer.compute().confusion, expected)

    numbers = RegressionTask(EachDate(1), RegressionConfig(("depth",)))
    depth = torch.where(torch.rand(2, 3, 4, 5) < 0.2, torch.nan, torch.randn(2, 3, 4, 5))
    found = numbers.scorer()
    answer = numbers.output(pixels)
    found.update(answer, depth)
    there = np.isfinite(depth.numpy())
    truth, said = depth.numpy()[there], answer[:, :, 0].detach().numpy()[there]
    scores = found.compute()
    assert scores.count == there.sum()
    assert scores.mse == pytest.approx(mean_squared_error(truth, said), rel=1e-5)
    assert scores.r2 == pytest.approx(r2_score(truth, said), rel=1e-4)
