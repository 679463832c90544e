"""Fast paths against the slow, plain twins: the same output, the same gradient, the same training.

Each path runs one of two tiny objectives as a user would, with gaps, missing dates, odd sizes and shuffled
bands, and is compared with `swath.ledger.twins`, which shares no code with the models. So a mistake in the model
itself turns its rows red, not only one in the fast form.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from swath.errors import ConfigError
from swath.ledger.fast_forms import (
    accumulated,
    checkpointed,
    compiled,
    converted,
    half,
    no_compiler,
    padded,
    with_kernel,
)
from swath.ledger.measure import Measured, measure_twin
from swath.ledger.row import LedgerRow, Tolerance, compare, failed, not_run
from swath.ledger.subjects import FEW_BLOCKS, PLANAR, PUBLISHED, SPECTRALGPT, ST_SWIN, Subject

QUANTITIES = ("forward", "gradient", "training")


@dataclass(frozen=True)
class FastPath:
    """A row of the ledger.

    Attributes:
        name: of the path and the system.
        what: what is compared, a sentence.
        subject: what runs.
        fast: measures the fast form in this many steps.
        tolerances: of forward, gradient and training.
        missing: why this machine cannot run it, or "".
    """

    name: str
    what: str
    subject: Subject
    fast: Callable[[Subject, int], Measured]
    tolerances: tuple[Tolerance, Tolerance, Tolerance]
    missing: Callable[[], str] = lambda: ""


@dataclass(frozen=True)
class CheckedPath:
    """The rows of a path, and the seconds it took."""

    rows: tuple[LedgerRow, ...]
    seconds: float


def check_path(path: FastPath, steps: int = 50) -> CheckedPath:
    """Three rows; a path that breaks is three failed ones."""
    began = time.perf_counter()
    reason = path.missing()
    if reason:
        rows = [not_run(path.name, quantity, reason) for quantity in QUANTITIES]
        return CheckedPath(tuple(rows), time.perf_counter() - began)
    try:
        plain = measure_twin(path.subject, steps)
        fast = path.fast(path.subject, steps)
        rows = []
        for quantity, tolerance in zip(QUANTITIES, path.tolerances, strict=True):
            actual, expected = getattr(fast, quantity), getattr(plain, quantity)
            name = f"{steps} steps" if quantity == "training" else quantity
            rows.append(compare(path.name, name, actual, expected, tolerance))
    except Exception as err:  # whatever breaks is what the ledger is there to show
        rows = [failed(path.name, quantity, f"{type(err).__name__}: {err}") for quantity in QUANTITIES]
    return CheckedPath(tuple(rows), time.perf_counter() - began)


def find_paths(words: Sequence[str] = ()) -> list[FastPath]:
    """All paths, or those whose names hold one of these words.

    Raises:
        ConfigError: a word is in no name.
    """
    for word in words:
        if not any(word.lower() in path.name.lower() for path in PATHS):
            told = "; ".join(path.name for path in PATHS)
            raise ConfigError(f"no path is named so: '{word}'", where="only", mend=f"the paths are: {told}")
    return [p for p in PATHS if not words or any(word.lower() in p.name.lower() for word in words)]


_EXACT = (Tolerance(1e-9, 1e-9), Tolerance(1e-9, 1e-9), Tolerance(1e-8, 1e-8))
_BF16 = (Tolerance(1e-1, 2e-2), Tolerance(2e-2, 5e-2), Tolerance(1e-2, 1e-2))
_BOTH = (SPECTRALGPT, ST_SWIN)


def _paths() -> Iterator[FastPath]:
    def each(
        name: str,
        what: str,
        fast: Callable[[Subject, int], Measured],
        subjects: Sequence[Subject],
        **rest: Any,
    ) -> Iterator[FastPath]:
        for subject in subjects:
            rest.setdefault("tolerances", _EXACT)
            yield FastPath(f"{name}, {subject.title}", what, subject, fast, **rest)

    yield from each(
        "SDPA vs explicit softmax",
        "every attention by PyTorch's fused kernel, with learned biases and masks",
        with_kernel("sdpa"),
        _BOTH,
    )
    yield from each(
        "windows vs masked full attention",
        "maps cut, shifted and padded into windows, against forbidden pairs of one attention over the whole map",
        with_kernel("explicit"),
        (ST_SWIN,),
    )
    yield from each(
        "padded vs exact sizes",
        "the image inside a larger one without data around it, filled with NaN",
        padded,
        _BOTH,
    )
    yield from each("bf16 vs fp32", "autocast to bfloat16", half, _BOTH, tolerances=_BF16)
    yield from each(
        "compiled vs eager",
        "the objective through torch.compile, forward and backward",
        compiled,
        FEW_BLOCKS,
        missing=no_compiler,
    )
    yield from each(
        "activation checkpointing on vs off",
        "blocks that compute their insides again in the backward pass",
        checkpointed,
        _BOTH,
    )
    yield from each(
        "accumulated vs whole batch",
        "the training loop with one sample a pass, of which some hold more data than others",
        accumulated,
        _BOTH,
    )
    yield from each(
        "converted and converted back",
        "weights in a published layout and from it again, twice",
        converted,
        (PUBLISHED, PLANAR),
    )


PATHS: tuple[FastPath, ...] = tuple(_paths())
