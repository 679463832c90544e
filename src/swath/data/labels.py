"""Labels per pixel, from a raster on the scene's grid, as class indices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import rasterio

from swath.cube import Grid
from swath.data.gdal import grid_of, guard, open_raster
from swath.data.grids import describe, same_grid, short_crs
from swath.data.legend import LandClass, check_legend
from swath.data.raster import read_valid
from swath.errors import InputError

# The index of pixels without a label; losses and metrics leave them out.
IGNORE = -1


def read_labels(
    path: str,
    grid: Grid,
    classes: Sequence[LandClass],
    *,
    ignore: Sequence[int] = (),
    scene: str = "the scene",
) -> npt.NDArray[np.int64]:
    """Class indices [H,W] in the order of `classes`: 0 … K-1, and IGNORE where there is no label.

    Args:
        path: a raster of one band; "demo:landclass" and "demo:labelled-pixels" are embedded.
        grid: of the scene; the raster must lie on it.
        classes: what the raster's values mean.
        ignore: values that mean "no label", besides the raster's own no-data.
        scene: name of the scene, for messages.

    Raises:
        InputError: the raster lies on another grid or in another reference system (both are named), holds
            values that no class has, or holds no label at all.
    """
    from swath.data.demo import demo_labels  # it imports this module

    path = demo_labels(path)
    check_legend(classes, path)
    source = open_raster(path)
    try:
        check_grid(path, grid_of(source), grid, scene)
        if source.count != 1:
            raise InputError(
                f"holds {source.count} bands, labels have one", where=path, mend="name the label raster"
            )
        pixels, valid = read_valid(source, [1], (0, 0, source.height, source.width))
    finally:
        source.close()
    return to_indices(pixels[0], valid[0], classes, ignore=ignore, where=path)


def to_indices(
    values: npt.NDArray[np.generic],
    valid: npt.NDArray[np.bool_],
    classes: Sequence[LandClass],
    *,
    ignore: Sequence[int] = (),
    where: str = "labels",
    allow_empty: bool = False,
) -> npt.NDArray[np.int64]:
    """Raster values to class indices.

    Raises InputError for unknown values, and when nothing is labelled, which a chip of a published set
    (`allow_empty`) may well be.
    """
    known = valid & ~np.isin(values, np.asarray(ignore, dtype=np.float64))
    labels = np.full(values.shape, IGNORE, np.int64)
    for index, c in enumerate(classes):
        labels[known & (values == c.value)] = index
    strange = np.unique(values[known & (labels == IGNORE)])
    if strange.size:
        known_values = ", ".join(str(c.value) for c in classes)
        shown = ", ".join(f"{v:g}" for v in strange[:10].astype(np.float64)) + (
            ", …" if strange.size > 10 else ""
        )
        raise InputError(
            f"holds {strange.size} unknown label values: {shown} (known: {known_values})",
            where=where,
            mend="add them to the classes, or to the values to ignore",
        )
    if not allow_empty and (labels == IGNORE).all():
        raise InputError(
            "holds no labelled pixel", where=where, mend="check its no-data and the values to ignore"
        )
    return labels


def check_grid(path: str, have: Grid, want: Grid, scene: str) -> None:
    """Raise InputError, naming both, unless a raster of labels lies on a scene's grid."""
    with guard(path, "compared with the scene"):
        same = have.crs == want.crs or (
            bool(have.crs and want.crs)
            and rasterio.crs.CRS.from_user_input(have.crs) == rasterio.crs.CRS.from_user_input(want.crs)
        )
    if not same:
        raise InputError(
            f"is in {short_crs(have.crs)}, but {scene} in {short_crs(want.crs)}",
            where=path,
            mend="reproject the labels to the scene's grid (gdalwarp -r near)",
        )
    if not same_grid(have, want):
        raise InputError(
            f"covers another grid ({describe(have)}) than {scene} ({describe(want)})",
            where=path,
            mend="resample the labels to the scene's grid (gdalwarp -r near -te -tr)",
        )
