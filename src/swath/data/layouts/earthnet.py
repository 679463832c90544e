"""EarthNet2021: series of Sentinel-2, one image in five days, to be continued from their first part.

    train/29SND/29SND_2017-06-20_2017-11-16_2105_2233_2873_3001_32_112_44_124.npz
        highresdynamic [128,128,7,30]   B02 B03 B04 B8A, Sen2Cor's cloud share, scene classification, quality mask
    {iid,ood,extreme,seasonal}_test_split/{context,target}/29SND/{context,target}_29SND_….npz
        highresdynamic [128,128,5,T]    B02 B03 B04 B8A, quality mask

Axes are height, width, channel, time; the mask, always last, is 0 where pixels are good (Requena-Mesa et al.,
"EarthNet2021", CVPR EarthVision 2021; https://earthnet.tech/en21). Weather and elevation are in other arrays, which
are not read. Its successor in netCDF is `swath.data.layouts.greenearthnet`.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from swath.bands import sensor
from swath.cube import Array, BoolArray, Cube, Encoding, Sample
from swath.data.layouts.base import Item, LayoutInfo
from swath.data.layouts.disk import (
    Listed,
    check_split,
    existing_folder,
    make_cube,
    named,
    npz_arrays,
    parse_date,
)
from swath.errors import ConfigError, InputError

BANDS = ("B02", "B03", "B04", "B8A")
GSD = 20.0
EVERY = 5  # days from one image to the next; the first is the fifth day of a series
_DAY = r"\d{4}-\d{2}-\d{2}"
_FILE = re.compile(rf"(?:context_|target_)?((\d{{2}}[A-Z]{{3}})_({_DAY})_({_DAY})(?:_\d+){{8}})\.npz")
_FOLDERS = {
    "train": "train",
    "iid": "iid_test_split",
    "ood": "ood_test_split",
    "extreme": "extreme_test_split",
    "seasonal": "seasonal_test_split",
}


class EarthNet(Listed):
    """Cube "sentinel2" [T,4,128,128], without a target; of a test series, context and target are put together.

    Args:
        root: the folder of `train`, `iid_test_split` and so on.
        split: "train", "iid", "ood", "extreme" or "seasonal".
        context: how many of the first dates are the cube "sentinel2"; the others then are the cube "future".
            0: all dates are "sentinel2". Published are 10 (train, iid, ood), 20 (extreme) and 70 (seasonal).

    The group is the Sentinel-2 tile.
    """

    info: ClassVar[LayoutInfo] = LayoutInfo(
        name="earthnet",
        title="EarthNet2021",
        tasks=("pretraining",),
        sensors={"sentinel2": BANDS, "future": BANDS},
        classes=(),
        splits=tuple(_FOLDERS),
        size="128 x 128 at 20 m",
        dates="30 (train, iid, ood), 60 (extreme), 210 (seasonal), one in five days",
        items="23,904 / 4,219 / 4,214 / 4,000 / 4,000",
        unit="surface reflectance from 0 to 2, float16, L2A",
        licence="not said with the structure of its files: see the source",
        source="https://earthnet.tech/resources/datasets/earthnet2021",
        files=(
            "train/TILE/TILE_START_END_….npz",
            "{iid,ood,extreme,seasonal}_test_split/{context,target}/TILE/{context,target}_TILE_START_END_….npz",
        ),
        notes=(
            "Pixels are invalid where the quality mask is not 0, or where they are NaN.",
            "Test series hold five channels, train series seven; the mask is the last of either.",
            "Days of images follow from the name: the fifth day of the series is the first, as its weather counts.",
            "Reflectance is left as stored; published codes cut it to 0..1.",
            "Weather and elevation are not read; the place is told by the tile and is left unknown.",
            "Tiles of iid are tiles of train too: 29SND is listed under both.",
        ),
    )

    def __init__(self, root: Path | str, split: str | None = None, *, context: int = 0) -> None:
        check_split(self.info, split)
        top = existing_folder(root)
        self.context = check_context(context)
        super().__init__(top, [i for part in _FOLDERS for i in _items(top, part)], split)

    def read(self, index: int) -> Sample:
        """One series, its dates in order."""
        item = self.items[index]
        path = Path(item.where)
        match = _FILE.fullmatch(path.name)
        assert match is not None  # so it was listed
        parts = [path] if item.split == "train" else [path, _target(path)]
        read = [_read(p) for p in parts]
        pixels, valid = (np.concatenate(arrays) for arrays in zip(*read, strict=True))
        cube = make_cube(
            pixels,
            valid,
            sensor("sentinel2").select(BANDS),
            Encoding("reflectance", 1.0, 0.0, "L2A"),
            dates=_dates(match[3], match[4], len(pixels), path),
            gsd=GSD,
            source=str(path),
        )
        return Sample(split_series(cube, self.context), item.id, group=item.group)


def check_context(context: int) -> int:
    """The number of dates of a context. Raises ConfigError when it is none."""
    if isinstance(context, bool) or not isinstance(context, int) or context < 0:
        raise ConfigError(
            f"{context!r} is no number of dates", where="context", mend="use 0 for all dates, or such as 10"
        )
    return context


def split_series(cube: Cube, context: int) -> dict[str, Cube]:
    """The series as "sentinel2", or its first dates as that and the others as "future"; each knows its own statistics.

    Raises:
        InputError: the series has no date after its context.
    """
    dates = cube.shape[0]
    if context == 0:
        return {"sentinel2": cube}
    if context >= dates:
        raise InputError(
            f"has {dates} dates, of which {context} cannot be the context",
            where=cube.source,
            mend="choose a smaller context",
        )
    first, rest = cube.at_dates(range(context)), cube.at_dates(range(context, dates))
    # What is to be foretold may not show in the statistics that its past is normalised by.
    return {"sentinel2": first.with_statistics(), "future": rest.with_statistics()}


def _items(top: Path, part: str) -> Iterator[Item]:
    """Series of a part; one of which there is the target alone is listed too, and fails when it is read."""
    folder = top / _FOLDERS[part]
    if part == "train":
        for path, match in named(folder, "*/*.npz", _FILE):
            yield Item(f"{part}/{match[1]}", str(path), match[2], part)
        return
    found: dict[str, Item] = {}
    for half in ("context", "target"):
        for path, match in named(folder / half, "*/*.npz", _FILE):
            where = folder / "context" / path.parent.name / f"context_{match[1]}.npz"
            found[match[1]] = Item(f"{part}/{match[1]}", str(where), match[2], part)
    yield from found.values()


def _target(context: Path) -> Path:
    """Where the continuation of a test series lies."""
    folder = context.parent.parent.with_name("target")
    return folder / context.parent.name / context.name.replace("context_", "target_", 1)


def _read(path: Path) -> tuple[Array, BoolArray]:
    """Reflectance and validity [T,4,H,W] of a file."""
    (held,) = npz_arrays(path, ("highresdynamic",))
    shape: tuple[Any, ...] = held.shape
    if held.ndim != 4 or shape[:2] != (128, 128) or shape[2] not in (5, 7) or held.dtype.kind != "f":
        raise InputError(
            f"highresdynamic is {held.dtype} {shape}, not (128,128,5 or 7,T) floats",
            where=path,
            mend="fetch it anew",
        )
    planes = held.transpose(3, 2, 0, 1)
    pixels = np.ascontiguousarray(planes[:, : len(BANDS)])
    # A mask of NaN is not 0 either.
    return pixels, np.isfinite(pixels) & (planes[:, -1:] == 0)


def _dates(first: str, last: str, images: int, path: Path) -> tuple[dt.date, ...]:
    start, end = parse_date(first, path), parse_date(last, path)
    days = (end - start).days + 1
    if days != EVERY * images:
        raise InputError(
            f"holds {images} images for the {days} days of its name, not one in {EVERY} days",
            where=path,
            mend="fetch it anew",
        )
    return tuple(start + dt.timedelta(EVERY * (i + 1) - 1) for i in range(images))
