from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from swath.errors import ContractError
from swath.models.spectralgpt import SENTINEL2_12
from swath.models.tokens import group_bands, patchify, sorted_groups, tokenize, unpatchify

CPU = torch.device("cpu")


@given(st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_patchify_and_back(b: int, t: int, g: int, h: int, w: int) -> None:
    x = torch.arange(b * t * g * 3 * h * 4 * w * 4).reshape(b, t, g * 3, h * 4, w * 4)
    tokens = patchify(x, 3, 4)
    assert tokens.shape == (b, t * g * h * w, 48)
    assert torch.equal(unpatchify(tokens, (t, g, h, w), 3, 4), x)


def test_token_layout_is_date_group_row_column() -> None:
    x = torch.zeros(1, 2, 6, 8, 12)
    x[0, 1, 4, 3, 9] = 1.0  # date 1, group 1 (band 1 of it), row 0 and column 2 of tokens
    at = patchify(x, 3, 4).nonzero()[0].tolist()
    assert at == [0, ((1 * 2 + 1) * 2 + 0) * 3 + 2, (1 * 4 + 3) * 4 + 1]


def test_groups_follow_the_wavelength() -> None:
    assert sorted_groups((900.0, 400.0, 700.0, 500.0), 3) == [[1, 3, 2], [0]]


def test_known_bands_take_their_own_slots() -> None:
    shuffled = [SENTINEL2_12[i] for i in (11, 3, 0)]
    grouping = group_bands(SENTINEL2_12, shuffled, 3, None, CPU)
    assert grouping.slots == (2, -1, -1, 1, -1, -1, -1, -1, -1, -1, -1, 0)
    assert grouping.wavelengths is None and grouping.has_empty_slots
    x = torch.randn(2, 1, 3, 4, 4)
    assert torch.equal(grouping.to_bands(grouping.to_slots(x)), x)


def test_the_same_bands_are_not_copied() -> None:
    grouping = group_bands(SENTINEL2_12, SENTINEL2_12, 3, None, CPU)
    x = torch.randn(1, 1, 12, 2, 2)
    assert grouping.to_slots(x) is x and not grouping.has_empty_slots


def test_two_bands_of_one_wavelength_keep_their_order() -> None:
    radar = (55_465_763.0, 55_465_763.0)
    assert group_bands(radar, radar, 3, None, CPU).slots == (0, 1, -1)


@given(st.integers(1, 7), st.integers(0, 1000))
def test_other_bands_are_sorted_and_compacted(bands: int, seed: int) -> None:
    gen = torch.Generator().manual_seed(seed)
    nm = (torch.rand(bands, generator=gen) * 2000 + 3000).tolist()
    here = torch.rand(2, bands, generator=gen) > 0.3
    valid = here[:, None, :, None, None].expand(-1, 2, -1, 4, 4)
    grouping = group_bands(SENTINEL2_12, nm, 3, valid, CPU)
    assert grouping.order is not None and grouping.wavelengths is not None
    x = torch.randn(2, 2, bands, 4, 4, generator=gen)
    slots = grouping.to_slots(x)
    assert slots.shape[2] == -(-bands // 3) * 3
    assert torch.equal(grouping.to_bands(slots), x)
    for b in range(2):
        kept = sorted((nm[c], c) for c in range(bands) if here[b, c])
        assert grouping.order[b, : len(kept)].tolist() == [c for _, c in kept]
        for g in range(-(-len(kept) // 3)):
            group = [w for w, _ in kept[3 * g : 3 * g + 3]]
            assert grouping.wavelengths[b, g].item() == pytest.approx(sum(group) / len(group), rel=1e-6)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 7), st.booleans())
def test_padding_is_invalid_and_no_token_is_padding_alone(
    height: int, width: int, bands: int, known: bool
) -> None:
    nm = tuple(500.0 + 100 * i for i in range(bands))
    x = torch.ones(1, 1, bands, height, width)
    model = nm if known else (400.0,)
    tokens = tokenize(x, None, known=model, wavelengths=nm, group_size=3, patch=8)
    assert (tokens.rows, tokens.cols) == (-(-height // 8), -(-width // 8))
    n = (
        tokens.patches.shape[1] * tokens.patches.shape[2]
        if tokens.pixel_valid is None
        else tokens.pixel_valid.sum()
    )
    assert n == x.numel()
    assert tokens.patches.sum() == x.numel()
    assert tokens.valid is None or tokens.valid.all()
    assert torch.equal(tokens.to_pixels(tokens.patches), x)


def test_invalid_pixels_become_zero_whatever_they_held() -> None:
    x = torch.full((1, 1, 3, 8, 16), float("nan"))
    valid = torch.zeros_like(x, dtype=torch.bool)
    valid[..., 2, 3], x[..., 2, 3] = True, 5.0
    tokens = tokenize(x, valid, known=(1.0, 2.0, 3.0), wavelengths=None, group_size=3, patch=8)
    assert tokens.patches.sum() == 15.0
    assert tokens.valid is not None and tokens.valid.tolist() == [[True, False]]


def test_shapes_that_do_not_fit_are_named() -> None:
    def cut(x: torch.Tensor, valid: torch.Tensor | None = None) -> None:
        tokenize(x, valid, known=(1.0, 2.0), wavelengths=None, group_size=3, patch=8)

    with pytest.raises(ContractError, match="batch, date, band"):
        cut(torch.zeros(1, 2, 8, 8))
    with pytest.raises(ContractError, match="3 bands of pixels but 2 wavelengths"):
        cut(torch.zeros(1, 1, 3, 8, 8))
    with pytest.raises(ContractError, match="validity"):
        cut(torch.zeros(1, 1, 2, 8, 8), torch.ones(1, 1, 1, 8, 8, dtype=torch.bool))
