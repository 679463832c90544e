"""Options of the feed. No torch here, so that the command line's help stays fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from swath.errors import ConfigError

IGNORE = -1
"""The label of a pixel or record whose class is not known; it counts in no loss and no score."""

Interpolation = Literal["bicubic", "bilinear"]


@dataclass(frozen=True)
class AugmentConfig:
    """What is done to training samples on the device.

    Attributes:
        flips: flip rows and columns, each with probability 1/2; "horizontal": columns only, as most publications do.
        rotations: turn by 0, 90, 180 or 270 degrees (windows that are not square: 0 or 180).
        chance: below 1, the probability with which a sample is flipped, turned, and noised, each by its own draw, and
            then never left as it was; 1: all that flips and turns can make of it are alike.
        noise: to every value of a sample a normal draw of this standard deviation is added, in units of its normalised
            range; 0: off.
        resized_crop: cut a part of this share of the area or more and resize it back; 0: off.
        interpolation: of pixels in a resized crop; class targets are always nearest, real ones bilinear.
        band_dropout: probability that a band is marked invalid in all dates; one band always stays.
        date_dropout: probability that a date is marked invalid in all bands; one date always stays.
        radiometry: each band of a sample is stretched and shifted by normal draws of this standard deviation,
            in units of its normalised range: haze, season and calibration vary like that between places.
        day_jitter: all days of a sample are moved together by a whole number of days, up to this many either way,
            so that a season is learned and no calendar; the pixels stay. (Which dates a sample takes is drawn by
            the feed.)
        resize: side in pixels that windows are resized to, bilinearly, before all else; 0: they stay. For publications
            that enlarge their images, such as BigEarthNet's 120 pixels to 128. A network that answers per image is
            fine-tuned to do the same with all that it is asked about later; pretraining leaves what is held out.
    """

    flips: bool | Literal["horizontal"] = True
    rotations: bool = True
    chance: float = 1.0
    noise: float = 0.0
    resized_crop: float = 0.0
    interpolation: Interpolation = "bicubic"
    band_dropout: float = 0.0
    date_dropout: float = 0.0
    radiometry: float = 0.0
    day_jitter: int = 0
    resize: int = 0

    def __post_init__(self) -> None:
        for name in ("noise", "resized_crop", "band_dropout", "date_dropout", "radiometry"):
            value = getattr(self, name)
            if not 0.0 <= value < 1.0:
                raise ConfigError(
                    f"{value} is not in [0, 1)",
                    where=f"training.augment.{name}",
                    mend="give a share such as 0.2",
                )
        if not 0.0 < self.chance <= 1.0:
            raise ConfigError(
                f"{self.chance} is not in (0, 1]",
                where="training.augment.chance",
                mend="give a share such as 0.2",
            )
        if self.chance < 1.0 and not (self.flips or self.rotations or self.noise):
            raise ConfigError(
                "flips, turns and noise are off, so that nothing is left to it",
                where="training.augment.chance",
                mend="leave it out",
            )
        if self.flips not in (True, False, "horizontal"):
            raise ConfigError(
                f"is '{self.flips}'", where="training.augment.flips", mend="use true, false or horizontal"
            )
        if self.interpolation not in ("bicubic", "bilinear"):
            raise ConfigError(
                f"is '{self.interpolation}'",
                where="training.augment.interpolation",
                mend="use bicubic or bilinear",
            )
        if self.resize < 0:
            raise ConfigError(
                f"is {self.resize}", where="training.augment.resize", mend="give a number of pixels, or 0"
            )
        if not 0 <= self.day_jitter <= 182:
            raise ConfigError(
                f"{self.day_jitter} is not 0 to 182",
                where="training.augment.day_jitter",
                mend="give a number of days such as 10",
            )


NO_AUGMENT = AugmentConfig(flips=False, rotations=False)
