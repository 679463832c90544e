"""The options that `swath predict` and `swath embed` share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from swath.errors import ConfigError
from swath.scenes.sources.spec import SourceSpec
from swath.verbs.options import AskOptions


@dataclass(frozen=True)
class SceneOptions(AskOptions):
    """What a scene is mapped with.

    Attributes:
        weights: of a network, with a contract that says what it eats.
        input: the scene: raster files, SAFE products, a Zarr store or netCDF, or STAC; paths or addresses.
        output: a file on this machine.
        plan: only say what would be done, with memory and time, and write nothing.
        overwrite: replace an earlier output, and throw away an unfinished one that was begun with other options.
        overlap: pixels that neighbouring windows share; null: a quarter of the window or more.
        min_coverage: percent of valid input below which a pixel or cell is no-data.
        max_holes: share of the pixels or cells, 0 to 1, that may be unreadable; they become no-data and are listed.
        item: write a STAC item beside the output (map.stac.json; of other files than GeoTIFFs features.zarr.stac.json),
            with the model's metadata.
        workers: processes that share the work.
        threads: of each worker; 0: the cores shared evenly, or those an interrupted output was begun with. The bits
            depend on it, and not on the number of workers.
        engine: "local", or "ray" for workers on a Ray cluster.
        ray_address: of the cluster; empty: the one this machine belongs to, else one is started here.
    """

    weights: str
    input: SourceSpec
    output: str
    plan: bool = False
    overwrite: bool = False
    overlap: int | None = None
    min_coverage: int = 1
    max_holes: float = 0.0
    item: bool = True
    workers: int = 1
    engine: Literal["local", "ray"] = "local"
    ray_address: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.workers < 1:
            raise ConfigError(f"is {self.workers}", where="workers", mend="give 1 or more")
        if not 0 <= self.max_holes < 1:
            raise ConfigError(f"{self.max_holes} is no share from 0 to 1", where="max_holes")
        if self.ray_address and self.engine != "ray":
            raise ConfigError(
                "is for engine ray", where="ray_address", mend="set engine to ray, or leave it out"
            )
