"""A random forest on the bands of a pixel, with or without the means of its neighbourhood (scikit-learn)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestClassifier

from swath.cube import BoolArray, Cube
from swath.errors import InputError
from swath.feed.config import IGNORE
from swath.feed.windows import window_sums
from swath.rng import derive, numpy_generator

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


def neighbourhood_mean(plane: npt.NDArray[np.generic], valid: BoolArray, side: int) -> FloatArray:
    """Mean over the valid pixels of the side x side pixels around each pixel [H,W]; 0 where there is none."""
    half = side // 2
    edges = ((half, side - 1 - half),) * 2
    filled = np.where(valid, plane, 0).astype(np.float64)
    total = window_sums(np.pad(filled, edges), (side, side))
    count = window_sums(np.pad(valid.astype(np.float64), edges), (side, side))
    return (total / np.maximum(count, 1)).astype(np.float32)


def pixel_features(cube: Cube, neighbourhoods: tuple[int, ...] = ()) -> FloatArray:
    """Features per pixel [H*W, F]: all bands of all dates, then their means in squares of these sides."""
    t, c, h, w = cube.shape
    pixels, valid = cube.pixels.reshape(t * c, h, w), cube.valid.reshape(t * c, h, w)
    planes = [np.where(v, p, 0).astype(np.float32) for p, v in zip(pixels, valid, strict=True)]
    for side in neighbourhoods:
        planes += [neighbourhood_mean(p, v, side) for p, v in zip(pixels, valid, strict=True)]
    return np.stack(planes).reshape(len(planes), h * w).T


@dataclass(frozen=True)
class ForestOptions:
    """A forest.

    Attributes:
        neighbourhoods: sides in pixels of the squares whose means are added to a pixel's own values; 3 and 5
            are neighbourhoods of 9 and 25 pixels.
        samples: labelled pixels drawn for training; all of them, if there are fewer.
        trees: in the forest.
        seed: of the draw and of the forest.
        threads: to train and predict with.
    """

    neighbourhoods: tuple[int, ...] = ()
    samples: int = 20_000
    trees: int = 200
    seed: int = 0
    threads: int = 2


def forest_map(cube: Cube, labels: IntArray, train: BoolArray, options: ForestOptions) -> IntArray:
    """Class indices [H,W] of a forest trained on labelled pixels.

    A forest knows no missing values, so pixels with any invalid band are neither trained on nor mapped.

    Args:
        cube: [T,C,H,W]; trees need no normalisation.
        labels: [H,W], IGNORE where unknown.
        train: [H,W], where pixels may be trained on.
        options: of the forest.

    Returns:
        [H,W], IGNORE where a band is invalid.

    Raises:
        InputError: no pixel to train on.
    """
    whole = cube.valid.all(axis=(0, 1))
    usable = np.flatnonzero(whole & train & (labels != IGNORE))
    if usable.size == 0:
        raise InputError("no labelled pixel with all bands valid to train a forest on", where=cube.source)
    if usable.size > options.samples:
        draw = numpy_generator(options.seed, "forest")
        usable = np.sort(draw.choice(usable, options.samples, replace=False))
    features = pixel_features(cube, options.neighbourhoods)
    forest = RandomForestClassifier(
        options.trees,
        min_samples_leaf=2,
        n_jobs=options.threads,
        random_state=derive(options.seed, "forest") % 2**32,
    )
    forest.fit(features[usable], labels.ravel()[usable])
    out = np.full(labels.size, IGNORE, np.int64)
    here = np.flatnonzero(whole)
    out[here] = forest.predict(features[here])
    return out.reshape(labels.shape)
