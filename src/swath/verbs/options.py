"""Groups of options that several verbs share. No torch here: the command line's help reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from swath.data.legend import LandClass
from swath.data.spec import SceneSpec
from swath.errors import ConfigError


@dataclass(frozen=True)
class ModelOptions:
    """Which network.

    Attributes:
        system: its family: "spectralgpt", "st_swin_mae", "swin_mae", "mae", "satmae", "beit", "simclr" or "moco" to
            pretrain; "st_swin_unet" or "unet" to draw maps.
        preset: a named size of that family; `swath inspect --presets true` lists them.
        options: single options over the preset, such as {"embed_dim": 64}.
    """

    system: str
    preset: str = ""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NormaliseOptions:
    """How physical values become what the network eats.

    Attributes:
        kind: "standard" (mean and standard deviation), "minmax" or "identity".
        scope: whose statistics: of the whole "scene" and of each "record", anew for whatever is read later; or
            "fixed": those of the images learned from, kept in the weights.
        columns: with scope "fixed": take the statistics over these columns (start, stop) of every scene only, so
            that pixels elsewhere change nothing; empty: over all.
    """

    kind: Literal["identity", "standard", "minmax"] = "standard"
    scope: Literal["fixed", "scene", "record"] = "scene"
    columns: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_columns(self.columns, "normalise.columns")
        if self.columns and self.scope != "fixed":
            raise ConfigError(
                f"columns are chosen, but the scope is {self.scope}",
                where="normalise",
                mend="set scope to fixed, or leave columns out",
            )


@dataclass(frozen=True)
class PixelData:
    """Images without labels.

    Attributes:
        scenes: rasters to cut windows from.
        patches: a folder of BigEarthNet-S2 patches, or "demo:bigearthnet", in place of scenes.
        hold_out: places that are never learned from, to look at reconstructions of: for scenes
            "row,column,height,width" in pixels of the first scene; for patches their names.
        columns: learn from these columns (start, stop) of every scene only; empty: from all.
        window: side of the training windows, pixels.
        min_valid: least share of valid pixels in a window; with `dates`, in each date that is taken.
        dates: how many dates of a series a sample takes, drawn anew each time; 0: all.
        normalise: how values are scaled.
    """

    scenes: tuple[SceneSpec, ...] = ()
    patches: str = ""
    hold_out: tuple[str, ...] = ()
    columns: tuple[int, ...] = ()
    window: int = 96
    min_valid: float = 0.5
    dates: int = 0
    normalise: NormaliseOptions = field(default_factory=NormaliseOptions)

    def __post_init__(self) -> None:
        if bool(self.scenes) == bool(self.patches):
            raise ConfigError(
                "data names neither scenes nor patches"
                if not self.scenes
                else "data names scenes and patches",
                where="data",
                mend="give one of data.scenes and data.patches",
            )
        check_columns(self.columns, "data.columns")
        if self.dates < 0 or (self.dates and self.patches):
            raise ConfigError(
                f"is {self.dates}", where="data.dates", mend="give 0, or a number of dates of the scenes"
            )
        if self.patches and (self.columns or self.normalise.columns):
            raise ConfigError(
                "columns are those of scenes, not of patches", where="data", mend="leave columns out"
            )
        if self.window < 1:
            raise ConfigError(f"is {self.window}", where="data.window", mend="give a number of pixels")
        if not 0 <= self.min_valid <= 1:
            raise ConfigError(f"is {self.min_valid}", where="data.min_valid", mend="give a share from 0 to 1")


@dataclass(frozen=True)
class LabelledData:
    """A scene with labels per pixel.

    Attributes:
        scene: the raster.
        labels: a raster of class values on the scene's grid; most pixels may be unlabelled. "demo:landclass" and
            "demo:labelled-pixels" are embedded.
        classes: value, name and colour of each class; may be left out for embedded labels.
        ignore: values of the label raster that mean "no label", besides its no-data.
        window: side of the training windows, pixels.
        validation: width of the validation block, columns; 0: as wide as the window.
        east_start: first column of the part that training never sees; 0: the middle of the scene. West of it lie
            a buffer as wide as the window, the validation block, and the columns to learn from.
        min_valid: least share of valid pixels in a training window.
        need_label: draw only windows that hold a label (for sparse labels).
        normalise: how values are scaled, if no pretrained weights say so; always by fixed statistics of the
            columns to learn from, which go into the weights.
    """

    scene: SceneSpec
    labels: str
    classes: tuple[LandClass, ...] = ()
    ignore: tuple[int, ...] = ()
    window: int = 96
    validation: int = 0
    east_start: int = 0
    min_valid: float = 0.25
    need_label: bool = True
    normalise: NormaliseOptions = field(default_factory=lambda: NormaliseOptions(scope="fixed"))

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ConfigError(f"is {self.window}", where="data.window", mend="give a number of pixels")
        if not 0 <= self.min_valid <= 1:
            raise ConfigError(f"is {self.min_valid}", where="data.min_valid", mend="give a share from 0 to 1")
        for name in ("validation", "east_start"):
            if getattr(self, name) < 0:
                raise ConfigError(
                    f"is {getattr(self, name)}", where=f"data.{name}", mend="give a number of columns"
                )
        if self.normalise.scope != "fixed" or self.normalise.columns:
            raise ConfigError(
                "statistics are always those of the columns to learn from, since others would show the network "
                "what it is scored on",
                where="data.normalise",
                mend="leave scope and columns out",
            )


@dataclass(frozen=True)
class RunOptions:
    """Where a run goes.

    Attributes:
        folder: the run's own folder.
        overwrite: replace an earlier run in it.
        resume: continue the run in it.
    """

    folder: str
    overwrite: bool = False
    resume: bool = False


def check_columns(columns: tuple[int, ...], where: str) -> None:
    """Raises ConfigError if `columns` is neither empty nor (start, stop)."""
    if columns and (len(columns) != 2 or not 0 <= columns[0] < columns[1]):
        raise ConfigError(f"{list(columns)} is no range of columns", where=where, mend="write [start, stop]")
