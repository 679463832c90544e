"""A real number for every pixel, or for a whole record."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from swath.errors import ConfigError
from swath.pretraining.objective import ObjectiveOutput, Part, total
from swath.tasks.base import Task, class_axis
from swath.tasks.config import RegressionConfig
from swath.tasks.losses import regression
from swath.tasks.metrics_regression import RegressionScorer
from swath.tasks.regression_shape import of_dates, scored, seen


class RegressionTask(Task):
    """Squared, absolute or Huber loss over what is known.

    The network gives [B,K,H,W] or [B,K] with K outputs, or [B,T,K,H,W] for a map per date; with one output the target
    may lack that axis: [B,H,W], [B] or [B,T,H,W]. NaN is unknown; so is a pixel (record) that no band of any date (or
    of its date) saw.
    """

    def __init__(self, network: nn.Module, config: RegressionConfig) -> None:
        super().__init__(network)
        self.config = config

    def output(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        days: Tensor | None = None,
        wavelengths: tuple[float, ...] | None = None,
    ) -> Tensor:
        """[B,K,H,W], [B,K] or [B,T,K,H,W]."""
        out: Tensor = self.network(pixels, valid=valid, days=days, wavelengths=wavelengths)
        if out.ndim not in (2, 4, 5) or out.shape[class_axis(out)] != len(self.config.names):
            raise ConfigError(
                f"the network gives {tuple(out.shape)}, the task names {len(self.config.names)} outputs",
                where="names",
                mend="build the network with as many outputs",
            )
        return out

    def forward(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        *,
        target: Tensor,
        days: Tensor | None = None,
        wavelengths: tuple[float, ...] | None = None,
    ) -> ObjectiveOutput:
        """Args: pixels and valid [B,T,C,H,W], normalised; target as the class says, in its own unit."""
        out = self.output(pixels, valid, days, wavelengths)
        known = scored(target, out, valid)
        parts: dict[str, Part] = {
            str(self.config.loss): regression(out, known, self.config.loss, self.config.delta)
        }
        return ObjectiveOutput(total(parts), parts)

    def counts(self, valid: Tensor | None, target: Tensor) -> dict[str, Tensor]:
        known = torch.isfinite(target)
        if valid is not None:
            dated = of_dates(target, valid.shape[1], len(self.config.names))
            known = known & seen(valid, target, dated=dated)
        return {self.config.loss: known.sum().float()}

    def scorer(self) -> RegressionScorer:
        return RegressionScorer(self.config.names)
