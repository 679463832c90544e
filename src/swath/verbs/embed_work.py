"""What `swath embed` has to do, as values: its job, the range of 8 bits, and where features go."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from swath.errors import OutputError
from swath.scenes.cells import cell_grid, cell_plan
from swath.scenes.estimate import Estimate
from swath.scenes.features import FeatureMap
from swath.scenes.job import FeatureJob
from swath.scenes.layers import FeatureLayers
from swath.scenes.ranges import sample_range
from swath.scenes.sink import CogSink
from swath.scenes.sources.opening import Source
from swath.scenes.stac import MapFacts
from swath.scenes.target import Target
from swath.scenes.worker import torch_threads
from swath.verbs.embed import EmbedConfig
from swath.verbs.scene_work import Given, estimated, shared, tags_of
from swath.weights.file import Loaded

_PARQUET, _ZARR = (".parquet", ".geoparquet"), ".zarr"


def feature_job(
    config: EmbedConfig, given: Given, scene: Source, network: FeatureMap, begun: Mapping[str, Any]
) -> FeatureJob:
    """All choices made, the same for every worker; the range of 8 bits, where it is to be found, is 0 to 1 yet.

    Args:
        config: of the verb.
        given: the weights, which say what they eat.
        scene: open.
        network: of the weights, on the CPU.
        begun: what an interrupted output was begun with, or nothing.

    Raises:
        ConfigError: options do not fit the encoder.
        ContractError: the scene does not.
    """
    features, cell = network.shape(scene.read(-1, -1, 1, 1).shape[0], given.contract)
    low, high = config.range or (0.0, 1.0)
    ranged = features if config.dtype == "uint8" else 0
    overlap = 0 if config.pooled else config.overlap
    return FeatureJob(
        plan=cell_plan(scene.height, scene.width, given.size, cell, overlap, features),
        layers=FeatureLayers(features, config.dtype, config.min_coverage, (low,) * ranged, (high,) * ranged),
        turns=False,
        cell=cell,
        level=config.level,
        pooled=config.pooled,
        **shared(config, given, scene, begun, torch.get_num_threads()),
    )


def about_of(config: EmbedConfig, job: FeatureJob, loaded: Loaded, scene: Source) -> dict[str, Any]:
    """All that the output's bits depend on, and how the range of 8 bits is found."""
    rule = None if config.dtype != "uint8" else "stated" if config.range is not None else config.sample
    return {**job.about(loaded.sha256, scene.identity()), "range": rule}


def with_kept_range(
    config: EmbedConfig, job: FeatureJob, loaded: Loaded, scene: Source, begun: Mapping[str, Any]
) -> FeatureJob | None:
    """The job with the range of an interrupted output that differs in nothing else; None where there is none.

    On a GPU a sample need not come out the same to the last bit, so it is not taken again.
    """
    if config.dtype != "uint8" or config.range is not None:
        return job
    kept = begun.get("bands")
    if not isinstance(kept, dict):
        return None
    low, high = (tuple(kept.get(name) or ()) for name in ("low", "high"))
    if not len(low) == len(high) == job.layers.features:
        return None
    again = replace(job, layers=replace(job.layers, low=low, high=high))
    # As it comes back from JSON.
    return again if json.loads(json.dumps(about_of(config, again, loaded, scene))) == begun else None


def with_sampled_range(
    config: EmbedConfig, job: FeatureJob, scene: Source, network: FeatureMap
) -> FeatureJob:
    """The job with the range of a sample."""
    with torch_threads(job.threads):
        low, high = sample_range(job.engine(scene, network.to(job.device)), config.sample)
    return replace(job, layers=replace(job.layers, low=low, high=high))


def check_name(output: Path) -> None:
    """Raises OutputError if the output's name says nothing that is known."""
    if output.suffix.lower() not in (*CogSink.SUFFIXES, *_PARQUET, _ZARR):
        raise OutputError(
            "features are GeoTIFF, GeoParquet or Zarr",
            where=output,
            mend="let the name end in .tif, .parquet or .zarr",
        )


def feature_target(config: EmbedConfig, job: FeatureJob, given: Given, scene: Source) -> Target:
    """What the output's name asks for.

    Raises:
        OutputError: it exists.
        ConfigError: a library is missing.
    """
    grid = cell_grid(scene.grid, job.cell)
    level = "pooled" if job.pooled else str(job.level)
    tags = {**tags_of(given.loaded), "LEVEL": level, "STRIDE": str(job.cell)}
    facts = None
    if config.item:
        items = getattr(scene, "items", ())
        facts = MapFacts(scene.dates, items, given.loaded, "features", outputs=job.layers.features)
    path, layers, overwrite = given.output, job.layers, config.overwrite
    if path.suffix.lower() == _ZARR:
        from swath.scenes.zarr_store import ZarrSink

        return ZarrSink(path, grid, layers, scene.dates, overwrite=overwrite, tags=tags, facts=facts)
    if path.suffix.lower() in _PARQUET:
        from swath.scenes.geoparquet import ParquetSink

        edge = scene.height / job.cell, scene.width / job.cell
        return ParquetSink(path, grid, layers, edge, scene.dates, overwrite=overwrite, tags=tags, facts=facts)
    return CogSink(path, grid, layers, overwrite=overwrite, tags=tags, facts=facts)


def estimate_features(
    config: EmbedConfig, job: FeatureJob, scene: Source, network: FeatureMap, finished: int
) -> Estimate:
    """What it will take, where so many blocks are finished already; writes nothing."""
    found = estimated(config, job, scene, network, finished)
    tiff = Path(config.output).suffix.lower() in CogSink.SUFFIXES
    return found if tiff else replace(found, overviews=0)
