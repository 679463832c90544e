"""Linear probes: one linear layer on frozen features, solved to its optimum, with the regularisation swept.

Classes and labels by L-BFGS in float64, real numbers in closed form. Features are scaled to mean 0 and standard
deviation 1 over the training rows first. `strength` s penalises s/2 times the squared weights, next to the mean loss
over rows (so s is 1/(C N) in scikit-learn's terms); the intercept is free. Rows may carry counts: a cell of a map
then stands for all its pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from swath.errors import ConfigError, InputError


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """A linear layer on features.

    Attributes:
        weight: [K,D] float64, on features as they come.
        bias: [K].
        strength: of the regularisation.
    """

    weight: Tensor
    bias: Tensor
    strength: float

    def __call__(self, features: Tensor) -> Tensor:
        """[...,D] -> [...,K] float32: logits or values."""
        return F.linear(features.double(), self.weight, self.bias).float()


@dataclass(frozen=True, eq=False)
class _Scaled:
    """Training rows with mean 0 and standard deviation 1."""

    x: Tensor
    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, features: Tensor) -> _Scaled:
        if features.ndim != 2 or not len(features):
            raise InputError(
                f"features are {tuple(features.shape)}, not rows", mend="give records with labels"
            )
        if not bool(torch.isfinite(features).all()):
            raise InputError("features hold NaN or infinity", mend="check the weights, or use precision fp32")
        x = features.double()
        std, mean = torch.std_mean(x, dim=0, correction=0)
        # What is constant says nothing, and is not blown up.
        std = torch.where(std > 1e-8 * mean.abs().clamp(min=1e-8), std, 1.0)
        return cls((x - mean) / std, mean, std)

    def probe(self, weight: Tensor, bias: Tensor, strength: float) -> LinearProbe:
        """The layer on features as they come."""
        plain = weight / self.std
        return LinearProbe(plain, bias - plain @ self.mean, strength)


def class_probes(features: Tensor, counts: Tensor, strengths: Sequence[float]) -> Iterator[LinearProbe]:
    """Multinomial logistic regression, from the strongest regularisation to the weakest.

    Args:
        features: [N,D].
        counts: [N,K] how often each class stands at a row: one-hot for records.
        strengths: above 0.

    Raises:
        InputError: nothing is labelled, or features are not finite.
    """
    labelled = counts.sum(1) > 0
    if not bool(labelled.any()):
        raise InputError("no row is labelled", mend="give records with labels")
    scaled, target = _Scaled.of(features[labelled]), counts[labelled].double()
    total = target.sum()

    def loss(logits: Tensor) -> Tensor:
        return -(target * logits.log_softmax(1)).sum() / total

    prior = (target.sum(0) / total).clamp(min=1e-6).log()
    yield from _solved(scaled, prior, loss, strengths)


def label_probes(features: Tensor, labels: Tensor, strengths: Sequence[float]) -> Iterator[LinearProbe]:
    """A logistic regression per label, from the strongest regularisation to the weakest.

    Args:
        features: [N,D].
        labels: [N,K] of zeros and ones.
        strengths: above 0.
    """
    scaled, target = _Scaled.of(features), labels.double()
    n = len(target)

    def loss(logits: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, target, reduction="sum") / n

    share = target.mean(0).clamp(1e-6, 1 - 1e-6)
    yield from _solved(scaled, share.logit(), loss, strengths)


def value_probes(
    features: Tensor, values: Tensor, strengths: Sequence[float], counts: Tensor | None = None
) -> Iterator[LinearProbe]:
    """Ridge regression, each output on the rows where it is known, from the strongest regularisation to the weakest.

    Args:
        features: [N,D].
        values: [N,K], NaN where unknown: the mean over a row's pixels.
        strengths: above 0.
        counts: [N,K] pixels that a row stands for; None: one.
    """
    known = torch.isfinite(values)
    counts = known.double() if counts is None else torch.where(known, counts.double(), 0.0)
    if not bool((counts.sum(0) > 0).all()):
        raise InputError("an output has no known value", mend="give records with targets")
    scaled, y = _Scaled.of(features), values.double().nan_to_num()
    solved = []
    for k in range(y.shape[1]):
        share = counts[:, k] / counts[:, k].sum()
        middle, centre = share @ y[:, k], share @ scaled.x
        x = scaled.x - centre
        # One decomposition serves all strengths.
        values_of, basis = torch.linalg.eigh(x.T @ (share[:, None] * x))
        solved.append(
            (middle, centre, values_of.clamp(min=0), basis, basis.T @ (x.T @ (share * (y[:, k] - middle))))
        )
    for strength in _descending(strengths):
        # The mean of squares, not half of it, is the loss; so is the penalty.
        rows = [basis @ (right / (eigen + strength)) for _, _, eigen, basis, right in solved]
        bias = torch.stack(
            [middle - row @ centre for row, (middle, centre, *_) in zip(rows, solved, strict=True)]
        )
        yield scaled.probe(torch.stack(rows), bias, strength)


def _solved(
    scaled: _Scaled, start: Tensor, loss: Callable[[Tensor], Tensor], strengths: Sequence[float]
) -> Iterator[LinearProbe]:
    """Minima of a convex loss of logits; each begins where the one before, of more regularisation, ended.

    Features of one encoder are alike, and gradients of their weights then point along few valleys: L-BFGS took hundreds
    of steps. So weights are sought along the main axes of the features, each stretched by what the curvature is at most
    along it, d = (λ/4 + s)^-1/2 (Böhning 1992): the same minimum in a tenth of the steps.
    """
    n = len(scaled.x)
    along, axes = torch.linalg.eigh(scaled.x.T @ scaled.x / n)
    turned = scaled.x @ axes
    weight = torch.zeros(len(start), len(along), dtype=torch.float64)
    bias = start.double().clone().requires_grad_()
    for strength in _descending(strengths):
        stretch = (along.clamp(min=0) / 4 + strength).rsqrt()
        held = (weight / stretch).requires_grad_()
        solver = torch.optim.LBFGS(
            [held, bias],
            max_iter=500,
            tolerance_grad=1e-7,
            tolerance_change=1e-12,
            history_size=20,
            line_search_fn="strong_wolfe",
        )

        def closure(
            solver: torch.optim.LBFGS = solver,
            held: Tensor = held,
            stretch: Tensor = stretch,
            strength: float = strength,
        ) -> Tensor:
            solver.zero_grad()
            weight = held * stretch
            value = loss(F.linear(turned, weight, bias)) + strength / 2 * weight.square().sum()
            value.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
            return value

        with torch.enable_grad():
            solver.step(closure)  # type: ignore[no-untyped-call]  # torch gives it no types
        weight = held.detach() * stretch
        yield scaled.probe(weight @ axes.T, bias.detach().clone(), strength)


def _descending(strengths: Sequence[float]) -> list[float]:
    if not strengths or min(strengths) <= 0:
        raise ConfigError("must be above 0", where="strengths", mend="give some, such as 0.0001, 0.01, 1")
    return sorted(strengths, reverse=True)
