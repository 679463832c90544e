"""Pretraining in stages: what each sees, and how it goes on from the one before. No torch here."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from swath.errors import ConfigError


@dataclass(frozen=True)
class MixOptions:
    """Another data set that samples are drawn from as well.

    Attributes:
        data: options over those of `data`, such as {"patches": "folder", "scenes": []}.
        weight: how often, against `start.weight` of the first.
    """

    data: dict[str, Any] = field(default_factory=dict)
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_weight(self.weight, "start.mix.weight")


@dataclass(frozen=True)
class StartOptions:
    """What a run begins with, and what it draws samples from beside its data.

    Attributes:
        weights: of a pretraining of the same family to go on from; "": fresh ones.
        positions: learned positions of another grid or other bands are resized ("resize") or drawn anew ("reinit",
            what the published second stage of SpectralGPT does).
        region: learn only from places inside west, south, east, north (degrees); empty: from all.
        weight: of `data` in the mixture.
        mix: further data sets.
    """

    weights: str = ""
    positions: Literal["resize", "reinit"] = "resize"
    region: tuple[float, ...] = ()
    weight: float = 1.0
    mix: tuple[MixOptions, ...] = ()

    def __post_init__(self) -> None:
        check_region(self.region, "start.region")
        _check_weight(self.weight, "start.weight")


@dataclass(frozen=True)
class StageOptions:
    """One stage of several; what it does not say is as the run says it.

    Attributes:
        name: of its folder.
        data: options over the run's `data`: other files, `gsd` (pixel size), window, dates.
        mask: options over the run's `mask`.
        training: options over the run's `training`.
        steps: optimiser steps; 0: those of `training`, or of `epochs`.
        epochs: in place of steps. An epoch is as many samples as the data hold, those of `mix` counted too: records, or
            of scenes as many windows as fit side by side.
        region, positions, weight, mix: as in `start`, where they are left out then.
    """

    name: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    mask: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    steps: int = 0
    epochs: float = 0.0
    region: tuple[float, ...] = ()
    positions: Literal["resize", "reinit"] = "resize"
    weight: float = 1.0
    mix: tuple[MixOptions, ...] = ()

    def __post_init__(self) -> None:
        check_region(self.region, "stages.region")
        _check_weight(self.weight, "stages.weight")
        if not re.fullmatch(r"[\w][\w.-]*|", self.name):
            raise ConfigError(
                f"'{self.name}' is no name of a folder",
                where="stages.name",
                mend="take letters, digits, dots, dashes and underscores",
            )
        given = math.isfinite(self.epochs) and self.epochs >= 0 and self.steps >= 0
        if not given or (self.steps and self.epochs):
            raise ConfigError(
                f"{self.steps} steps and {self.epochs:g} epochs",
                where="stages",
                mend="give one of them, above 0",
            )


def _check_weight(weight: float, where: str) -> None:
    if not (math.isfinite(weight) and weight > 0):
        raise ConfigError(f"{weight} is not above 0", where=where, mend="leave out what weighs nothing")


def check_region(region: tuple[float, ...], where: str) -> None:
    """Raises ConfigError if `region` is neither empty nor west, south, east, north; west > east crosses 180°."""
    if not region:
        return
    fits = len(region) == 4 and region[1] < region[3] and region[0] != region[2]
    if not (
        fits and all(-180 <= x <= 180 for x in region[::2]) and all(-90 <= y <= 90 for y in region[1::2])
    ):
        raise ConfigError(
            f"{list(region)} is no region", where=where, mend="write [west, south, east, north] in degrees"
        )


def inside(lon: float, lat: float, region: tuple[float, ...]) -> bool:
    """Whether a place lies in a region."""
    west, south, east, north = region
    across = west <= lon <= east if west < east else (lon >= west or lon <= east)
    return across and south <= lat <= north
