"""Any encoder with any head: shapes, gradients, and what is invalid."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from swath.errors import ConfigError, ContractError
from swath.models.config import ModelConfig
from swath.models.encoders import EncoderKind, encode, spread_layers
from swath.models.enlarge import resized_windows
from swath.models.spectralgpt import EncoderConfig
from swath.models.swin_config import Swin3DConfig
from swath.models.task_network import TaskNetwork, TaskNetworkConfig
from swath.models.vit_encoder import ViTConfig

NM = (490.0, 560.0, 665.0, 705.0)
ENCODERS: dict[str, tuple[EncoderKind, ModelConfig]] = {
    "spectralgpt": (
        "spectralgpt",
        EncoderConfig(NM, image_size=16, group_size=2, embed_dim=8, depth=4, heads=2, temporal=True),
    ),
    "one-date": ("spectralgpt", EncoderConfig(NM, image_size=16, embed_dim=8, depth=2, heads=2)),
    "vit": ("vit", ViTConfig(NM, image_size=16, patch_size=8, embed_dim=8, depth=2, heads=2, temporal=True)),
    "groups": (
        "vit",
        ViTConfig(NM, ((0, 1), (2, 3)), 16, 4, embed_dim=12, depth=2, heads=2, group_dim=4, temporal=True),
    ),
    "swin3d": ("swin3d", Swin3DConfig(4, embed_dim=8, depths=(1, 1), heads=(1, 2), final_norm=True)),
    "tubes": ("swin3d", Swin3DConfig(4, (2, 4, 4), embed_dim=8, depths=(1, 1), heads=(1, 2))),
}


def network(name: str, **options: Any) -> TaskNetwork:
    kind, encoder = ENCODERS[name]
    torch.manual_seed(0)
    made = TaskNetwork(TaskNetworkConfig(kind, encoder, 3, width=16, **options)).eval()
    if getattr(encoder, "temporal", False):
        torch.nn.init.normal_(made.encoder.date_embed.weight)  # it starts at zero, and would show nothing
    return made


def images(dates: int, rows: int = 20, cols: int = 16, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    days = torch.tensor([[[30.0 * (i + 1), 2020.0] for i in range(dates)]]).expand(batch, -1, -1)
    return torch.randn(batch, dates, 4, rows, cols), days


@pytest.mark.parametrize("head", ["linear", "conv", "uper"])
@pytest.mark.parametrize("name", ENCODERS)
def test_every_head_draws_maps_of_every_encoder_and_all_of_it_learns(name: str, head: str) -> None:
    made = network(name, head=head)
    for dates in (1, 3):
        pixels, days = images(dates)
        out = made(pixels, None, days, NM)
        assert out.shape == (2, 3, 20, 16)
        out.square().sum().backward()
    still = {n for n, p in made.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    # Of the encoder, a bias of keys has no say behind softmax, and offsets that no window has are not looked up.
    assert {n for n in still if not n.startswith("encoder.")} == set()


@pytest.mark.parametrize("name", ENCODERS)
def test_an_answer_for_an_image(name: str) -> None:
    pixels, days = images(3)
    for dates, shape in (("mean", (2, 3)), ("last", (2, 3)), ("none", (2, 3, 3)), ("difference", (2, 3))):
        assert network(name, per_pixel=False, dates=dates)(pixels, None, days, NM).shape == shape
    assert network(name, per_pixel=False, dates="concat", date_count=3)(pixels, None, days, NM).shape == (
        2,
        3,
    )


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("dates", ["last", "none", "difference", "concat"])
def test_dates_of_a_map(name: str, dates: str) -> None:
    pixels, days = images(3)
    made = network(name, dates=dates, date_count=3 if dates == "concat" else None)
    assert made(pixels, None, days, NM).shape == ((2, 3, 3, 20, 16) if dates == "none" else (2, 3, 20, 16))
    assert made.features(pixels, None, days, NM).pooled.shape == (2, made.shape.pooled)


@pytest.mark.parametrize("head", ["linear", "conv", "uper", "image"])
@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("dates", ["mean", "last", "difference"])
def test_what_is_invalid_has_no_say(name: str, head: str, dates: str) -> None:
    made = network(name, head="linear" if head == "image" else head, per_pixel=head != "image", dates=dates)
    pixels, days = images(3)
    valid = torch.rand(pixels.shape) > 0.3
    valid[:, :, :, :8, :8] = False  # whole tokens
    valid[1, 1] = False  # a whole date
    valid[:, :, 2] = False  # a whole band
    filled = torch.where(valid, pixels, float("nan")).requires_grad_()
    other = torch.where(valid, pixels, 1e6)
    out = made(filled, valid, days, NM)
    assert torch.isfinite(out).all()
    assert torch.equal(out, made(other, valid, days, NM))
    out.square().sum().backward()
    assert filled.grad is not None and torch.equal(filled.grad[~valid], torch.zeros(int((~valid).sum())))
    assert filled.grad.abs().sum() > 0
    assert all(torch.isfinite(p.grad).all() for p in made.parameters() if p.grad is not None)


@pytest.mark.parametrize("head", ["linear", "conv", "image"])
@pytest.mark.parametrize("name", [n for n in ENCODERS if n != "tubes"])  # a tube joins neighbouring dates
@pytest.mark.parametrize("dates", ["mean", "last", "difference"])
def test_a_date_without_data_equals_one_that_was_never_there(name: str, head: str, dates: str) -> None:
    made = network(name, head="linear" if head == "image" else head, per_pixel=head != "image", dates=dates)
    pixels, days = images(3)
    valid = torch.ones_like(pixels, dtype=torch.bool)
    valid[:, 1] = False
    kept = [0, 2]
    with_it = made(pixels, valid, days, NM)
    without = made(pixels[:, kept], valid[:, kept], days[:, kept], NM)
    torch.testing.assert_close(with_it, without, rtol=1e-5, atol=1e-5)


def test_no_change_between_equal_dates_and_a_sign_that_turns() -> None:
    made = network("one-date", dates="difference", per_pixel=False)
    pixels, _ = images(2)
    same = made(pixels[:, :1].expand(-1, 2, -1, -1, -1))
    torch.testing.assert_close(same, made.head.out.bias.expand_as(same))
    forth, back = made(pixels), made(pixels.flip(1))
    torch.testing.assert_close(forth + back, 2 * made.head.out.bias.expand_as(forth), rtol=1e-5, atol=1e-6)
    with pytest.raises(ContractError, match="compares dates"):
        made(pixels[:, :1])


def test_where_one_date_of_two_is_missing_nothing_is_said_of_change() -> None:
    made = network("one-date", dates="difference")
    pixels, _ = images(2, rows=16)
    valid = torch.ones_like(pixels, dtype=torch.bool)
    valid[:, 0, :, :8] = False
    maps = made.neck(made._encode(pixels, valid, None, None).maps)[0]
    assert (maps[:, :, :, 0] == 0).all() and (maps[:, :, :, 1] != 0).any()


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 3), st.integers(5, 40), st.integers(5, 40), st.sampled_from(["linear", "conv", "uper"]))
def test_any_size_is_drawn_at_its_size(dates: int, rows: int, cols: int, head: str) -> None:
    pixels, days = images(dates, rows, cols, batch=1)
    for name in ("groups", "swin3d"):
        assert network(name, head=head)(pixels, None, days, NM).shape == (1, 3, rows, cols)


def test_a_linear_head_is_one_linear_layer_on_enlarged_features() -> None:
    made = network("swin3d", head="linear")
    pixels, days = images(1, 16, 16)
    maps = [m[:, 0] for m in made.neck(made.encoder.features(pixels).maps)]
    large = [
        torch.nn.functional.interpolate(m, scale_factor=s, mode="bilinear")
        for m, s in zip(maps, (4, 8), strict=True)
    ]
    weight = torch.cat([conv.weight for conv in made.head.out], dim=1)
    plain = torch.nn.functional.conv2d(torch.cat(large, dim=1), weight, made.head.out[0].bias)
    torch.testing.assert_close(made(pixels, None, days, NM), plain, rtol=1e-4, atol=1e-5)


def test_the_last_map_of_a_vit_is_normed_and_earlier_ones_are_not() -> None:
    made = network("vit", head="uper")
    pixels, days = images(1)
    assert spread_layers(ViTConfig(depth=12), 4) == (2, 5, 8, 11)
    given = encode(made.encoder, (0, 1), pixels, None, days, None)
    torch.testing.assert_close(given.maps[1].mean(dim=3).abs().amax(), torch.tensor(0.0), rtol=0, atol=1e-5)
    assert given.maps[0].mean(dim=3).abs().amax() > 1e-2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "conv", "per_pixel": False}, "draws maps"),
        ({"dates": "concat"}, "date_count"),
        ({"head": "unet"}, "unknown head 'unet'"),
        ({"dates": "sum"}, "unknown dates 'sum'"),
        ({"outputs": 0}, "outputs"),
        ({"dropout": 1.0}, "dropout"),
        ({"head": "uper", "width": 20}, "multiple of 16"),
    ],
)
def test_what_does_not_fit_is_said(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TaskNetworkConfig(**options)


@pytest.mark.parametrize("name", ENCODERS)
def test_a_network_that_resizes_says_what_it_says_of_larger_windows(name: str) -> None:
    made = network(name, per_pixel=False, resize=32)
    plain = network(name, per_pixel=False)
    plain.load_state_dict(made.state_dict())
    pixels, days = images(2, 16, 16)
    valid = torch.rand(pixels.shape) > 0.05
    larger, held = resized_windows(pixels, valid, 32)
    want = plain(larger, held, days, NM)
    torch.testing.assert_close(made(pixels, valid, days, NM), want)
    torch.testing.assert_close(made(larger, held, days, NM), want)
    given, told = made.features(pixels, valid, days, NM), plain.features(larger, held, days, NM)
    torch.testing.assert_close(given.pooled, told.pooled)
    # Cells are told in pixels of the windows that were given.
    assert given.strides == tuple(s // 2 for s in told.strides)
    assert [m.shape for m in given.maps] == [m.shape for m in told.maps]
    odd = network(name, per_pixel=False, resize=24).features(pixels, valid, days, NM)
    assert odd.maps == () and odd.pooled.shape == given.pooled.shape
    with pytest.raises(ConfigError, match="brought to 32 pixels, and the answer is one per pixel"):
        network(name, resize=32)
