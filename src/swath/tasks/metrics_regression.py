"""Errors of real-valued outputs, over a whole set: never means over batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from swath.errors import InputError
from swath.tasks.regression_shape import known_pairs


@dataclass(frozen=True)
class OutputScore:
    """One output; `r2` is NaN where the reference has one value throughout."""

    name: str
    count: int
    mse: float
    mae: float
    r2: float
    bias: float


@dataclass(frozen=True)
class RegressionScores:
    """Errors of a whole set.

    Attributes:
        mse, mae: over all known values of all outputs.
        rmse: the root of mse.
        r2: mean over outputs of the share of the variance that is explained.
        bias: mean of prediction minus reference.
        outputs: each alone.
        count: known values.
    """

    mse: float
    rmse: float
    mae: float
    r2: float
    bias: float
    outputs: tuple[OutputScore, ...]
    count: int

    note: str = ""

    def summary(self) -> dict[str, float]:
        """The headline numbers."""
        return {"mse": self.mse, "rmse": self.rmse, "mae": self.mae, "r2": self.r2, "bias": self.bias}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; scores without a meaning are null."""
        rows = [_plain(vars(row)) for row in self.outputs]
        return {**_plain(self.summary()), "count": self.count, "note": self.note, "outputs": rows}


class _Moments(Metric):
    """Sums from which everything follows, per output, in float64; summed over processes."""

    full_state_update = False
    sums: Tensor

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(outputs, 6, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, output: int, predicted: Tensor, target: Tensor) -> None:
        self.sums[output] += moments(predicted, target)

    def compute(self) -> Tensor:
        return self.sums


class RegressionScorer:
    """Collects predictions over a set.

    Args:
        names: of the outputs.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._moments = _Moments(len(self.names))

    def update(self, output: Tensor, target: Tensor) -> None:
        """Outputs [B,K,H,W], [B,K] or [B,T,K,H,W] and their targets; what is NaN does not count."""
        for k in range(len(self.names)):
            p, y = known_pairs(output, target, k)
            self._moments.update(k, p.detach().cpu(), y.detach().cpu())

    def compute(self) -> RegressionScores:
        if not self._moments.update_called:
            raise InputError("nothing was scored", mend="check that there are targets")
        return regression_scores(self._moments.compute(), self.names)


def moments(predicted: Tensor, target: Tensor) -> Tensor:
    """Six sums over pairs of numbers, from which all errors follow [6], float64: how many there are, of absolute and
    squared differences and of differences, of the reference and of its squares.
    """
    p, y = predicted.double(), target.double()
    d = p - y
    row = [len(y), d.abs().sum(), (d * d).sum(), d.sum(), y.sum(), (y * y).sum()]
    return torch.stack([torch.as_tensor(v, dtype=torch.float64, device=p.device) for v in row])


def errors(sums: Tensor) -> dict[str, Tensor]:
    """Errors of sums [...,K,6] as `moments` gives them, in float64.

    Returns:
        "mse", "rmse", "mae", "r2" and "bias" [...] of all outputs together (r2: the mean of those that have one), and
        "mse_each", "mae_each", "r2_each" and "bias_each" [...,K]; NaN where an error has no meaning.
    """
    n, absolute, squares, total, y, yy = sums.double().unbind(-1)
    spread = yy - y * y / n
    # Rounding leaves a little where the reference is constant.
    varies = spread > 1e-12 * yy.clamp(min=1e-300)
    r2 = torch.where(varies, 1 - squares / spread, torch.nan)
    count = n.sum(-1)
    mse = squares.sum(-1) / count
    return {
        "mse": mse,
        "rmse": mse.sqrt(),
        "mae": absolute.sum(-1) / count,
        "r2": r2.nanmean(-1),
        "bias": total.sum(-1) / count,
        "mse_each": squares / n,
        "mae_each": absolute / n,
        "r2_each": r2,
        "bias_each": total / n,
    }


def regression_scores(sums: Tensor, names: Sequence[str]) -> RegressionScores:
    """Errors from sums [K,6] as `moments` gives them.

    Raises:
        InputError: no value is known.
    """
    if float(sums[:, 0].sum()) == 0:
        raise InputError("no known value was scored", mend="check that the area holds targets")
    found = errors(sums)
    each = torch.stack([found[f"{key}_each"] for key in ("mse", "mae", "r2", "bias")], dim=1).tolist()
    rows = tuple(
        OutputScore(name, int(sums[k, 0]), *values)
        for k, (name, values) in enumerate(zip(names, each, strict=True))
    )
    constant = [row.name for row in rows if math.isnan(row.r2)]
    return RegressionScores(
        mse=float(found["mse"]),
        rmse=float(found["rmse"]),
        mae=float(found["mae"]),
        r2=float(found["r2"]),
        bias=float(found["bias"]),
        outputs=rows,
        count=int(sums[:, 0].sum()),
        note="" if not constant else f"r2 leaves out {', '.join(constant)}: the reference is constant",
    )


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}
