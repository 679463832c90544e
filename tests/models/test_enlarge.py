"""Windows that a network resizes: as the feed does while learning, and blind to what is invalid."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from swath.errors import ContractError
from swath.feed.augment import crop_grid, resample
from swath.models.enlarge import resized_windows


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 20), st.integers(1, 40), st.floats(0, 1), st.integers(0, 2**16))
def test_it_is_what_the_feed_does(size: int, side: int, share: float, seed: int) -> None:
    torch.manual_seed(seed)
    pixels, valid = torch.randn(2, 2, 3, size, size), torch.rand(2, 2, 3, size, size) >= share * 0.2
    if size == side:
        assert resized_windows(pixels, valid, side) == (pixels, valid)
        return
    out, good = resized_windows(pixels, valid, side)
    whole = torch.tensor([(0.0, 0.0, 1.0, 1.0)]).expand(2, 4)
    want, held = resample(pixels, valid, crop_grid(whole, side, side), "bilinear")
    assert good is not None
    # A centre on the border of two pixels may be looked up in either: the kernel touches both.
    clear = torch.tensor([(2 * i + 1) * size % (2 * side) != 0 for i in range(side)])
    clear = clear[:, None] & clear
    assert bool((good == held)[..., clear].all())
    both = good & held
    torch.testing.assert_close(out[both], want[both], atol=1e-4, rtol=1e-4)
    assert not out[~good].any()
    assert resized_windows(pixels, None, side)[1] is None


def test_nothing_invalid_reaches_a_pixel() -> None:
    torch.manual_seed(0)
    pixels, valid = torch.randn(1, 1, 2, 16, 16), torch.rand(1, 1, 2, 16, 16) > 0.1
    out, good = resized_windows(pixels, valid, 32)
    for value in (float("nan"), float("inf"), 1e30):
        spoilt, same = resized_windows(pixels.masked_fill(~valid, value), valid, 32)
        torch.testing.assert_close(spoilt, out, rtol=0, atol=0)
        assert good is not None and same is not None and bool((good == same).all())


def test_windows_that_are_not_square_are_refused() -> None:
    with pytest.raises(ContractError, match="windows of 8 x 6 pixels cannot be brought to 16"):
        resized_windows(torch.zeros(1, 1, 1, 8, 6), None, 16)
