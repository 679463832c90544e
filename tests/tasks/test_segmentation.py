from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from swath.errors import ConfigError
from swath.tasks.classification import ClassificationTask
from swath.tasks.config import IGNORE, TaskConfig, balanced_weights
from swath.tasks.segmentation import SegmentationTask

NAMES = ("water", "forest", "field")


class Pointwise(nn.Module):
    """Logits [B,K,H,W]: a linear map of each pixel's mean over dates."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.linear = nn.Conv2d(2, classes, 1)

    def forward(self, pixels, valid=None, days=None, wavelengths=None):
        return self.linear(pixels.mean(1))


class PerDate(Pointwise):
    def forward(self, pixels, valid=None, days=None, wavelengths=None):
        return self.linear(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])


class Pooled(Pointwise):
    def forward(self, pixels, valid=None, days=None, wavelengths=None):
        return super().forward(pixels).mean((-2, -1))


def data(seed=0, dates=2):
    draw = torch.Generator().manual_seed(seed)
    pixels = torch.randn(3, dates, 2, 5, 6, generator=draw)
    target = torch.randint(-1, 3, (3, 5, 6), generator=draw)
    return pixels, target


@pytest.mark.parametrize("weights", [None, (0.2, 1.0, 3.0)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_the_cross_entropy_over_labelled_pixels(weights, smoothing):
    pixels, target = data()
    task = SegmentationTask(Pointwise(), TaskConfig(NAMES, weights, smoothing))
    out = task(pixels, target=target)
    expected = F.cross_entropy(
        task.network(pixels),
        target,
        None if weights is None else torch.tensor(weights),
        ignore_index=IGNORE,
        label_smoothing=smoothing,
    )
    torch.testing.assert_close(out.loss, expected)
    counts = task.counts(None, target)
    torch.testing.assert_close(counts["cross_entropy"], out.parts["cross_entropy"].count)


@pytest.mark.parametrize("dice", [0.0, 1.0])
def test_without_a_labelled_pixel_loss_and_gradients_are_zero(dice):
    pixels, target = data()
    task = SegmentationTask(Pointwise(), TaskConfig(NAMES, (1.0, 2.0, 3.0), 0.1, dice))
    out = task(pixels, target=torch.full_like(target, IGNORE))
    out.loss.backward()
    assert out.loss == 0
    for parameter in task.parameters():
        assert parameter.grad is not None and (parameter.grad == 0).all()


def test_a_pixel_that_no_date_and_band_saw_counts_nowhere():
    pixels, target = data()
    valid = torch.ones_like(pixels, dtype=torch.bool)
    valid[:, :, :, 2] = False
    valid[0, 1, 0, 2] = True  # one band of one date is enough
    task = SegmentationTask(Pointwise(), TaskConfig(NAMES, dice=0.5))
    out = task(pixels, valid, target=target)
    wanted = target.clone()
    wanted[1:, 2] = IGNORE
    torch.testing.assert_close(out.loss, task(pixels, target=wanted).loss)
    for name, count in task.counts(valid, target).items():
        torch.testing.assert_close(count, out.parts[name].count)


def test_dice_is_zero_for_a_perfect_map_and_skips_absent_classes():
    _, target = data()
    target = torch.where(target == 1, 0, target)
    pixels = torch.zeros(3, 1, 2, 5, 6)
    task = SegmentationTask(Pointwise(), TaskConfig(NAMES, dice=2.0))
    task.network.forward = lambda *a, **k: F.one_hot(target.clamp(min=0), 3).permute(0, 3, 1, 2) * 50.0
    part = task(pixels, target=target).parts["dice"]
    assert float(part.count) == 2 and part.weight == 2.0
    torch.testing.assert_close(part.mean, torch.tensor(0.0), atol=1e-5, rtol=0)


def test_a_map_per_date():
    pixels, target = data(dates=2)
    targets = torch.stack([target, target.roll(1, 0)], 1)
    task = SegmentationTask(PerDate(), TaskConfig(NAMES))
    expected = F.cross_entropy(task.network(pixels).flatten(0, 1), targets.flatten(0, 1), ignore_index=IGNORE)
    torch.testing.assert_close(task(pixels, target=targets).loss, expected)


def test_classification_is_the_same_for_records():
    pixels, _ = data()
    target = torch.tensor([2, IGNORE, 0])
    task = ClassificationTask(Pooled(), TaskConfig(NAMES, (1.0, 2.0, 3.0)))
    expected = F.cross_entropy(
        task.network(pixels), target, torch.tensor([1.0, 2.0, 3.0]), ignore_index=IGNORE
    )
    torch.testing.assert_close(task(pixels, target=target).loss, expected)
    valid = torch.ones_like(pixels, dtype=torch.bool)
    valid[2] = False
    out = task(pixels, valid, target=target)
    assert float(out.parts["cross_entropy"].count) == 3 == float(task.counts(valid, target)["cross_entropy"])
    assert task(pixels, target=torch.full_like(target, IGNORE)).loss == 0


def test_what_does_not_fit_is_said():
    pixels, target = data()
    with pytest.raises(ConfigError, match="gives 5 classes, the task names 3"):
        SegmentationTask(Pointwise(5), TaskConfig(NAMES))(pixels, target=target)
    with pytest.raises(ConfigError, match="label 7 is none of the 3 classes"):
        SegmentationTask(Pointwise(), TaskConfig(NAMES))(pixels, target=target.clamp(max=1) + 6)
    with pytest.raises(ConfigError, match="a map of logits"):
        SegmentationTask(Pooled(), TaskConfig(NAMES))(pixels, target=target)
    with pytest.raises(ConfigError, match=r"logits \[B,K\]"):
        ClassificationTask(Pointwise(), TaskConfig(NAMES))(pixels, target=target)
    for wrong in (
        {"classes": ("a",)},
        {"classes": ("a", "a")},
        {"classes": NAMES, "class_weights": (1.0,)},
        {"classes": NAMES, "class_weights": (1.0, -1.0, 1.0)},
        {"classes": NAMES, "label_smoothing": 1.0},
        {"classes": NAMES, "dice": -1.0},
    ):
        with pytest.raises(ConfigError):
            TaskConfig(**wrong)


def test_balanced_weights_have_mean_one_over_the_pixels():
    weights = balanced_weights((900, 100, 0), power=1.0)
    assert weights[2] == 0 and weights[1] == pytest.approx(9 * weights[0])
    assert 900 * weights[0] + 100 * weights[1] == pytest.approx(1000)
    assert balanced_weights((5, 7), power=0.0) == pytest.approx((1.0, 1.0))
    with pytest.raises(ConfigError):
        balanced_weights((0, 0))
