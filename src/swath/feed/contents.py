"""What a feed draws from, as a checkpoint keeps it: a run that goes on must notice that its data are others.

A record is known by its id, and by what can be told of it exactly on any machine and without reading its pixels again:
its size and dates, how many of its pixels are valid, and its labels where they lie in memory.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch

from swath.words import counted

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Contents:
    """Records of one data set, in its order.

    Attributes:
        keys: [N,2]: hashes of each record's id, and of what is known of it.
        share: its places in a block of a mixture; 0: it is the only one.
    """

    keys: IntArray
    share: int = 0

    @classmethod
    def of(cls, records: Iterable[tuple[str, object]]) -> Contents:
        """Of (id, what is known of it), the latter as its `repr` says it."""
        keys = [(_hash(name), _hash(repr(known))) for name, known in records]
        return cls(np.asarray(keys, np.int64).reshape(-1, 2))

    def to_plain(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"keys": torch.from_numpy(self.keys), "share": self.share}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Contents:
        """What a checkpoint holds."""
        return cls(values["keys"].numpy(), int(values["share"]))


@runtime_checkable
class Known(Protocol):
    """A feed that says what it draws from."""

    def contents(self) -> tuple[Contents, ...]:
        """One for each data set."""
        ...


def contents_of(feed: object) -> tuple[Contents, ...]:
    """Of a feed that says it; else nothing."""
    return feed.contents() if isinstance(feed, Known) else ()


def joined_contents(parts: Sequence[Contents]) -> Contents:
    """Several data sets as one, one after another."""
    return replace(parts[0], keys=np.concatenate([part.keys for part in parts]))


def known_labels(labels: npt.NDArray[np.generic] | None) -> int | None:
    """What is known of labels: a checksum of classes; of real numbers, which may be resampled, how many there are."""
    if labels is None:
        return None
    if labels.dtype.kind == "f":
        return int(np.isfinite(labels).sum())
    return zlib.crc32(np.ascontiguousarray(labels).tobytes())


def difference(then: Sequence[Contents], now: Sequence[Contents]) -> str:
    """How data are others than they were, in words; empty if they are the same."""
    if len(then) != len(now):
        return f"{counted(len(then), 'set of records')} then, {len(now)} now"
    for number, (before, after) in enumerate(zip(then, now, strict=True), 1):
        said = _difference(before, after)
        if said:
            return f"of data set {number}, {said}" if len(now) > 1 else said
    return ""


def _difference(before: Contents, after: Contents) -> str:
    if before.share != after.share:
        return f"{before.share} of 256 samples were drawn, and {after.share} would be"
    if np.array_equal(before.keys, after.keys):
        return ""
    went, came = (
        _without(before.keys[:, :1], after.keys[:, :1]),
        _without(after.keys[:, :1], before.keys[:, :1]),
    )
    changed = _without(before.keys, after.keys) - went
    parts = [
        f"{count} {words}"
        for count, words in (
            (went, "went"),
            (came, "came"),
            (changed, "changed in size, valid pixels or labels"),
        )
        if count
    ]
    began = f"of {counted(len(before.keys), 'record')} "
    return (
        began + ", ".join(parts)
        if parts
        else f"the {counted(len(before.keys), 'record')} are in another order"
    )


def _without(these: IntArray, those: IntArray) -> int:
    """How many rows are left of `these` when each of `those` takes away one like it."""
    return sum((Counter(map(tuple, these.tolist())) - Counter(map(tuple, those.tolist()))).values())


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)
