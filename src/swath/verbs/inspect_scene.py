"""What `swath inspect` says of imagery: the product, who says what its numbers mean, and whether weights fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from swath.errors import ConfigError, InputError
from swath.words import counted

if TYPE_CHECKING:
    from swath.contract import InputContract
    from swath.cube import BandStatistics, Encoding, Unit
    from swath.data.spec import SceneSpec
    from swath.data.windowed import Windowed
    from swath.verbs.inspect import InspectConfig

Rows = list[tuple[str, str]]
# Beyond this many numbers, statistics are of the scene's middle alone, and are said to be.
WHOLE_VALUES = 200_000_000
MIDDLE = 1024
_ENDS = 4  # dates told at each end of a long series


def describe_scene(config: InspectConfig) -> Rows:
    """Rows on a raster, a Zarr store, netCDF, a SAFE product or a STAC item.

    Raises:
        SwathError: it cannot be read, or nothing says its unit and it is not stated.
    """
    with _opened(config) as (scene, rows, known):
        t, c, h, w = scene.shape
        statistics, part, seen = _statistics(scene)
        gsd = "unknown" if scene.gsd is None else f"{scene.gsd:g} m"
        rows += [
            ("file", scene.source),
            ("size", f"{counted(t, 'date')}, {counted(c, 'band')}, {h} x {w} pixels of {gsd}"),
            ("coordinates", (scene.grid.crs or "unknown")[:80]),
            ("dates", _dates(["unknown" if d is None else str(d) for d in scene.dates])),
            ("stored as", str(scene.dtype)),
        ]
        if part:
            rows.append(("statistics", part))
        for i, band in enumerate(scene.bands):
            encodings = {row[i]: None for row in scene.encodings}
            share = statistics.count[i] / (t * seen)
            says = known or ", ".join(dict.fromkeys(row[i] for row in getattr(scene, "known", ())))
            rows.append(
                (
                    f"band {band.name}",
                    f"{band.wave}, {'; later '.join(map(_numbers, encodings))} ({says}); "
                    f"{share:.1%} valid, stored {statistics.minimum[i]:g} to {statistics.maximum[i]:g}, "
                    f"mean {statistics.mean[i]:.4g}",
                )
            )
        if config.weights:
            rows += _fit(config.weights, scene)
    return rows


def is_array(name: str) -> bool:
    """Whether a name is that of a Zarr store or a netCDF file."""
    from swath.scenes.sources.opening import kind_of
    from swath.scenes.sources.spec import SourceSpec

    return kind_of(SourceSpec(name)) == "array"


@contextmanager
def _opened(config: InspectConfig) -> Iterator[tuple[Windowed, Rows, str]]:
    """The scene, rows on the product, and who says its units if that is not the file itself, band by band."""
    if is_array(config.file):
        from swath.scenes.sources.opening import open_source
        from swath.scenes.sources.spec import SourceSpec

        unit = _unit(config)
        spec = SourceSpec(
            config.file,
            sensor=config.sensor or None,
            bands=config.bands,
            unit=unit,
            scale=config.scale,
            offset=config.offset,
        )
        with open_source(spec) as scene:
            yield scene, [], "stated" if unit else "from its attributes"
        return
    from swath.data.gdal import open_raster
    from swath.data.raster import open_scene

    plain, rows, known = _spec(config)
    if not rows and not config.sensor and plain.demo is None:
        # What is no raster at all needs no sensor to be told so.
        open_raster(config.file, sparse=True).close()
    with open_scene(plain) as scene:
        yield scene, rows, known


def _unit(config: InspectConfig) -> Unit | None:
    from swath.cube import UNITS

    unit = next((u for u in UNITS if u == config.unit), None)
    if config.unit and unit is None:
        raise ConfigError(
            f"unknown unit '{config.unit}'", where="unit", mend=f"use one of {', '.join(UNITS)}"
        )
    return unit


def _spec(config: InspectConfig) -> tuple[SceneSpec, Rows, str]:
    """How to open what was named, rows on the product, and who says its units if that is not the file."""
    from swath.data.gdal import require_file
    from swath.data.safe import is_safe, read_safe
    from swath.data.spec import SceneSpec
    from swath.data.stac_item import item_spec, read_item

    unit = _unit(config)
    product = is_safe(config.file) or config.file.endswith(".json")
    if product and (config.unit or config.scale is not None or config.offset is not None):
        raise ConfigError(
            "a product says its own unit",
            where="unit",
            mend="leave unit, scale and offset out, or name a file",
        )
    if is_safe(config.file):
        safe = read_safe(config.file)
        p = safe.product
        product_row = f"{p.spacecraft or 'Sentinel-2'} {p.level}, baseline {p.baseline_text} ({safe.meta})"
        return safe.scene_spec(config.bands), [("product", product_row)], f"from the SAFE XML, {safe.meta}"
    if config.file.endswith(".json"):
        item = read_item(config.file)
        words = [item.id, item.sensor or "sensor unknown", item.level or "level unknown"]
        words += [f"baseline {item.baseline}"] * (item.baseline is not None)
        said = {row.known for asset in item.assets for row in asset.bands if row.encoding is not None}
        return (
            item_spec(item, config.bands),
            [("product", ", ".join(words))],
            f"from the STAC item: {', '.join(sorted(said))}",
        )
    require_file(config.file)
    spec = SceneSpec(
        config.file,
        sensor=config.sensor or None,
        bands=config.bands,
        unit=unit,
        scale=config.scale,
        offset=config.offset,
    )
    return spec, [], ""


def _statistics(scene: Windowed) -> tuple[BandStatistics, str, int]:
    """Statistics, what they are of if not of all, and how many pixels were looked at on each date."""
    from swath.cube import band_statistics

    t, c, h, w = scene.shape
    if t * c * h * w <= WHOLE_VALUES:
        statistics = scene.statistics()
        if not any(statistics.count):
            scene.require_valid()
        return statistics, "", h * w
    height, width = min(h, MIDDLE), min(w, MIDDLE)
    cube = scene.read((h - height) // 2, (w - width) // 2, height, width)
    return (
        band_statistics(cube.pixels, cube.valid),
        f"of the middle {height} x {width} pixels",
        height * width,
    )


def _numbers(e: Encoding) -> str:
    sign = "-" if e.offset < 0 else "+"
    level = f" {e.level}" if e.level else ""
    return f"{e.unit}{level} = stored x {e.scale:g} {sign} {abs(e.offset):g}"


def _fit(weights: str, scene: Windowed) -> Rows:
    from swath.errors import ContractError
    from swath.weights.file import load_meta

    if Path(weights).is_dir():  # of a run
        weights = str(Path(weights) / "weights.safetensors")
    contract = load_meta(weights).contract
    if contract is None:
        raise InputError("these weights do not say what they eat", where=weights)
    try:
        contract.convert(scene.read(0, 0, min(64, scene.height), min(64, scene.width)))
    except ContractError as err:
        return [("fits", f"no: {err}")]
    return [
        ("fits", f"yes, as bands {' '.join(s.band.name for s in contract.bands)}"),
        *_conversions(contract, scene),
    ]


def _conversions(contract: InputContract, scene: Windowed) -> Rows:
    """What would be done to the pixels, a row each."""
    from swath.data.raster import Scene

    rows: Rows = []
    place = {(b.sensor, b.name): i for i, b in enumerate(scene.bands)}
    want = contract.encoding
    target = _numbers(want).replace("stored", "fed")
    for row in contract.bands:
        i = place.get((row.band.sensor, row.band.name))
        if i is None:
            rows.append((f"converts {row.band.name}", "optional and not there: invalid"))
            continue
        words = []
        for e in dict.fromkeys(date[i] for date in scene.encodings):
            if (e.scale, e.offset) != (want.scale, want.offset):
                words.append(f"{_numbers(e)} -> {target}")
        # Bands of a store share one grid.
        factor = scene.factors[i] if isinstance(scene, Scene) else 1
        if isinstance(scene, Scene) and factor > 1 and scene.gsd is not None:
            words.append(f"{scene.gsd * factor:g} m brought to {scene.gsd:g} m by {scene.spec.resampling}")
        if words:
            rows.append((f"converts {row.band.name}", "; ".join(words)))
    eaten = {(s.band.sensor, s.band.name) for s in contract.bands}
    unused = [b.name for b in scene.bands if (b.sensor, b.name) not in eaten]
    if unused:
        rows.append(("not used", " ".join(unused)))
    return rows


def _dates(names: Sequence[str]) -> str:
    """All of a few, the ends of many."""
    if len(names) <= 2 * _ENDS + 1:
        return ", ".join(names)
    return f"{', '.join(names[:_ENDS])}, {len(names) - 2 * _ENDS} more, {', '.join(names[-_ENDS:])}"
