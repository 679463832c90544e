"""From a scene to a map, block by block: read → contract → windows → network → blend → sink.

Peak memory is that of one block (`Plan.memory_bytes`), whatever the scene's size. A block depends on the
scene, the network, the plan and the batch size alone: not on other blocks, nor on their order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from swath.bands import Band
from swath.contract import InputContract
from swath.cube import BandStatistics, Cube, CubeBatch, Grid, date_features
from swath.errors import ConfigError, ContractError, InputError
from swath.feed.normalise import normalise
from swath.scenes.area import pixel_km2
from swath.scenes.blend import Accumulator
from swath.scenes.box import Box
from swath.scenes.layers import BlockMap, Bytes
from swath.scenes.sink import Sink
from swath.scenes.windows import Block, Plan, make_plan
from swath.training.precision import choose_precision

_Array = npt.NDArray[Any]


class SceneLike(Protocol):
    """Pixels that can be read by window; `swath.data.raster.Scene` is one, a mosaic or an array can be
    another.
    """

    @property
    def grid(self) -> Grid | None: ...

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...

    @property
    def bands(self) -> tuple[Band, ...]: ...

    def read(self, row: int, col: int, height: int, width: int) -> Cube:
        """A window, which may reach beyond the edges: what is outside is invalid."""
        ...

    def statistics(self) -> BandStatistics:
        """Per band over all valid pixels of the scene, in stored numbers."""
        ...


class WindowNetwork(Protocol):
    """Any callable that turns normalised windows into logits.

    pixels [B,T,C,H,W] float32 with 0 where invalid, valid [B,T,C,H,W] bool, days [B,T,2] (day of year, year;
    NaN where unknown) or None, wavelengths in nm, one per band → logits [B,K,H,W].
    """

    def __call__(
        self, pixels: Tensor, valid: Tensor, days: Tensor | None, wavelengths: tuple[float, ...]
    ) -> Tensor: ...


@dataclass(frozen=True)
class Progress:
    """How far a map is; `km2` is None where the scene's coordinates are unknown."""

    blocks: int
    blocks_done: int
    windows: int
    windows_done: int
    km2: float | None
    seconds: float


@dataclass(frozen=True)
class Summary:
    """What making a map took.

    Attributes:
        seconds: wall time, the file's overviews included.
        km2: area of the scene, or None where its coordinates are unknown.
        blocks, windows: how many were run; windows at block borders count each time.
        empty_windows: windows without one valid pixel, which were not run.
        pixels, nodata_pixels: of the map.
    """

    seconds: float
    km2: float | None
    blocks: int
    windows: int
    empty_windows: int
    pixels: int
    nodata_pixels: int

    def __str__(self) -> str:
        area = f"{self.pixels} pixels" if self.km2 is None else f"{self.km2:,.1f} km²"
        return (
            f"{area} in {self.seconds:.1f} s: {self.windows} windows in {self.blocks} blocks"
            f" ({self.empty_windows} empty), {self.nodata_pixels / self.pixels:.1%} no-data"
        )


@dataclass(frozen=True, eq=False)
class Engine:
    """Turns blocks of a plan into probabilities.

    Attributes:
        scene: where pixels come from.
        network: what sees the windows; a module is run in evaluation mode.
        contract: what the network eats; normalisation by scene or record takes the whole scene's statistics,
            since a scene that becomes one map is one record.
        plan: how the scene is cut.
        batch_size: windows per call.
        device: where the network lives.
        precision: "fp32", "bf16" for autocast, or "auto" (design §5); blending is always float32.
    """

    scene: SceneLike
    network: WindowNetwork
    contract: InputContract
    plan: Plan
    batch_size: int = 16
    device: str = "cpu"
    precision: Literal["auto", "bf16", "fp32"] = "fp32"

    def __post_init__(self) -> None:
        if (self.plan.height, self.plan.width) != (self.scene.height, self.scene.width):
            raise ConfigError(
                f"is for {self.plan.height}x{self.plan.width} pixels, the scene has "
                f"{self.scene.height}x{self.scene.width}",
                where="plan",
            )
        if self.contract.exact_size and self.contract.size not in (None, self.plan.window):
            raise ConfigError(
                f"windows of {self.plan.window} do not fit the model, which eats {self.contract.size}",
                where="plan",
            )
        if self.batch_size < 1:
            raise ConfigError(f"{self.batch_size} is less than 1", where="batch_size")
        choose_precision(self.precision, torch.device(self.device).type)

    @property
    def source(self) -> str:
        """What to call the scene in messages."""
        return str(getattr(self.scene, "source", "scene"))

    @cached_property
    def statistics(self) -> BandStatistics | None:
        """Of the whole scene, read once and only when the model normalises by it."""
        norm = self.contract.normalisation
        return None if norm.kind == "identity" or norm.scope == "fixed" else self.scene.statistics()

    def run(self, block: Block, on_windows: Callable[[int], None] = lambda count: None) -> BlockMap:
        """One block; `on_windows` is told how many windows were dealt with since the last call.

        Raises:
            ContractError: the scene does not fit the model, or the network returns something that is no map.
            InputError: the scene cannot be read.
        """
        cube = self.cube(block.read)
        seen = [w for w in block.windows if _cut(cube.valid, block, w).any()]
        empty = len(block.windows) - len(seen)
        on_windows(empty)
        total: Accumulator | None = None
        with _evaluating(self.network):
            for start in range(0, len(seen), self.batch_size):
                batch = seen[start : start + self.batch_size]
                for window, p in zip(batch, self._probabilities(cube, block, batch), strict=True):
                    if total is None:
                        total = Accumulator(p.shape[0], block.box, p.device)
                    rows, cols = (torch.from_numpy(w).to(p) for w in self.plan.weights(window))
                    total.add(p, window, rows, cols)
                on_windows(len(batch))
        if total is not None and not torch.isfinite(total.sum).all():
            raise ContractError(
                f"the network returns NaN or infinity in block {block.box}",
                where=cube.source,
                mend="use precision fp32, or check the weights",
            )
        probabilities = None if total is None else total.sum.cpu().numpy()
        return BlockMap(block.box, probabilities, _coverage(cube, block), empty)

    def blocks(self) -> Iterator[BlockMap]:
        """All blocks in the plan's order."""
        for block in self.plan.blocks():
            yield self.run(block)

    def cube(self, read: Box) -> Cube:
        """What the network eats before normalisation, with the scene's statistics."""
        cube = self.scene.read(read.row, read.col, read.height, read.width)
        if self.statistics is not None:
            cube = replace(cube, statistics=self.statistics)
        # A block has not the size of a window; the plan's windows have (checked above).
        return replace(self.contract, exact_size=False).convert(cube)

    def _probabilities(self, cube: Cube, block: Block, windows: list[Box]) -> Tensor:
        """[B,K,h,w] float32 of some windows."""
        days = np.broadcast_to(date_features(cube.dates), (len(windows), len(cube.dates), 2))
        gain, bias = (
            np.broadcast_to(x.astype(np.float32), (len(windows), len(x))) for x in self.contract.affine(cube)
        )
        # The same batch and the same normalisation as in training.
        batch = CubeBatch(
            pixels=torch.from_numpy(np.stack([_cut(cube.pixels, block, w) for w in windows])),
            valid=torch.from_numpy(np.stack([_cut(cube.valid, block, w) for w in windows])),
            bands=cube.bands,
            days=torch.tensor(days),
            gain=torch.tensor(gain),
            bias=torch.tensor(bias),
            ids=tuple(str(w) for w in windows),
        ).to(self.device)
        precision = choose_precision(self.precision, torch.device(self.device).type)
        with torch.inference_mode(), precision.autocast():
            logits = self.network(
                pixels=normalise(batch),
                valid=batch.valid,
                days=batch.days if any(d is not None for d in cube.dates) else None,
                wavelengths=batch.wavelengths,
            )
        pixels = batch.pixels
        size = (pixels.shape[0], *pixels.shape[-2:])
        if logits.ndim != 4 or (logits.shape[0], *logits.shape[-2:]) != size:
            raise ContractError(
                f"the network returns {tuple(logits.shape)} for {size[0]} windows of {size[1]}x{size[2]}, "
                f"not ({size[0]}, classes, {size[1]}, {size[2]})",
                mend="use a network for segmentation, with one map for all dates",
            )
        return torch.softmax(logits.float(), dim=1)


def predict_scene(
    scene: SceneLike,
    network: WindowNetwork,
    contract: InputContract,
    plan: Plan | None,
    sink: Sink,
    *,
    batch_size: int = 16,
    device: str = "cpu",
    precision: Literal["auto", "bf16", "fp32"] = "fp32",
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Map a whole scene into a sink; the output appears under its name when all of it is there, or not at
    all.

    Args:
        scene: where pixels come from.
        network: see WindowNetwork.
        contract: what the network eats.
        plan: how the scene is cut; None: the default plan at the contract's window size.
        sink: where the map goes; it knows the classes. It is opened, and closed or rolled back, here.
        batch_size: windows per call of the network.
        device: where the network lives.
        precision: "fp32", "bf16" or "auto".
        progress: called after every batch of windows.

    Raises:
        ContractError: the scene does not fit the model.
        InputError: the scene cannot be read.
        OutputError: the map cannot be written.
    """
    began = time.monotonic()
    if plan is None:
        if contract.size is None:
            raise ConfigError("the model states no window size", where="plan", mend="give a plan")
        plan = make_plan(scene.height, scene.width, contract.size)
    engine = Engine(scene, network, contract, plan, batch_size, device, precision)
    km2 = pixel_km2(scene.grid)
    # Whether the scene fits the model shows at its first pixel, before anything is written.
    engine.cube(Box(0, 0, 1, 1))
    area = None if km2 is None else km2 * plan.height * plan.width
    blocks_done = windows_done = empty = nodata = 0

    def advance(count: int) -> None:
        nonlocal windows_done
        windows_done += count
        if progress is not None:
            part = None if area is None else area * windows_done / plan.run_count
            elapsed = time.monotonic() - began
            progress(Progress(plan.block_count, blocks_done, plan.run_count, windows_done, part, elapsed))

    with sink:
        for block in plan.blocks():
            result = engine.run(block, advance)
            sink.write(result.box, sink.layers.encode(result))
            blocks_done += 1
            empty += result.empty_windows
            nodata += int(np.count_nonzero(result.coverage < sink.layers.min_coverage))
        if windows_done == empty:
            raise InputError(
                "holds no valid pixel, so there is nothing to map",
                where=engine.source,
                mend="check its no-data value and cloud mask",
            )
    pixels = plan.height * plan.width
    return Summary(time.monotonic() - began, area, blocks_done, windows_done - empty, empty, pixels, nodata)


def _cut(array: _Array, block: Block, window: Box) -> _Array:
    y, x = window.row - block.read.row, window.col - block.read.col
    return array[..., y : y + window.height, x : x + window.width]


def _coverage(cube: Cube, block: Block) -> Bytes:
    valid = _cut(cube.valid, block, block.box)
    pairs = valid.shape[0] * valid.shape[1]
    count = valid.sum(axis=(0, 1), dtype=np.int64)
    percent: Bytes = np.maximum(count * 100 // pairs, count > 0).astype(np.uint8)
    return percent


@contextmanager
def _evaluating(network: WindowNetwork) -> Iterator[None]:
    """Dropout and the like off, and as it was afterwards: a map must not depend on how the caller left the
    module.
    """
    training = isinstance(network, nn.Module) and network.training
    if training and isinstance(network, nn.Module):
        network.eval()
    try:
        yield
    finally:
        if training and isinstance(network, nn.Module):
            network.train()
