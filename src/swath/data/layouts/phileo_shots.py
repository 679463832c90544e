"""PhilEO Bench's regions and its draw of n samples per region bucket.

The draw is the published one, so Python's own generator is used with its published seeds instead of `swath.rng`:
`Random(12345).sample` for land cover; for building density and roads a walk over a shuffled order that keeps a
patch whose mean label exceeds a threshold, and others with a chance of a quarter, `Random(156)` (spec
ST-SwinMAE §4.2, from phileo-bench 0b95110b). Each bucket and part begins with a fresh generator. The index files
that the benchmark stores are the last word: give one, and nothing is drawn.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping
from pathlib import Path

from swath.errors import InputError

BUCKETS: Mapping[str, tuple[str, ...]] = {
    "europe": ("europe", "denmark-1", "denmark-2"),
    "east-africa": (
        "east-africa", "tanzania-1", "tanzania-2", "tanzania-3", "tanzania-4", "tanzania-5", "uganda-1",
    ),
    "northwest-africa": ("eq-guinea", "ghana-1", "egypt-1", "israel-1", "israel-2", "nigeria", "senegal"),
    "north-america": ("north-america",),
    "south-america": ("south-america",),
    "japan": ("japan",),
}  # fmt: skip
BUCKET_OF = {region: bucket for bucket, regions in BUCKETS.items() for region in regions}
_SEED, _WALK_SEED, _KEEP = 12345, 156, 0.25
# Mean label, of 0 to 1, above which a patch is always kept.
_THRESHOLD = {"train": 0.005, "val": 0.01}


def region_of(name: str) -> str | None:
    """The region of a file's first part, in today's spelling: the first files spell `isreal`. None: unknown."""
    right = name.replace("isreal", "israel")
    return right if right in BUCKET_OF else None


def shots_of(part: str, shots: int) -> int:
    """Samples per bucket: n of train, a fifth of it, rounded up, of val."""
    return shots if part == "train" else math.ceil(shots * 0.2)


def draw(part: str, length: int, count: int, mean_label: Callable[[int], float] | None) -> list[int]:
    """Indices into a bucket's patches.

    Args:
        part: "train" or "val".
        length: patches in the bucket.
        count: how many to draw; fewer when there are not as many.
        mean_label: of a patch, in 0 to 1, for building density and roads; None: land cover.
    """
    if mean_label is None:
        return random.Random(_SEED).sample(range(length), min(count, length))
    order = random.Random(_SEED).sample(range(length), length)
    chance = random.Random(_WALK_SEED)
    kept: list[int] = []
    for index in order:
        if len(kept) == count:
            break
        if mean_label(index) > _THRESHOLD[part] or chance.random() < _KEEP:
            kept.append(index)
    return kept


def stored_indices(path: Path, bucket: str, part: str, length: int) -> list[int]:
    """A bucket's indices from the benchmark's json.

    Raises:
        InputError: it is no such file, or was made for files of another length.
    """
    try:
        held = json.loads(path.read_text(encoding="utf-8"))[bucket]
        indices = [int(i) for i in held[f"{part}_indices"]]
        stated = int(held[f"length_multi_array_{part}"])
    except FileNotFoundError:
        raise InputError("there is no such file", where=path, mend="fetch it from phileo-bench") from None
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise InputError(
            f"holds no {part} indices of bucket {bucket} ({type(err).__name__})",
            where=path,
            mend="use the benchmark's own file for this task and size",
        ) from err
    if stated != length or any(not 0 <= i < length for i in indices):
        raise InputError(
            f"is for {stated} patches in bucket {bucket}, the folder has {length}",
            where=path,
            mend="use the whole data set, and the index file of this task",
        )
    return indices
