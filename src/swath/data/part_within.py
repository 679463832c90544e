"""Squares inside a record as parts: where records are too few to be divided whole.

Each part sees the pixels and labels of its own squares alone, with a strip between squares of two parts that belongs
to none. Neighbouring squares still look alike: scores tell how well a place is filled in, not how another one is read.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from swath.cube import BoolArray, Sample
from swath.data.labels import IGNORE
from swath.data.part_spec import PartName, PartsSpec
from swath.data.split_parts import Located, by_groups
from swath.errors import ConfigError, InputError
from swath.rng import derive


def own_pixels(record: str, height: int, width: int, spec: PartsSpec, part: PartName) -> BoolArray:
    """Where a record's pixels [H,W] belong to a part: a pure function of the seed and the record's id.

    Raises:
        ConfigError: blocks or buffer are no whole pixels, or the part gets no square of the record.
    """
    block, buffer = spec.block, spec.buffer or 0.0
    if block != int(block) or buffer != int(buffer) or buffer >= block:
        raise ConfigError(
            f"blocks of {block:g} pixels with {buffer:g} between them",
            where="data.parts",
            mend="give whole pixels, and a buffer narrower than a block",
        )
    side, strip = int(block), int(buffer)
    rows, cols = -(-height // side), -(-width // side)
    squares = [Located(f"{i},{j}", f"{i},{j}") for i in range(rows) for j in range(cols)]
    dealt = by_groups(
        squares, spec.shares, seed=derive(spec.seed, "split-within", record), split="data.parts"
    )
    names = np.array(dealt.names(len(squares)), dtype=object).reshape(rows, cols)
    own = np.kron(names == part, np.ones((side, side), np.bool_))[:height, :width].astype(np.bool_)
    if not own.any():
        raise ConfigError(
            f"{rows * cols} squares of {side} pixels leave none to {part} in {record}",
            where="data.parts.block",
            mend="make blocks smaller, or the part's share larger",
        )
    # Both sides give way by half of the strip, the lower and right one by the odd pixel.
    return own & ~_near(~own, strip // 2, strip - strip // 2)


def _near(mask: BoolArray, before: int, after: int) -> BoolArray:
    """Where something of `mask` lies within so many pixels up or left, and down or right."""
    wide = mask
    for axis in (0, 1):
        out = wide.copy()
        for step in range(1, max(before, after) + 1):
            ahead, behind = [slice(None)] * 2, [slice(None)] * 2
            ahead[axis], behind[axis] = slice(step, None), slice(None, -step)
            if step <= before:
                out[tuple(behind)] |= wide[tuple(ahead)]
            if step <= after:
                out[tuple(ahead)] |= wide[tuple(behind)]
        wide = out
    return wide


def restrict(sample: Sample, spec: PartsSpec, part: PartName) -> Sample:
    """A record of which a part sees its own squares: other pixels are invalid, their labels unknown.

    Statistics are those of what is seen.

    Raises:
        InputError: it has one target for the whole record.
    """
    cube = sample.cube
    height, width = cube.shape[2:]
    target = None if sample.target is None else np.asarray(sample.target)
    if target is None or target.ndim < 2 or target.shape[-2:] != (height, width):
        raise InputError(
            "has no target per pixel to be divided", where=sample.id, mend="divide by groups or a list"
        )
    own = own_pixels(sample.id, height, width, spec, part)
    seen = replace(cube, valid=cube.valid & own).with_statistics()
    unknown = np.nan if target.dtype.kind == "f" else IGNORE
    return replace(
        sample,
        cubes=dict.fromkeys(sample.cubes, seen),
        target=np.where(own, target, np.asarray(unknown, target.dtype)),
    )
