"""Groups of options that several verbs share. No torch here: the command line's help reads them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from swath.data.spec import SceneSpec
from swath.errors import ConfigError
from swath.verbs.data_folder import named_source


@dataclass(frozen=True)
class ModelOptions:
    """Which network.

    Attributes:
        system: its family: "spectralgpt", "st_swin_mae", "swin_mae", "mae", "satmae", "beit", "simclr" or "moco" to
            pretrain; "st_swin_unet" or "unet" to draw maps; "resnet" for one answer per image from scratch.
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
        check_columns(self.columns, "data.normalise.columns")
        if self.columns and self.scope != "fixed":
            raise ConfigError(
                f"columns are chosen, but the scope is {self.scope}",
                where="data.normalise",
                mend="set scope to fixed, or leave columns out",
            )


@dataclass(frozen=True)
class LayoutOptions:
    """A data set on the disk, as published.

    Attributes:
        name: of its layout; `swath inspect --layouts true` lists them.
        root: its folder.
        options: options of the layout, such as {"resampling": "bilinear"}.
        bad_items: share of the items that may be bad; they stay in the order, wholly invalid.
    """

    name: str
    root: str
    options: dict[str, Any] = field(default_factory=dict)
    bad_items: float = 0.01

    def __post_init__(self) -> None:
        check_share(self.bad_items, "data.layout.bad_items")


@dataclass(frozen=True)
class PixelData:
    """Images without labels, from one of scenes, patches, shards and layout.

    Attributes:
        scenes: rasters to cut windows from.
        patches: a folder of BigEarthNet-S2 patches, or "demo:bigearthnet".
        shards: folders or addresses that `swath pack` wrote; their records are read as they are needed.
        layout: a data set that is read into memory whole.
        split: of shards or a layout: the official part to learn from; empty: all.
        cube: of shards or a layout whose records have several sensors: which.
        bands: of shards or a layout: those to learn from, by name; empty: all.
        gsd: pixel size that all images are brought to, m; 0: their own. Coarser by a whole factor: means of valid
            pixels, valid where at least half of a block is; finer: pixels are repeated. Anything else is refused.
        hold_out: places that are never learned from nor counted in fixed statistics, to look at reconstructions of: for
            scenes "row,column,height,width" in pixels of the first scene as its files have them; else names of patches
            or ids of records.
        columns: learn from these columns (start, stop) of every scene only, as its files have them; empty: from all.
        window: side of the training windows, pixels of the size that `gsd` says.
        min_valid: least share of valid pixels: of scenes in a window and, with `dates`, of scenes, shards or a layout in
            a window of each date that is taken (0.5 if not given; what has no such window is never drawn, and counted in
            a warning); else of patches, shards and a layout in a whole record as it was read, over all its bands: those
            that have fewer are not learned from (if not given, all are).
        dates: of scenes, shards or a layout: how many dates of a series a sample takes, drawn anew each time, and its
            place with them; 0: all.
        normalise: how values are scaled.
    """

    scenes: tuple[SceneSpec, ...] = ()
    patches: str = ""
    shards: tuple[str, ...] = ()
    layout: LayoutOptions | None = None
    split: str = ""
    cube: str = ""
    bands: tuple[str, ...] = ()
    hold_out: tuple[str, ...] = ()
    columns: tuple[int, ...] = ()
    gsd: float = 0.0
    window: int = 96
    min_valid: float | None = None
    dates: int = 0
    normalise: NormaliseOptions = field(default_factory=NormaliseOptions)

    @classmethod
    def of_text(cls, text: str) -> dict[str, Any]:
        """FOLDER is short for the layout of its dataset.yaml, or for its shards."""
        return {"scenes": [], "patches": "", "shards": [], "layout": None, **named_source(text)}

    def __post_init__(self) -> None:
        named = [name for name in ("scenes", "patches", "shards", "layout") if getattr(self, name)]
        if len(named) != 1:
            raise ConfigError(
                f"data names {' and '.join(named) or 'no images'}",
                where="data",
                mend="give one of data.scenes, data.patches, data.shards and data.layout",
            )
        check_columns(self.columns, "data.columns")
        if self.dates < 0 or (self.dates and self.patches):
            raise ConfigError(
                f"is {self.dates}",
                where="data.dates",
                mend="give 0, or a number of dates of scenes, shards or a layout",
            )
        if not self.scenes and (self.columns or self.normalise.columns):
            raise ConfigError(
                f"columns are those of scenes, not of {named[0]}", where="data", mend="leave columns out"
            )
        for name in ("split", "cube", "bands"):
            if getattr(self, name) and not (self.shards or self.layout):
                raise ConfigError(
                    "is for shards and layouts", where=f"data.{name}", mend="choose in data.scenes instead"
                )
        if self.window < 1:
            raise ConfigError(f"is {self.window}", where="data.window", mend="give a number of pixels")
        if not (math.isfinite(self.gsd) and self.gsd >= 0):
            raise ConfigError(
                f"is {self.gsd:g}", where="data.gsd", mend="give metres per pixel, or 0 for the data's own"
            )
        if self.min_valid is not None:
            check_share(self.min_valid, "data.min_valid")

    @property
    def window_valid(self) -> float:
        """Least share of valid pixels in a window of a scene, and with `dates` in one of each date."""
        return 0.5 if self.min_valid is None else self.min_valid


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

    def __post_init__(self) -> None:
        if not self.folder.strip():  # an empty path is the folder where the command is typed
            raise ConfigError("is empty", where="run.folder", mend="name the run's own folder")


def check_columns(columns: tuple[int, ...], where: str) -> None:
    """Raises ConfigError if `columns` is neither empty nor (start, stop)."""
    if columns and (len(columns) != 2 or not 0 <= columns[0] < columns[1]):
        raise ConfigError(f"{list(columns)} is no range of columns", where=where, mend="write [start, stop]")


def check_share(share: float, where: str) -> None:
    """Raises ConfigError if `share` is not from 0 to 1."""
    if not 0 <= share <= 1:
        raise ConfigError(f"is {share:g}", where=where, mend="give a share from 0 to 1")


@dataclass(frozen=True, kw_only=True)
class AskOptions:
    """How a network that is trained already is asked.

    Attributes:
        batch_size: windows per call of the network.
        threads: of torch; 0: as many as it takes by itself.
        precision: "auto" is bf16 on a GPU and on CPUs with AMX, else fp32.
        device: "auto" is the GPU if there is one.
    """

    batch_size: int = 16
    threads: int = 0
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        if self.threads < 0:
            raise ConfigError(f"is {self.threads}", where="threads", mend="give 0 or more")
        if self.batch_size < 1:
            raise ConfigError(f"is {self.batch_size}", where="batch_size", mend="give 1 or more")
