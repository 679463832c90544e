"""Sizes of a Swin from the shapes of its tensors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from swath.errors import WeightsError
from swath.models.swin3d import Swin3D
from swath.models.swin_config import Size, Swin3DConfig
from swath.models.windows import table_rows
from swath.weights.convert.swin_shapes import encoder_fields, parse_window


def shapes(window: Size, *, index: bool, **options: float) -> tuple[Swin3DConfig, dict[str, Tensor]]:
    config = Swin3DConfig(bands=2, embed_dim=8, depths=(1, 2), heads=(2, 4), window=window, **options)  # type: ignore[arg-type]
    with torch.device("meta"):
        state: dict[str, Tensor] = dict(Swin3D(config).state_dict())
        if index:
            n = window[0] * window[1] * window[2]
            for i in range(2):
                state[f"layers.{i}.blocks.0.attn.relative_position_index"] = torch.empty(n, n)
    return config, state


@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("window", [(8, 7, 7), (16, 7, 7), (2, 7, 7), (2, 4, 4), (1, 7, 7)])
def test_published_windows_are_read(window: Size, index: bool) -> None:
    config, state = shapes(window, index=index)
    assert Swin3DConfig(**encoder_fields(state, {}, planar=False)) == config


def test_an_ambiguous_window_needs_its_index_or_a_hint() -> None:
    config, state = shapes((8, 5, 5), index=False)  # as many rows as (68, 2, 2)
    assert table_rows((8, 5, 5)) == table_rows((68, 2, 2))
    with pytest.raises(WeightsError, match=r"\(68, 2, 2\) or \(8, 5, 5\).*hint window"):
        encoder_fields(state, {}, planar=False)
    assert encoder_fields(state, {"window": "8,5,5"}, planar=False)["window"] == config.window
    _, state = shapes((8, 5, 5), index=True)
    assert encoder_fields(state, {}, planar=False)["window"] == config.window
    with pytest.raises(WeightsError, match="no square window"):
        encoder_fields(state, {"window": (2, 2, 2)}, planar=False)
    with pytest.raises(WeightsError, match="three numbers"):
        parse_window("8")


@pytest.mark.parametrize("ratio", [4.0, 2.0, 2.7, 1.3, 3.33])
def test_hidden_widths_that_were_rounded_down(ratio: float) -> None:
    config, state = shapes((2, 4, 4), index=False, mlp_ratio=ratio)
    found = encoder_fields(state, {}, planar=False)["mlp_ratio"]
    for i in range(2):
        assert int(config.width(i) * found) == int(config.width(i) * ratio)


def test_missing_parts_are_named() -> None:
    _, state = shapes((2, 4, 4), index=False)
    del state["patch_embed.proj.weight"]
    with pytest.raises(WeightsError, match="patch_embed"):
        encoder_fields(state, {}, planar=False)
    _, state = shapes((2, 4, 4), index=False)
    state = {n: t for n, t in state.items() if not n.startswith("layers.")}
    with pytest.raises(WeightsError, match="layers"):
        encoder_fields(state, {}, planar=False)
