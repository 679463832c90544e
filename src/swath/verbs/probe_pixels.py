"""Records that a pretraining is asked about at the pixel size it eats (`data.gsd`), or why they cannot be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from swath.contract import GSD_TOLERANCE
from swath.cube import Cube
from swath.errors import ConfigError
from swath.feed.pixel_size import step_to, to_gsd

if TYPE_CHECKING:
    from swath.verbs.labelled_options import LabelledData
    from swath.verbs.labelled_records import Part


def brought(cube: Cube, gsd: float) -> Cube:
    """The cube with pixels of `gsd` m; as it is where a contract of that size takes it so, or `gsd` is 0.

    Raises:
        InputError: no whole factor leads there.
    """
    return cube if _fits(cube.gsd, gsd) else to_gsd(cube, gsd)


def check_reach(have: float | None, gsd: float, where: object, *, per_pixel: bool) -> None:
    """Whether what has pixels of `have` m can be asked at `gsd` m.

    Raises:
        ConfigError: it would have to be brought there, and its targets are per pixel.
        InputError: no whole factor leads there.
    """
    if _fits(have, gsd):
        return
    step_to(have, gsd, where)
    if per_pixel:
        raise ConfigError(
            f"{where} has a label for each pixel of {have:g} m, and the pretraining eats pixels of {gsd:g} m",
            where="watch.probe",
            mend=f"give labelled data of {gsd:g} m, or such with one label per record",
        )


def check_part(part: Part, gsd: float, *, per_pixel: bool) -> None:
    """`check_reach` of all records of a part."""
    if gsd:
        for have, where in _sizes(part):
            check_reach(have, gsd, where, per_pixel=per_pixel)


def check_sizes(data: LabelledData, sizes: Sequence[float]) -> None:
    """Whether labelled data can be asked at each of some pixel sizes, m; 0: whatever the data learned from have.

    Raises:
        SwathError: they cannot, or cannot be opened.
    """
    from swath.verbs.answerer import per_pixel
    from swath.verbs.labelled_parts import open_labelled
    from swath.verbs.scene_labels import read_labelled

    wanted = sorted({gsd for gsd in sizes if gsd})
    if not wanted:
        return
    if data.by_columns:
        cube = read_labelled(data).cube
        for gsd in wanted:
            check_reach(cube.gsd, gsd, cube.source, per_pixel=True)
        return
    train = open_labelled(data, "train", crop=True)
    maps = per_pixel(train)
    for part in (train, open_labelled(data, "validation", crop=True)):
        for gsd in wanted:
            check_part(part, gsd, per_pixel=maps)


def _fits(have: float | None, gsd: float) -> bool:
    """As a contract of `gsd` m decides; what does not say its size is taken as it is."""
    return not gsd or have is None or math.isclose(have, gsd, rel_tol=GSD_TOLERANCE)


def _sizes(part: Part) -> Iterator[tuple[float | None, object]]:
    """Each pixel size of a part, m, and a record of it; of shards from the index alone."""
    if not part.packed:
        yield from ((record.cube.gsd, record.cube.source) for record in part.records)
        return
    name = next(iter(part.records[0].cubes))
    for shards, index in part.packed:
        found, first = np.unique(shards.columns[f"{name}.gsd"][index], return_index=True)
        for have, at in zip(found.tolist(), first.tolist(), strict=True):
            yield None if math.isnan(have) else have, shards.id(int(index[at]))
