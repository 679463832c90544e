"""From packed or published data sets to what pretraining eats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from swath.contract import BandSpec, InputContract, Normalisation
from swath.cube import Cube, Sample
from swath.data.collection import Collection
from swath.data.layouts.registry import open_layout
from swath.errors import ConfigError
from swath.feed.dates import at_spread_dates
from swath.feed.pixel_size import to_gsd
from swath.feed.shard_statistics import fixed_normalisation, measure
from swath.feed.shards import Shards
from swath.verbs.options import NormaliseOptions, PixelData
from swath.verbs.scene_data import Pretraining, contract_of, from_records, too_few_valid


def from_layout(data: PixelData) -> Pretraining:
    """A data set in memory, record by record; bad items stay in the order, wholly invalid."""
    layout = data.layout
    assert layout is not None
    collection = Collection(
        open_layout(layout.name, layout.root, data.split or None, **layout.options), limit=layout.bad_items
    )
    cubes, shares = [], []
    for index in range(len(collection)):
        sample = collection.read(index)
        _, cube = named_cube(sample, data.cube)
        if cube.statistics is None:
            cube = cube.with_statistics()
        shares.append(float(cube.valid.mean()))
        if data.bands:
            cube = chosen_bands(cube, data.bands)
        cubes.append(replace(to_gsd(cube, data.gsd), source=sample.id))
    # Ids may hold slashes, and only the whole of one is unique.
    return from_records(cubes, data, shares, [cube.source for cube in cubes])


def named_cube(sample: Sample, name: str) -> tuple[str, Cube]:
    """The cube of that name, or the only one. Raises ConfigError."""
    name = name or (next(iter(sample.cubes)) if len(sample.cubes) == 1 else "")
    if name not in sample.cubes:
        raise ConfigError(
            f"its records hold {', '.join(sample.cubes)}", where="data.cube", mend="name one of them"
        )
    return name, sample.cubes[name]


def chosen_bands(cube: Cube, names: Sequence[str]) -> Cube:
    """Some of its bands, in the order of the names."""
    known = [band.name for band in cube.bands]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(
            f"there is no band {unknown[0]}", where="data.bands", mend=f"name some of {', '.join(known)}"
        )
    return cube.at_bands([known.index(name) for name in names])


def from_shards(data: PixelData) -> Pretraining:
    """Packed data sets; nothing but what is held out is read yet."""
    sets: list[tuple[Shards, npt.NDArray[np.int64]]] = []
    held: list[tuple[Shards, int]] = []
    wanted = set(data.hold_out)
    most, thin = 0.0, False
    for source in data.shards:
        shards = Shards(source)
        name = shards.only_cube(data.cube)
        index = shards.select(split=data.split or None, cube=name)
        out = [int(i) for i in index if shards.id(int(i)) in wanted] if wanted else []
        held += [(shards, i) for i in out]
        index = index[~np.isin(index, out)]
        # Of a long series dates are chosen, and the share is asked of each of them, not of all together.
        if data.min_valid and not data.dates:
            share = _valid_shares(shards, index, name)
            most = max(most, float(share.max(initial=0.0)))
            thin = thin or bool((share < data.min_valid).any())
            index = index[share >= data.min_valid]
        sets.append((shards, index))
    missing = wanted - {shards.id(i) for shards, i in held}
    if missing:
        raise ConfigError(
            f"there is no record {min(missing)}", where="data.hold_out", mend="name ids of records"
        )
    sets = [(shards, index) for shards, index in sets if len(index)]
    if not sets and thin:
        raise too_few_valid(data, most)
    if not sets:
        raise ConfigError("every record is held out", where="data.hold_out", mend="hold out fewer")
    contract = shard_contract(
        sets,
        cube=data.cube,
        bands=data.bands,
        normalise=data.normalise,
        window=data.window,
        gsd=data.gsd,
    )
    cubes = [
        contract.convert(to_gsd(shards.cube(i, shards.only_cube(data.cube)), data.gsd)) for shards, i in held
    ]
    cubes = [at_spread_dates(cube, data.dates, data.window_valid) for cube in cubes]
    return Pretraining(contract, (), (), tuple(cubes), tuple(sets))


def _valid_shares(shards: Shards, index: npt.NDArray[np.int64], name: str) -> npt.NDArray[np.float64]:
    """Per record, the share of valid pixels over all dates and bands, from the index alone."""
    sizes = np.array(
        [math.prod(g.cubes[name].pixels.shape) if name in g.cubes else 1 for g in shards.groups], np.float64
    )
    valid = shards.columns[f"{name}.valid"][index].astype(np.float64)
    return valid / sizes[shards.columns["shape_group"][index].astype(np.int64)]


def shard_contract(
    sets: Sequence[tuple[Shards, npt.NDArray[np.int64]]],
    *,
    cube: str,
    bands: Sequence[str],
    normalise: NormaliseOptions,
    window: int,
    gsd: float = 0.0,
) -> InputContract:
    """What the first good record fulfils as it is; fixed statistics are those of all these records.

    Args:
        sets: shards, and the numbers of their records.
        cube: name of it; "": the only one.
        bands: names of those to take; empty: all.
        normalise: how values are scaled.
        window: side of the training windows.
        gsd: pixel size that the records are brought to, m; 0: their own.
    """
    shards, index = sets[0]
    name = shards.only_cube(cube)
    good = index[np.greater(shards.columns["weight"][index], 0)]
    if not len(good):
        raise ConfigError("holds no good record", where=shards.where, mend="choose another split")
    first = shards.cube(int(good[0]), name)
    if bands:
        first = chosen_bands(first, bands)
    first = to_gsd(first, gsd)
    # Sets may call their cube what they like.
    names = [s.only_cube(cube) for s, _ in sets]
    dates = {
        group.cubes[own].pixels.shape[0]
        for (s, _), own in zip(sets, names, strict=True)
        for group in s.groups
        if own in group.cubes
    }
    plain = contract_of(
        [first],
        replace(normalise, scope="record") if normalise.scope == "fixed" else normalise,
        window,
        dates=1 if dates == {1} else None,
    )
    plain = replace(plain, bands=tuple(BandSpec(band) for band in first.bands))
    if normalise.scope != "fixed":
        return plain
    if normalise.kind == "identity":
        return replace(plain, normalisation=Normalisation())
    found = measure(sets, gsd, lambda s: s.only_cube(cube))[name]
    return replace(plain, normalisation=fixed_normalisation(plain, found, normalise.kind, shards.where))
