"""Window masks: the right number, among windows that hold data, each from its own draw."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from swath.pretraining.window_masks import hide_windows, noise_length, window_grid

grids = st.tuples(st.integers(1, 3), st.integers(1, 13), st.integers(1, 13))


@given(grids, st.integers(1, 5), st.sampled_from([0.5, 0.6, 0.75, 0.9]), st.booleans(), st.integers(0, 999))
def test_counts_of_any_grid(
    grid: tuple[int, int, int], window: int, ratio: float, shared: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    d, h, w = grid
    gh, gw = window_grid(h, w, window)
    n = noise_length(d, h, w, window, shared)
    assert n == gh * gw * (1 if shared else d)
    valid = torch.rand(2, *grid) > 0.7
    hidden = hide_windows(
        torch.rand(2, n), grid, window=window, ratio=ratio, share_over_time=shared, valid=valid
    )
    assert hidden.shape == valid.shape
    assert not (hidden & ~valid).any()
    for b in range(2):
        for t in range(1 if shared else d):
            seen = valid[b].any(dim=0) if shared else valid[b, t]
            hide = hidden[b].any(dim=0) if shared else hidden[b, t]
            cells = [
                (slice(i * window, (i + 1) * window), slice(j * window, (j + 1) * window))
                for i in range(gh)
                for j in range(gw)
            ]
            holding = [c for c in cells if seen[c].any()]
            gone = [c for c in holding if hide[c].any()]
            assert len(holding) - len(gone) == int(len(holding) * (1 - ratio))
            assert all(torch.equal(hide[c], seen[c]) for c in gone)


def test_all_valid_equals_none() -> None:
    noise = torch.rand(3, 2 * 9)
    everything = torch.ones(3, 2, 9, 10, dtype=torch.bool)
    assert torch.equal(hide_windows(noise, (2, 9, 10)), hide_windows(noise, (2, 9, 10), valid=everything))


def test_a_tube_hides_the_same_places_at_every_date() -> None:
    hidden = hide_windows(torch.rand(2, 9), (4, 12, 12), share_over_time=True)
    assert torch.equal(hidden, hidden[:, :1].expand_as(hidden))
    separate = hide_windows(torch.rand(2, 36), (4, 12, 12))
    assert not torch.equal(separate, separate[:, :1].expand_as(separate))


def test_the_least_noise_stays_visible() -> None:
    noise = torch.tensor([[0.9, 0.1, 0.5, 0.4]])
    hidden = hide_windows(noise, (1, 8, 8))
    assert hidden[0, 0, ::4, ::4].tolist() == [[True, False], [True, True]]
    valid = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    valid[..., :4, 4:] = False  # the window with the least noise holds nothing
    hidden = hide_windows(noise, (1, 8, 8), ratio=0.6, valid=valid)
    assert hidden[0, 0, ::4, ::4].tolist() == [[True, False], [True, False]]


def test_nothing_valid_hides_nothing() -> None:
    nothing = torch.zeros(1, 2, 8, 8, dtype=torch.bool)
    assert not hide_windows(torch.rand(1, 8), (2, 8, 8), valid=nothing).any()
