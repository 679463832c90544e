"""What trained weights say of every labelled record of a part, as the map would say it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from swath.contract import InputContract
from swath.cube import Array, Cube, CubeBatch, Sample
from swath.errors import ConfigError, WeightsError
from swath.feed.dates import looked_at
from swath.feed.each_date import at_each_date
from swath.feed.normalise import normalise
from swath.feed.windows import known
from swath.scenes.cube_scene import CubeScene
from swath.scenes.engine import Engine
from swath.scenes.layers import Activation
from swath.scenes.turns import averaged
from swath.scenes.windows import make_plan
from swath.training.precision import choose_device, choose_precision
from swath.verbs.each_date import answers_each_date, check_weights
from swath.verbs.labelled_feeds import score_feed
from swath.verbs.labelled_options import RecordData
from swath.verbs.labelled_records import Part
from swath.verbs.map_layers import task_of
from swath.verbs.score_units import Units, squares
from swath.verbs.seen_labels import seen_where
from swath.verbs.target_meaning import Meaning
from swath.weights.build import build_loaded
from swath.weights.file import Loaded

ACTIVATIONS: dict[str, Activation] = {"multilabel": "sigmoid", "regression": "identity"}


@dataclass(frozen=True, eq=False)
class Answer:
    """What is said of one block of labelled pixels, or of one record.

    Attributes:
        record: its id.
        block: what it counts as when blocks are drawn.
        values: [K,…]: probabilities (they sum to one over classes; labels each have their own), or quantities.
        target: class numbers […], zeros and ones [K], or quantities […] or [K,…].
        dates: which of the record's are held, if its maps are of each date: one below the other, as rows [K,n*h,w].
    """

    record: str
    block: str
    values: Tensor
    target: Tensor
    dates: int = 1


class Answerer:
    """Trained weights, ready to answer.

    Args:
        loaded: with a task.
        precision, device, batch_size, turns: as for `swath predict`.

    Raises:
        WeightsError: the weights do not say what they eat, or have no task.
    """

    def __init__(
        self,
        loaded: Loaded,
        *,
        precision: Literal["auto", "bf16", "fp32"] = "auto",
        device: Literal["auto", "cpu", "cuda"] = "auto",
        batch_size: int = 16,
        turns: bool = False,
    ) -> None:
        meta = loaded.meta
        if meta.contract is None or meta.contract.size is None:
            raise WeightsError(
                "do not say what they eat", where=loaded.path, mend="use weights that swath wrote"
            )
        if not meta.classes and not meta.quantities:
            raise WeightsError(
                f"hold a {meta.architecture} that answers nothing yet",
                where=loaded.path,
                mend="fine-tune them first, or try `swath probe`",
            )
        self.loaded = loaded
        self.task = task_of(loaded)
        self.contract: InputContract = meta.contract
        self.size: tuple[int, int] = meta.contract.size
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.batch_size, self.turns = batch_size, turns
        self.unseen = 0  # labelled values of maps, so far, of which no band of any date was valid
        self.network: nn.Module = build_loaded(loaded).to(self.device).eval()
        self.each_date = answers_each_date(self.network)
        given = meta.calibration
        self.temperature = 1.0 if given is None or given.temperature is None else given.temperature

    @property
    def activation(self) -> Activation:
        """What makes probabilities of logits."""
        return ACTIVATIONS.get(self.task, "softmax")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes or quantities."""
        meta = self.loaded.meta
        return tuple(c.name for c in meta.classes) or tuple(q.name for q in meta.quantities)

    def check(self, meaning: Meaning) -> None:
        """Raises ConfigError if a data set means something else than the weights."""
        if meaning.task != self.task:
            raise ConfigError(
                f"the data are for {meaning.task}, the weights for {self.task}",
                where="data",
                mend="choose data.task, or other weights",
            )
        own = tuple(c.name for c in meaning.classes) or tuple(meaning.quantities)
        if own != self.names:
            raise ConfigError(
                f"the data name {', '.join(own)}; the weights {', '.join(self.names)}",
                where="data.classes",
                mend="give the classes (and data.ignore) that the weights were trained with, in that order",
            )

    def answers(
        self, part: Part, data: RecordData, units: Units, temperature: float | None = None
    ) -> Iterator[Answer]:
        """Of all labelled records; where targets are per pixel, maps blended as `swath predict` blends them.

        Args:
            part: of the data.
            data: the options that it was opened with.
            units: the blocks.
            temperature: in place of the weights' own.
        """
        temperature = self.temperature if temperature is None else temperature
        check_weights(part, self.each_date, self.loaded.path)
        if per_pixel(part):
            dated = part.dated
            for i in range(len(part)):
                record = part.records[i]
                assert record.target is not None
                cube, target = looked_at(
                    record.cube, np.asarray(record.target), data.dates, data.min_valid, dated=dated
                )
                if self.each_date and not dated:
                    target = at_each_date(target, cube.valid, several=part.meaning.several)
                seen = replace(record, cubes={next(iter(record.cubes)): cube}, target=target)
                yield from self._mapped(seen, units, temperature)
        else:
            yield from self._told(part, data, units, temperature)

    def _mapped(self, record: Sample, units: Units, temperature: float) -> Iterator[Answer]:
        assert record.target is not None
        target = np.asarray(record.target)
        if not known(target).any():
            return
        valid = record.cube.valid
        seen = seen_where(valid, target.ndim) if self.each_date else valid.any((0, 1))
        self.unseen += int((known(target) & ~seen).sum())
        values = torch.from_numpy(self.map(record.cube, temperature))
        yield from in_blocks(record.id, values, target, units, each_date=self.each_date)

    def map(self, cube: Cube, temperature: float) -> npt.NDArray[np.float32]:
        """[K,H,W] of a cube, or [T,K,H,W] with a map of each date; where no pixel is valid uniform (or zero)."""
        scene = CubeScene(cube)
        k, dates = len(self.names), cube.shape[0] if self.each_date else 1
        out = np.full(
            (dates * k, scene.height, scene.width), 1 / k if self.activation == "softmax" else 0, np.float32
        )
        engine = Engine(
            scene,
            self.network,
            self.contract,
            make_plan(scene.height, scene.width, self.size),
            self.batch_size,
            self.device,
            "bf16" if self.precision.name == "bf16" else "fp32",
            self.activation,
            self.turns,
            temperature=temperature,
            each_date=self.each_date,
        )
        for block in engine.blocks():
            if block.values is not None:
                b = block.box
                out[:, b.row : b.row + b.height, b.col : b.col + b.width] = block.values
        each = torch.from_numpy(out.reshape(dates, k, *out.shape[1:]))
        told = self._quantities(each.movedim(1, 0)).movedim(0, 1).numpy()
        return told if self.each_date else told[0]

    def _told(self, part: Part, data: RecordData, units: Units, temperature: float) -> Iterator[Answer]:
        window = replace(data, window=min(self.size))
        if self.size[0] != self.size[1]:
            raise WeightsError(f"see windows of {self.size[0]} x {self.size[1]}", where=self.loaded.path)
        for batch in score_feed(window, part, self.contract, batch_size=self.batch_size):
            on = batch.to(self.device)

            def call(
                pixels: Tensor, valid: Tensor, given: Tensor | None = on.days, on: CubeBatch = on
            ) -> Tensor:
                with self.precision.autocast():
                    out: Tensor = self.network(pixels, valid=valid, days=given, wavelengths=on.wavelengths)
                return out

            with torch.no_grad():
                values = averaged(
                    call, normalise(on), on.valid, self.activation, turns=self.turns, temperature=temperature
                ).cpu()
            if self.activation == "identity":
                values = self._quantities(values.movedim(1, 0)).movedim(0, 1)
            assert batch.target is not None
            for i, v, t in zip(batch.ids, values, batch.target, strict=True):
                if known(t.numpy()).any():
                    yield Answer(i, units.name(i), v, t)

    def _quantities(self, values: Tensor) -> Tensor:
        """Outputs [K,…] as quantities."""
        said = self.loaded.meta.quantities
        if self.task != "regression" or not said:
            return values
        shape = (-1, *[1] * (values.ndim - 1))
        gain, bias = (torch.tensor([getattr(q, n) for q in said]).reshape(shape) for n in ("gain", "bias"))
        return values * gain + bias


def in_blocks(
    record: str, values: Tensor, target: Array, units: Units, *, each_date: bool = False
) -> Iterator[Answer]:
    """What is said of a map, block by block as `units` cut it; of each date, [T,K,H,W], with the dates as rows."""
    truth = torch.from_numpy(np.array(target))

    def answer(block: str, box: tuple[slice, slice]) -> Answer:
        v, t = values[(..., *box)], truth[(..., *box)]
        # A place is one unit, whatever dates it is seen on.
        return (
            Answer(record, block, _as_rows(v), _as_rows(t), len(v))
            if each_date
            else Answer(record, block, v, t)
        )

    if units.kind != "square":
        yield answer(units.name(record), (slice(None), slice(None)))
        return
    for name, box in squares(target.shape[-2], target.shape[-1], units.square, record):
        if known(target[(..., *box)]).any():
            yield answer(name, box)


def _as_rows(maps: Tensor) -> Tensor:
    """[T,h,w] or [T,K,h,w] with the dates one below the other: [T*h,w] or [K,T*h,w]."""
    return maps.movedim(0, -3).flatten(-3, -2)


def per_pixel(part: Part) -> bool:
    """Whether targets are maps."""
    first = part.records[0]
    assert first.target is not None
    target = np.asarray(first.target)
    return target.ndim >= 2 and target.shape[-2:] == first.cube.shape[2:]
