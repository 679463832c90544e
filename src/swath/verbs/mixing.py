"""Samples of several data sets in one pretraining: the run's own, and those of `start.mix`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from swath.errors import ConfigError
from swath.verbs.config import laid_over, load_config
from swath.verbs.options import PixelData
from swath.verbs.stage_options import MixOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swath.feed.base import Feed
    from swath.verbs.pretrain import PretrainConfig
    from swath.verbs.scene_data import Pretraining


@dataclass(frozen=True, eq=False)
class Mixed:
    """A further data set.

    Attributes:
        config: the run with it in the place of its own.
        data: what was read of it.
        weight: how often it is drawn, against `start.weight` of the first.
    """

    config: PretrainConfig
    data: Pretraining
    weight: float


def read_mixed(config: PretrainConfig) -> tuple[Mixed, ...]:
    """The data sets of `start.mix`, each inside the run's region.

    Raises:
        InputError: nothing is there, or what is there has no place.
    """
    from swath.verbs.stages import read_data

    configs = [mix_config(config, other, i) for i, other in enumerate(config.start.mix, 1)]
    pairs = zip(configs, config.start.mix, strict=True)
    return tuple(Mixed(own, read_data(own), other.weight) for own, other in pairs)


def mixed_feed(config: PretrainConfig, first: Feed, contract: Any, mixed: Sequence[Mixed]) -> Feed:
    """The feed of the run's data, mixed with those of the others.

    Raises:
        ConfigError: the data sets would be normalised in different ways by one contract.
    """
    from swath.feed.mix import MixFeed
    from swath.verbs.pretrain import make_feed

    if not mixed:
        return first
    feeds: list[Feed] = [first]
    for i, other in enumerate(mixed, 1):
        if other.data.contract.normalisation != contract.normalisation:
            raise ConfigError(
                "its values are scaled by other statistics than those of the first data set, and the weights can hold "
                "one of them only",
                where=f"start.mix[{i}]",
                mend="set data.normalise.scope to scene or record",
            )
        feeds.append(make_feed(other.config, other.data))
    return MixFeed(feeds, [config.start.weight, *(m.weight for m in mixed)], seed=config.training.seed)


def data_over(data: PixelData, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of other data over those of a run, key by key; but another layout's options are not those of the first."""
    layout = options.get("layout")
    named = layout.get("name") if isinstance(layout, Mapping) else layout
    another = data.layout is not None and named not in (None, data.layout.name)
    return laid_over(data, options, without=("layout",) if another else ())


def mix_config(
    config: PretrainConfig, other: MixOptions, number: int, under: str = "start."
) -> PretrainConfig:
    """The run with the other data set in the place of its own, and draws of its own."""
    values = data_over(config.data, other.data)
    data = load_config(PixelData, [], values, flag=f"{under}mix[{number}].data.")
    training = replace(config.training, seed=config.training.seed + 7919 * number)
    return replace(config, data=data, training=training, start=replace(config.start, mix=()))


def epoch_of(config: PretrainConfig, data: Pretraining, mixed: Sequence[Mixed]) -> tuple[int, int]:
    """Samples of an epoch, and of an optimiser step.

    An epoch is as many samples as all data sets of the run hold together. A record is one; of scenes there are as
    many as windows fit side by side. In a mixture the weights say how many of them are of which.
    """
    from swath.training.ranks import world

    sets = [(config.data, data), *((m.config.data, m.data) for m in mixed)]
    samples = sum(_samples(options, held) for options, held in sets)
    return samples, config.training.samples_per_step(world().size)


def _samples(options: PixelData, data: Pretraining) -> int:
    records = sum(len(index) for _, index in data.records)
    return records + sum(_windows(cube.shape[2:], options) for cube in data.cubes)


def _windows(size: tuple[int, ...], data: PixelData) -> int:
    if data.patches or data.layout is not None:
        return 1  # a record is one sample of a pass, whatever its size
    return max(1, size[0] // data.window) * max(1, size[1] // data.window)
