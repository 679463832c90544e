"""From a scene to a finished map: which blocks are left, how far it is, what could not be read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from swath.contract import InputContract
from swath.data.gdal import bounded_cache
from swath.errors import ConfigError, InputError
from swath.scenes.area import pixel_km2
from swath.scenes.box import Box
from swath.scenes.engine import Engine, WindowNetwork
from swath.scenes.layers import DatedLayers
from swath.scenes.piece import Piece, Record
from swath.scenes.reading import SceneLike
from swath.scenes.runners.local import run_local
from swath.scenes.sink import Sink, Store
from swath.scenes.windows import Plan, make_plan
from swath.scenes.worker import Worker, torch_threads
from swath.words import counted


@dataclass(frozen=True)
class Progress:
    """How far a map is; `km2` is None where the scene's coordinates are unknown. Blocks of an earlier run count
    as done.
    """

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
        blocks, windows: how many the map is made of; windows at block borders count each time.
        empty_windows: windows without one valid pixel, which were not run.
        pixels, nodata_pixels: of the map.
        kept_blocks: those of an earlier, interrupted run.
        kept_windows: of those blocks.
        holes: what could not be read.
    """

    seconds: float
    km2: float | None
    blocks: int
    windows: int
    empty_windows: int
    pixels: int
    nodata_pixels: int
    kept_blocks: int = 0
    holes: tuple[Box, ...] = ()
    kept_windows: int = 0

    @property
    def km2_per_second(self) -> float | None:
        """Of this run: what an earlier one has done is no merit of it. None where there is no area."""
        windows = self.windows + self.empty_windows
        return None if self.km2 is None else self.km2 * (1 - self.kept_windows / windows) / self.seconds

    @property
    def hole_pixels(self) -> int:
        """How many pixels could not be read."""
        return sum(b.height * b.width for b in self.holes)

    def __str__(self) -> str:
        area = counted(self.pixels, "pixel") if self.km2 is None else f"{self.km2:,.1f} km²"
        kept = f", {self.kept_blocks} of them of an earlier run" if self.kept_blocks else ""
        holes = f", {self.hole_pixels / self.pixels:.2%} could not be read" if self.holes else ""
        return (
            f"{area} in {self.seconds:.1f} s: {counted(self.windows, 'window')} in {counted(self.blocks, 'block')}{kept}"
            f" ({self.empty_windows} empty), {self.nodata_pixels / self.pixels:.1%} no-data{holes}"
        )


class Course:
    """The course of one map: what is left to do, and what was done.

    Args:
        plan: how the scene is cut.
        store: takes the blocks.
        pixel_area: km² of a pixel, or None.
        source: the scene's name in messages.
        max_holes: share of the pixels that may be unreadable.
        progress: called when windows were dealt with.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        pixel_area: float | None,
        source: str,
        max_holes: float = 0.0,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.plan, self.store, self.source = plan, store, source
        self.max_holes, self.progress = max_holes, progress
        self.area = None if pixel_area is None else pixel_area * plan.height * plan.width
        # A block with holes is tried again: what could not be read yesterday may be there today.
        kept = [r for r in store.finished.values() if not r.holes]
        done = {r.block for r in kept}
        self.todo = [i for i in range(plan.block_count) if i not in done]
        self.kept = len(done)
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._windows = self._kept_windows = sum(r.windows + r.empty_windows for r in kept)
        self._blocks = self.kept
        self._holes = 0

    def put(self, piece: Piece) -> None:
        """Keep a finished block.

        Raises:
            InputError: more could not be read than is allowed.
        """
        self._holes += sum(b.height * b.width for b in piece.record.holes)
        share = self._holes / (self.plan.height * self.plan.width)
        if share > self.max_holes:
            raise InputError(
                f"{share:.2%} of the pixels cannot be read, the first of them in {piece.record.holes[0]}",
                where=self.source,
                mend=f"mend the source, or allow more than {self.max_holes:.2%} with max_holes",
            )
        self.store.put(piece)
        self._blocks += 1
        self.advance(0)

    def put_whole(self, piece: Piece) -> None:
        """As `put`, from workers that do not tell of single windows."""
        self._windows += piece.record.windows + piece.record.empty_windows
        self.put(piece)

    def advance(self, windows: int) -> None:
        """So many windows more were dealt with."""
        with self._lock:
            self._windows += windows
            if self.progress is not None:
                total = self.plan.run_count
                part = None if self.area is None else self.area * self._windows / total
                seconds = time.monotonic() - self._began
                self.progress(
                    Progress(self.plan.block_count, self._blocks, total, self._windows, part, seconds)
                )

    def check(self) -> None:
        """Raise InputError if the scene held nothing at all."""
        if not any(r.windows for r in self.store.finished.values()):
            self.store.forget()
            raise InputError(
                "holds no valid pixel, so there is nothing to map",
                where=self.source,
                mend="check its no-data value and cloud mask",
            )

    def summary(self, records: Mapping[int, Record]) -> Summary:
        """What it took."""
        found = [records[i] for i in sorted(records)]
        return Summary(
            time.monotonic() - self._began,
            self.area,
            len(found),
            sum(r.windows for r in found),
            sum(r.empty_windows for r in found),
            self.plan.height * self.plan.width,
            sum(r.nodata_pixels for r in found),
            self.kept,
            tuple(box for r in found for box in r.holes),
            self._kept_windows,
        )


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
    threads: int | None = None,
    turns: bool = False,
    max_holes: float = 0.0,
    about: Mapping[str, Any] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Map a whole scene into a sink in this process; the output appears under its name when all of it is there, or
    not at all.

    Args:
        scene: where pixels come from.
        network: any callable; see `swath.scenes.engine.WindowNetwork`.
        contract: what the network eats.
        plan: how the scene is cut; None: the default plan at the contract's window size.
        sink: where the map goes, and what it holds.
        batch_size: windows per call of the network.
        device: where the network lives.
        precision: "fp32", "bf16" or "auto".
        threads: of torch; None: as it is. The bits of a map depend on it.
        turns: average over the ways to turn and flip a window.
        max_holes: share of the pixels that may be unreadable.
        about: all that the map's bits depend on, as plain JSON values: an interrupted map is then kept and gone on
            with by the next call with the same. None: nothing is kept.
        progress: called after every batch of windows.

    Raises:
        ContractError: the scene does not fit the model.
        InputError: the scene cannot be read.
        OutputError: the map cannot be written.
    """
    if plan is None:
        if contract.size is None:
            raise ConfigError("the model states no window size", where="plan", mend="give a plan")
        plan = make_plan(scene.height, scene.width, contract.size)
    engine = Engine(
        scene, network, contract, plan, batch_size, device, precision, sink.layers.activation, turns,
        sink.layers.spread, holes=max_holes > 0, temperature=sink.layers.temperature or 1.0,
        each_date=isinstance(sink.layers, DatedLayers),
    )  # fmt: skip
    # Whether the scene fits the model shows at its first pixel, before anything is written.
    engine.check()
    with sink.begin(plan, about) as store:
        course = Course(plan, store, pixel_km2(scene.grid), engine.source, max_holes, progress)
        with bounded_cache(), Worker(engine, sink.layers) as worker, torch_threads(threads):
            run_local(worker, course.todo, course.put, course.advance)
        course.check()
    return course.summary(store.finished)
