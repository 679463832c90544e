"""Splits by place: what is scored never touches what was learned from.

    columns   0 ........ train_end ........ buffer_start ....... east_start ........ width
              |   west     |   validation     |     buffer         |      east       |

West is trained on, the validation block selects, the east is scored; pixels of the buffer are in none.
The buffer is as wide as the training window, so no window that touches the east touches the validation block
or the west, whatever its place. Training windows lie wholly in the west and validation windows wholly in
their block (`columns` gives the ranges), so they share no pixel either.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swath.cube import BoolArray
from swath.errors import ConfigError


@dataclass(frozen=True, eq=False)
class ColumnSplit:
    """Four parts of a scene, as masks [H,W] and as column ranges (start, stop); they cover it once."""

    west: BoolArray
    validation: BoolArray
    buffer: BoolArray
    east: BoolArray
    columns: dict[str, tuple[int, int]]


def column_split(
    height: int,
    width: int,
    *,
    window: int,
    validation: int | None = None,
    buffer: int | None = None,
    east_start: int | None = None,
) -> ColumnSplit:
    """Split a scene by columns.

    Args:
        height: of the scene, pixels.
        width: of the scene, pixels.
        window: side of the training window, pixels.
        validation: width of the validation block; None: as wide as the window.
        buffer: width of the buffer; None: as wide as the window, the least that keeps parts apart.
        east_start: first column of the east; None: the middle.

    Raises:
        ConfigError: the scene is too narrow for the parts, no training window fits the west, or the buffer is
            narrower than the window.
    """
    validation = window if validation is None else validation
    buffer = window if buffer is None else buffer
    start = width // 2 if east_start is None else east_start
    if height < 1 or width < 1 or window < 1 or validation < 1:
        raise ConfigError(
            f"cannot split {height}x{width} pixels with windows of {window} and {validation} for validation",
            where="split",
            mend="use positive sizes",
        )
    if buffer < window:
        raise ConfigError(
            f"the buffer of {buffer} columns is narrower than the window of {window}",
            where="split",
            mend="make it as wide as the window",
        )
    train = start - buffer - validation
    if train < window or start >= width:
        raise ConfigError(
            f"{width} columns leave {max(train, 0)} to train on and {max(width - start, 0)} to score, with "
            f"{validation} for validation and {buffer} between; a training window needs {window}",
            where="split",
            mend="use a smaller window or validation, or move east_start",
        )
    ends = {
        "west": (0, train),
        "validation": (train, train + validation),
        "buffer": (train + validation, start),
        "east": (start, width),
    }
    column = np.broadcast_to(np.arange(width), (height, width))
    masks = {name: (column >= a) & (column < b) for name, (a, b) in ends.items()}
    return ColumnSplit(masks["west"], masks["validation"], masks["buffer"], masks["east"], ends)
