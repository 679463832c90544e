"""Which Swin has tensors of these shapes: the fields of its config that names and shapes tell."""

from __future__ import annotations

import math
from typing import Any

from swath.errors import WeightsError
from swath.models.swin_config import Size
from swath.models.windows import table_rows
from swath.weights.convert.kinds import Hints, State, count_blocks, expect_tensor

PROJECTION = "patch_embed.proj.weight"


def encoder_fields(state: State, hints: Hints, *, planar: bool) -> dict[str, Any]:
    """Fields of `Swin3DConfig`; `planar` for the 2D publications, whose windows and patches have one date.

    Raises:
        WeightsError: naming the tensor that is missing or odd.
    """
    kernel = expect_tensor(state, PROJECTION, dims=4 if planar else 5)
    width, bands, *patch = kernel.shape
    stages = count_blocks(state, "layers.")
    depths = tuple(count_blocks(state, f"layers.{i}.blocks.") for i in range(stages))
    if not stages or not all(depths):
        raise WeightsError("this tensor is missing", where="layers.0.blocks.0", mend="check the kind")
    first = [f"layers.{i}.blocks.0." for i in range(stages)]
    tables = [f"{at}attn.relative_position_bias_table" for at in first]
    windows = tuple(_window(state, name, hints, planar) for name in tables)
    fields: dict[str, Any] = {
        "bands": bands,
        "patch_size": (1, *patch) if planar else tuple(patch),
        "embed_dim": width,
        "depths": depths,
        "heads": tuple(expect_tensor(state, name, dims=2).shape[1] for name in tables),
        "window": windows[0],
        "mlp_ratio": _mlp_ratio([expect_tensor(state, f"{at}mlp.fc1.weight", dims=2).shape for at in first]),
        "qkv_bias": f"{first[0]}attn.qkv.bias" in state,
        "patch_norm": "patch_embed.norm.weight" in state,
    }
    if len(set(windows)) > 1:
        fields["stage_windows"] = windows  # Swin-Unet shrinks windows for the image size it is built for
    if "norm_eps" in hints:
        fields["norm_eps"] = float(hints["norm_eps"])
        if not 0 < fields["norm_eps"] < 1:
            raise WeightsError(f"{hints['norm_eps']} is not between 0 and 1", where="norm_eps")
    return fields


def parse_window(value: Any) -> Size:
    """A hint's (dates, rows, columns): a sequence, or text such as "8,7,7"."""
    try:
        d, h, w = (int(n) for n in (value.split(",") if isinstance(value, str) else value))
    except (TypeError, ValueError) as err:
        raise WeightsError("is not three numbers: dates, rows, columns", where=f"window {value}") from err
    return d, h, w


def square_side(name: str, places: int) -> int:
    """The side of a square grid; WeightsError names the tensor whose places are none."""
    side = math.isqrt(places)
    if side * side != places:
        raise WeightsError(f"its {places} places are no square grid", where=name, mend="check the file")
    return side


def _window(state: State, name: str, hints: Hints, planar: bool) -> Size:
    """The window of a bias table. The rows alone are ambiguous in 3D; the size of the index beside it helps."""
    rows = expect_tensor(state, name, dims=2).shape[0]
    if planar:
        w = (square_side(name, rows) + 1) // 2
        found = [(1, w, w)]
    elif "window" in hints:
        found = [parse_window(hints["window"])]
    else:
        index = state.get(name.replace("bias_table", "index"))
        squares = [(h, rows // (2 * h - 1) ** 2) for h in range(1, rows) if rows % (2 * h - 1) ** 2 == 0]
        found = [((offsets + 1) // 2, h, h) for h, offsets in squares]
        if index is not None:
            found = [(d, h, w) for d, h, w in found if d * h * w == index.shape[0]]
        # A window over dates alone is read only where nothing else fits.
        found = [size for size in found if size[1] > 1] or found
    found = [size for size in found if table_rows(size) == rows]
    if len(found) != 1:
        told = " or ".join(str(size) for size in found) or "no square window"
        raise WeightsError(f"{rows} rows fit {told}", where=name, mend="give the hint window")
    return found[0]


def _mlp_ratio(shapes: list[Any]) -> float:
    """The ratio that gives the hidden widths of all stages, each rounded down."""
    sizes = [(int(hidden), int(width)) for hidden, width in shapes]
    tries = [hidden / width for hidden, width in sizes]
    tries += [(hidden + 0.5) / width for hidden, width in reversed(sizes)]
    return next((r for r in tries if all(int(w * r) == h for h, w in sizes)), tries[0])
