"""Vectors of Video Swin: single stages, the whole encoder, inflation, shift masks and relative indices."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from swath.errors import WeightsError
from swath.ledger.row import EXACT, SINGLE, LedgerRow, compare, failed
from swath.ledger.swin_vector import Vector, captured, load, stage_output, worst
from swath.models.swin3d import Stage, Swin3D
from swath.models.swin_config import Size, Swin3DConfig, WindowRule
from swath.models.windows import WindowPlan, effective, padded_size, plan_windows
from swath.weights.convert.kinds import convert_state, expect_exactly
from swath.weights.convert.registry import KINDS
from swath.weights.convert.swin import REBUILT, from_video_swin
from swath.weights.convert.swin_buffers import index_buffer, mask_buffer
from swath.weights.convert.swin_shapes import PROJECTION, encoder_fields

VIDEO_SWIN: dict[str, Any] = {"mask_padding": False, "bias_slice": "flat"}
_MASK = re.compile(r"mask_D(\d+)H(\d+)W(\d+)_w([\d\W_x]+)_s([\d\W_x]+)")
_INDEX = "relative_position_index"


def check_layer(vector: Vector) -> list[LedgerRow]:
    """A BasicLayer: blocks of one width, with the merging or without."""
    state = vector.claim("param.")
    width = state["blocks.0.attn.qkv.weight"].shape[1]
    # As an encoder of this one stage, so that its sizes are read by the rules of the converters.
    encoder = {f"layers.0.{name}": tensor for name, tensor in state.items()}
    encoder[PROJECTION] = torch.empty(width, 1, 1, 1, 1)
    fields = encoder_fields(encoder, _hints(vector), planar=False)
    config = Swin3DConfig(**{**fields, **VIDEO_SWIN})
    vector.check_meta(config)
    merging = any(name.startswith("downsample.") for name in state)
    stage = Stage(config, 0, [0.0] * config.depths[0], "down" if merging else None)
    weights = from_video_swin(state)
    expect_exactly(weights, stage.state_dict(), "a stage of Video Swin")
    load(stage, weights)
    vector.rows.append(LedgerRow(vector.file, "weights", 0.0, *EXACT, True, f"{len(state)} tensors"))
    indices = {n: t for n, t in state.items() if n.endswith(_INDEX)}
    if indices:
        built = index_buffer(config.window)
        rows = [compare(vector.file, name, built, t, EXACT) for name, t in indices.items()]
        vector.rows.append(worst(vector.file, "rebuilt buffers", rows))

    x = vector.input("x").permute(0, 2, 3, 4, 1)  # [B,C,D,H,W] -> [B,D,H,W,C]
    size = (x.shape[1], x.shape[2], x.shape[3])
    plain, shifted = (plan_windows(size, config.rule(0), shifted=s, device=x.device) for s in (False, True))
    for key, value in (
        ("effective_window", shifted.window),
        ("effective_shift", shifted.shift),
        ("padded_D_H_W", shifted.padded),
    ):
        if key in vector.meta:
            vector.rows.append(
                compare(vector.file, key, torch.tensor(value), torch.tensor(vector.meta[key]), EXACT)
            )
    half = [w // 2 for w in config.window]
    if vector.meta.get("shift_size_configured", half) != half:
        vector.rows.append(failed(vector.file, "shift_size_configured", f"is not half the window, {half}"))
    vector.expect("attn_mask", _additive(shifted), EXACT)
    with torch.no_grad():
        for i, block in enumerate(stage.blocks):
            x = block(x, shifted if i % 2 else plain)
            vector.expect(f"out_block{i}", x)
        if stage.downsample is not None:
            x = stage.downsample(x, None)[0]
    vector.expect("out", x.permute(0, 4, 1, 2, 3))
    return vector.finish()


def check_backbone(vector: Vector) -> list[LedgerRow]:
    """A SwinTransformer3D."""
    plan, state = vector.converted(KINDS["video-swin"], _hints(vector))
    assert isinstance(plan.config, Swin3DConfig)
    network = Swin3D(plan.config)
    load(network, state)
    inside = captured(network, planar=False)
    with torch.no_grad():
        encoded = network.encode(vector.input("x", "imgs", "input").transpose(1, 2))
    for i in range(plan.config.stages):
        out = stage_output(inside, "layers", i)
        vector.expect(f"out_layer{i}", out.permute(0, 4, 1, 2, 3))
    vector.expect("patch_embed", inside["patch_embed"].permute(0, 4, 1, 2, 3))
    vector.expect("out", encoded.outputs[-1].permute(0, 4, 1, 2, 3))
    return vector.finish()


def check_inflation(vector: Vector) -> list[LedgerRow]:
    """A 2D Swin and what became of it in 3D."""
    planar, expected = vector.claim("in2d."), vector.claim("out3d.")
    window = vector.meta.get("window_3d", vector.meta.get("window_size"))
    patch = vector.meta.get("patch", vector.meta.get("patch_size"))
    if window is None or patch is None:
        raise WeightsError("the sizes in 3D are missing", where=vector.file, mend="give window_3d and patch")
    plan, converted = convert_state(planar, KINDS["swin-2d"], {"window": window, "patch_dates": patch[0]})
    vector.rows.append(LedgerRow(vector.file, "weights", 0.0, *EXACT, True, f"{len(planar)} tensors"))
    assert isinstance(plan.config, Swin3DConfig)
    ours = dict(converted.state)
    ours.update({n: index_buffer(plan.config.window) for n in expected if n.endswith(_INDEX)})
    changed = {name for name, _, _ in converted.report.resized}
    parts = {"inflated tensors": changed, "other tensors": (set(ours) | set(expected)) - changed}
    vector.compared = bool(expected)
    for quantity, names in parts.items():
        rows = []
        for name in sorted(names):
            if name not in ours or name not in expected:
                side = "the file" if name not in expected else "the network"
                rows.append(failed(vector.file, name, f"{side} has no such tensor"))
            else:
                exact = name not in changed or REBUILT.fullmatch(name)
                rows.append(
                    compare(vector.file, name, ours[name], expected[name], EXACT if exact else SINGLE)
                )
        vector.rows.append(worst(vector.file, quantity, rows))
    return vector.finish()


def check_masks(vector: Vector) -> list[LedgerRow]:
    """Shift masks and relative indices alone."""
    for name, expected in vector.arrays.items():
        if match := _MASK.fullmatch(name):
            size = (int(match[1]), int(match[2]), int(match[3]))
            found = dict.fromkeys(_mask_sizes(size, match[4], match[5], expected))
            masks = [mask_buffer(*sizes) for sizes in found]
            if masks:
                vector.expect(name, next((m for m in masks if torch.equal(m, expected)), masks[0]), EXACT)
        elif name.startswith(_INDEX) and expected.ndim == 2:
            built = list(_index_candidates(name.removeprefix(_INDEX), expected))
            vector.expect(name, next((i for i in built if torch.equal(i, expected)), built[0]), EXACT)
    return vector.finish()


def _hints(vector: Vector) -> dict[str, Any]:
    names = (("window", "window_size"), ("norm_eps", "norm_layer_eps"))
    return {hint: vector.meta[key] for hint, key in names if vector.meta.get(key) is not None}


def _additive(plan: WindowPlan) -> Tensor:
    """The plan's forbidden pairs as the published mask."""
    n = plan.window[0] * plan.window[1] * plan.window[2]
    if plan.allowed is None:
        d, h, w = plan.padded
        return torch.zeros(d * h * w // n, n, n)
    return torch.zeros(plan.allowed.shape[1], n, n).masked_fill(~plan.allowed[0, :, 0], -100.0)


def _triples(text: str) -> Iterator[Size]:
    """Sizes that a part of a name can mean: "2x4x4", "(2, 4, 4)" or "244", whose digits may split in many ways;
    one or two numbers are those of a 2D window.
    """
    numbers = re.findall(r"\d+", re.sub(r"[23]d", "", text))
    for i in range(len(numbers) - 2):
        yield int(numbers[i]), int(numbers[i + 1]), int(numbers[i + 2])
    for digits in numbers if len(numbers) < 3 else ():
        for i, j in itertools.combinations(range(1, len(digits)), 2):
            parts = (digits[:i], digits[i:j], digits[j:])
            if all(part == "0" or part[0] != "0" for part in parts):
                yield int(parts[0]), int(parts[1]), int(parts[2])
    if len(numbers) in (1, 2):
        yield 1, int(numbers[0]), int(numbers[-1])


def _mask_sizes(size: Size, window: str, shift: str, mask: Tensor) -> Iterator[tuple[Size, Size, Size]]:
    """(map in whole windows, window, shift) that a name can mean for a mask of this shape: those that it
    names, or what is left of them on an axis that is not longer than its window.
    """
    for cut, step in itertools.product(_triples(window), _triples(shift)):
        if 0 in cut or not all(s < w for w, s in zip(cut, step, strict=True)):
            continue
        rest = effective(size, WindowRule(cut), True)[0]
        kept = [0 if n <= w else s for n, w, s in zip(size, cut, step, strict=True)]
        for real, moved in ((cut, step), (rest, (kept[0], kept[1], kept[2]))):
            padded = padded_size(size, real)
            n = math.prod(real)
            if mask.shape == (math.prod(padded) // n, n, n):
                yield padded, real, moved


def _index_candidates(text: str, index: Tensor) -> Iterator[Tensor]:
    """Indices that a name can mean for one of this shape, by the window that it names, or by any window of as
    many tokens; also the corner of a larger window's that Video Swin takes for a reduced one.
    """
    n = index.shape[0]
    named = [size for size in _triples(text) if 0 not in size]
    whole = [size for size in named if math.prod(size) == n]
    if whole:
        yield from map(index_buffer, whole)
        return
    yield from (index_buffer(size)[:n, :n] for size in named if n < math.prod(size) < 10 * n)
    heights = [(d, h) for d in range(1, n + 1) if n % d == 0 for h in range(1, n // d + 1) if n // d % h == 0]
    yield from (index_buffer((d, h, n // d // h)) for d, h in heights)
