"""What the dense networks promise about sizes, dates, bands and validity; the published numbers are in
tests/ledger.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from swath.errors import ConfigError, ContractError
from swath.models.spectralgpt import SENTINEL2_12, SpectralGPT, SpectralGPTConfig
from swath.models.spectralgpt_dense import (
    PRESETS,
    SpectralGPTChange,
    SpectralGPTChangeConfig,
    SpectralGPTSegmentation,
    SpectralGPTSegmentationConfig,
)
from swath.weights.transfer import transfer

SMALL = SpectralGPTSegmentationConfig(
    image_size=16,
    embed_dim=32,
    depth=2,
    heads=2,
    mlp_ratio=2.0,
    num_classes=3,
    branch_widths=(64, 64, 64, 128),
    branch_outputs=(16, 32, 48),
    decoder_width=32,
)
SMALL_CHANGE = SpectralGPTChangeConfig(
    **{
        **SMALL.to_dict(),
        "wavelengths": SENTINEL2_12,
        "num_classes": 2,
        "branch_widths": SMALL.branch_widths,
        "branch_outputs": SMALL.branch_outputs,
    }
)
TEN = tuple(w for i, w in enumerate(SENTINEL2_12) if i not in (7, 9))


def segmentation(**changes: object) -> SpectralGPTSegmentation:
    torch.manual_seed(0)
    return SpectralGPTSegmentation(replace(SMALL, **changes)).eval()  # type: ignore[arg-type]


def change(**changes: object) -> SpectralGPTChange:
    torch.manual_seed(0)
    return SpectralGPTChange(replace(SMALL_CHANGE, **changes)).eval()  # type: ignore[arg-type]


def pixels(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def test_the_published_network_has_109_million_parameters() -> None:
    with torch.device("meta"):
        oscd = SpectralGPTChange(PRESETS["spectralgpt_change_base"])  # type: ignore[arg-type]
        munich = SpectralGPTSegmentation(PRESETS["spectralgpt_segmentation_base"])
    assert sum(p.numel() for p in oscd.parameters()) == 109_219_591
    assert sum(p.numel() for p in munich.parameters()) == 109_244_946


@given(st.integers(1, 40), st.integers(1, 40))
def test_any_height_and_width(height: int, width: int) -> None:
    net = segmentation()
    with torch.no_grad():
        out = net(pixels(1, 1, 12, height, width))
    assert out.shape == (1, 3, height, width)
    assert bool(out.isfinite().all())


def test_other_token_edges() -> None:
    for patch in (4, 16):
        out = segmentation(patch_size=patch, image_size=32)(pixels(1, 1, 12, 30, 32))
        assert out.shape == (1, 3, 30, 32)


def test_gradients_reach_all_but_the_unused_norm() -> None:
    net = change().train()
    net(pixels(2, 2, 12, 16, 16)).square().sum().backward()
    without = {name for name, p in net.named_parameters() if p.grad is None}
    assert without == {"encoder.norm.weight", "encoder.norm.bias"}
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in net.parameters())


def test_change_is_the_first_date_minus_the_second() -> None:
    net, x = change(), pixels(1, 2, 12, 16, 16)
    one = segmentation(num_classes=2)
    one.load_state_dict(net.state_dict())
    expected = one.fused(x[:, :1]) - one.fused(x[:, 1:])
    torch.testing.assert_close(net.fused(x), expected)
    same = x[:, :1].expand(-1, 2, -1, -1, -1)
    torch.testing.assert_close(net.fused(same), torch.zeros_like(expected))


def test_log_softmax_is_the_published_output() -> None:
    net, x = change(), pixels(1, 2, 12, 16, 16)
    published = change(log_softmax=True)
    published.load_state_dict(net.state_dict())
    torch.testing.assert_close(published(x), net(x).log_softmax(1))
    target = torch.randint(0, 2, (1, 16, 16))
    cross_entropy = torch.nn.functional.cross_entropy
    torch.testing.assert_close(cross_entropy(published(x), target), cross_entropy(net(x), target))


@pytest.mark.parametrize("make", [segmentation, change])
def test_nothing_in_an_invalid_pixel_reaches_the_map(make: type) -> None:
    net = make()
    dates = net.DATES
    x = pixels(1, dates, 12, 24, 24)
    valid = torch.ones_like(x, dtype=torch.bool)
    valid[:, :, :, :9, :11] = False
    valid[:, 0, 3:6] = False
    outs = [net(torch.where(valid, x, torch.tensor(value)), valid) for value in (0.0, 7.0, float("nan"))]
    assert bool(outs[0].isfinite().all())
    assert torch.equal(outs[0], outs[1]) and torch.equal(outs[0], outs[2])


def test_an_invalid_band_equals_a_missing_one() -> None:
    net, x = segmentation(), pixels(1, 1, 12, 16, 16)
    keep = [i for i in range(12) if i not in (2, 9, 10, 11)]  # one of a group, and a whole group
    valid = torch.zeros_like(x, dtype=torch.bool)
    valid[:, :, keep] = True
    left_out = net(x[:, :, keep], wavelengths=tuple(SENTINEL2_12[i] for i in keep))
    torch.testing.assert_close(net(x, valid), left_out)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ContractError, match="1 date"):
        segmentation()(pixels(1, 2, 12, 16, 16))
    with pytest.raises(ContractError, match="2 date"):
        change()(pixels(1, 1, 12, 16, 16))
    with pytest.raises(ContractError, match="spectral groups"):
        segmentation()(pixels(1, 1, 3, 16, 16), wavelengths=(500.0, 600.0, 700.0))
    for bad in (
        {"temporal": True},
        {"branch_widths": (32, 32, 32)},
        {"branch_widths": (30, 32, 32, 32)},
        {"decoder_width": 20},
        {"num_classes": 0},
    ):
        with pytest.raises(ConfigError):
            replace(SMALL, **bad)  # type: ignore[arg-type]


def test_segmunich_means_fill_the_last_two_slots() -> None:
    net = segmentation(segmunich_means=True, wavelengths=TEN)
    plain = segmentation()
    plain.load_state_dict(net.state_dict())
    x = pixels(1, 1, 10, 16, 16)
    mean = x.mean(dim=2, keepdim=True)
    twelve = torch.cat([x, mean, mean], dim=2)
    torch.testing.assert_close(net(x), plain(twelve))
    torch.testing.assert_close(net(twelve), plain(twelve))
    valid = torch.ones_like(x, dtype=torch.bool)
    valid[:, :, 4] = False
    kept = [0, 1, 2, 3, 5, 6, 7, 8, 9]
    mean = x[:, :, kept].mean(dim=2, keepdim=True)
    whole = torch.cat([valid, torch.ones_like(valid[:, :, :2])], dim=2)
    expected = plain(torch.cat([x, mean, mean], dim=2), whole)
    torch.testing.assert_close(net(torch.where(valid, x, torch.tensor(float("nan"))), valid), expected)
    with pytest.raises(ContractError, match="takes 10"):
        net(pixels(1, 1, 9, 16, 16))
    with pytest.raises(ContractError, match="no others"):
        net(pixels(1, 1, 3, 16, 16), wavelengths=(500.0, 600.0, 700.0))


def test_pretrained_encoders_move_in() -> None:
    pretrained = SpectralGPT(
        SpectralGPTConfig(
            image_size=16,
            embed_dim=32,
            depth=2,
            heads=2,
            mlp_ratio=2.0,
            decoder_embed_dim=16,
            decoder_depth=1,
            decoder_heads=2,
        )
    )
    net = segmentation()
    report = transfer(
        pretrained.state_dict(),
        net,
        rename=lambda name: f"encoder.{name}",
        allow_new=("fuse.*", "branches.*", "decoder.*", "classify.*"),
        allow_dropped=("decoder_*", "mask_token"),
    )
    assert set(report.kept) == {name for name in net.state_dict() if name.startswith("encoder.")}


def test_features_of_each_date() -> None:
    out = change().features(pixels(2, 2, 12, 16, 24))
    assert out.maps[0].shape == (2, 2, 4, 32, 2, 3) and out.strides == (8,) and out.pooled.shape == (2, 32)


def test_a_date_without_data_counts_for_nothing_in_the_mean_vector() -> None:
    network, x = change(), pixels(2, 2, 12, 16, 24)
    valid = torch.ones_like(x, dtype=torch.bool)
    valid[0, 1] = False
    got = network.features(x, valid).pooled
    torch.testing.assert_close(got[0], network.features(x[:1, :1]).pooled[0])
    torch.testing.assert_close(got[1], network.features(x[1:]).pooled[0])
    assert torch.equal(network.features(x, torch.zeros_like(valid)).pooled, torch.zeros(2, 32))
