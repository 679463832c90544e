"""A small head trained by steps on frozen features: what an encoder knows that one linear layer cannot read."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from swath.errors import ConfigError
from swath.models.heads_conv import ConvHead
from swath.rng import derive, numpy_generator
from swath.tasks.losses import cross_entropy, regression
from swath.tasks.probe_choice import Chosen, choose
from swath.training.feature_set import FeatureBatch, FeatureSet
from swath.training.probe_config import ProbeHeadOptions

log = logging.getLogger(__name__)


class MapProbe(nn.Module):
    """Scales each channel of frozen maps to mean 0 and standard deviation 1, then draws a map.

    Args:
        mean, std: per level [D_i], of the train part.
        strides: of the maps.
        outputs: K.
        width: of the head.
    """

    def __init__(
        self, mean: list[Tensor], std: list[Tensor], strides: tuple[int, ...], outputs: int, width: int
    ) -> None:
        super().__init__()
        self.mean, self.std = mean, std
        self.head = ConvHead([len(m) for m in mean], strides, outputs, width)

    def forward(self, batch: FeatureBatch) -> Tensor:
        """[B,K,H,W] float32."""
        maps = [
            (m - mean[:, None, None]) / std[:, None, None]
            for m, mean, std in zip(batch.features.maps, self.mean, self.std, strict=True)
        ]
        out: Tensor = self.head(maps, (batch.target.shape[-2], batch.target.shape[-1]))
        return out


def train_head(
    train: FeatureSet,
    outputs: int,
    score: Callable[[Callable[[FeatureBatch], Tensor]], float],
    monitor: str,
    *,
    classes: bool,
    options: ProbeHeadOptions | None = None,
    seed: int = 0,
) -> Chosen:
    """Trains on a part; after each epoch the validation part scores, and the best epoch is taken.

    Args:
        train: with maps; targets [B,H,W], or real numbers [B,K,H,W] too.
        outputs: K.
        score: of an answer, on the validation part.
        monitor: what `score` is, such as "miou" or "rmse".
        classes: whether targets are class numbers (cross-entropy) or real numbers (squares).
        options: of the training.
        seed: of the first weights and of the order.
    """
    options = ProbeHeadOptions() if options is None else options
    mean, std = _channels(train)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "probe head"))
        probe = MapProbe(mean, std, train[0].features.strides, outputs, options.width)
    middle, spread = (0.0, 1.0) if classes else _values(train)
    steps = options.epochs * len(train)
    adam = torch.optim.AdamW(probe.parameters(), options.learning_rate, weight_decay=options.weight_decay)
    warm = max(1, steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        adam, lambda s: min(1.0, (s + 1) / warm) * 0.5 * (1 + math.cos(math.pi * s / steps))
    )

    def epochs() -> Iterator[tuple[float, Callable[[FeatureBatch], Tensor]]]:
        for epoch in range(1, options.epochs + 1):
            probe.train()
            for i in numpy_generator(seed, "probe order", epoch).permutation(len(train)):
                batch = train[int(i)]
                adam.zero_grad()
                out = probe(batch)
                part = (
                    cross_entropy(out.movedim(1, -1).flatten(0, -2), batch.target.flatten(), None, 0.0)
                    if classes
                    else regression(out, (batch.target.reshape(out.shape) - middle) / spread, "mse", 1.0)
                )
                if float(part.count) == 0:
                    continue
                (part.numerator / part.count).backward()  # type: ignore[no-untyped-call]  # torch gives it no types
                adam.step()
                schedule.step()
            yield float(epoch), _answer(copy.deepcopy(probe).eval(), middle, spread)

    return choose(epochs(), score, monitor)


def _answer(probe: MapProbe, middle: float, spread: float) -> Callable[[FeatureBatch], Tensor]:
    def answer(batch: FeatureBatch) -> Tensor:
        with torch.no_grad():
            out: Tensor = probe(batch)
        return out * spread + middle

    return answer


def _channels(train: FeatureSet) -> tuple[list[Tensor], list[Tensor]]:
    """Mean and standard deviation of each channel of each level."""
    levels = len(train[0].features.maps)
    if not levels:
        raise ConfigError("the features hold no maps", where="head", mend="compute them with maps")
    total = [torch.zeros((), dtype=torch.float64)] * levels
    squares, count = list(total), [0] * levels
    for batch in train:
        for i, m in enumerate(batch.features.maps):
            x = m.double()
            total[i] = total[i] + x.sum((0, 2, 3))
            squares[i] = squares[i] + x.square().sum((0, 2, 3))
            count[i] += x.shape[0] * x.shape[2] * x.shape[3]
    mean = [t / n for t, n in zip(total, count, strict=True)]
    std = [(q / n - m**2).clamp(min=0).sqrt() for q, n, m in zip(squares, count, mean, strict=True)]
    return [m.float() for m in mean], [torch.where(s > 1e-6, s, 1.0).float() for s in std]


def _values(train: FeatureSet) -> tuple[float, float]:
    """Mean and standard deviation of the known values."""
    known = torch.cat([b.target[torch.isfinite(b.target)].double() for b in train])
    if not len(known):
        raise ConfigError("no value is known", where="data", mend="give records with targets")
    spread = float(known.std(correction=0))
    return float(known.mean()), spread if spread > 0 else 1.0
