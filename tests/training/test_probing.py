from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from swath.bands import sensor
from swath.contract import BandSpec, InputContract
from swath.cube import CubeBatch, Encoding
from swath.errors import ConfigError, InputError, WeightsError
from swath.models.features import Features
from swath.tasks.block_scores import by_block
from swath.tasks.config import IGNORE
from swath.tasks.metrics import ClassScorer
from swath.tasks.metrics_multilabel import MultilabelScorer
from swath.tasks.metrics_regression import RegressionScorer
from swath.training.feature_set import FeatureSet
from swath.training.features import Frozen, held_mean
from swath.training.features_cache import FeatureCache
from swath.training.probe_config import ProbeHeadOptions, ProbeOptions
from swath.training.probing import methods, probe

BANDS = sensor("sentinel2").select(("B02", "B03", "B04"))
CONTRACT = InputContract(bands=tuple(BandSpec(b) for b in BANDS), encoding=Encoding("reflectance"))
QUICK = ProbeOptions(
    strengths=(1e-4, 1e-2), neighbours=(1, 5), head=ProbeHeadOptions(epochs=12, learning_rate=0.01)
)


class Encoder(nn.Module):
    """Means of cells at two strides; the vector is the mean over all. It counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.calls = 0

    def features(self, pixels, valid=None, days=None, wavelengths=None) -> Features:
        self.calls += 1
        x = pixels * self.scale
        maps = [F.avg_pool2d(x.flatten(0, 1), n).unflatten(0, x.shape[:2])[:, :, None] for n in (2, 4)]
        return Features(tuple(maps), (2, 4), x.mean((1, 3, 4)))


def batches(kind: str, seed: int, count: int = 3, dates: int = 1):
    """Ten records a batch whose target follows from their pixels."""
    draw = torch.Generator().manual_seed(seed)
    for n in range(count):
        base = torch.randn(10, dates, 3, 4, 4, generator=draw)
        level = torch.randn(10, 1, 3, 1, 1, generator=draw)
        pixels = (0.3 * base + level).repeat_interleave(4, 3).repeat_interleave(4, 4)
        if kind == "classification":
            target = level[:, 0, :, 0, 0].argmax(1)
        elif kind == "multilabel":
            target = (level[:, 0, :, 0, 0] > 0).long()
        elif kind == "regression":
            target = (level[:, 0, :, 0, 0] * torch.tensor([1.0, -2.0, 0.5])).sum(1) + 3
        elif kind == "change":
            target = ((pixels[:, 0] - pixels[:, -1])[:, 0].abs() > 0.35).long()
        elif kind == "values":
            target = pixels[:, 0, 0] * 2 - pixels[:, 0, 1]
            target[:, :2] = torch.nan
        else:
            target = pixels[:, 0].argmax(1)
            target[:, :2] = IGNORE
        yield CubeBatch(
            pixels,
            torch.ones_like(pixels, dtype=torch.bool),
            BANDS,
            torch.full((10, dates, 2), torch.nan),
            torch.ones(10, 3),
            torch.zeros(10, 3),
            tuple(f"{n}-{i}" for i in range(10)),
            target,
        )


CASES = [
    ("classification", "classification", "knn", lambda: ClassScorer(("a", "b", "c")), 3, 0.8),
    ("classification", "classification", "linear", lambda: ClassScorer(("a", "b", "c")), 3, 0.9),
    ("multilabel", "multilabel", "knn", lambda: MultilabelScorer(("a", "b", "c")), 3, 0.85),
    ("multilabel", "multilabel", "linear", lambda: MultilabelScorer(("a", "b", "c")), 3, 0.95),
    ("regression", "regression", "linear", lambda: RegressionScorer(("v",)), 1, 0.3),
    ("regression", "regression", "knn", lambda: RegressionScorer(("v",)), 1, 2.0),
    ("segmentation", "segmentation", "linear", lambda: ClassScorer(("a", "b", "c")), 3, 0.85),
    ("segmentation", "segmentation", "conv", lambda: ClassScorer(("a", "b", "c")), 3, 0.65),
    ("values", "regression", "linear", lambda: RegressionScorer(("v",)), 1, 0.35),
    ("values", "regression", "conv", lambda: RegressionScorer(("v",)), 1, 0.9),
    ("change", "change", "linear", lambda: ClassScorer(("no", "yes")), 2, 0.7),
]


@pytest.mark.parametrize(("kind", "task", "method", "scorer", "outputs", "least"), CASES)
def test_every_task_learns_what_was_planted(kind, task, method, scorer, outputs, least):
    per_pixel = kind in ("segmentation", "values", "change")
    dates = 2 if kind == "change" else 1
    frozen = Frozen(Encoder(), maps=per_pixel, change=kind == "change")
    parts = [FeatureSet(batches(kind, seed, dates=dates), frozen) for seed in (0, 1, 2)]
    answer, chosen = probe(method, task, parts[0], parts[1], scorer, outputs, QUICK)
    test = dict(parts[2].score(answer, by_block(scorer())).compute().summary())[chosen.monitor]
    # Least for scores, most for errors; targets spread by more than 2.
    assert test < least if chosen.monitor == "rmse" else test > least
    assert len(chosen.tried) == (12 if method == "conv" else 2)
    assert chosen.score == (min if chosen.monitor == "rmse" else max)(s for _, s in chosen.tried)
    again, _ = probe(method, task, parts[0], parts[1], scorer, outputs, QUICK)
    assert torch.equal(again(parts[2][0]), answer(parts[2][0]))


def test_fewer_cells_are_drawn_by_their_seed():
    frozen = Frozen(Encoder(), maps=True)
    train, validation = (FeatureSet(batches("segmentation", s), frozen) for s in (0, 1))
    said = [
        probe(
            "linear", "segmentation", train, validation, lambda: ClassScorer(("a", "b", "c")), 3,
            ProbeOptions(strengths=(0.01,), max_cells=200, seed=seed),
        )[0](validation[0])
        for seed in (0, 0, 1)
    ]  # fmt: skip
    assert torch.equal(said[0], said[1]) and not torch.equal(said[0], said[2])


def test_features_kept_on_the_disk_give_the_same_probe_and_spare_the_encoder(tmp_path):
    encoder = Encoder()
    frozen = Frozen(encoder, maps=True)
    scorer = lambda: ClassScorer(("a", "b", "c"))  # noqa: E731  # a scorer is made anew each time
    plain = [FeatureSet(batches("segmentation", s), frozen) for s in (0, 1)]
    expected, _ = probe("linear", "segmentation", *plain, scorer, 3, QUICK)
    for again in (False, True):
        before = encoder.calls
        cache = FeatureCache(tmp_path, "w", CONTRACT, {"maps": True})
        kept = [FeatureSet(batches("segmentation", s), frozen, cache) for s in (0, 1)]
        assert encoder.calls - before == (0 if again else 6)
        found, _ = probe("linear", "segmentation", *kept, scorer, 3, QUICK)
        assert torch.equal(found(kept[1][0]), expected(plain[1][0]))


def test_blocks_of_records_are_handed_on():
    part = FeatureSet(batches("classification", 0), Frozen(Encoder()), blocks={"0-0": "tile", "0-1": "tile"})
    assert part[0].blocks[:3] == ("tile", "tile", "0-2") and len(part) == 3


def test_means_run_over_what_holds_data():
    maps = torch.zeros(1, 2, 1, 3, 1, 2)
    maps[0, 0, 0, :, 0, 0] = 4.0
    assert held_mean(maps)[0, :, 0].tolist() == [[4.0, 0.0]] * 3


def test_what_does_not_fit_is_refused():
    assert methods("segmentation", True) == ("linear", "conv") and "knn" in methods("multilabel", False)
    part = FeatureSet(batches("classification", 0), Frozen(Encoder()))
    scorer = lambda: ClassScorer(("a", "b", "c"))  # noqa: E731  # a scorer is made anew each time
    with pytest.raises(ConfigError, match="conv is not for one target per record; use knn, linear"):
        probe("conv", "classification", part, part, scorer, 3)
    with pytest.raises(WeightsError, match="no encoder"):
        Frozen(nn.Linear(2, 2))
    with pytest.raises(InputError, match="one date"):
        FeatureSet(batches("change", 0, dates=1), Frozen(Encoder(), maps=True, change=True))
    with pytest.raises(InputError, match="no labels"):
        FeatureSet([next(batches("classification", 0)).__class__(**{
            **vars(next(batches("classification", 0))), "target": None})], Frozen(Encoder()))  # fmt: skip
    for wrong in ({"strengths": ()}, {"neighbours": (0,)}, {"max_cells": 0}):
        with pytest.raises(ConfigError):
            ProbeOptions(**wrong)
