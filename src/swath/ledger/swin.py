"""Our Swin family against numbers made by running the published codes.

Understands vectors of Video Swin, Swin-MAE, Swin-Unet and their parts, told apart by what is in them, and
lists of their parameters' names. The weights go through the same converters as `swath convert`. Whatever a
file holds and is not understood is a failed row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Set
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from swath.errors import SwathError
from swath.ledger.row import EXACT, LedgerRow, failed
from swath.ledger.swin_planar import (
    MASKING,
    check_expanding,
    check_mae,
    check_mae_unet,
    check_masking,
    check_unet,
)
from swath.ledger.swin_vector import Vector, there_and_back
from swath.ledger.swin_video import check_backbone, check_inflation, check_layer, check_masks
from swath.models.swin_config import STSwinConfig, STSwinUNetConfig, Swin3DConfig
from swath.rng import generator
from swath.weights.convert.kinds import Plan, count_blocks, network_of
from swath.weights.convert.registry import KINDS
from swath.weights.convert.swin_kinds import RULES

_ATTENTION = "layers.0.blocks.0.attn.qkv.weight"
_SEED = 0


def understands(path: Path | str) -> bool:
    """Whether `check` knows what to do with this file."""
    file = Path(path)
    try:
        if file.suffix == ".json":
            return _is_names(json.loads(file.read_text("utf-8")))
        return _form(_names(file)) is not None
    except (OSError, SafetensorError, ValueError):
        return False


def check(path: Path | str) -> list[LedgerRow]:
    """All rows of one file; what cannot be read, built or run is a failed row, never an exception."""
    file = Path(path)
    try:
        if file.suffix == ".json":
            return _check_names(file)
        form = _form(_names(file))
        if form is None:
            return [failed(file.name, "file", "is none of the kinds of vectors that are known")]
        return form(Vector(file))
    except SwathError as err:
        return [failed(file.name, "weights", str(err))]
    except (
        OSError,
        SafetensorError,
        RuntimeError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
    ) as err:
        return [failed(file.name, "file", f"cannot be used ({type(err).__name__}: {err})")]


def _form(names: Set[str]) -> Callable[[Vector], list[LedgerRow]] | None:
    """How to check a file that holds these arrays."""
    if any(name.startswith("in2d.") for name in names) and any(name.startswith("out3d.") for name in names):
        return check_inflation
    if f"param.{_ATTENTION}" in names:
        if "param.concat_back_dim.1.weight" in names:
            return check_unet
        if "param.skip_connection_layers.0.weight" in names:
            return check_mae_unet
        if {"param.mask_token", "param.decoder_pred.weight"} <= names:
            return check_mae
        return check_backbone
    if "param.blocks.0.attn.relative_position_bias_table" in names:
        return check_layer
    if any(MASKING.fullmatch(name) for name in names):
        return check_masking
    if any(name.startswith(("mask_D", "relative_position_index")) for name in names):
        return check_masks
    if any(name.startswith("param.") and name.endswith(".expand.weight") for name in names):
        return check_expanding
    return None


def _names(path: Path) -> set[str]:
    with safe_open(path, "pt") as reader:
        return set(reader.keys())


def _is_names(listed: Any) -> bool:
    return isinstance(listed, dict) and any(isinstance(n, list) and _ATTENTION in n for n in listed.values())


def _check_names(path: Path) -> list[LedgerRow]:
    listed = json.loads(path.read_text("utf-8"))
    if not _is_names(listed):
        return [failed(path.name, "file", "is no list of a Swin's parameters")]
    rows = []
    for title, names in listed.items():
        plan, kind = _published(set(names))
        back = KINDS[kind].from_swath
        assert back is not None
        random = generator(_SEED, "ledger keys", path.name, title)
        # Values that differ everywhere: an exchanged or lost tensor cannot come back equal.
        ours = {n: torch.rand(t.shape, generator=random) for n, t in _shell(plan).items()}
        state = back(ours, plan)
        differ = sorted(set(names) ^ set(state))
        note = f"{differ[0]} is in one of the two lists only" if differ else f"{len(names)} names"
        error = float("inf") if differ else 0.0
        rows.append(LedgerRow(path.name, f"{title}: names", error, *EXACT, not differ, note))
        row = there_and_back(path.name, state, KINDS[kind], {})[2]
        quantity = f"{title}: weights"
        rows.append(LedgerRow(row.file, quantity, row.error, row.atol, row.rtol, row.passed, row.note))
    return rows


def _shell(plan: Plan) -> dict[str, Tensor]:
    return dict(network_of(plan).state_dict())


def _published(names: Set[str]) -> tuple[Plan, str]:
    """A network of the published widths whose parameters may have these names."""
    kind = (
        "swin-unet"
        if "concat_back_dim.1.weight" in names
        else "swin-mae-unet"
        if "skip_connection_layers.0.weight" in names
        else "swin-mae"
        if "mask_token" in names
        else "video-swin"
    )
    empty = dict.fromkeys(names, torch.empty(0))
    stages = count_blocks(empty, "layers.")
    planar = kind != "video-swin"
    options: dict[str, Any] = {
        "bands": 3,
        "patch_size": (1, 4, 4) if planar else (2, 4, 4),
        "embed_dim": 96,
        "depths": tuple(count_blocks(empty, f"layers.{i}.blocks.") for i in range(stages)),
        "heads": tuple(3 << i for i in range(stages)),
        "window": (1, 7, 7) if planar else (8, 7, 7),
        "qkv_bias": _ATTENTION.replace("weight", "bias") in names,
        "patch_norm": "patch_embed.norm.weight" in names,
        **RULES[kind],
    }
    if kind == "video-swin":
        return Plan("swin3d", Swin3DConfig(**options)), kind
    if kind == "swin-mae":
        return Plan("st_swin_mae", STSwinConfig(**options)), kind
    return Plan("st_swin_unet", STSwinUNetConfig(STSwinConfig(**options), classes=9)), kind
