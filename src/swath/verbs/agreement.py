"""What learning by agreement (SimCLR, MoCo) lacks in the data at hand, said before the first step."""

from __future__ import annotations

import logging
from collections.abc import Sequence, Sized
from typing import TYPE_CHECKING

from swath.words import counted

if TYPE_CHECKING:
    from torch import nn

    from swath.feed.base import Feed
    from swath.verbs.pretrain import PretrainConfig
    from swath.verbs.scene_data import Pretraining

log = logging.getLogger(__name__)


def say_what_agreement_lacks(
    config: PretrainConfig, objective: nn.Module, feed: Feed, sets: Sequence[Pretraining], samples: int
) -> None:
    """Warns of seasonal views without a second date, and of a queue in which samples meet themselves.

    Args:
        config: of the run.
        objective: what it learns by.
        feed: that it draws from.
        sets: the data behind it.
        samples: of an epoch.
    """
    if config.model.system not in ("simclr", "moco"):
        return
    if config.views.seasonal and not _several_dates(feed, sets):
        log.warning(
            "views.seasonal: no sample has two dates with data, so both views of each are of one date and agree about "
            "its season too: give series, or set it to false"
        )
    queue = getattr(objective, "queue", None)
    if isinstance(queue, Sized) and len(queue) > samples:
        log.warning(
            "contrast.queue: it holds %d keys of data that have %s, so samples are compared with earlier views of "
            "themselves as if they were others: take %d or fewer, or contrast.version v3",
            len(queue),
            counted(samples, "sample"),
            max(1, samples // 2),
        )


def _several_dates(feed: Feed, sets: Sequence[Pretraining]) -> bool:
    """Whether any sample has two dates on which something is valid; of packed records, whether it has two dates."""
    if feed.take(0, 1).pixels.shape[1] < 2:
        return False
    cubes = (cube for data in sets for cube in data.cubes)
    packed = any(data.records for data in sets)
    return packed or any(int(cube.valid.any(axis=(1, 2, 3)).sum()) > 1 for cube in cubes)
