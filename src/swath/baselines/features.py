"""Features that need no learning: the bands of a pixel, and what they are over an image. NaN is what is not known."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from swath.baselines.goal import Values
from swath.cube import Cube

_MOST_DATES = 2
_SHARES = (10, 50, 90)


def physical(cube: Cube) -> Values:
    """[T,C,H,W] in physical units, NaN where invalid."""
    scale = np.asarray([[e.scale for e in row] for row in cube.encodings], np.float32)[..., None, None]
    offset = np.asarray([[e.offset for e in row] for row in cube.encodings], np.float32)[..., None, None]
    found: Values = np.where(cube.valid, cube.pixels.astype(np.float32) * scale + offset, np.nan).astype(
        np.float32
    )
    return found


def over_dates(values: Values) -> Values:
    """Mean [C,H,W] of [T,C,H,W] over the dates that are known."""
    return _quiet(np.nanmean, values)


def pixel_planes(cube: Cube) -> Values:
    """[F,H,W]: all bands of one date or two; of a longer series mean, lowest and highest of each band.

    So the number of features does not depend on how long a series is.
    """
    values = physical(cube)
    t, c, h, w = values.shape
    if t <= _MOST_DATES:
        return values.reshape(t * c, h, w)
    return np.concatenate([over_dates(values), _quiet(np.nanmin, values), _quiet(np.nanmax, values)])


def image_features(cube: Cube) -> Values:
    """[F]: mean, deviation and the 10th, 50th and 90th percentile of each plane over an image."""
    planes = pixel_planes(cube)
    flat = planes.reshape(len(planes), -1).T
    rows = [_quiet(np.nanmean, flat), _quiet(np.nanstd, flat)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        rows += list(np.nanpercentile(flat, _SHARES, axis=0).astype(np.float32))
    return np.concatenate(rows)


def _quiet(how: Callable[..., npt.NDArray[np.floating]], values: Values) -> Values:
    """Along the first axis; all of it unknown is NaN without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return how(values, axis=0).astype(np.float32)
