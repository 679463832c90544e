"""What a map will take, before anything is written: memory by counting, time by trying a batch."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from swath.data.gdal import cache_bytes
from swath.memory import forget_peak, peak_resident
from swath.scenes.engine import Engine
from swath.scenes.layers import DatedLayers, Layers
from swath.scenes.piece import tile_side
from swath.scenes.pyramid import overview_count
from swath.scenes.reading import BlockInput
from swath.scenes.windows import Plan
from swath.training.progress import duration
from swath.words import counted, size

# Python, torch and GDAL before the first block; the network and GDAL's cache come on top.
PROGRAM_BYTES = 700 << 20


@dataclass(frozen=True)
class Estimate:
    """A plan with what it takes.

    Attributes:
        plan: in words.
        windows, blocks: how many; windows of the halo are counted each time they are run.
        halo_share: windows computed again because of blocks' borders, as a share of all.
        block: side of the blocks, pixels.
        tile: side of the file's tiles, pixels.
        overviews: how many the file gets.
        workers, threads, batch_size: what the work is shared among.
        precision: the network computes in.
        block_bytes: what the blocks in flight in one worker need at most.
        memory_bytes: ceiling of all processes together, whatever the scene's size.
        window_seconds: of one window, measured; None where it was not.
        seconds: for the whole map, where reading keeps up and workers do not disturb each other.
        finished_blocks: of an earlier run, which will not be computed again.
        values: numbers that are blended for each pixel, or for each cell of features.
        cell: pixels per cell; 1 for maps.
        statistics_bytes: that are read once more, before the first block, to measure the scene's statistics: its stored
            numbers before compression. 0 where the weights bring theirs, or an unfinished output has kept them.
    """

    plan: str
    windows: int
    blocks: int
    halo_share: float
    block: int
    tile: int
    overviews: int
    workers: int
    threads: int
    batch_size: int
    precision: str
    block_bytes: int
    memory_bytes: int
    window_seconds: float | None = None
    seconds: float | None = None
    finished_blocks: int = 0
    values: int = 0
    cell: int = 1
    statistics_bytes: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def summary(self) -> str:
        """A few lines for a person."""
        lines = [
            self.plan,
            f"{counted(self.workers, 'worker')} of {counted(self.threads, 'thread')}, "
            f"{counted(self.batch_size, 'window')} at a time, "
            f"{self.precision}",
            f"memory: at most {size(self.memory_bytes)} ({self.memory_bytes:,} bytes), of which "
            f"{size(self.block_bytes)} in each worker for its blocks",
            f"file: tiles of {self.tile}, {counted(self.overviews, 'overview')}",
        ]
        if self.cell > 1:
            lines[1] += f"; {counted(self.values, 'feature')} per cell of {self.cell} pixels"
        if self.seconds is not None and self.window_seconds is not None:
            lines.append(
                f"time: about {duration(self.seconds)} ({self.window_seconds * 1000:.1f} ms a window, just measured)"
            )
        if self.statistics_bytes:
            lines.append(
                "before the first block: one more pass over the scene, by one thread, since these weights "
                f"normalise by its statistics: {size(self.statistics_bytes)} before compression "
                f"({self.statistics_bytes:,} bytes), not in the time"
            )
        if self.finished_blocks:
            lines.append(f"{self.finished_blocks} of {counted(self.blocks, 'block')} finished already")
        return "\n".join([*lines, "nothing was written"])


def block_bytes(
    plan: Plan,
    layers: Layers,
    *,
    dates: int,
    bands: int,
    stored_bands: int,
    stored: int,
    values: int,
    cell: int = 1,
    copies: int = 1,
) -> int:
    """What the blocks in flight in one worker need at most besides the network: one being computed, one being read,
    one being packed.

    Args:
        plan: how the scene is cut.
        layers: of the map.
        dates: of the scene.
        bands: that the network eats.
        stored_bands: of the scene; all of them are read.
        stored: bytes of a stored number.
        values: that are blended per pixel, or per cell.
        cell: pixels per cell, if the plan counts in cells.
        copies: of a date's stored numbers that reading holds at once.
    """
    read = plan.read_pixels * cell * cell
    pair = 4 + 1  # normalised float32 and validity
    # Reading holds the stored numbers with validity and what they are read into, with a mask or two; then the normalised
    # ones beside them.
    raw = dates * stored_bands * (stored + 1) + copies * stored_bands * (stored + 2)
    reading = raw + dates * bands * pair + 24
    block = min(plan.side, plan.height) * min(plan.side, plan.width)
    # Coverage is kept date by date where maps are: of what is read, and of the blocks at work and being packed.
    each = dates if isinstance(layers, DatedLayers) else 0
    reading += each
    item = np.dtype(layers.dtype).itemsize
    # Sums of the block at work and of the one being packed; its bands, and a few shares on the way to them.
    blended = 2 * values * 4 + len(layers.bands) * (2 * item + 4) + 32 + 2 * each
    return read * (dates * bands * pair + reading) + block * blended


def batch_bytes(
    plan: Plan, batch_size: int, dates: int, bands: int, values: int, turns: bool, cell: int = 1
) -> int:
    """Input and output of one call of the network, its inside not counted."""
    h, w = plan.window
    return batch_size * h * w * (dates * bands * 5 * (2 if turns else 1) * cell * cell + values * 4 * 4)


def estimate(
    engine: Engine,
    layers: Layers,
    *,
    stored_bands: int,
    stored: int,
    workers: int,
    threads: int,
    finished: int = 0,
    copies: int = 1,
    measure: bool = True,
    statistics_bytes: int = 0,
) -> Estimate:
    """Counts, and tries the network on made-up windows if `measure`; writes nothing.

    Args:
        engine: with the scene open.
        layers: of the map.
        stored_bands: of the scene.
        stored: bytes of a stored number of the scene.
        workers: how many.
        threads: of each.
        finished: blocks of an earlier run.
        copies: of a date's stored numbers that reading holds at once.
        measure: whether to run the network.
        statistics_bytes: that are read before the first block for the scene's statistics.
    """
    plan = engine.plan
    dates, bands = engine.check()
    values, seconds, before, inside = (
        _try(engine, dates, bands) if measure else (len(layers.bands) + 1, None, 0, 0)
    )
    block = block_bytes(
        plan, layers, dates=dates, bands=bands, stored_bands=stored_bands, stored=stored, values=values,
        cell=engine.cell, copies=copies,
    )  # fmt: skip
    block += batch_bytes(plan, engine.batch_size, dates, bands, values, engine.turns, engine.cell)
    # The file's tensors stay beside the network that is made of them. A GPU's libraries may take more than all that.
    program = max(PROGRAM_BYTES + 2 * _weights_bytes(engine.network), before)
    memory = workers * (program + cache_bytes() + block + inside)
    if workers > 1:
        memory += program  # the process that hands out the blocks
    left = 1 - finished / plan.block_count
    total = None if seconds is None else seconds * plan.run_count * left / workers
    return Estimate(
        str(plan), plan.run_count, plan.block_count, plan.extra, plan.side, tile_side(plan),
        overview_count(plan.height, plan.width), workers, threads, engine.batch_size, engine.precision, block,
        memory, seconds, total, finished, values, engine.cell,
        statistics_bytes,
    )  # fmt: skip


def _weights_bytes(network: object) -> int:
    """Of a module's numbers; what another callable holds is not known."""
    if not isinstance(network, nn.Module):
        return 0
    return sum(t.numel() * t.element_size() for t in (*network.parameters(), *network.buffers()))


def _try(engine: Engine, dates: int, bands: int) -> tuple[int, float, int, int]:
    """(values per pixel, seconds per window, bytes of this process before, and of the network's work on a batch)."""
    from swath.scenes.box import Box
    from swath.scenes.windows import Block, make_plan

    h, w = engine.plan.window
    across, cell = engine.batch_size, engine.cell
    shape = dates, bands, h * cell, w * across * cell
    draw = np.random.default_rng(0).standard_normal(shape, np.float32)
    windows = tuple(Box(0, i * w, h, w) for i in range(across))
    box = Box(0, 0, h, w * across)
    block = Block(box, box, windows)
    pixels = torch.from_numpy(draw)
    given = BlockInput(
        pixels, torch.ones_like(pixels, dtype=torch.bool), (None,) * dates, np.full((h, w * across), 100, np.uint8),
        windows, (), engine.source,
    )  # fmt: skip
    # Weights of another plan than the scene's: only their cost counts.
    small = make_plan(h, w * across, (h, w), overlap=0, block=256)
    twin = _with_plan(engine, small)
    forget_peak()
    before = peak_resident()
    result = twin.compute(block, given)
    inside = peak_resident() - before
    tries = []
    for _ in range(2):
        began = time.perf_counter()
        twin.compute(block, given)
        tries.append((time.perf_counter() - began) / across)
    assert result.values is not None
    return len(result.values), min(tries), before, inside


def _with_plan(engine: Engine, plan: Plan) -> Engine:
    from dataclasses import replace

    class _Shape:
        height, width, source = plan.height * engine.cell, plan.width * engine.cell, engine.source

    scene: Any = _Shape()
    return replace(engine, scene=scene, plan=plan, contract=engine.contract)
