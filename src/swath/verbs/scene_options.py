"""The options that `swath predict` and `swath embed` share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from swath.errors import ConfigError
from swath.scenes.sources.spec import SourceSpec


@dataclass(frozen=True)
class SceneOptions:
    """What a scene is mapped with.

    Attributes:
        weights: of a network, with a contract that says what it eats.
        input: the scene: raster files, SAFE products, a Zarr store or netCDF, or STAC; paths or addresses.
        output: a file on this machine.
        plan: only say what would be done, with memory and time, and write nothing.
        overwrite: replace an earlier output, and throw away an unfinished one that was begun with other options.
        overlap: pixels that neighbouring windows share; null: a quarter of the window or more.
        batch_size: windows per call of the network.
        min_coverage: percent of valid input below which a pixel or cell is no-data.
        max_holes: share of the pixels or cells, 0 to 1, that may be unreadable; they become no-data and are listed.
        item: write a STAC item beside the output (map.stac.json; of other files than GeoTIFFs features.zarr.stac.json),
            with the model's metadata.
        workers: processes that share the work.
        threads: of each worker; 0: the cores shared evenly, or those an interrupted output was begun with. The bits
            depend on it, and not on the number of workers.
        engine: "local", or "ray" for workers on a Ray cluster.
        ray_address: of the cluster; empty: the one this machine belongs to, else one is started here.
        precision: "auto" is bf16 on a GPU and on CPUs with AMX, else fp32.
        device: "auto" is the GPU if there is one.
    """

    weights: str
    input: SourceSpec
    output: str
    plan: bool = False
    overwrite: bool = False
    overlap: int | None = None
    batch_size: int = 16
    min_coverage: int = 1
    max_holes: float = 0.0
    item: bool = True
    workers: int = 1
    threads: int = 0
    engine: Literal["local", "ray"] = "local"
    ray_address: str = ""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        for name, least in (("workers", 1), ("threads", 0), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{getattr(self, name)} is less than {least}", where=name)
        if not 0 <= self.max_holes < 1:
            raise ConfigError(f"{self.max_holes} is no share from 0 to 1", where="max_holes")
        if self.ray_address and self.engine != "ray":
            raise ConfigError(
                "is for engine ray", where="ray_address", mend="set engine to ray, or leave it out"
            )
