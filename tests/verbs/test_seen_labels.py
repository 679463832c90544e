"""Records whose labels were never seen: warned of, and an error where there are no others."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from swath.bands import sensor
from swath.cube import Cube, Encoding, Sample
from swath.errors import InputError
from swath.feed.config import IGNORE
from swath.verbs.seen_labels import check_classes, check_seen, seen_labels


def record(name: str, target: object, valid: np.ndarray) -> Sample:
    bands = sensor("sentinel2").bands[:2]
    pixels = np.zeros((len(valid), 2, *valid.shape[1:]), np.float32)
    seen = np.repeat(valid[:, None], 2, axis=1)
    seen[:, 1] = False  # one band is enough
    encodings = ((Encoding("reflectance"),) * 2,) * len(valid)
    cube = Cube(pixels, seen, bands, (None,) * len(valid), encodings=encodings)
    return Sample({"s2": cube}, name, np.asarray(target))


def map_of(left: int, right: int) -> np.ndarray:
    return np.repeat([[left, right]], 2, axis=0)


LEFT = np.repeat([[[True, False]]], 2, axis=1)


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        (map_of(1, IGNORE), 2),
        (map_of(IGNORE, 1), 0),
        (map_of(0, 1), 2),
        (np.where(map_of(0, 1) == 1, np.nan, 0.5), 2),
        (np.stack([map_of(0, 1)] * 3), 6),
        (3, 1),
        ([0, 1, 0, 1], 4),
    ],
)
def test_labels_count_where_a_band_of_a_date_is_valid(target: object, seen: int) -> None:
    assert seen_labels(record("a", target, LEFT)) == seen
    assert seen_labels(record("a", target, np.zeros_like(LEFT))) == 0
    both = np.concatenate([LEFT, ~LEFT])
    assert (
        seen_labels(record("a", target, both))
        == (np.asarray(target) != IGNORE).sum() - np.isnan(np.asarray(target, float)).sum()
    )


def test_blind_records_are_told_and_a_part_of_them_alone_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    good, blind = record("a", map_of(1, IGNORE), LEFT), record("b", map_of(IGNORE, 1), LEFT)
    bare = record("c", map_of(IGNORE, IGNORE), LEFT)
    with caplog.at_level(logging.WARNING):
        check_seen("train", [good, bare])
        assert not caplog.records
        check_seen("train", [good, bare, blind, blind])
    assert caplog.messages == ["train: the labels of 2 records of 4 were never seen, and say nothing"]
    with pytest.raises(
        InputError, match=r"^part train: none of its labels was seen: no pixel there is valid; check"
    ):
        check_seen("train", [blind, bare])
    with pytest.raises(InputError, match=r"^part test: holds no label; check"):
        check_seen("test", [bare])


def test_one_class_teaches_nothing() -> None:
    one, two = record("a", map_of(1, IGNORE), LEFT), record("b", map_of(0, 1), LEFT)
    check_classes("train", [one, two], ["land", "water"])
    check_classes("train", [record("c", 0, LEFT), record("d", 1, LEFT)], ["land", "water"])
    with pytest.raises(
        InputError,
        match=r"^part train: all its labels are of one class, water: there is nothing to tell apart; ch",
    ):
        check_classes("train", [one, one], ["land", "water"])
