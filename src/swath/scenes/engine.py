"""From a scene to values, block by block: read → contract → windows → network → blend.

A block depends on the scene, the network, the plan, the batch size and the number of threads alone: not on other
blocks, nor on their order, nor on who computes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from swath.contract import InputContract
from swath.cube import BandStatistics, date_features
from swath.errors import ConfigError, ContractError, ReadError
from swath.pages import pages
from swath.scenes.blend import Accumulator
from swath.scenes.box import Box
from swath.scenes.cells import block_in_pixels, in_cells
from swath.scenes.layers import Activation, BlockMap
from swath.scenes.reading import BlockInput, SceneLike, converted, read_block
from swath.scenes.turns import Call, blendable, windows_of
from swath.scenes.windows import Block, Plan
from swath.training.precision import choose_precision


class WindowNetwork(Protocol):
    """Any callable that turns normalised windows into logits or values.

    pixels [B,T,C,H,W] float32 with 0 where invalid, valid [B,T,C,H,W] bool, days [B,T,2] (day of year, year;
    NaN where unknown) or None, wavelengths in nm, one per band → [B,K,H,W], [B,T,K,H,W] with a map for each date, or
    [B,K] where a window gets one answer, which then counts for each of its pixels.
    """

    def __call__(
        self, pixels: Tensor, valid: Tensor, days: Tensor | None, wavelengths: tuple[float, ...]
    ) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Engine:
    """Turns blocks of a plan into blended values.

    Attributes:
        scene: where pixels come from.
        network: what sees the windows; a module is run in evaluation mode.
        contract: what the network eats; normalisation by scene or record takes the whole scene's statistics,
            since a scene that becomes one map is one record.
        plan: how the scene is cut.
        batch_size: windows per call.
        device: where the network lives.
        precision: "fp32", "bf16" for autocast, or "auto" (design §5); blending is always float32.
        activation: what makes the network's output fit to be averaged: "softmax", "sigmoid" or "identity".
        turns: average over the ways to turn and flip a window.
        spread: also blend what the views' disagreement is made of; see `swath.scenes.turns.blendable`.
        holes: go on where the scene cannot be read.
        given_statistics: of the scene, where they are known already.
        cell: pixels per cell of the output, for a network that returns [B,K,h/cell,w/cell]; the plan then counts in
            cells (`swath.scenes.cells`).
        temperature: what the network returns is divided by it before the activation.
        each_date: whether the network draws a map for each date. Blocks then hold T times K values, date by date, and
            the coverage of each date.
    """

    scene: SceneLike
    network: WindowNetwork
    contract: InputContract
    plan: Plan
    batch_size: int = 16
    device: str = "cpu"
    precision: Literal["auto", "bf16", "fp32"] = "fp32"
    activation: Activation = "softmax"
    turns: bool = False
    spread: bool = False
    holes: bool = False
    given_statistics: BandStatistics | None = None
    cell: int = 1
    temperature: float = 1.0
    each_date: bool = False

    def __post_init__(self) -> None:
        height, width = (-(-n // self.cell) for n in (self.scene.height, self.scene.width))
        if (self.plan.height, self.plan.width) != (height, width):
            raise ConfigError(
                f"is for {self.plan.height}x{self.plan.width} pixels, the scene has {height}x{width}",
                where="plan",
            )
        window = self.plan.window[0] * self.cell, self.plan.window[1] * self.cell
        if self.contract.exact_size and self.contract.size not in (None, window):
            raise ConfigError(
                f"windows of {window} do not fit the model, which eats {self.contract.size}",
                where="plan",
            )
        if self.batch_size < 1:
            raise ConfigError(f"{self.batch_size} is less than 1", where="batch_size")
        if self.temperature <= 0 or (self.activation == "identity" and self.temperature != 1.0):
            raise ConfigError(f"{self.temperature} divides no logits", where="temperature")
        if self.each_date and (self.spread or self.cell > 1):
            raise ConfigError("is not for maps of each date", where="spread" if self.spread else "cell")
        choose_precision(self.precision, self._kind)

    @property
    def source(self) -> str:
        """What to call the scene in messages."""
        return str(getattr(self.scene, "source", "scene"))

    @property
    def _kind(self) -> str:
        return torch.device(self.device).type

    @cached_property
    def statistics(self) -> BandStatistics | None:
        """Of the whole scene, read once and only when the model normalises by it."""
        if not self.contract.normalisation.measured:
            return None
        return self.scene.statistics() if self.given_statistics is None else self.given_statistics

    def check(self) -> tuple[int, int]:
        """(dates, bands) that the network will see; whether the scene fits shows at its first pixel.

        Raises:
            ContractError: it does not fit the model.
        """
        try:
            raw = self.scene.read(0, 0, 1, 1)
        except ReadError:
            if not self.holes:
                raise
            raw = self.scene.read(-1, -1, 1, 1)
        t, c, _, _ = converted(raw, self.contract, self.statistics).shape
        return t, c

    def read(self, block: Block) -> BlockInput:
        """What `compute` needs; may run in another thread, one at a time.

        Raises:
            ContractError: the scene does not fit the model.
            ReadError: the scene cannot be read, and holes are not allowed.
        """
        pixels = block if self.cell == 1 else block_in_pixels(block, self.cell)
        given = read_block(
            self.scene, self.contract, self.statistics, pixels, holes=self.holes, each_date=self.each_date
        )
        if self.cell > 1:
            given = in_cells(given, self.cell)
        if self._kind == "cuda":  # copies to the device then need not wait
            given = replace(given, pixels=given.pixels.pin_memory(), valid=given.valid.pin_memory())
        return given

    def compute(
        self, block: Block, given: BlockInput, on_windows: Callable[[int], None] = lambda count: None
    ) -> BlockMap:
        """One block; `on_windows` is told how many windows were dealt with since the last call.

        Raises:
            ContractError: the network returns something that is no map.
        """
        seen, read = given.seen, block.read
        empty = len(block.windows) - len(seen)
        on_windows(empty)
        days = self._days(given)
        # On a GPU the whole block crosses once, not each window with its overlaps.
        pixels = given.pixels.to(self.device, non_blocking=True)
        valid = given.valid.to(self.device, non_blocking=True)
        total: Accumulator | None = None
        with _evaluating(self.network), torch.inference_mode():
            for start in range(0, len(seen), self.batch_size):
                batch = seen[start : start + self.batch_size]
                places = batch, read, self.cell, min(self.batch_size, len(seen))
                out = self._each(_stack(pixels, *places), _stack(valid, *places), days)
                for window, drawn in zip(batch, out, strict=True):
                    if total is None:
                        total = Accumulator(len(drawn), block.box, drawn.device)
                    total.add(drawn, window, self._weight(window, drawn.device))
                on_windows(len(batch))
            # A sum is finite where all its terms are: one number tells.
            if total is not None and not torch.isfinite(total.sum.sum()):
                if not torch.isfinite(total.sum).all():
                    raise ContractError(
                        f"the network returns NaN or infinity in block {block.box}",
                        where=given.source,
                        mend="use precision fp32, or check the weights",
                    )
        values = None if total is None else total.sum.cpu().numpy()
        return BlockMap(block.box, values, given.coverage, len(seen), empty, given.holes)

    def run(self, block: Block, on_windows: Callable[[int], None] = lambda count: None) -> BlockMap:
        """Reads and computes one block."""
        return self.compute(block, self.read(block), on_windows)

    def look(self, block: Block) -> tuple[Tensor, BlockInput] | None:
        """What the network makes of each window of a block, [n,V,h,w] before blending, and of what; None where no
        window holds a valid pixel.
        """
        given = self.read(block)
        if not given.seen:
            return None
        pixels, valid = given.pixels.to(self.device), given.valid.to(self.device)
        with _evaluating(self.network), torch.inference_mode():
            places = given.seen, block.read, self.cell, len(given.seen)
            out = self._values(_stack(pixels, *places), _stack(valid, *places), self._days(given))
        return out, given

    def blocks(self) -> Iterator[BlockMap]:
        """All blocks in the plan's order."""
        for block in self.plan.blocks():
            yield self.run(block)

    def _days(self, given: BlockInput) -> Tensor | None:
        if all(d is None for d in given.dates):
            return None
        return torch.from_numpy(date_features(given.dates)).to(self.device)

    def _each(self, pixels: Tensor, valid: Tensor, days: Tensor | None) -> Iterable[Tensor]:
        """[V,h,w] float32 of each window of a batch, one after the other."""
        if self.turns or self.spread:
            return self._values(pixels, valid, days)
        size = pixels.shape[-2] // self.cell, pixels.shape[-1] // self.cell
        out = self._call(days)(pixels, valid)
        return windows_of(out, self.activation, size, self.temperature)

    def _values(self, pixels: Tensor, valid: Tensor, days: Tensor | None) -> Tensor:
        """[B,V,h,w] float32 of a batch of windows."""
        return blendable(
            self._call(days),
            pixels,
            valid,
            self.activation,
            turns=self.turns,
            spread=self.spread,
            temperature=self.temperature,
        )

    def _call(self, days: Tensor | None) -> Call:
        """The network, whose answer is checked to be a map or one answer per window."""
        wavelengths = self.contract.wavelengths
        precision = choose_precision(self.precision, self._kind)

        def call(x: Tensor, v: Tensor) -> Tensor:
            given = None if days is None else days.expand(len(x), -1, -1)
            with precision.autocast():
                out = self.network(pixels=x, valid=v, days=given, wavelengths=wavelengths)
            size = (x.shape[0], x.shape[-2] // self.cell, x.shape[-1] // self.cell)
            if self.each_date or out.ndim == 5:
                self._check_dates(out, x)
                return out
            maps = out.ndim == 4 and (out.shape[0], *out.shape[-2:]) == size
            if not maps and (self.cell > 1 or out.ndim != 2 or out.shape[0] != size[0]):
                raise ContractError(
                    f"the network returns {tuple(out.shape)} for {size[0]} windows of {size[1]}x{size[2]}, "
                    f"not ({size[0]}, classes, {size[1]}, {size[2]})",
                    mend="use a network that draws one map for all dates, or gives one answer per window",
                )
            return out

        return call

    def _check_dates(self, out: Tensor, x: Tensor) -> None:
        """Whether what the network returns is a map for each date, where that is wanted, and only there."""
        b, t, _, h, w = x.shape
        if not self.each_date or out.ndim != 5 or (*out.shape[:2], *out.shape[-2:]) != (b, t, h, w):
            wanted = f"({b}, {t}, classes, {h}, {w})" if self.each_date else f"({b}, classes, {h}, {w})"
            raise ContractError(
                f"the network returns {tuple(out.shape)} for {b} windows of {t} dates and {h}x{w} pixels, not {wanted}",
                mend="draw a map for each date"
                if self.each_date
                else "set each_date, or draw one map for all",
            )

    @cached_property
    def _weights(self) -> dict[tuple[int, int], Tensor]:
        return {}

    def _weight(self, window: Box, device: torch.device) -> Tensor:
        """[h,w] of one window; windows in the midst of a scene share one."""
        y, x = self.plan.place(window)
        kind = self.plan.rows.kind(y), self.plan.cols.kind(x)
        if kind not in self._weights:
            share = np.outer(self.plan.rows.weights(kind[0]), self.plan.cols.weights(kind[1]))
            self._weights[kind] = torch.from_numpy(share.astype(np.float32)).to(device)
        return self._weights[kind]


def _stack(array: Tensor, windows: tuple[Box, ...], read: Box, n: int, most: int) -> Tensor:
    """[B,T,C,h,w] of what was read; boxes in cells of n pixels. On a CPU in memory for `most` windows, which serves
    the last batch as it served those before it.
    """
    places = [((w.row - read.row) * n, (w.col - read.col) * n, w.height * n, w.width * n) for w in windows]
    parts = [array[..., y : y + h, x : x + w] for y, x, h, w in places]
    if array.device.type != "cpu":
        return torch.stack(parts)
    room = pages((most, *parts[0].shape), array.numpy().dtype, cleared=False)
    return torch.stack(parts, out=torch.from_numpy(room[: len(parts)]))


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
