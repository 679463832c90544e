"""A threshold on a spectral index, fitted on labels: NDWI, MNDWI or NDVI, whichever tells two classes apart best.

NDWI: McFeeters 1996; MNDWI: Xu 2006; NDVI: Rouse et al. 1974. Bands are found by wavelength, whatever the sensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from swath.bands import Band
from swath.baselines.features import over_dates, physical
from swath.baselines.goal import Goal, Values
from swath.cube import Cube, Sample
from swath.errors import ConfigError, InputError
from swath.rng import numpy_generator

# nm: lowest, best, highest.
_COLOURS = {
    "green": (510, 560, 600),
    "red": (620, 660, 690),
    "nir": (760, 850, 900),
    "swir": (1550, 1610, 1750),
}
INDICES = {"NDWI": ("green", "nir"), "MNDWI": ("green", "swir"), "NDVI": ("nir", "red")}
_PIXELS = 200_000


def indices_of(bands: Sequence[Band]) -> dict[str, tuple[int, int]]:
    """Name -> places of its two bands, of those indices that the bands allow."""
    found: dict[str, int] = {}
    for colour, (low, best, high) in _COLOURS.items():
        inside = [i for i, b in enumerate(bands) if low <= b.center_nm <= high]
        if inside:
            found[colour] = min(inside, key=lambda i: abs(bands[i].center_nm - best))
    return {name: (found[a], found[b]) for name, (a, b) in INDICES.items() if a in found and b in found}


def index_plane(cube: Cube, places: tuple[int, int]) -> Values:
    """[H,W] normalised difference of two bands, of their means over dates; NaN where unknown or 0 / 0."""
    mean = over_dates(physical(cube))
    a, b = mean[places[0]], mean[places[1]]
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Values = ((a - b) / (a + b)).astype(np.float32)
    found[~np.isfinite(found)] = np.nan
    return found


@dataclass(frozen=True)
class IndexThreshold:
    """Above the threshold is one class, below it the other.

    Attributes:
        index: its name.
        places: of its bands.
        threshold: in units of the index.
        above: the class above it, 0 or 1.
        common: the class where the index is unknown.
        score: mean IoU on the pixels it was fitted on.
    """

    index: str
    places: tuple[int, int]
    threshold: float
    above: int
    common: int
    score: float

    @property
    def notes(self) -> tuple[str, ...]:
        """Which it is."""
        return (
            f"{self.index} above {self.threshold:.3f} is class number {self.above}; "
            f"mean IoU {self.score:.3f} where it was fitted",
        )

    def answer(self, cube: Cube) -> Values:
        """[2,H,W], zeros and ones."""
        values = index_plane(cube, self.places)
        said = np.where(values > self.threshold, self.above, 1 - self.above)
        said[np.isnan(values)] = self.common
        return np.stack([said == 0, said == 1]).astype(np.float32)


def fit_index(records: Sequence[Sample], goal: Goal, seed: int = 0) -> IndexThreshold:
    """The index and threshold with the best mean IoU on the records' labelled pixels.

    Raises:
        ConfigError: the answer is no map of two classes, or the bands allow no index.
        InputError: nothing is labelled.
    """
    if goal.kind != "classes" or goal.outputs != 2 or not goal.per_pixel:
        raise ConfigError("a threshold tells two classes of pixels apart", where="method", mend="use forest")
    bands = records[0].cube.bands
    known = indices_of(bands)
    if not known:
        raise ConfigError(
            "the bands allow no spectral index", where="method", mend="use forest, or add near infrared"
        )
    each = -(-_PIXELS // len(records))
    values: dict[str, list[Values]] = {name: [] for name in known}
    labels: list[npt.NDArray[np.int64]] = []
    for record in records:
        target = np.asarray(record.target)
        places = np.flatnonzero(goal.known(target))
        if len(places) > each:
            places = numpy_generator(seed, "index", record.id).choice(places, each, replace=False)
        labels.append(target.ravel()[places])
        for name, pair in known.items():
            values[name].append(index_plane(record.cube, pair).ravel()[places])
    truth = np.concatenate(labels)
    if not truth.size:
        raise InputError("nothing is labelled", where="part train", mend="check the labels")
    common = int(np.bincount(truth, minlength=2).argmax())
    fitted = [
        IndexThreshold(name, known[name], threshold, above, common, score)
        for name in known
        for threshold, above, score in [best_threshold(np.concatenate(values[name]), truth)]
    ]
    return max(fitted, key=lambda one: one.score)


def best_threshold(values: Values, truth: npt.NDArray[np.int64]) -> tuple[float, int, float]:
    """(threshold, class above it, mean IoU) that is best on values and classes 0 and 1 [N]; NaN is left out."""
    seen = np.isfinite(values)
    if not seen.any():
        return 0.0, 1, 0.0
    order = np.argsort(values[seen], kind="stable")
    ranked, ones = values[seen][order], truth[seen][order].astype(np.float64)
    # A cut after place i: i + 1 values lie below it. Equal values cannot be parted.
    last = np.append(ranked[1:] > ranked[:-1], True)
    below1, below = np.cumsum(ones)[last], (np.arange(len(ones)) + 1.0)[last]
    total1, total = float(ones.sum()), float(len(ones))
    below0, total0 = below - below1, total - total1
    cuts = ranked[last].astype(np.float64)
    middle = np.append((cuts[:-1] + cuts[1:]) / 2, cuts[-1])
    found = []
    for above in (0, 1):
        # Right answers of each class, and all pixels that are or are said to be of it.
        right1 = total1 - below1 if above else below1
        right0 = below0 if above else total0 - below0
        said1 = total - below if above else below
        iou1 = right1 / np.maximum(total1 + said1 - right1, 1)
        iou0 = right0 / np.maximum(total0 + (total - said1) - right0, 1)
        score = (iou0 + iou1) / 2
        best = int(score.argmax())
        found.append((float(middle[best]), above, float(score[best])))
    return max(found, key=lambda one: one[2])
