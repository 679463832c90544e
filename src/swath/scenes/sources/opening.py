"""One door for all sources: what it is shows by what it is, and is said.

with open_source(SourceSpec("T32TQM.SAFE", bands=("B02", "B03"))) as scene:
    cube = scene.read(0, 0, 512, 512)
    again = open_source(scene.spec)      # in another process, say
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from os import PathLike
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from swath.data.safe import is_safe
from swath.data.spec import SceneSpec
from swath.errors import ConfigError
from swath.scenes.sources.arrays import ArraySource
from swath.scenes.sources.catalogue import find_items
from swath.scenes.sources.files import FileSource
from swath.scenes.sources.items import plan_items
from swath.scenes.sources.mosaic import MosaicSource, MosaicSpec
from swath.scenes.sources.safes import plan_safes
from swath.scenes.sources.spec import Kind, RetryOptions, SourceSpec

log = logging.getLogger(__name__)
# What a source that was open can be opened again from, in any process.
Reopenable = SceneSpec | MosaicSpec
Openable = Reopenable | str | PathLike[str] | Sequence[str]
Source = FileSource | MosaicSource | ArraySource
_ARRAYS = (".zarr", ".nc", ".nc4", ".cdf", ".netcdf")
_WORDS = {
    "files": "raster files",
    "safe": "Sentinel-2 SAFE",
    "array": "a Zarr store or netCDF",
    "stac": "STAC",
}


def open_source(what: Openable) -> Source:
    """Open a scene of any kind.

    Args:
        what: a path or address, several, a SourceSpec or SceneSpec, or the `spec` of a source that was open before
            (which asks no catalogue again).

    Raises:
        InputError: it is not there, is damaged, or does not say what is needed; see `SourceSpec`.
        ReadError: it cannot be read over the network after all tries.
        ConfigError: options contradict each other, or a library is missing.
    """
    if isinstance(what, MosaicSpec):
        return MosaicSource(what)
    if isinstance(what, (str, PathLike)):
        what = SourceSpec(str(what))
    elif not isinstance(what, SceneSpec):
        what = SourceSpec(tuple(what))
    if not isinstance(what, SourceSpec):
        return FileSource(what, RetryOptions())
    kind = kind_of(what)
    _check_options(what, kind)
    source: Source
    if kind == "safe":
        source = MosaicSource(plan_safes(what))
    elif kind == "stac":
        source = MosaicSource(plan_items(find_items(what), what))
    elif kind == "array":
        source = ArraySource(what)
    else:
        source = FileSource(what, what.retry)
    # Only now: what could not be opened is told in one line, by its error.
    log.info("%s is read as %s", what.name, _WORDS[kind])
    return source


def kind_of(spec: SourceSpec) -> Kind:
    """What a spec names: "files", "safe", "array" or "stac"; by names and, of zips and JSON, a look inside."""
    if spec.kind != "auto":
        return spec.kind
    if spec.demo is not None:
        return "files"
    kinds = {_kind_of_path(path, spec) for path in spec.paths}
    if len(kinds) > 1:
        named = " and ".join(sorted(_WORDS[k] for k in kinds))
        raise ConfigError(f"it names {named}", where=spec.name, mend="give sources of one kind")
    return kinds.pop()


def _kind_of_path(path: str, spec: SourceSpec) -> Kind:
    bare = path.split("?")[0].rstrip("/")
    suffix = PurePosixPath(urlsplit(bare).path if "://" in bare else bare).suffix.lower()
    local = Path(bare)
    if suffix == ".safe" or (local.is_dir() and any(local.glob("MTD_MSIL*.xml"))):
        return "safe"
    if suffix == ".zip":
        return "safe" if is_safe(path) and local.is_file() else "files"
    if suffix in _ARRAYS or (local.is_dir() and _is_zarr(local)):
        return "array"
    if suffix in (".json", ".geojson"):
        return "stac" if not local.is_file() or _is_stac(local) else "files"
    # An address that is no file: an API has no suffix.
    if path.startswith(("http://", "https://")) and not suffix:
        return "stac"
    searched = spec.search.bbox or spec.search.datetime or spec.search.collections
    return "stac" if searched and path.startswith(("http://", "https://")) else "files"


def _is_zarr(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray", ".zmetadata"))


def _is_stac(path: Path) -> bool:
    """Whether a JSON file is STAC; one of GDAL's (GeoJSON for a virtual raster, say) is a file."""
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return True  # its reader says what is wrong
    return isinstance(data, dict) and ("stac_version" in data or data.get("type") == "FeatureCollection")


def _check_options(spec: SourceSpec, kind: Kind) -> None:
    """What is stated for another kind would be dropped in silence."""
    plain = SourceSpec(spec.files)
    only: dict[str, tuple[Kind, ...]] = {
        "variable": ("array",),
        "search": ("stac", "safe"),
        "mask": ("stac", "safe", "array"),
        "grid": ("stac", "safe", "array"),
        "mask_band": ("files",),
        "mask_files": ("files",),
        "stack_dates": ("files",),
        "files_are": ("files",),
    }
    for name, kinds in only.items():
        if kind not in kinds and getattr(spec, name) != getattr(plain, name):
            raise ConfigError(
                f"is for {' or '.join(_WORDS[k] for k in kinds)}, and {spec.name} is read as {_WORDS[kind]}",
                where=name,
                mend="leave it out",
            )
