"""`swath embed`: what an encoder sees of a scene, as georeferenced features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from swath.errors import ConfigError
from swath.verbs.registry import RECIPE
from swath.verbs.scene_options import SceneOptions
from swath.words import counted

if TYPE_CHECKING:
    from swath.scenes.estimate import Estimate

POSITIONAL = (RECIPE,)


@dataclass(frozen=True)
class EmbedConfig(SceneOptions):
    """Write the features of a scene.

    Attributes:
        weights: of a network with an encoder: pretrained, or fine-tuned.
        output: features.tif, a Cloud-Optimized GeoTIFF with a band for each; features.parquet, GeoParquet with a row
            for each cell; or features.zarr, a Zarr store.
        level: of the encoder's maps, 0 is the finest; -1 the coarsest.
        pooled: instead of a level's cells, one vector per window, the encoder's own; windows lie side by side then.
        dtype: of the file. "uint8" are 8 bits with a scale and an offset for each feature, which GDAL and QGIS
            apply; a number is then within half a scale.
        range: of all features in 8 bits, such as [-4, 4]; null: each feature has its own, of a sample.
        sample: windows of the sample, spread evenly over the scene; its range is widened by an eighth on either
            side. What lies beyond is stored as the end, and counted.
    """

    level: int = -1
    pooled: bool = False
    dtype: Literal["float32", "float16", "uint8"] = "float32"
    range: tuple[float, float] | None = None
    sample: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sample < 1:
            raise ConfigError(f"{self.sample} is less than 1", where="sample")
        if self.range is not None and self.dtype != "uint8":
            raise ConfigError(
                f"{self.dtype} needs none", where="range", mend="leave it out, or use dtype uint8"
            )
        if self.range is not None and not float("-inf") < self.range[0] < self.range[1] < float("inf"):
            raise ConfigError(
                f"{list(self.range)} is no range", where="range", mend="give two ascending numbers"
            )
        if self.pooled and self.overlap:
            raise ConfigError(
                "windows of which each gives one vector lie side by side",
                where="overlap",
                mend="leave it out",
            )
        if self.pooled and self.level != -1:
            raise ConfigError("is of a level's cells, not of windows", where="level", mend="leave it out")


@dataclass(frozen=True)
class EmbedResult:
    """What was written: `features` numbers for each cell of `stride` pixels.

    Attributes:
        beyond: values beyond the range of 8 bits, stored as its ends.
        holes: what could not be read: first row and column, height and width, in cells.
    """

    output: str
    features: int
    stride: int
    dtype: str
    cells: int
    nodata_cells: int
    windows: int
    empty_windows: int
    blocks: int
    kept_blocks: int
    hole_cells: int
    holes: tuple[tuple[int, int, int, int], ...]
    beyond: int
    seconds: float
    km2: float | None
    workers: int
    threads: int
    precision: str

    def summary(self) -> str:
        """A few words for a terminal."""
        words = [
            f"{counted(self.features, 'feature')} of {counted(self.cells, 'cell')} of "
            f"{counted(self.stride, 'pixel')} in {self.dtype}"
        ]
        words[0] += f", {self.nodata_cells / self.cells:.1%} no-data"
        if self.hole_cells:
            words.append(f"{self.hole_cells / self.cells:.2%} could not be read")
        if self.beyond:
            share = self.beyond / max(1, self.features * (self.cells - self.nodata_cells))
            words.append(
                f"{self.beyond} values ({share:.1g} of all) lie beyond the range, stored as its ends"
            )
        if self.kept_blocks:
            words.append(f"{self.kept_blocks} of {counted(self.blocks, 'block')} of an earlier run")
        return f"{'; '.join(words)}; {self.seconds:.1f} s in {self.precision}\n{self.output}"


def run(config: EmbedConfig) -> EmbedResult | Estimate:
    """Features of a scene of any size in constant memory; interrupted, it is gone on with.

    Raises:
        SwathError: in one line, if the weights, the scene or the output do not fit; nothing is left then.
    """
    from swath.data.gdal import bounded_cache
    from swath.scenes.features import FeatureMap
    from swath.scenes.sources.opening import open_source
    from swath.scenes.work import begun_with, finished_blocks
    from swath.verbs.embed_work import (
        about_of,
        check_name,
        estimate_features,
        feature_job,
        feature_target,
        with_kept_range,
        with_sampled_range,
    )
    from swath.verbs.scene_work import carry_out, given_by
    from swath.weights.build import build_loaded

    given = given_by(config, "swath")
    check_name(given.output)
    output, loaded = given.output, given.loaded
    network = FeatureMap(build_loaded(loaded), config.level, config.pooled).eval()
    with bounded_cache(), open_source(config.input) as scene:
        begun = begun_with(output) or {}
        job = feature_job(config, given, scene, network, begun)
        kept = with_kept_range(config, job, loaded, scene, begun)
        if config.plan or kept is None:
            # An output that was begun otherwise is refused before anything is computed.
            about = about_of(config, kept or job, loaded, scene)
            done = finished_blocks(output, about, overwrite=config.overwrite)
            if config.plan:
                return estimate_features(config, kept or job, scene, network, done)
        # Made twice, since the range is not known yet: a name that does not fit is said before one is looked for.
        given.refuse(feature_target(config, job, given, scene), scene)
        job.engine(scene, network).check()
        job = kept or with_sampled_range(config, job, scene, network)
        about = about_of(config, job, loaded, scene)
        made, beyond = carry_out(
            config, job, scene, network, feature_target(config, job, given, scene), about
        )
    holes = tuple((b.row, b.col, b.height, b.width) for b in made.holes)
    return EmbedResult(
        str(output), job.layers.features, job.cell, config.dtype, made.pixels, made.nodata_pixels,
        made.windows, made.empty_windows, made.blocks, made.kept_blocks, made.hole_pixels, holes, beyond,
        made.seconds, made.km2, config.workers, job.threads, job.precision,
    )  # fmt: skip
