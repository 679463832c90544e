"""Options of the feed. No torch here, so that the command line's help stays fast."""

from __future__ import annotations

from dataclasses import dataclass

from swath.errors import ConfigError

IGNORE = -1
"""The label of a pixel or record whose class is not known; it counts in no loss and no score."""


@dataclass(frozen=True)
class AugmentConfig:
    """What is done to training samples on the device.

    Attributes:
        flips: flip rows and columns, each with probability 1/2.
        rotations: turn by 0, 90, 180 or 270 degrees (windows that are not square: 0 or 180).
        resized_crop: cut a part of this share of the area or more and resize it back bicubically; 0: off.
        band_dropout: probability that a band is marked invalid in all dates; one band always stays.
        date_dropout: probability that a date is marked invalid in all bands; one date always stays.
        radiometry: each band of a sample is stretched and shifted by normal draws of this standard deviation,
            in units of its normalised range: haze, season and calibration vary like that between places.
    """

    flips: bool = True
    rotations: bool = True
    resized_crop: float = 0.0
    band_dropout: float = 0.0
    date_dropout: float = 0.0
    radiometry: float = 0.0

    def __post_init__(self) -> None:
        for name in ("resized_crop", "band_dropout", "date_dropout", "radiometry"):
            value = getattr(self, name)
            if not 0.0 <= value < 1.0:
                raise ConfigError(f"{value} is not in [0, 1)", where=name, mend="give a share such as 0.2")


NO_AUGMENT = AugmentConfig(flips=False, rotations=False)
