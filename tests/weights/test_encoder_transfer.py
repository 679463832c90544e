"""Pretrained encoders on other bands, sensors, dates and sizes: what goes over, and that it says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from swath.bands import SIX_BANDS, sensor
from swath.contract import InputContract, contract_for
from swath.cube import Encoding
from swath.errors import WeightsError
from swath.models.beit import BEiT, BEiTConfig
from swath.models.mae import MAE, MAEConfig
from swath.models.spectralgpt import SpectralGPT, SpectralGPTConfig
from swath.models.st_swin import MAE_TO_UNET_NEW, STSwinMAE, STSwinUNet
from swath.models.swin_config import STSwinConfig, STSwinUNetConfig
from swath.models.task_network import TaskNetwork, TaskNetworkConfig
from swath.weights.build import build_loaded, meta_for
from swath.weights.encoder_transfer import plan, start
from swath.weights.file import Loaded
from swath.weights.fitting import resize_table
from swath.weights.transfer import TransferReport

TEN = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
ALL = sensor("sentinel2").names
TWELVE = tuple(n for n in ALL if n != "B10")
FAMILIES = ("spectralgpt", "mae", "beit", "satmae", "st_swin_mae")


def contract(
    names: tuple[str, ...], size: int, dates: int | None = 1, of: str = "sentinel2"
) -> InputContract:
    low = 1 if dates is None else dates
    encoding = Encoding("reflectance", 1e-4, 0.0)
    return contract_for(of, names, encoding, size=(size, size), min_dates=low, max_dates=dates)


def pretrained(family: str, data: InputContract) -> Loaded:
    """Weights of a small network that was made for `data`, with nothing left at zero."""
    torch.manual_seed(0)
    assert data.size is not None
    decoder: dict[str, Any] = {"decoder_embed_dim": 16, "decoder_depth": 1, "decoder_heads": 2}
    body: dict[str, Any] = {
        "wavelengths": data.wavelengths,
        "image_size": data.size[0],
        "patch_size": 8,
        "embed_dim": 16,
        "depth": 2,
        "heads": 2,
        "temporal": data.max_dates != 1,
    }
    network: nn.Module
    if family == "spectralgpt":
        network = SpectralGPT(SpectralGPTConfig(**body, **decoder))
    elif family == "mae":
        network = MAE(MAEConfig(**body, **decoder))
    elif family == "satmae":
        half = len(data.bands) // 2
        groups = (tuple(range(half)), tuple(range(half, len(data.bands))))
        network = MAE(MAEConfig(**body, **decoder, groups=groups, group_dim=4, decoder_group_dim=4))
    elif family == "beit":
        network = BEiT(BEiTConfig(**body, codes=4))
    else:
        network = STSwinMAE(
            STSwinConfig(len(data.bands), embed_dim=8, depths=(1, 2), heads=(1, 2), window=(2, 4, 4))
        )
    for p in network.parameters():
        nn.init.normal_(p, std=0.1)
    return Loaded(network.state_dict(), meta_for(network, contract=data), "", Path("pretrained.safetensors"))


def carried(source: Loaded, data: InputContract, **options: Any) -> tuple[TaskNetwork, TransferReport]:
    made = plan(source, data, **options)
    network = TaskNetwork(TaskNetworkConfig(made.encoder.kind, made.config)).eval()
    return network, start(made, network, new=("neck.*", "head.*"))


def pixels(data: InputContract, dates: int = 1) -> Tensor:
    torch.manual_seed(1)
    assert data.size is not None
    return torch.randn(2, dates, len(data.bands), *data.size)


def days(dates: int) -> Tensor:
    return torch.tensor([[[50.0 * (i + 1), 2019.0] for i in range(dates)]] * 2)


def same_features(mine: Any, theirs: Any) -> None:
    torch.testing.assert_close(mine.pooled, theirs.pooled, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_six_bands_on_ten(family: str) -> None:
    six, ten = contract(SIX_BANDS, 32), contract(TEN, 32)
    source = pretrained(family, six)
    network, report = carried(source, ten)
    old, x = build_loaded(source).eval(), pixels(ten)
    mine = network.features(x, wavelengths=ten.wavelengths)
    if family == "spectralgpt":
        # One kernel serves all bands: the network says what the old one says of other bands.
        same_features(mine, old.features(x, wavelengths=ten.wavelengths))
        assert [n for n, _, _ in report.resized] == ["encoder.pos_embed_spectral"]
        assert "bands in groups" in str(report) and "B02 B03 B04 | B05 B06 B07 | B08 B8A B11 | B12" in str(
            report
        )
        return
    # Bands that are new start at zero: they are there, and say nothing yet.
    known = [TEN.index(n) for n in SIX_BANDS]
    same_features(mine, old.features(x[:, :, known], wavelengths=six.wavelengths))
    assert ("bands new, at 0", 4, "B05, B06, B07, B08") in report.rows()
    assert ("bands kept", 6, ", ".join(sorted(SIX_BANDS, key=TEN.index))) in report.rows()
    name = "encoder.patch_embed.proj.weight" if family == "st_swin_mae" else "encoder.patch_embed.weight"
    assert [n for n, _, _ in report.resized] == [name]
    # They learn.
    network(x, None, None, ten.wavelengths).square().sum().backward()
    grad = network.get_parameter(name).grad
    assert grad is not None and bool((grad.abs().sum() > 0).all())


@pytest.mark.parametrize("family", FAMILIES)
def test_thirteen_bands_on_twelve(family: str) -> None:
    thirteen, twelve = contract(ALL, 32), contract(TWELVE, 32)
    source = pretrained(family, thirteen)
    network, report = carried(source, twelve)
    old, x = build_loaded(source).eval(), pixels(thirteen)
    valid = torch.ones_like(x, dtype=torch.bool)
    valid[:, :, ALL.index("B10")] = False
    kept = [ALL.index(n) for n in TWELVE]
    mine = network.features(x[:, :, kept], wavelengths=twelve.wavelengths)
    same_features(mine, old.features(x, valid, wavelengths=thirteen.wavelengths))
    assert ("bands dropped", 1, "B10 of sentinel2") in report.rows()
    assert ("bands kept", 12, ", ".join(TWELVE)) in report.rows()


@pytest.mark.parametrize("family", FAMILIES)
def test_four_dates_on_one_and_on_three(family: str) -> None:
    source = pretrained(family, contract(SIX_BANDS, 32, 4))
    old = build_loaded(source).eval()
    for dates in (1, 3):
        data = contract(SIX_BANDS, 32, dates)
        network, report = carried(source, data)
        x, when = pixels(data, dates), days(dates)
        same_features(network.features(x, None, when), old.features(x, None, when))
        assert report.resized == () and network(x, None, when).shape == (2, 2, 32, 32)


@pytest.mark.parametrize("family", FAMILIES)
def test_one_date_on_three_starts_without_knowing_dates(family: str) -> None:
    source = pretrained(family, contract(SIX_BANDS, 32, 1))
    data = contract(SIX_BANDS, 32, 3)
    network, report = carried(source, data)
    x, when = pixels(data, 3), days(3)
    told = network(x, None, when)
    assert torch.equal(told, network(x, None, None))  # the encoding of dates starts at zero
    if family != "st_swin_mae":
        assert "encoder.date_embed.weight" in report.new
        told.square().sum().backward()
        grad = network.get_parameter("encoder.date_embed.weight").grad
        assert grad is not None and grad.abs().sum() > 0
    apart, report = carried(source, data, together=False)
    assert apart.apart is (family != "st_swin_mae") and "encoder.date_embed.weight" not in report.new
    assert apart(x, None, when).shape == (2, 2, 32, 32)


@pytest.mark.parametrize("size", [128, 224])
@pytest.mark.parametrize("family", FAMILIES)
def test_ninety_six_pixels_on_more(family: str, size: int) -> None:
    source = pretrained(family, contract(SIX_BANDS[:4], 96))
    data = contract(SIX_BANDS[:4], size)
    network, report = carried(source, data)
    old, x = build_loaded(source).eval(), pixels(data)[:1]
    same_features(network.features(x), old.features(x))
    grid = size // 8
    if family == "spectralgpt":
        assert report.resized == (("encoder.pos_embed_spatial", (1, 144, 16), (1, grid**2, 16)),)
    elif family == "st_swin_mae":
        assert report.resized == ()  # its positions are relative
    else:
        assert f"from 12 x 12 to {grid} squared" in str(report)


def test_another_sensor_is_matched_by_wavelength() -> None:
    landsat = contract(("B2", "B3", "B4", "B5", "B6", "B7"), 32, of="landsat8")
    data = contract(SIX_BANDS, 32)
    source = pretrained("mae", landsat)
    network, report = carried(source, data)
    x = pixels(data)
    old = build_loaded(source).eval()
    same_features(
        network.features(x, wavelengths=data.wavelengths), old.features(x, wavelengths=landsat.wavelengths)
    )
    assert "B8A from B5 of landsat8" in str(report) and report.resized == ()


def test_joint_positions_move_with_grid_and_bands() -> None:
    base = contract(TWELVE, 32)
    config = SpectralGPTConfig(
        base.wavelengths, 32, 8, embed_dim=16, depth=1, heads=2, positions="joint",
        decoder_embed_dim=16, decoder_depth=1, decoder_heads=2,
    )  # fmt: skip
    torch.manual_seed(0)
    old = SpectralGPT(config).eval()
    source = Loaded(old.state_dict(), meta_for(old, contract=base), "", Path("x"))
    data = contract(("B2", "B3", "B4", "B5", "B6", "B7"), 48, of="landsat8")
    network, report = carried(source, data)
    x = pixels(data)
    same_features(network.features(x), old.features(x, wavelengths=data.wavelengths))
    assert report.resized == (("encoder.pos_embed", (1, 64, 16), (1, 72, 16)),)


def test_larger_windows_say_the_same_of_what_fits_the_smaller() -> None:
    source = pretrained("st_swin_mae", contract(SIX_BANDS, 16))
    data = contract(SIX_BANDS, 16)
    network, report = carried(source, data, window=(3, 7, 7))
    x = pixels(data, 2)
    same_features(network.features(x), build_loaded(source).eval().features(x))
    assert len(report.resized) == 3 and all("bias_table" in n for n, _, _ in report.resized)


def test_offsets_beyond_the_learned_ones_are_the_farthest() -> None:
    table = torch.arange(3.0)[:, None].repeat(1, 2)  # (1, 1, 2): offsets -1, 0, 1 over columns
    assert resize_table(table, (1, 1, 2), (1, 1, 3))[:, 0].tolist() == [0, 0, 1, 2, 2]
    assert resize_table(table, (1, 1, 2), (2, 1, 2))[:, 0].tolist() == [0, 1, 2] * 3
    assert resize_table(table, (1, 1, 2), (1, 1, 1))[:, 0].tolist() == [1]


@pytest.mark.parametrize("names", [SIX_BANDS, TEN])
def test_a_unet_keeps_encoder_and_decoder(names: tuple[str, ...]) -> None:
    source = pretrained("st_swin_mae", contract(SIX_BANDS, 32))
    made = plan(source, contract(names, 32))
    backbone = STSwinConfig.from_dict({**made.config.to_dict(), "decoder_depths": None})
    unet = STSwinUNet(STSwinUNetConfig(backbone, stem_skip=True))
    report = start(
        made,
        unet,
        prefix="",
        carry=("first_patch_expanding.*", "layers_up.*", "norm_up.*"),
        new=MAE_TO_UNET_NEW,
    )
    assert set(report.dropped) == {"mask_token", "decoder_pred.weight", "decoder_pred.bias"}
    assert {n.split(".")[0] for n in report.kept} >= {
        "layers",
        "layers_up",
        "norm_up",
        "first_patch_expanding",
    }
    for name in report.kept:
        assert torch.equal(unet.state_dict()[name], source.state[name])


def lose(source: Loaded, name: str) -> Loaded:
    return replace(source, state={n: t for n, t in source.state.items() if n != name})


def test_every_loss_without_a_reason_is_an_error() -> None:
    data = contract(SIX_BANDS, 32)
    source = pretrained("mae", data)
    with pytest.raises(WeightsError, match=r"encoder\.blocks\.1\.attn\.qkv\.weight: the weights lack"):
        carried(lose(source, "blocks.1.attn.qkv.weight"), data)
    more = replace(source, state={**source.state, "blocks.2.attn.qkv.weight": torch.zeros(3)})
    with pytest.raises(WeightsError, match=r"blocks\.2\.attn\.qkv\.weight: the network has no such"):
        carried(more, data)
    broken = replace(source, state={**source.state, "norm.bias": torch.full((16,), torch.nan)})
    with pytest.raises(WeightsError, match="NaN"):
        carried(broken, data)
    cut = replace(source, state={**source.state, "norm.bias": torch.zeros(5)})
    with pytest.raises(WeightsError, match=r"norm\.bias: the weights have shape \[5\]"):
        carried(cut, data)


def test_bands_that_nobody_knows_are_an_error() -> None:
    data = contract(SIX_BANDS, 32)
    with pytest.raises(WeightsError, match=r"know none of the data's bands \(they know B02"):
        plan(pretrained("mae", data), contract(("VV", "VH"), 32, of="sentinel1"))
    with pytest.raises(WeightsError, match="VV, VH are radar"):
        plan(pretrained("spectralgpt", data), contract(("VV", "VH"), 32, of="sentinel1"))
    with pytest.raises(WeightsError, match=r"group 2 of bands .* has none"):
        plan(pretrained("satmae", data), contract(("B02", "B03"), 32))
    nameless = pretrained("st_swin_mae", data)
    with pytest.raises(WeightsError, match="do not say which bands"):
        plan(replace(nameless, meta=replace(nameless.meta, contract=None)), data)
    tokens = pretrained("mae", data)  # wavelengths tell enough
    found = plan(replace(tokens, meta=replace(tokens.meta, contract=None)), data)
    assert found.bands.same
