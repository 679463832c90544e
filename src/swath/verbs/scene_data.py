"""From files to what training eats: cubes through a contract, and where in them it may look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from swath.contract import BandSpec, InputContract, Kind, Normalisation
from swath.cube import BoolArray, Cube, Sample
from swath.data.spec import SceneSpec
from swath.errors import ConfigError, InputError
from swath.feed.dates import at_spread_dates
from swath.feed.pixel_size import Step, step_to, stepped, to_gsd
from swath.feed.shards import Shards
from swath.verbs.options import NormaliseOptions, PixelData

DEMO_PATCHES = "demo:bigearthnet"


def read_scene(spec: SceneSpec) -> Cube:
    """A whole scene in memory, with its statistics."""
    from swath.data.raster import open_scene

    with open_scene(spec) as scene:
        cube = scene.read_all()
    if not cube.valid.any():
        raise InputError("holds no valid pixel", where=cube.source, mend="check its no-data value")
    return cube


def read_patches(folder: str) -> list[Cube]:
    """BigEarthNet-S2 patches in the order of their names; each carries its own statistics."""
    from swath.data.demo import open_demo_bigearthnet
    from swath.data.layouts.bigearthnet import read_patch

    if folder == DEMO_PATCHES:
        return [_named(sample) for sample in open_demo_bigearthnet()]
    root = Path(folder)
    if not root.is_dir():
        raise InputError("no such folder", where=root, mend=f"give a folder of patches, or {DEMO_PATCHES}")
    found = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not found:
        raise InputError("holds no patch folders", where=root, mend="give the folder that holds them")
    return [_named(read_patch(p)) for p in found]


def _named(sample: Sample) -> Cube:
    """Its cube by the patch's name in place of its first file's, and with its own statistics."""
    return replace(sample.cube, source=sample.id).with_statistics()


def contract_of(
    cubes: Sequence[Cube],
    normalise: NormaliseOptions,
    window: int,
    *,
    dates: int | None = None,
    learned: Sequence[Cube] | None = None,
) -> InputContract:
    """The contract that cubes of one kind fulfil as they are: the first one's bands, unit and pixel size.

    Args:
        cubes: to be converted with it; whatever of them does not fit is refused then.
        normalise: how values are scaled.
        window: side of the training windows.
        dates: the only number of dates; None: any.
        learned: those that fixed statistics are measured on; None: all.
    """
    first = cubes[0]
    encodings = {encoding for row in first.encodings for encoding in row}
    units = sorted({encoding.unit for encoding in encodings})
    if len(units) > 1:
        raise InputError(
            f"mixes units: {', '.join(units)}", where=first.source, mend="choose bands of one unit"
        )
    encoding = first.encodings[0][0]
    if normalise.kind == "identity":
        # Statistics undo any scale. Without them the network eats the numbers of its contract: physical ones.
        encoding = replace(encoding, scale=1.0, offset=0.0)
    contract = InputContract(
        tuple(BandSpec(band) for band in first.bands),
        encoding,
        gsd=first.gsd,
        size=(window, window),
        min_dates=dates or 1,
        max_dates=dates,
    )
    if normalise.scope == "fixed":
        measured = cubes if learned is None else learned
        normalisation = fixed_normalisation(contract, measured, normalise.kind, normalise.columns)
    else:
        normalisation = Normalisation(normalise.kind, normalise.scope)
    return replace(contract, normalisation=normalisation)


def fixed_normalisation(
    contract: InputContract, cubes: Sequence[Cube], kind: Kind, columns: tuple[int, ...] = ()
) -> Normalisation:
    """Statistics over the valid pixels of all cubes together, to be kept in the contract.

    Args:
        contract: says in which bands and unit.
        cubes: as read.
        kind: "standard", "minmax", or "identity", which needs none.
        columns: (start, stop): take these only; nothing else of the cubes is looked at.

    Raises:
        InputError: a band has no valid pixel there, or one value throughout.
    """
    if kind == "identity":
        return Normalisation()
    plain = replace(contract, normalisation=Normalisation(), exact_size=False)
    parts = [plain.convert(_columns(cube, columns)) for cube in cubes]
    centre, spread = [], []
    for c, spec in enumerate(contract.bands):
        x = np.concatenate([p.pixels[:, c][p.valid[:, c]] for p in parts]).astype(np.float64)
        if x.size == 0 and not spec.required:
            # Nothing will ever be read of it, as far as these images go.
            low, width = 0.0, 1.0
        elif x.size == 0 or x.min() == x.max():
            what = "no valid pixel" if x.size == 0 else f"one value, {x[0]:g}, in all pixels"
            there = f" of columns {columns[0]} to {columns[1] - 1}" if columns else ""
            raise InputError(
                f"band {spec.band.name} has {what}{there}, so there is nothing to normalise by",
                where=cubes[0].source,
                mend="leave the band out of the scene's bands",
            )
        elif kind == "standard":
            low, width = float(x.mean()), float(x.std())
        else:
            low, width = float(x.min()), float(x.max() - x.min())
        centre.append(low)
        spread.append(width)
    return Normalisation(kind, "fixed", tuple(centre), tuple(spread), contract.normalisation.eps)


def _columns(cube: Cube, columns: tuple[int, ...]) -> Cube:
    if not columns:
        return cube
    _, _, height, width = cube.shape
    _within(columns, width, cube.source)
    return cube.window(0, columns[0], height, columns[1] - columns[0])


def _within(columns: tuple[int, ...], width: int, source: str) -> None:
    if columns[1] > width:
        raise ConfigError(
            f"columns {columns[0]} to {columns[1] - 1} are not all within {source}, which has {width}",
            where="data.normalise.columns",
            mend=f"end at {width} or before",
        )


@dataclass(frozen=True, eq=False)
class Pretraining:
    """What a pretraining run learns from and is looked at with.

    Attributes:
        contract: of the input.
        cubes: converted, to learn from.
        areas: per cube, where windows may lie; None: anywhere.
        held_out: converted cubes of places that are never learned from.
        records: packed ones to learn from, in place of cubes: shards, and the numbers of those that are taken.
    """

    contract: InputContract
    cubes: tuple[Cube, ...]
    areas: tuple[BoolArray | None, ...]
    held_out: tuple[Cube, ...]
    records: tuple[tuple[Shards, npt.NDArray[np.int64]], ...] = ()


def read_pretraining(data: PixelData) -> Pretraining:
    """Reads, converts and divides what `data` names."""
    if data.patches:
        patches = read_patches(data.patches)
        shares = [float(cube.valid.mean()) for cube in patches]
        return from_records([to_gsd(cube, data.gsd) for cube in patches], data, shares)
    if data.layout is not None or data.shards:
        from swath.verbs.record_data import from_layout, from_shards

        return from_shards(data) if data.shards else from_layout(data)
    scenes = [_read_at(spec, data.gsd) for spec in data.scenes]
    cubes = [scene.cube for scene in scenes]
    boxes = [_box(text, scenes[0]) for text in data.hold_out]
    normalise = replace(data.normalise, columns=_measured_columns(scenes, data.normalise.columns))
    contract = contract_of(
        cubes,
        normalise,
        data.window,
        dates=_only_date(cubes),
        learned=[_without(cubes[0], boxes), *cubes[1:]],
    )
    converted = [contract.convert(cube) for cube in cubes]
    held_out = [at_spread_dates(converted[0].window(*box), data.dates, data.window_valid) for box in boxes]
    areas: list[BoolArray | None] = []
    for i, scene in enumerate(scenes):
        area = np.ones(scene.cube.shape[2:], np.bool_)
        if data.columns:
            start, stop = scene.columns(data.columns, "data.columns")
            area[:, :start] = False
            area[:, stop:] = False
        for row, col, height, width in boxes if i == 0 else ():
            area[row : row + height, col : col + width] = False
        areas.append(None if area.all() else area)
    return Pretraining(contract, tuple(converted), tuple(areas), tuple(held_out))


@dataclass(frozen=True, eq=False)
class _Scene:
    """A scene at the pixel size asked for; options speak of its pixels as the files have them.

    Attributes:
        cube: what it is now.
        height, width: pixels that its files have.
        step: from those to what it is now.
    """

    cube: Cube
    height: int
    width: int
    step: Step

    def columns(self, columns: tuple[int, ...], where: str) -> tuple[int, int]:
        """A range (start, stop) of the files' columns; what lies beyond the edge is none."""
        start, stop = (min(column, self.width) for column in columns)
        return self.edge(start, self.width, where), self.edge(stop, self.width, where)

    def edge(self, at: int, side: int, where: str) -> int:
        """Where an edge at `at` of a side of `side` pixels of the files lies now.

        Raises:
            ConfigError: within a coarser pixel, which would be half inside and half outside.
        """
        if at % self.step.coarser and at != side:
            low = at - at % self.step.coarser
            raise ConfigError(
                f"{at} lies within a pixel of {self.cube.gsd:g} m, which is {self.step.coarser} of {self.cube.source}",
                where=where,
                mend=f"take {low} or {low + self.step.coarser} in its place",
            )
        return self.step.size(at)


def _without(cube: Cube, boxes: Sequence[tuple[int, int, int, int]]) -> Cube:
    """The cube with nothing valid in the boxes (row, column, height, width): not to be measured there."""
    if not boxes:
        return cube
    valid = cube.valid.copy()
    for row, col, height, width in boxes:
        valid[:, :, row : row + height, col : col + width] = False
    return replace(cube, valid=valid)


def _read_at(spec: SceneSpec, gsd: float) -> _Scene:
    cube = read_scene(spec)
    step = step_to(cube.gsd, gsd, cube.source)
    return _Scene(stepped(cube, step, gsd), *cube.shape[2:], step)


def _measured_columns(scenes: Sequence[_Scene], columns: tuple[int, ...]) -> tuple[int, ...]:
    """The columns that fixed statistics are taken over, in pixels of the size asked for."""
    if not columns:
        return ()
    for scene in scenes:
        _within(columns, scene.width, scene.cube.source)
    found = {scene.columns(columns, "data.normalise.columns") for scene in scenes}
    if len(found) > 1:
        raise ConfigError(
            "the scenes have pixels of several sizes, so the same columns are other places in each",
            where="data.normalise.columns",
            mend="leave them out, or give scenes of one pixel size",
        )
    return found.pop()


def from_records(
    cubes: Sequence[Cube],
    data: PixelData,
    shares: Sequence[float] | None = None,
    names: Sequence[str] | None = None,
) -> Pretraining:
    """Small images in memory.

    Args:
        cubes: all of them.
        data: what is held out, and how few valid pixels are too few.
        shares: of valid pixels, where bands were chosen.
        names: by which they are held out; None: those of their sources' last folder or file.
    """
    names = [Path(cube.source).name for cube in cubes] if names is None else names
    hold_out, known = set(data.hold_out), set(names)
    missing = [name for name in data.hold_out if name not in known]
    if missing:
        raise ConfigError(
            f"there is no patch {missing[0]}",
            where="data.hold_out",
            mend=f"name some of {', '.join(names[:8])}{' …' * (len(names) > 8)}",
        )
    if shares is None:
        shares = [float(cube.valid.mean()) for cube in cubes]
    learned = [i for i, name in enumerate(names) if name not in hold_out]
    # Of a long series dates are chosen, and the share is asked of each of them, not of all together.
    least = 0.0 if data.dates else data.min_valid or 0.0
    kept = [i for i in learned if shares[i] >= least]
    if learned and not kept:
        raise too_few_valid(data, max(shares[i] for i in learned))
    if not kept:
        raise ConfigError("every patch is held out", where="data.hold_out", mend="hold out fewer")
    contract = contract_of(
        cubes, data.normalise, data.window, dates=_only_date(cubes), learned=[cubes[i] for i in kept]
    )
    converted = [contract.convert(cube) for cube in cubes]
    held = [
        at_spread_dates(c, data.dates, data.window_valid)
        for c, name in zip(converted, names, strict=True)
        if name in hold_out
    ]
    cubes = tuple(converted[i] for i in kept)
    return Pretraining(contract, cubes, (None,) * len(cubes), tuple(held))


def too_few_valid(data: PixelData, most: float) -> ConfigError:
    """The error of a min_valid that no record has; `most` is the largest share there is."""
    return ConfigError(
        f"is {data.min_valid}, and no record has more than {most:.3g} of valid pixels",
        where="data.min_valid",
        mend="give a smaller share",
    )


def _only_date(cubes: Sequence[Cube]) -> int | None:
    return 1 if all(cube.shape[0] == 1 for cube in cubes) else None


def _box(text: str, scene: _Scene) -> tuple[int, int, int, int]:
    """A box (row, column, height, width) of the files' pixels, in those of the size asked for."""
    mend = "write row,column,height,width in pixels inside the first scene"
    try:
        row, col, height, width = (int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"'{text}' is no box", where="data.hold_out", mend=mend) from None
    h, w = scene.height, scene.width
    if row < 0 or col < 0 or height < 1 or width < 1 or row + height > h or col + width > w:
        raise ConfigError(f"'{text}' is not inside {h}x{w} pixels", where="data.hold_out", mend=mend)
    edges = [scene.edge(at, h, "data.hold_out") for at in (row, row + height)]
    edges += [scene.edge(at, w, "data.hold_out") for at in (col, col + width)]
    return edges[0], edges[2], edges[1] - edges[0], edges[3] - edges[2]
