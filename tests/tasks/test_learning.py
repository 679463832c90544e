"""Every task learns a planted signal, and its gradient is that of finite differences."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from swath.tasks.base import Task
from swath.tasks.classification import ClassificationTask
from swath.tasks.config import IGNORE, RegressionConfig, TaskConfig
from swath.tasks.multilabel import MultilabelTask
from swath.tasks.regression import RegressionTask
from swath.tasks.segmentation import SegmentationTask

NAMES = ("a", "b", "c")


class Net(nn.Module):
    """A small network: [B,T,C,H,W] -> [B,K,H,W], or [B,K] pooled."""

    def __init__(self, classes: int, pooled: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(4, 8, 1), nn.GELU(), nn.Conv2d(8, classes, 1))
        self.pooled = pooled

    def forward(self, pixels, valid=None, days=None, wavelengths=None):
        out = self.body(pixels.flatten(1, 2))
        return out.mean((-2, -1)) if self.pooled else out


def planted(kind: str, seed: int):
    """Two dates of two bands, and a target that follows from them."""
    draw = torch.Generator().manual_seed(seed)
    n = 128 if kind in ("classification", "multilabel", "regression of records") else 16
    pixels = torch.randn(n, 2, 2, 6, 6, generator=draw)
    if kind in ("classification", "multilabel"):
        pixels += torch.randn(n, 2, 2, 1, 1, generator=draw) * 2
    if kind == "classification":
        return pixels, pixels.mean((1, 3, 4)).argmax(1)
    if kind == "multilabel":
        means = pixels.mean((3, 4)).flatten(1)
        return pixels, (means[:, :3] > 0).long()
    if kind == "segmentation":
        return pixels, (pixels[:, 0, 0] > 0).long() + (pixels[:, 0, 1] > 1).long()
    if kind == "change":
        return pixels, (pixels[:, 1, 0] - pixels[:, 0, 0] > 0.5).long()
    target = pixels[:, 0, 0] - 2 * pixels[:, 1, 1]
    return pixels, target if kind == "regression" else target.mean((-2, -1))


def task_for(kind: str, **options) -> Task:
    torch.manual_seed(0)
    if kind == "classification":
        return ClassificationTask(Net(3, True), TaskConfig(NAMES, **options))
    if kind == "multilabel":
        return MultilabelTask(Net(3, True), TaskConfig(NAMES))
    if kind == "segmentation":
        return SegmentationTask(Net(3, False), TaskConfig(NAMES, **options))
    if kind == "change":
        return SegmentationTask(Net(2, False), TaskConfig(("unchanged", "changed"), **options))
    return RegressionTask(Net(1, kind == "regression of records"), RegressionConfig(("height",), **options))


@pytest.mark.parametrize(
    ("kind", "options", "score", "least"),
    [
        ("classification", {}, "overall_accuracy", 0.9),
        ("classification", {"mixup": 0.8, "cutmix": 1.0, "label_smoothing": 0.1}, "overall_accuracy", 0.85),
        ("multilabel", {}, "map_macro", 0.95),
        ("segmentation", {"dice": 1.0}, "miou", 0.8),
        ("segmentation", {"dice": 1.0, "cross_entropy": 0.0}, "miou", 0.7),
        ("segmentation", {"focal": 2.0}, "miou", 0.75),
        ("change", {"class_weights": (0.3, 0.7)}, "macro_f1", 0.9),
        ("regression", {}, "r2", 0.95),
        ("regression", {"loss": "huber"}, "r2", 0.95),
        ("regression of records", {"loss": "mae"}, "r2", 0.85),
    ],
)
def test_a_planted_signal_is_learned(kind, options, score, least):
    task = task_for(kind, **options)
    optimizer = torch.optim.Adam(task.parameters(), 2e-2)
    pixels, target = planted(kind, 1)
    before = score_of(task, kind)[score]
    for step in range(150):
        torch.manual_seed(step)
        optimizer.zero_grad()
        task(pixels, target=target).loss.backward()
        optimizer.step()
    task.eval()
    after = score_of(task, kind)[score]
    assert after > least and after > before


def score_of(task: Task, kind: str):
    scorer = task.scorer()
    pixels, target = planted(kind, 2)
    scorer.update(task.output(pixels).detach(), target)
    return scorer.compute().summary()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("classification", {"class_weights": (1.0, 2.0, 3.0)}),
        ("classification", {"focal": 2.0}),
        ("multilabel", {}),
        ("segmentation", {"dice": 0.5, "focal": 1.5}),
        ("change", {}),
        ("regression", {}),
        ("regression", {"loss": "huber"}),
    ],
)
def test_gradients_are_those_of_finite_differences(kind, options):
    task = task_for(kind, **options)
    pixels, target = planted(kind, 3)
    pixels, target = pixels[:3], target[:3]
    bias = task.network.body[2].bias
    task(pixels, target=target).loss.backward()
    # The losses are in float32, so differences are taken wide.
    for k in range(len(bias)):
        values = []
        for step in (0.05, -0.05):
            with torch.no_grad():
                bias[k] += step
                values.append(float(task(pixels, target=target).loss))
                bias[k] -= step
        assert (values[0] - values[1]) / 0.1 == pytest.approx(float(bias.grad[k]), rel=2e-2, abs=2e-3)


@pytest.mark.parametrize("kind", ["classification", "multilabel", "segmentation", "regression"])
def test_counts_without_running_are_those_of_the_loss_and_stand_ins_count_nothing(kind):
    task = task_for(kind)
    pixels, target = planted(kind, 4)
    valid = torch.ones_like(pixels, dtype=torch.bool)
    valid[2] = False
    target = target.clone()
    target[5] = torch.nan if target.is_floating_point() else IGNORE
    out = task(pixels, valid, target=target)
    counts = task.counts(valid, target)
    assert {n: float(c) for n, c in counts.items()} == {n: float(p.count) for n, p in out.parts.items()}
    kept = [i for i in range(len(pixels)) if i not in (2, 5)]
    torch.testing.assert_close(out.loss, task(pixels[kept], target=target[kept]).loss)
    unlabelled = [i for i in range(len(pixels)) if i != 5]
    scorers = task.scorer(), task.scorer()
    scorers[0].update(task.output(pixels).detach(), target)
    scorers[1].update(task.output(pixels[unlabelled]).detach(), target[unlabelled])
    whole, part = scorers[0].compute(), scorers[1].compute()
    # A convolution over fewer records may round otherwise.
    assert whole.summary() == pytest.approx(dict(part.summary()), rel=1e-4, abs=1e-5)
    assert whole.to_dict()["count"] == part.to_dict()["count"]
