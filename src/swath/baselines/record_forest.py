"""Random forests on records: of single pixels where the answer is a map, of an image's statistics where it is not.

A pixel's own bands are all that the first sees: no neighbour, no shape, no texture. What is not known is NaN, which
the trees send to the side that served best while they grew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from swath.baselines.features import image_features, pixel_planes
from swath.baselines.forest import ForestOptions
from swath.baselines.goal import Goal, Values
from swath.cube import Cube, Sample
from swath.errors import InputError
from swath.rng import derive, numpy_generator


@dataclass(frozen=True, eq=False)
class RecordForest:
    """A forest that has grown.

    Attributes:
        trees: of scikit-learn.
        goal: what it answers.
        notes: what it learned from.
    """

    trees: RandomForestClassifier | RandomForestRegressor
    goal: Goal
    notes: tuple[str, ...]

    def answer(self, cube: Cube) -> Values:
        """[K,H,W] or [K]."""
        if not self.goal.per_pixel:
            return self._values(image_features(cube)[None])[:, 0]
        planes = pixel_planes(cube)
        return self._values(planes.reshape(len(planes), -1).T).reshape(self.goal.outputs, *cube.shape[2:])

    def _values(self, features: Values) -> Values:
        """[K,N] of features [N,F]."""
        if isinstance(self.trees, RandomForestRegressor):
            numbers: Values = self.trees.predict(features).reshape(len(features), -1).T.astype(np.float32)
            return numbers
        out = np.zeros((self.goal.outputs, len(features)), np.float32)
        if self.goal.kind == "classes":
            # A class that no record taught has no place in the forest.
            out[self.trees.classes_] = self.trees.predict_proba(features).T
            return out
        found: Any = self.trees.predict_proba(features)
        classes: Any = self.trees.classes_
        if self.goal.outputs == 1:
            found, classes = [found], [classes]
        for k, (shares, known) in enumerate(zip(found, classes, strict=True)):
            if 1 in known:
                out[k] = shares[:, list(known).index(1)]
        return out


def fit_forest(records: Sequence[Sample], goal: Goal, options: ForestOptions) -> RecordForest:
    """Grows a forest on labelled pixels, an equal number of each record at most, or on whole records.

    Raises:
        InputError: nothing is labelled.
    """
    features, targets = zip(*(_drawn(r, goal, options, len(records)) for r in records), strict=True)
    x, y = np.concatenate(features), np.concatenate(targets)
    if not len(x):
        raise InputError(
            "nothing that was seen is labelled",
            where="part train",
            mend="check the labels and the valid pixels",
        )
    settings: dict[str, Any] = {
        "n_estimators": options.trees,
        "min_samples_leaf": 2 if goal.per_pixel else 1,
        "n_jobs": options.threads,
        "random_state": derive(options.seed, "forest") % 2**32,
    }
    kind = RandomForestRegressor if goal.kind == "numbers" else RandomForestClassifier
    trees = kind(**settings)
    trees.fit(x, y[:, 0] if y.shape[1] == 1 else y)
    what = "pixels" if goal.per_pixel else "images"
    return RecordForest(trees, goal, (f"grew on {len(x)} {what}, {x.shape[1]} numbers each",))


def _drawn(
    record: Sample, goal: Goal, options: ForestOptions, records: int
) -> tuple[Values, npt.NDArray[Any]]:
    """(features [N,F], targets [N,K or 1]) of a record."""
    target = np.asarray(record.target)
    known = goal.known(target)
    rows = (target[None] if goal.kind == "classes" else goal.rows(target)).reshape(-1, known.size)
    if not goal.per_pixel:
        places = np.flatnonzero(known)
        return image_features(record.cube)[None][: len(places)], rows[:, places].T
    planes = pixel_planes(record.cube)
    features = planes.reshape(len(planes), -1).T
    # A labelled pixel of which nothing was seen teaches nothing, as it does to networks.
    places = np.flatnonzero(known.ravel() & np.isfinite(features).any(1))
    each = -(-options.samples // records)
    if len(places) > each:
        places = np.sort(
            numpy_generator(options.seed, "forest", record.id).choice(places, each, replace=False)
        )
    return features[places], rows[:, places].T
