"""`swath inspect` of shards: bands, dates, numbers, shapes, statistics, and a small map of where they lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from swath.words import counted

if TYPE_CHECKING:
    from swath.feed.shards import Shards

_ROWS, _COLUMNS = 12, 48


def is_shards(name: str) -> bool:
    """Whether a folder or an address is one of shards."""
    from swath.feed.shard_format import MANIFEST

    return (Path(name) / MANIFEST).is_file() or name.startswith(("s3://", "gs://", "az://"))


def describe_shards(source: str) -> list[tuple[str, str]]:
    """Rows of (what, value).

    Raises:
        InputError: they cannot be read.
    """
    from swath.feed.shards import Shards

    shards = Shards(source)
    weights = shards.columns["weight"]
    bad = int(np.equal(weights, 0).sum())
    layout, split = shards.manifest.get("layout"), shards.manifest.get("split")
    rows = [
        ("shards", shards.where),
        ("of", f"{layout or 'unknown'}{f', split {split}' * bool(split)}"),
        ("records", f"{len(shards)}{f', of which {bad} are bad (weight 0)' * bool(bad)}"),
        ("splits", _counts(shards.columns["split"])),
    ]
    how = shards.manifest.get("split_by")
    if how:
        words = [f"{key} {json.dumps(value)}" for key, value in how.items() if key != "kind"]
        rows.append(("divided", ", ".join([f"by {how.get('kind')}", *words])))
    files = [f for g in shards.manifest["groups"] for series in g["files"].values() for f in series]
    size = sum(int(f["bytes"]) for f in files)
    rows.append(("files", f"{len(files)} of records, {size / 2**20:.1f} MiB"))
    for number, (spec, group) in enumerate(zip(shards.groups, shards.manifest["groups"], strict=True)):
        if number == 20:
            rows.append(("group …", f"and {counted(len(shards.groups) - number, 'shape')} more"))
            break
        parts = [
            f"{name} {' x '.join(map(str, c.pixels.shape))} {np.dtype(c.pixels.dtype).name}"
            for name, c in spec.cubes.items()
        ]
        if spec.target is not None:
            shape = " x ".join(map(str, spec.target.shape)) or "a number"
            parts.append(f"target {shape} {np.dtype(spec.target.dtype).name}")
        rows.append((f"group {number}", f"{counted(group['records'], 'record')}: {', '.join(parts)}"))
    for name in shards.cubes:
        rows += _cube_rows(shards, name)
    return rows


def _counts(column: npt.NDArray[np.generic]) -> str:
    names, counts = np.unique(column, return_counts=True)
    found = [
        f"{bytes(n).decode() or 'none'} {c}" for n, c in zip(names.tolist(), counts.tolist(), strict=True)
    ]
    return ", ".join(found)


def _cube_rows(shards: Shards, name: str) -> list[tuple[str, str]]:
    dates = shards.columns[f"{name}.dates"]
    known = dates[~np.isnat(dates)]
    when = f"{known.min()} to {known.max()}" if known.size else "unknown"
    used = [i for i in np.unique(shards.columns[f"{name}.encoding"]).tolist() if i >= 0]
    units = sorted({e.unit for i in used for row in shards.encodings[i] for e in row})
    rows = [(f"{name} dates", when), (f"{name} unit", ", ".join(units))]
    means = _statistics(shards, name)
    rows += [(f"{name} {band}", text) for band, text in means.items()]
    places = shards.columns[f"{name}.place"].astype(np.float64)
    there = places[np.isfinite(places[:, 0])]
    if len(there):
        west, south = there[:, :2].min(0).tolist()
        east, north = there[:, :2].max(0).tolist()
        text = f"longitude {west:.3f} to {east:.3f}, latitude {south:.3f} to {north:.3f}, "
        text += counted(len(there), "record")
        rows.append((f"{name} places", text))
        rows += [("", line) for line in footprint(there[:, 0], there[:, 1])]
    return rows


def _statistics(shards: Shards, name: str) -> dict[str, str]:
    """Per band: measured ones where `swath pack --statistics` wrote them, else what the records' own say."""
    from swath.feed.shard_statistics import STATISTICS_FILE

    bands = [band.name for band in shards.bands(name)]
    path = Path(shards.where) / STATISTICS_FILE
    if path.is_file():
        measured = json.loads(path.read_text("utf-8"))["cubes"].get(name, {})
        return {
            band: f"mean {s['mean']:.5g}, std {s['std']:.5g}, {s['minimum']:.5g} to {s['maximum']:.5g} "
            f"{s['unit']}, {s['count']:,} valid pixels"
            for band, s in measured.items()
        }
    counts = shards.columns[f"{name}.count"].astype(np.float64)
    low, high, mean = (
        shards.columns[f"{name}.{key}"].astype(np.float64) for key in ("minimum", "maximum", "mean")
    )
    found = {}
    for c, band in enumerate(bands):
        total = counts[:, c].sum()
        if not total:
            found[band] = "no valid pixel"
            continue
        middle = float(np.nansum(np.nan_to_num(mean[:, c]) * counts[:, c]) / total)
        found[band] = (
            f"stored {np.nanmin(low[:, c]):.5g} to {np.nanmax(high[:, c]):.5g}, mean {middle:.5g}, "
            f"{int(total):,} valid pixels"
        )
    return found


def footprint(lon: npt.NDArray[np.float64], lat: npt.NDArray[np.float64]) -> list[str]:
    """A map of counts in characters, north up: '.' few, ':' some, '#' many."""
    west, east, south, north = lon.min(), lon.max(), lat.min(), lat.max()
    width, height = max(east - west, 1e-6), max(north - south, 1e-6)
    if max(east - west, north - south) < 1e-6:
        return ["|#|"]
    rows = max(1, min(_ROWS, round(_COLUMNS / 2 * height / width)))
    columns = _COLUMNS if rows < _ROWS else max(1, min(_COLUMNS, round(2 * _ROWS * width / height)))
    x = np.minimum((lon - west) / width * columns, columns - 1).astype(int)
    y = np.minimum((north - lat) / height * rows, rows - 1).astype(int)
    counts = np.zeros((rows, columns), np.int64)
    np.add.at(counts, (y, x), 1)
    marks = np.array([" ", ".", ":", "#"])
    level = np.where(counts == 0, 0, np.where(counts <= counts.max() / 3, 1, 2))
    level[counts > counts.max() * 2 / 3] = 3
    return ["|" + "".join(row) + "|" for row in marks[level]]
