"""Whether labels can teach or score anything: whether they were seen, and whether they differ."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from swath.cube import BoolArray, Sample
from swath.errors import InputError
from swath.feed.windows import known
from swath.words import counted

log = logging.getLogger(__name__)


def check_seen(part: str, records: Sequence[Sample], *, dated: bool = False) -> None:
    """Warns of records all of whose labels are unseen: no band of any date is valid there.

    Args:
        part: its name.
        records: of it, with targets in the task's numbers.
        dated: whether those are of each date; then no band of that date is.

    Raises:
        InputError: no record has a label, or none has one that was seen.
    """
    counts = [(int(known(np.asarray(r.target)).sum()), seen_labels(r, dated=dated)) for r in records]
    labelled = [(there, seen) for there, seen in counts if there]
    if not labelled:
        raise InputError(
            "holds no label", where=f"part {part}", mend="check the labels, data.ignore and data.parts"
        )
    blind = [there for there, seen in labelled if not seen]
    if len(blind) == len(labelled):
        raise InputError(
            "none of its labels was seen: no pixel there is valid",
            where=f"part {part}",
            mend="check the no-data value, the masks and the places of the labels",
        )
    if blind:
        found = f"{counted(len(blind), 'record')} of {len(records)}"
        log.warning("%s: the labels of %s were never seen, and say nothing", part, found)


def check_classes(part: str, records: Sequence[Sample], names: Sequence[str]) -> None:
    """Raises InputError if all labels of a part are of one class, which tells nothing from anything.

    Args:
        part: its name.
        records: of it, with class numbers for targets.
        names: of the classes.
    """
    found: set[int] = set()
    for record in records:
        target = np.asarray(record.target)
        found |= set(np.unique(target[known(target)]).tolist())
        if len(found) > 1:
            return
    raise InputError(
        f"all its labels are of one class, {names[found.pop()]}: there is nothing to tell apart",
        where=f"part {part}",
        mend="check the labels and data.parts",
    )


def seen_labels(record: Sample, *, dated: bool = False) -> int:
    """How many labels of a record stand on a valid pixel (of their date, if they are `dated`); of a whole image, how
    many there are if any pixel is valid.
    """
    there = known(np.asarray(record.target))
    visible = seen_where(record.cube.valid, there.ndim) if dated else record.cube.valid.any((0, 1))
    if there.ndim >= 2 and there.shape[-2:] == visible.shape[-2:]:
        return int((there & visible).sum())
    return int(there.sum()) if visible.any() else 0


def seen_where(valid: BoolArray, axes: int) -> BoolArray:
    """Where labels of each date, [T,H,W] or [T,K,H,W] by their number of axes, stand on a valid pixel of it."""
    seen: BoolArray = np.asarray(valid.any(1))
    return seen if axes == 3 else seen[:, None]
