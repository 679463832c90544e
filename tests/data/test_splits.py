from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.data.splits import column_split
from swath.errors import ConfigError


@given(st.integers(1, 4), st.integers(20, 80), st.integers(1, 12), st.integers(1, 12))
def test_the_parts_cover_the_scene_once_and_are_kept_apart(
    height: int, width: int, window: int, validation: int
) -> None:
    if width // 2 - window - validation < window:
        with pytest.raises(ConfigError, match="columns leave"):
            column_split(height, width, window=window, validation=validation)
        return
    split = column_split(height, width, window=window, validation=validation)
    parts = np.stack([split.west, split.validation, split.buffer, split.east]).astype(int)
    assert parts.shape == (4, height, width) and (parts.sum(0) == 1).all()
    assert [split.columns[n] for n in ("west", "east")] == [
        (0, width // 2 - window - validation),
        (width // 2, width),
    ]
    learned = (split.west | split.validation).any(0)
    # No window, wherever it lies, sees both a column that was learned from and one that is scored.
    for start in range(width - window + 1):
        cut = slice(start, start + window)
        assert not (learned[cut].any() and split.east[0, cut].any())


def test_the_east_can_start_elsewhere() -> None:
    assert column_split(1, 100, window=8, validation=4, east_start=70).columns == {
        "west": (0, 58),
        "validation": (58, 62),
        "buffer": (62, 70),
        "east": (70, 100),
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"window": 0},
        {"window": 8, "validation": 0},
        {"window": 8, "buffer": 7},
        {"window": 8, "east_start": 100},
        {"window": 8, "east_start": 23},
    ],
)
def test_what_cannot_be_split(fields: dict[str, int]) -> None:
    with pytest.raises(ConfigError) as caught:
        column_split(10, 100, **fields)  # type: ignore[arg-type]
    assert caught.value.mend


def test_an_empty_scene() -> None:
    with pytest.raises(ConfigError, match="cannot split"):
        column_split(0, 100, window=8)
