"""Pictures of records: a task's answers over whole records, window by window, and the dates that are looked at."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from swath.bands import sensor
from swath.contract import InputContract, contract_for
from swath.cube import Cube, Encoding, Sample
from swath.data.legend import LandClass
from swath.report.panels import view
from swath.tasks.config import TaskConfig
from swath.tasks.segmentation import SegmentationTask
from swath.verbs.answerer import Answerer
from swath.verbs.answers import SIDE, answers
from swath.verbs.labelled_options import RecordData
from swath.verbs.labelled_page import _seen
from swath.verbs.labelled_records import Part
from swath.verbs.options import LayoutOptions
from swath.verbs.score_units import Units
from swath.verbs.target_meaning import Meaning

BANDS = sensor("sentinel2").select(("B02", "B03", "B04"))
CLASSES = (LandClass(0, "dark", (0, 0, 0)), LandClass(1, "bright", (255, 255, 255)))
ENCODING = Encoding("reflectance", 1.0, 0.0, "L2A")
CONTRACT: InputContract = contract_for("sentinel2", ("B02", "B03", "B04"), ENCODING)


class Bright(nn.Module):
    """Logits of whether a pixel's first band is above 0 on the first date that is valid there."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, pixels: Tensor, valid: Tensor, days: object, wavelengths: object) -> Tensor:
        self.shapes.append(tuple(pixels.shape))
        first = pixels[:, 0, 0]
        return torch.stack([-first, first], 1) * self.scale


def record(height: int, width: int, *, dates: int = 1, name: str = "r", seed: int = 0) -> Sample:
    draw = np.random.default_rng(seed)
    pixels = draw.normal(0, 1, (dates, 3, height, width)).astype(np.float32)
    days = tuple(dt.date(2020, 1, 1) + dt.timedelta(10 * t) for t in range(dates))
    cube = Cube(
        pixels, np.ones(pixels.shape, bool), BANDS, days, ((ENCODING,) * 3,) * dates, gsd=10.0, source=name
    ).with_statistics()
    return Sample({"sentinel2": cube}, name, (pixels[0, 0] > 0).astype(np.int64))


def unseen(given: Sample, *index: Any) -> Sample:
    """The same, with some of its pixels [T,C,H,W] invalid."""
    valid = given.cube.valid.copy()
    valid[index] = False
    return replace(given, cubes={"sentinel2": replace(given.cube, valid=valid)})


def part_of(*records: Sample) -> Part:
    none = (None,) * len(records)
    return Part(
        "validation", Meaning("segmentation", CLASSES), records, tuple(r.id for r in records), none, none
    )


def data(**more: Any) -> RecordData:
    return RecordData(layout=LayoutOptions("folder", "nowhere"), **{"window": 8, **more})


def task() -> SegmentationTask:
    return SegmentationTask(Bright(), TaskConfig(("dark", "bright")))


@pytest.mark.parametrize(("height", "width"), [(8, 8), (5, 21), (24, 16), (19, 30)])
def test_a_record_is_answered_whole(height: int, width: int) -> None:
    given = unseen(record(height, width), 0, slice(None), slice(height // 2), slice(8))
    (one,) = answers(task(), data(), part_of(given), CONTRACT)
    assert one.answer.shape == one.truth.shape == (height, width) and one.pixels.shape == (
        1,
        3,
        height,
        width,
    )
    seen = one.valid.any((0, 1))
    assert seen.sum() == height * width - height // 2 * 8
    np.testing.assert_array_equal(one.answer[seen], one.truth[seen])
    assert (one.pixels[..., ~seen] == 0).all()


def test_of_a_large_record_the_middle_of_what_is_known_is_shown() -> None:
    side = SIDE
    given = record(3 * side, 2 * side)
    target = np.asarray(given.target).copy()
    target[: 2 * side] = -1
    target[:, side + 8 :] = -1
    (one,) = answers(task(), data(window=100), part_of(Sample(given.cubes, "r", target)), CONTRACT)
    assert one.truth.shape == one.answer.shape == (side, side)
    np.testing.assert_array_equal(one.truth, target[2 * side :, 4 : side + 4])
    known = one.truth >= 0
    np.testing.assert_array_equal(one.answer[known], one.truth[known])


def test_a_record_without_a_valid_pixel_is_not_asked_about() -> None:
    given = unseen(record(16, 16), slice(None))
    asked = task()
    (one,) = answers(asked, data(), part_of(given), CONTRACT)
    assert not one.valid.any() and one.answer.shape == (16, 16)
    assert isinstance(asked.network, Bright) and asked.network.shapes == []


def test_records_are_taken_evenly_and_no_more_dates_than_are_learned_from() -> None:
    records = [record(8, 8, dates=6, name=f"r{i}", seed=i) for i in range(9)]
    found = answers(task(), data(dates=3, draw="windows"), part_of(*records), CONTRACT, most=3)
    assert [one.id for one in found] == ["r0", "r4", "r8"]
    assert {one.pixels.shape[0] for one in found} == {3}
    assert found[0].dates == tuple(records[0].cube.dates[t] for t in (0, 2, 5))


def test_scores_are_of_as_many_dates_as_were_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    given = unseen(record(16, 16, dates=7), slice(1, 3))
    counted: list[tuple[dt.date | None, ...]] = []

    def mapped(self: Answerer, cube: Cube, temperature: float) -> np.ndarray:
        counted.append(cube.dates)
        return np.full((2, 16, 16), 0.5, np.float32)

    monkeypatch.setattr(Answerer, "map", mapped)
    answerer = Answerer.__new__(Answerer)
    answerer.unseen, answerer.each_date = 0, False
    answerer.loaded = SimpleNamespace(path="w")  # type: ignore[assignment]  # its path alone is asked for

    def ask(chosen: RecordData) -> Iterator[Any]:
        return answerer.answers(part_of(given), chosen, Units("record", {}), 1.0)

    list(ask(data(dates=3, draw="windows")))
    list(ask(data()))
    assert counted == [tuple(given.cube.dates[t] for t in (0, 4, 6)), given.cube.dates]


def test_a_change_shows_both_ends_and_a_series_its_clearest_date() -> None:
    given = unseen(record(8, 8, dates=3), 2, slice(None), slice(4))
    (one,) = answers(task(), data(), part_of(given), CONTRACT)
    pictures, words = _seen(one, Meaning("segmentation", CLASSES))
    assert [word for word, _ in pictures] == ["seen"] and words == " 11 Jan 2020, one of 3 dates."
    assert (pictures[0][1] == view(one.pixels[1], one.valid[1], BANDS)).all()
    pictures, words = _seen(one, Meaning("change", CLASSES))
    assert [word for word, _ in pictures] == ["before", "after"] and "1 Jan 2020 and 21 Jan 2020" in words
