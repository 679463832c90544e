"""ST-SwinMAE and ST-SwinUNet: any size, skips that start as nothing, and validity all the way."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from swath.errors import ConfigError, ContractError, WeightsError
from swath.models.st_swin import PRESETS, STSwinConfig, STSwinMAE, STSwinUNet, STSwinUNetConfig, from_mae
from swath.models.swin3d import Swin3D
from swath.models.swin_config import Collapse, Swin3DConfig

TINY = STSwinConfig(
    bands=3, embed_dim=8, depths=(2, 2, 2), heads=(1, 2, 2), window=(2, 3, 3), mlp_ratio=2.0, drop_path=0.0
)


def awake(module: nn.Module) -> nn.Module:
    """Random biases and tables, in double: nothing is 0 or 1 by initialisation."""
    torch.manual_seed(1)
    for name, p in module.named_parameters():
        if "skip_connection" not in name and p.ndim == 1:
            nn.init.normal_(p, 1.0 if "norm" in name and "weight" in name else 0.0, 0.3)
        elif "bias_table" in name:
            nn.init.normal_(p)
    return module.double().eval()


def unet(config: STSwinConfig = TINY, collapse: Collapse = "mean", **options: object) -> STSwinUNet:
    whole = STSwinUNetConfig(config, classes=4, collapse=collapse, **options)  # type: ignore[arg-type]
    model = awake(STSwinUNet(whole))
    assert isinstance(model, STSwinUNet)
    return model


def mae(config: STSwinConfig = TINY) -> STSwinMAE:
    model = awake(STSwinMAE(config))
    assert isinstance(model, STSwinMAE)
    return model


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def same(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-9)


# --- sizes


@given(
    st.integers(1, 5),
    st.integers(1, 41),
    st.integers(1, 41),
    st.sampled_from([(1, 4, 4), (2, 4, 4), (1, 2, 3)]),
    st.sampled_from([(2, 2), (1, 2, 1), (1, 1, 1, 1)]),
    st.sampled_from(["mean", "last", "none"]),
    st.booleans(),
)
def test_the_map_has_the_size_of_the_input(
    t: int,
    h: int,
    w: int,
    patch: tuple[int, int, int],
    depths: tuple[int, ...],
    collapse: Collapse,
    stem: bool,
) -> None:
    config = replace(TINY, patch_size=patch, depths=depths, heads=(1,) * len(depths))
    whole = STSwinUNetConfig(config, classes=2, collapse=collapse, stem_skip=stem, stem_width=4)
    with torch.no_grad():
        logits = STSwinUNet(whole).eval()(torch.randn(1, t, 3, h, w))
        image = STSwinMAE(config).eval()(torch.randn(1, t, 3, h, w))
    assert logits.shape == ((1, t, 2, h, w) if collapse == "none" else (1, 2, h, w))
    assert image.shape == (1, t, 3, h, w)
    assert logits.isfinite().all()


def test_features_are_fine_to_coarse() -> None:
    features = mae().features(draw(2, 3, 3, 17, 30))
    assert [tuple(m.shape) for m in features.maps] == [
        (2, 3, 1, 8, 5, 8),
        (2, 3, 1, 16, 3, 4),
        (2, 3, 1, 32, 2, 2),
    ]
    assert features.strides == (4, 8, 16)
    same(features.pooled, features.maps[-1].mean(dim=(1, 2, 4, 5)))


def test_wrong_bands_are_refused() -> None:
    with pytest.raises(ContractError, match="3"):
        mae()(draw(1, 1, 4, 8, 8))
    with pytest.raises(ContractError, match="exactly 3"):
        unet(collapse="concat", dates=3)(draw(1, 2, 3, 8, 8))


# --- identity skips, transfer


@pytest.mark.parametrize("shape", [(2, 1, 3, 16, 16), (1, 3, 3, 19, 27)])
def test_identity_skips_start_as_the_decoder_of_the_autoencoder(shape: tuple[int, ...]) -> None:
    source, target = mae(), unet()
    parts = from_mae(source.state_dict(), target.state_dict())
    target.load_state_dict({k: source.state_dict()[k] for k in parts.kept}, strict=False)
    pixels, valid = draw(*shape), torch.rand(shape) > 0.3
    for ok in (None, valid):
        same(target.decode(target.encode(pixels, ok)), source.decode(source.encode(pixels, ok)))
    scrambled = unet(skip_init="random")
    scrambled.load_state_dict({k: source.state_dict()[k] for k in parts.kept}, strict=False)
    assert not torch.allclose(
        scrambled.decode(scrambled.encode(pixels)), source.decode(source.encode(pixels))
    )


def test_the_transfer_is_a_partition() -> None:
    source, target = mae(), unet(stem_skip=True, collapse="concat", dates=2)
    parts = from_mae(source.state_dict(), target.state_dict())
    assert set(parts.kept) | set(parts.new) == set(target.state_dict())
    assert set(parts.kept) | set(parts.dropped) == set(source.state_dict())
    assert set(parts.dropped) == {"mask_token", "decoder_pred.weight", "decoder_pred.bias"}
    assert {n.split(".")[0] for n in parts.new} == {
        "skip_connection_layers",
        "collapse",
        "final_patch_expanding",
        "stem",
        "head",
    }
    other = unet(replace(TINY, depths=(2, 1, 2)))
    with pytest.raises(WeightsError, match="would be dropped"):
        from_mae(source.state_dict(), other.state_dict())


# --- validity


def gradients(model: nn.Module, loss: Tensor) -> list[Tensor]:
    found = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(model.parameters(), found, strict=True)]


def weigh(x: Tensor) -> Tensor:
    """A loss that every value enters with a weight of its own."""
    return (x * torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view_as(x)).sum()


@pytest.mark.parametrize("where", [0, 1, 2])
@pytest.mark.parametrize("patch", [(1, 4, 4), (2, 4, 4)])
@pytest.mark.parametrize("collapse", ["mean", "last"])
def test_an_invalid_date_equals_no_date(where: int, patch: tuple[int, int, int], collapse: Collapse) -> None:
    model = unet(replace(TINY, patch_size=patch), collapse, stem_skip=True, stem_width=4)
    pixels, valid = draw(2, 2, 3, 13, 16), torch.rand(2, 2, 3, 13, 16) > 0.3
    more = torch.cat([pixels[:, :where], torch.full((2, 1, 3, 13, 16), torch.nan), pixels[:, where:]], dim=1)
    more_valid = torch.cat(
        [valid[:, :where], torch.zeros(2, 1, 3, 13, 16, dtype=torch.bool), valid[:, where:]], 1
    )
    plain, padded = model(pixels, valid), model(more, more_valid)
    same(padded, plain)
    for a, b in zip(gradients(model, weigh(padded)), gradients(model, weigh(plain)), strict=True):
        same(a, b)
    features, more_features = model.features(pixels, valid), model.features(more, more_valid)
    same(more_features.pooled, features.pooled)
    if patch[0] == 1:
        kept = [t for t in range(3) if t != where]
        for a, b in zip(more_features.maps, features.maps, strict=True):
            same(a[:, kept], b)
            assert not a[:, where].any()


def test_samples_with_different_dates_run_as_if_alone() -> None:
    model = unet(collapse="none")
    pixels, valid = draw(4, 3, 3, 9, 12), torch.rand(4, 3, 3, 9, 12) > 0.2
    valid[0, 1] = False
    valid[1, 0] = valid[1, 2] = False
    valid[3] = False
    together = model(pixels, valid)
    assert together.isfinite().all()
    for i in range(4):
        same(together[i : i + 1], model(pixels[i : i + 1], valid[i : i + 1]))
    kept = [0, 2]
    same(together[0, kept], model(pixels[:1, kept], valid[:1, kept])[0])
    assert not together[0, 1].any()


def test_concat_leaves_the_place_of_a_missing_date_empty() -> None:
    model = unet(collapse="concat", dates=3)
    pixels, valid = draw(2, 3, 3, 9, 12), torch.ones(2, 3, 3, 9, 12, dtype=torch.bool)
    valid[0, 1] = False
    first = model(pixels, valid)
    pixels[0, 1] = torch.nan
    same(model(pixels, valid), first)
    same(first[1:], model(pixels[1:]))


@settings(max_examples=8)
@given(st.integers(0, 1000), st.integers(1, 3), st.sampled_from([(1, 4, 4), (2, 4, 4)]))
def test_no_invalid_value_changes_any_output(seed: int, t: int, patch: tuple[int, int, int]) -> None:
    torch.manual_seed(seed)
    config = replace(TINY, patch_size=patch)
    model, auto = unet(config, stem_skip=True, stem_width=4), mae(config)
    torch.manual_seed(seed)
    pixels = draw(2, t, 3, 14, 18)
    valid = torch.rand(2, t, 3, 14, 18) > 0.3
    valid[0, :, :, :9, :11] = False  # whole tokens and whole windows
    valid[1, 0] = False
    spoiled = torch.where(valid, pixels, torch.nan).requires_grad_()
    zeroed = torch.where(valid, pixels, 0.0)
    logits = model(spoiled, valid)
    same(logits, model(zeroed, valid))
    same(auto(spoiled, valid), auto(zeroed, valid))
    for a, b in zip(model.features(spoiled, valid).maps, model.features(zeroed, valid).maps, strict=True):
        same(a, b)
    gradient = torch.autograd.grad(weigh(logits), spoiled)[0]
    assert gradient.isfinite().all()
    assert not gradient[~valid].any()
    assert all(g.isfinite().all() for g in gradients(model, weigh(model(spoiled, valid))))


def test_a_sample_without_data_is_finite() -> None:
    model, pixels = unet(stem_skip=True), torch.full((1, 2, 3, 20, 20), torch.nan, dtype=torch.float64)
    nothing = torch.zeros(1, 2, 3, 20, 20, dtype=torch.bool)
    for t in (1, 2):
        logits = model(pixels[:, :t], nothing[:, :t])
        assert logits.isfinite().all()
        assert all(g.isfinite().all() for g in gradients(model, weigh(logits)))
        features = model.features(pixels[:, :t], nothing[:, :t])
        assert not features.pooled.any()


def test_an_invalid_band_equals_no_band() -> None:
    model = unet(stem_skip=True, stem_width=4)
    fewer = unet(replace(TINY, bands=2), stem_skip=True, stem_width=4)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    for name in ("patch_embed.proj.weight", "stem.conv1.weight"):
        state[name] = state[name][:, [0, 2]]
    fewer.load_state_dict(state)
    pixels, valid = draw(2, 2, 3, 12, 15), torch.rand(2, 2, 3, 12, 15) > 0.3
    valid[:, :, 1] = False
    plain, without = model(pixels, valid), fewer(pixels[:, :, [0, 2]], valid[:, :, [0, 2]])
    same(plain, without)
    grads = dict(zip(dict(model.named_parameters()), gradients(model, weigh(plain)), strict=True))
    other = dict(zip(dict(fewer.named_parameters()), gradients(fewer, weigh(without)), strict=True))
    for name, grad in grads.items():
        if name in ("patch_embed.proj.weight", "stem.conv1.weight"):
            assert not grad[:, 1].any()
            grad = grad[:, [0, 2]]
        same(grad, other[name])


def test_a_column_of_invalid_tokens_never_speaks() -> None:
    """Tokens of no-data at the far border equal an input that ends there."""
    model = mae(replace(TINY, window=(2, 64, 64)))
    pixels = draw(1, 2, 3, 16, 32)
    valid = torch.ones_like(pixels, dtype=torch.bool)
    valid[..., 16:] = False
    same(model(pixels, valid)[..., :16], model(pixels[..., :16]))


# --- run by other means


def test_bfloat16_stays_close() -> None:
    model = STSwinUNet(STSwinUNetConfig(TINY, classes=2, stem_skip=True)).eval()
    pixels, valid = torch.randn(2, 2, 3, 16, 16), torch.rand(2, 2, 3, 16, 16) > 0.3
    valid[0, 1] = False
    logits = model(pixels, valid)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(pixels, valid)
    rough.float().sum().backward()
    # In norm: which single logit is off most differs between versions of torch.
    assert (rough.float() - logits).norm() < 0.05 * logits.norm()


def test_two_runs_are_bit_equal() -> None:
    pixels, valid = draw(3, 2, 3, 16, 20), torch.rand(3, 2, 3, 16, 20) > 0.3
    valid[0, 1] = False
    model = unet(stem_skip=True, collapse="last")
    torch.use_deterministic_algorithms(True)
    try:
        first, second = (gradients(model, weigh(model(pixels, valid))) for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_one_date_compiles_to_one_graph() -> None:
    model = STSwinUNet(STSwinUNetConfig(replace(TINY, depths=(1, 2), heads=(1, 2)), classes=2)).eval()
    pixels, valid = torch.randn(2, 1, 3, 20, 36), torch.ones(2, 1, 3, 20, 36, dtype=torch.bool)
    valid[..., :13] = False
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    for ok in (None, valid):
        torch.testing.assert_close(compiled(pixels, ok), model(pixels, ok), atol=1e-5, rtol=1e-5)


def test_the_stem_tells_pixels_of_one_token_apart() -> None:
    """Behind the plain head a token's pixels are one linear layer of one vector; the stem sees each pixel."""
    pixels = draw(1, 1, 3, 8, 8)
    moved = pixels.clone()
    moved[0, 0, :, 1, 1] += 1.0
    model = unet(stem_skip=True)
    assert model.stem is not None
    x = draw(1, 1, 8, 8, 8)
    change = (model.stem(x, moved, None) - model.stem(x, pixels, None)).abs().amax(dim=(0, 1, 4))
    assert change[1, 1] > 0
    assert not change[6:].any() and not change[:, 6:].any()


# --- configs and presets


def test_presets_have_the_sizes_they_are_named_for() -> None:
    sizes = {"swin_t_light_decoder": 33.8, "swin_s_light_decoder": 55.2, "swin_b_light_decoder": 98.0}
    for name, millions in sizes.items():
        with torch.device("meta"):
            model = STSwinMAE(PRESETS[name])
        count = sum(p.numel() for p in model.parameters())
        assert abs(count / 1e6 - millions) < 0.06, name
    encoder = sum(p.numel() for n, p in model.named_parameters() if n.startswith(("patch_embed", "layers.")))
    assert abs(encoder / 1e6 - 86.9) < 0.06


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_configs_survive_json(name: str) -> None:
    config = STSwinUNetConfig(replace(PRESETS[name], stage_windows=((1, 7, 7),) * PRESETS[name].stages), 7)
    assert STSwinUNetConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert hash(config) == hash(STSwinUNetConfig.from_dict(config.to_dict()))
    assert STSwinConfig.from_dict(json.loads(json.dumps(PRESETS[name].to_dict()))) == PRESETS[name]


@pytest.mark.parametrize(
    "wrong",
    [
        {"heads": (1, 2)},
        {"heads": (1, 2, 3)},
        {"window": (2, 7)},
        {"decoder_depths": (2,)},
        {"bias_slice": "round"},
        {"depths": (2,), "heads": (1,)},
        {"stage_windows": ((1, 7, 7),)},
        {"bands": 0},
        {"windows": (2, 7, 7)},
    ],
)
def test_wrong_options_are_one_line(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        STSwinConfig.from_dict({**TINY.to_dict(), **wrong})


def test_concat_needs_its_dates() -> None:
    with pytest.raises(ConfigError, match="dates"):
        STSwinUNetConfig(TINY, collapse="concat")


def test_an_encoder_of_one_stage_has_features() -> None:
    model = Swin3D(Swin3DConfig(bands=3, embed_dim=8, depths=(1,), heads=(2,), final_norm=True))
    assert model.features(torch.randn(1, 1, 3, 8, 8)).pooled.shape == (1, 8)
