"""Feeds of the parts of a labelled data set: one to learn from, one to score with; and what the network will eat."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from swath.contract import InputContract
from swath.cube import Array, Cube
from swath.errors import ConfigError, WeightsError
from swath.feed.base import Feed
from swath.feed.dates import looked_at
from swath.feed.each_date import EachDate, at_each_date
from swath.feed.joined import JoinedFeed
from swath.feed.relabel import Relabelled
from swath.feed.score import ScoreFeed
from swath.feed.shard_feed import ShardFeed
from swath.feed.windows import RecordFeed, WindowFeed
from swath.verbs.labelled_options import RecordData
from swath.verbs.labelled_records import Part
from swath.verbs.probe_pixels import brought
from swath.verbs.record_data import shard_contract
from swath.verbs.scene_data import contract_of, fixed_normalisation

if TYPE_CHECKING:
    from swath.weights.file import Loaded

log = logging.getLogger(__name__)


def records_contract(
    data: RecordData, train: Part, source: Loaded | None, *, fixed_dates: bool = False
) -> InputContract:
    """What a network will eat: as the weights say or, without any, as the train part is; statistics are its own.

    Weights that normalise by whole scenes are fixed to the statistics of the train part, since a scene may hold other
    parts. Bands that the options name, if they are not those of the weights, make a contract of their own.

    Args:
        data: the options.
        train: the part that teaches.
        source: pretrained weights, or None.
        fixed_dates: no other number of dates than that of the records, as what joins them date by date needs it.

    Raises:
        ConfigError, ContractError: the data do not fit the weights.
    """
    if train.name != "train":
        raise ConfigError(f"statistics are those of train, not of {train.name}", where="data.parts")
    contract = None if source is None else _weights_contract(source, data, train)
    if contract is None:
        contract = _own_contract(data, train)
    contract = _with_dates(contract, data, train, fixed_dates or train.task == "change")
    if source is None:
        return contract
    norm = contract.normalisation
    if norm.kind == "identity" or norm.scope != "scene":
        return contract
    log.info("normalising by the statistics of the train part, not by those of whole scenes")
    return replace(contract, normalisation=fixed_normalisation(contract, train.cubes, norm.kind))


def _with_dates(contract: InputContract, data: RecordData, train: Part, fixed: bool) -> InputContract:
    """For as many dates as the records have; unless `fixed`, other numbers stay allowed if they were."""
    counts = {data.dates} if data.dates else _date_counts(train)
    low, high = min(counts), max(counts)
    if fixed and low == high:
        return replace(contract, min_dates=low, max_dates=high)
    most = contract.max_dates
    if low >= contract.min_dates and (most is None or high <= most):
        return contract
    had = "any number of" if most is None else f"{contract.min_dates} to {most}"
    log.info("the weights learned from %s dates, the records have %d to %d", had, low, high)
    return replace(contract, min_dates=1, max_dates=1 if high == 1 else None)


def _date_counts(part: Part) -> set[int]:
    if not part.packed:
        return {cube.shape[0] for cube in part.cubes}
    return {
        shards.groups[g].cubes[name].pixels.shape[0]
        for shards, index in part.packed
        for name in [next(iter(part.records[0].cubes))]
        for g in {shards.group_of(int(i)) for i in index}
    }


def _weights_contract(source: Loaded, data: RecordData, train: Part) -> InputContract | None:
    """That of the weights at the training window's size; None if the options choose other bands."""
    contract = source.meta.contract
    if contract is None:
        raise WeightsError(
            "say nothing of their input", where=source.path, mend="use weights with a contract"
        )
    names = [spec.band.name for spec in contract.bands]
    if data.bands and sorted(data.bands) != sorted(names):
        log.info("eating %s, where the weights ate %s", " ".join(data.bands), " ".join(names))
        return None
    return replace(contract, size=(data.window, data.window))


def _own_contract(data: RecordData, train: Part) -> InputContract:
    if data.normalise.scope == "scene":
        raise ConfigError(
            "a scene may hold other parts than train",
            where="data.normalise.scope",
            mend="use fixed or record",
        )
    if train.packed and data.parts.by != "within":
        return shard_contract(
            train.packed, cube=data.cube, bands=data.bands, normalise=data.normalise, window=data.window
        )
    cubes = train.cubes
    only = 1 if all(cube.shape[0] == 1 for cube in cubes) else None
    return contract_of(cubes, data.normalise, data.window, dates=only)


def train_feed(
    data: RecordData, part: Part, contract: InputContract, seed: int, *, each_date: bool = False
) -> Feed:
    """Samples to learn from, by number; see `data.draw`.

    Args:
        data: the options.
        part: that teaches.
        contract: what the network eats.
        seed: of the run.
        each_date: whether targets are wanted for each date; one map for all stands at those on which it was seen.

    Raises:
        ContractError, InputError: records do not fit the contract, the window or each other.
    """
    feed = _feed(data, part, contract, seed)
    return EachDate(feed, several=part.meaning.several) if each_date and not part.dated else feed


def _feed(data: RecordData, part: Part, contract: InputContract, seed: int) -> Feed:
    if part.packed and data.parts.by != "within":
        return _packed_feed(data, part, contract, seed)
    cubes = [contract.convert(cube) for cube in part.cubes]
    if data.draw == "windows":
        return WindowFeed(
            cubes,
            contract,
            data.window,
            seed=seed,
            labels=part.targets,  # type: ignore[arg-type]  # rasters of any number type; the feed checks them
            min_valid=data.min_valid,
            need_label=data.need_label,
            dates=data.dates or None,
        )
    return RecordFeed(cubes, contract, data.window, seed=seed, targets=part.targets, pad=True)


def _packed_feed(data: RecordData, part: Part, contract: InputContract, seed: int) -> Feed:
    feeds = [
        ShardFeed(shards, contract, data.window, seed=seed, cube=data.cube, index=index)
        for shards, index in part.packed
    ]
    feed: Feed = feeds[0] if len(feeds) == 1 else JoinedFeed(feeds)
    if part.meaning.table is None:
        return feed
    table = torch.from_numpy(part.meaning.table)
    kept = torch.from_numpy(part.meaning.table[:-1] >= 0)

    def change(target: Tensor) -> Tensor:
        return target[:, kept] if part.task == "multilabel" else table[target]

    return Relabelled(feed, change)


def score_feed(
    data: RecordData,
    part: Part,
    contract: InputContract,
    *,
    batch_size: int = 16,
    stride: int | None = None,
    rank: int = 0,
    world: int = 1,
    gsd: float = 0.0,
    each_date: bool = False,
) -> ScoreFeed:
    """The whole part, each labelled pixel or record once; ids are those of the records. See `ScoreFeed`.

    Records in memory are converted once, those of shards each time. `gsd`: pixel size in m that cubes are brought to
    first, which is for records with one target each; 0: their own. `each_date`: as of `train_feed`; a labelled pixel
    then counts once for each date.
    """
    kept: dict[int, tuple[Cube, Array]] = {}
    dated = part.dated

    def read(i: int) -> tuple[Cube, Array]:
        if i in kept:
            return kept[i]
        record = part.records[i]
        assert record.target is not None
        cube, target = looked_at(
            brought(record.cube, gsd), record.target, data.dates, data.min_valid, dated=dated
        )
        if each_date and not dated:
            target = at_each_date(target, cube.valid, several=part.meaning.several)
        found = contract.convert(cube), target
        if not part.packed:
            kept[i] = found
        return found

    return ScoreFeed(
        len(part), read, contract, data.window, batch_size=batch_size, stride=stride, rank=rank, world=world
    )
