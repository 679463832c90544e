"""One line of the ledger: two ways to compute a quantity, how far apart they are, and how far they may be."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Tolerance(NamedTuple):
    """How far numbers may be apart: atol + rtol * |expected|."""

    atol: float
    rtol: float


EXACT = Tolerance(0.0, 0.0)
SINGLE = Tolerance(2e-5, 1e-4)  # small networks in float32; gradients reach tens
DOUBLE = Tolerance(1e-9, 1e-9)
DENSE = Tolerance(1e-4, 0.0)  # the full-size dense network in float32


@dataclass(frozen=True)
class LedgerRow:
    """A comparison.

    Attributes:
        file: where the expected numbers come from.
        quantity: what is compared.
        error: the largest absolute difference; infinite if nothing could be compared.
        atol, rtol: it passes where |actual - expected| <= atol + rtol * |expected| for every number.
        passed: whether it does.
        note: why it failed, or what a person should know.
        ran: whether anything was compared; what this machine cannot run has neither passed nor failed.
    """

    file: str
    quantity: str
    error: float
    atol: float
    rtol: float
    passed: bool
    note: str = ""
    ran: bool = True

    @property
    def status(self) -> str:
        """One word for it."""
        return ("pass" if self.passed else "FAIL") if self.ran else "not run"

    @property
    def wrong(self) -> bool:
        """Whether it ran and failed."""
        return self.ran and not self.passed

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "status": self.status}


def compare(
    file: str, quantity: str, actual: Tensor, expected: Tensor, tolerance: Tolerance, note: str = ""
) -> LedgerRow:
    """The row for two tensors; shapes must be equal but for axes of length one."""
    atol, rtol = tolerance
    if [n for n in actual.shape if n != 1] != [n for n in expected.shape if n != 1]:
        said = f"the shape is {list(actual.shape)}, expected {list(expected.shape)}"
        return LedgerRow(file, quantity, math.inf, atol, rtol, False, said)
    # In double, so that the difference of two singles is not rounded again.
    a, b = actual.detach().double().reshape(expected.shape), expected.detach().double()
    if not bool(torch.isfinite(b).all()):
        return LedgerRow(file, quantity, math.inf, atol, rtol, False, "the expected numbers are not finite")
    difference = (a - b).abs()
    error = float(difference.max()) if difference.numel() else 0.0
    passed = bool((difference <= atol + rtol * b.abs()).all())
    return LedgerRow(file, quantity, error if math.isfinite(error) else math.inf, atol, rtol, passed, note)


def failed(file: str, quantity: str, note: str) -> LedgerRow:
    """The row of what could not be compared."""
    return LedgerRow(file, quantity, math.inf, 0.0, 0.0, False, note)


def not_run(file: str, quantity: str, note: str) -> LedgerRow:
    """The row of what this machine cannot run."""
    return LedgerRow(file, quantity, math.inf, 0.0, 0.0, False, note, ran=False)
