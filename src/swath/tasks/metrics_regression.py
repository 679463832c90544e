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
        p, y = predicted.double(), target.double()
        d = p - y
        row = [len(y), d.abs().sum(), (d * d).sum(), d.sum(), y.sum(), (y * y).sum()]
        self.sums[output] += torch.stack([torch.as_tensor(v, dtype=torch.float64) for v in row])

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
        """Outputs [B,K,H,W] or [B,K] and their targets; what is NaN does not count."""
        for k in range(len(self.names)):
            p, y = known_pairs(output, target, k)
            self._moments.update(k, p.detach().cpu(), y.detach().cpu())

    def compute(self) -> RegressionScores:
        if not self._moments.update_called:
            raise InputError("nothing was scored", mend="check that there are targets")
        sums = self._moments.compute()
        if float(sums[:, 0].sum()) == 0:
            raise InputError("no known value was scored", mend="check that the area holds targets")
        rows = tuple(_row(name, *s.tolist()) for name, s in zip(self.names, sums, strict=True))
        count, absolute, squares, total = (float(v) for v in sums[:, :4].sum(0))
        explained = [row.r2 for row in rows if not math.isnan(row.r2)]
        constant = [row.name for row in rows if math.isnan(row.r2)]
        return RegressionScores(
            mse=squares / count,
            rmse=math.sqrt(squares / count),
            mae=absolute / count,
            r2=sum(explained) / len(explained) if explained else math.nan,
            bias=total / count,
            outputs=rows,
            count=int(count),
            note="" if not constant else f"r2 leaves out {', '.join(constant)}: the reference is constant",
        )


def _row(
    name: str, n: float, absolute: float, squares: float, total: float, y: float, yy: float
) -> OutputScore:
    if n == 0:
        return OutputScore(name, 0, math.nan, math.nan, math.nan, math.nan)
    spread = yy - y * y / n
    # Rounding leaves a little where the reference is constant.
    r2 = 1 - squares / spread if spread > 1e-12 * max(yy, 1e-300) else math.nan
    return OutputScore(name, int(n), squares / n, absolute / n, r2, total / n)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}
