"""A temperature and conformal thresholds of trained weights, fitted on some blocks and checked on others."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from swath.errors import InputError
from swath.feed.windows import known
from swath.rng import numpy_generator
from swath.scenes.windows import make_plan
from swath.tasks.bootstrap import BootstrapOptions
from swath.tasks.calibration import (
    Reliability,
    Temperature,
    fit_temperature,
    surprise_of_classes,
    surprise_of_labels,
)
from swath.tasks.conformal import BlockValues, Coverage, Threshold, class_scores, label_scores, threshold
from swath.verbs.answerer import Answer, Answerer
from swath.verbs.evaluate_weights import POSSIBLE, SURE, cover, errors_of, labelled
from swath.verbs.labelled_options import RecordData
from swath.verbs.labelled_records import Part
from swath.verbs.score_units import Units

# What the network said is kept up to so many bytes, so that temperatures are tried without it.
_KEPT = 2 << 30


@dataclass(frozen=True)
class Fitted:
    """What was found.

    Attributes:
        temperature: None where there are no probabilities.
        thresholds: by name: "classes", "possible labels" and "sure labels", or those of each quantity.
        fit_blocks, check_blocks: how many blocks it was fitted on, and checked on.
        before, after: surprise and calibration error of the check blocks, without and with the temperature.
        coverage: by name: level, and what the check blocks hold.
        notes: what must be said with it.
    """

    temperature: Temperature | None
    thresholds: dict[str, Threshold]
    fit_blocks: int
    check_blocks: int
    before: dict[str, float]
    after: dict[str, float]
    coverage: dict[str, dict[str, Any]]
    notes: tuple[str, ...]


class Remembering(nn.Module):
    """A network that says the same of the same windows without computing it again, as long as there is room."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._said: dict[bytes, Tensor] = {}
        self._bytes = 0

    def forward(self, pixels: Tensor, valid: Tensor, days: Tensor | None, wavelengths: Any) -> Tensor:
        """As the network."""
        found = hashlib.blake2b(digest_size=16)
        for tensor in (pixels, valid, *(() if days is None else (days,))):
            found.update(np.ascontiguousarray(tensor.cpu().numpy()).reshape(-1).view(np.uint8).data)
        key = found.digest()
        if key in self._said:
            return self._said[key].to(pixels.device)
        out: Tensor = self.network(pixels=pixels, valid=valid, days=days, wavelengths=wavelengths)
        size = out.numel() * out.element_size()
        if self._bytes + size <= _KEPT:
            self._said[key] = out.cpu()
            self._bytes += size
        return out


def fit(
    answerer: Answerer,
    part: Part,
    data: RecordData,
    units: Units,
    *,
    level: float = 0.9,
    seed: int = 0,
    draw: BootstrapOptions | None = None,
) -> Fitted:
    """Fits on one half of the blocks, as they are blended into a map, and checks on the other.

    Every block counts alike, however many pixels it has. Halves of squares are contiguous, so that they touch along
    one border; groups and records are drawn. The temperature is one number, so thresholds are fitted on the same
    blocks as it is.

    Raises:
        InputError: there are fewer than two blocks with labels.
    """
    answerer.check(part.meaning)
    answerer.network = Remembering(answerer.network)
    part = cropped(part, answerer.size)
    one = [(a.block, a.record) for a in answerer.answers(part, data, units, 1.0)]
    fits, checks = halves([block for block, _ in one], units, seed)
    notes: list[str] = []

    def of(wanted: set[str], temperature: float) -> Iterator[Answer]:
        records = {record for block, record in one if block in wanted}
        some = subset(part, records)
        return (a for a in answerer.answers(some, data, units, temperature) if a.block in wanted)

    found = None
    if answerer.activation != "identity":
        found = fit_temperature(lambda t: block_mean(of(fits, t), _surprise(answerer)))
        notes.append(found.note)
    value = 1.0 if found is None else found.value
    thresholds, coverage, before, after = {}, {}, {}, {}
    scores = _scores(answerer, of(fits, value), seed)
    for name, values in scores.items():
        thresholds[name] = threshold([values.rows(b) for b in values.blocks], level)
        notes.append(thresholds[name].note)
    if answerer.activation == "softmax":
        before, after = (reliability(of(checks, t)) for t in (1.0, value))
    held = {name: Coverage() for name in thresholds}
    if thresholds:
        for answer in of(checks, value):
            cover(answer, answerer.names, thresholds, held)
    for name, given in held.items():
        coverage[name] = {"level": level, **given.compute(draw or BootstrapOptions())}
    return Fitted(
        found,
        thresholds,
        len(fits),
        len(checks),
        before,
        after,
        coverage,
        tuple(dict.fromkeys(filter(None, notes))),
    )


def halves(blocks: Sequence[str], units: Units, seed: int) -> tuple[set[str], set[str]]:
    """The blocks to fit on, and those to check on.

    Raises:
        InputError: there are fewer than two.
    """
    names = list(dict.fromkeys(blocks))
    if len(names) < 2:
        raise InputError(
            f"all labels lie in {len(names)} block: one is needed to fit on and one to check",
            mend="use smaller squares (intervals.unit square, intervals.square), or more labels",
        )
    if units.kind == "square":

        def place(name: str) -> tuple[str, int, int]:
            record, _, corner = name.rpartition("@")
            row, col = corner.split(",")
            return record, int(col), int(row)

        names.sort(key=place)
    else:
        names.sort()
        names = [names[i] for i in numpy_generator(seed, "calibration blocks").permutation(len(names))]
    middle = (len(names) + 1) // 2
    return set(names[:middle]), set(names[middle:])


def cropped(part: Part, window: tuple[int, int]) -> Part:
    """Records of maps without what lies two windows and more from any label, which changes no answer at a label.

    What is cut off is whole strides of the plan, so that windows lie as they do in the whole record.
    """
    records = []
    for record in part.records:
        target, cube = np.asarray(record.target), record.cube
        if target.ndim < 2 or target.shape[-2:] != cube.shape[2:]:
            return part
        flat = np.asarray(known(target).reshape(-1, *target.shape[-2:]).any(0))
        if not flat.any():
            continue
        overlap = make_plan(cube.shape[2], cube.shape[3], window).overlap
        top, bottom = _span(np.asarray(flat.any(1)), window[0], window[0] - overlap)
        left, right = _span(np.asarray(flat.any(0)), window[1], window[1] - overlap)
        cut = cube.window(top, left, bottom - top, right - left)
        cubes = {next(iter(record.cubes)): cut}
        records.append(replace(record, cubes=cubes, target=target[..., top:bottom, left:right]))
    return replace(part, records=records, **_about(part, {r.id for r in records}))


def _span(held: npt.NDArray[np.bool_], window: int, stride: int) -> tuple[int, int]:
    """From where to where an axis is kept."""
    where = np.flatnonzero(held)
    first = max(0, int(where[0]) - 2 * window) // stride * stride
    strides = -(-(int(where[-1]) + 1 + window - first) // stride)
    return first, min(len(held), first + window + strides * stride)


def subset(part: Part, ids: set[str]) -> Part:
    """Some records of a part."""
    keep = [i for i, name in enumerate(part.ids) if name in ids]
    if len(keep) == len(part):
        return part
    return replace(part, records=[part.records[i] for i in keep], **_about(part, ids), packed=())


def _about(part: Part, ids: set[str]) -> dict[str, Any]:
    keep = [i for i, name in enumerate(part.ids) if name in ids]
    return {name: tuple(getattr(part, name)[i] for i in keep) for name in ("ids", "groups", "boxes")}


def _surprise(answerer: Answerer) -> Callable[[Answer], Tensor]:
    if answerer.activation == "sigmoid":
        return lambda a: surprise_of_labels(a.values[None], a.target[None])
    return lambda a: surprise_of_classes(*labelled(a))


def block_mean(answers: Iterator[Answer], of: Callable[[Answer], Tensor]) -> float:
    """The mean over blocks of their mean."""
    sums: dict[str, list[float]] = {}
    for answer in answers:
        values = of(answer)
        row = sums.setdefault(answer.block, [0.0, 0.0])
        row[0] += float(values.sum())
        row[1] += len(values)
    means = [total / count for total, count in sums.values() if count]
    return sum(means) / len(means) if means else math.nan


def reliability(answers: Iterator[Answer]) -> dict[str, float]:
    """Surprise and calibration error of answers."""
    collected = Reliability()
    for answer in answers:
        collected.update(*labelled(answer))
    return collected.compute()


def _scores(answerer: Answerer, answers: Iterator[Answer], seed: int) -> dict[str, BlockValues]:
    """What thresholds are fitted on, by name and block."""
    own = {"softmax": ("classes",), "sigmoid": (POSSIBLE, SURE)}
    names = own.get(answerer.activation, answerer.names)
    kept = {name: BlockValues(seed) for name in names}
    for answer in answers:
        if answerer.activation == "softmax":
            kept["classes"].add(answer.block, class_scores(*labelled(answer)))
        elif answerer.activation == "sigmoid":
            for name, off in zip(names, label_scores(answer.values[None], answer.target[None]), strict=True):
                kept[name].add(answer.block, off)
        else:
            for name, off in errors_of(answer, names):
                kept[name].add(answer.block, off)
    return kept
