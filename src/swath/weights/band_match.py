"""Which bands of pretrained weights are which bands of new data: by name, and across sensors by wavelength."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from swath.bands import SENSORS, Band, Spectrometer

_RADAR_NM = 1e6  # polarisations share a wavelength, so it tells nothing of them


@dataclass(frozen=True)
class BandMatch:
    """Bands of new data among those of the weights.

    Attributes:
        have: of the weights, in the order of their channels.
        want: of the data, in theirs.
        index: for each of `want` its place in `have`; None: the weights do not know it.
    """

    have: tuple[Band, ...]
    want: tuple[Band, ...]
    index: tuple[int | None, ...]

    @property
    def same(self) -> bool:
        """Whether the data have the bands of the weights in their order."""
        return self.index == tuple(range(len(self.have)))

    def rows(self) -> list[tuple[str, int, str]]:
        """(what, how many, which) for a table."""
        kept, new = [], []
        for band, i in zip(self.want, self.index, strict=True):
            if i is None:
                new.append(band.name)
                continue
            other = self.have[i]
            from_ = "" if (other.sensor, other.name) == (band.sensor, band.name) else f" from {_told(other)}"
            kept.append(f"{band.name}{from_}")
        left = [_told(b) for i, b in enumerate(self.have) if i not in self.index]
        rows = [("bands kept", kept), ("bands new, at 0", new), ("bands dropped", left)]
        return [(what, len(names), ", ".join(names) or "-") for what, names in rows]


def match(have: Sequence[Band], want: Sequence[Band]) -> BandMatch:
    """Bands of one sensor by name; bands of different sensors (or of spectrometers) by wavelength.

    Two bands by wavelength are one if the centre of either lies within the other; the nearest pairs come first, and a
    band is taken once. Panchromatic bands and radar are matched by name alone.
    """
    index: list[int | None] = []
    for band in want:
        named = (i for i, b in enumerate(have) if (b.sensor, b.name) == (band.sensor, band.name))
        index.append(next(named, None))
    pairs = sorted(
        (abs(a.center_nm - b.center_nm), a.name, b.name, w, h)  # names: order must not decide between equals
        for w, a in enumerate(want)
        for h, b in enumerate(have)
        if index[w] is None and h not in index and _alike(a, b)
    )
    for *_, w, h in pairs:
        if index[w] is None and h not in index:
            index[w] = h
    return BandMatch(tuple(have), tuple(want), tuple(index))


def _alike(a: Band, b: Band) -> bool:
    if a.sensor == b.sensor and not isinstance(SENSORS.get(a.sensor), Spectrometer):
        return False  # its own names tell its bands apart
    if "pan" in (a.common, b.common) or is_radar(a) or is_radar(b):
        return False
    return abs(a.center_nm - b.center_nm) <= max(a.width_nm, b.width_nm) / 2


def is_radar(band: Band) -> bool:
    """Whether its wavelength is that of a radar."""
    return band.center_nm > _RADAR_NM


def _told(band: Band) -> str:
    return f"{band.name} of {band.sensor}" if band.sensor else band.name
