"""A feed says what it draws from, and what has become of that is told in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from swath.bands import sensor
from swath.contract import InputContract, Normalisation, contract_for
from swath.cube import Cube, Encoding
from swath.feed.contents import Contents, contents_of, difference
from swath.feed.mix import MixFeed
from swath.feed.windows import RecordFeed, WindowFeed

BANDS = ("B2", "B3")
CONTRACT: InputContract = contract_for("landsat7", BANDS, Encoding("dn"), Normalisation("standard", "record"))


def cubes(count: int = 4, size: int = 8) -> list[Cube]:
    draw = np.random.default_rng(0)
    bands, encodings = sensor("landsat7").select(BANDS), ((Encoding("dn"),) * 2,)
    return [
        CONTRACT.convert(
            Cube(
                draw.normal(size=(1, 2, size, size)).astype(np.float32), np.ones((1, 2, size, size), bool),
                bands, (None,), encodings, source=f"r{i}",
            ).with_statistics()
        )
        for i in range(count)
    ]  # fmt: skip


def records(given: list[Cube], labels: Any = None) -> tuple[Contents, ...]:
    return RecordFeed(given, CONTRACT, targets=labels).contents()


def test_the_same_data_are_the_same_and_each_change_has_its_words() -> None:
    given = cubes()
    began = records(given)
    assert difference(began, records(cubes())) == ""
    assert difference(began, records(given[1:])) == "of 4 records 1 went"
    assert difference(began[:1], records([*given, replace(given[0], source="new")])) == "of 4 records 1 came"
    assert difference(began, records(given[::-1])) == "the 4 records are in another order"
    cloudy = given[0].valid.copy()
    cloudy[0, 0, 0, 0] = False
    other = [replace(given[0], valid=cloudy), *given[1:3], replace(given[3], source="new")]
    assert (
        difference(began, records(other))
        == "of 4 records 1 went, 1 came, 1 changed in size, valid pixels or labels"
    )


def test_labels_that_were_mended_are_other_data() -> None:
    labels = [np.zeros((8, 8), np.int64) for _ in range(4)]
    began = records(cubes(), labels)
    labels[2][1, 1] = 1
    assert "1 changed" in difference(began, records(cubes(), labels))


def test_windows_say_where_they_may_lie() -> None:
    def windows(allowed: np.ndarray) -> tuple[Contents, ...]:
        return WindowFeed(cubes(1, 16), CONTRACT, 4, allowed=[allowed]).contents()

    everywhere = np.ones((16, 16), bool)
    west = everywhere.copy()
    west[:, 8:] = False
    assert difference(windows(everywhere), windows(everywhere)) == ""
    assert difference(windows(everywhere), windows(west))


def test_a_mixture_says_which_data_set_changed_and_how_often_each_is_drawn() -> None:
    first, second = RecordFeed(cubes(), CONTRACT), RecordFeed(cubes(3), CONTRACT)
    began = MixFeed([first, second], [1, 1]).contents()
    assert [len(part.keys) for part in began] == [4, 3]
    fewer = MixFeed([first, RecordFeed(cubes(2), CONTRACT)], [1, 1])
    assert difference(began, fewer.contents()) == "of data set 2, of 3 records 1 went"
    assert "128 of 256" in difference(began, MixFeed([first, second], [3, 1]).contents())
    assert difference(began, first.contents()) == "2 sets of records then, 1 now"


def test_a_checkpoint_holds_them_and_a_feed_that_says_nothing_is_not_asked() -> None:
    began = records(cubes())
    again = tuple(Contents.from_plain(part.to_plain()) for part in began)
    assert difference(began, again) == ""
    assert contents_of(object()) == ()
