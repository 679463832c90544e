"""Options of pretraining. No torch here, so that the command line's help stays fast."""

from __future__ import annotations

from dataclasses import dataclass

from swath.errors import ConfigError


@dataclass(frozen=True)
class ViewConfig:
    """What sets the two views of SimCLR and MoCo apart, beyond `training.augment`, which both share.

    Attributes:
        resized_crop: a view is a part of this share of the area or more, resized back; 0: no crop.
        flips: all eight symmetries of a square (four of a rectangle), each as likely.
        band_dropout: probability that a view lacks a band; one with data always stays.
        radiometry: each band of a view is stretched and shifted by normal draws of this standard deviation.
        seasonal: each view is one date; two different ones wherever a sample has two dates with
            data; false: all dates.
    """

    resized_crop: float = 0.2
    flips: bool = True
    band_dropout: float = 0.1
    radiometry: float = 0.1
    seasonal: bool = True

    def __post_init__(self) -> None:
        for name in ("resized_crop", "band_dropout", "radiometry"):
            value = getattr(self, name)
            if not 0.0 <= value < 1.0:
                raise ConfigError(f"{value} is not in [0, 1)", where=f"views.{name}", mend="give a share")
