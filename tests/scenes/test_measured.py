"""A scene's statistics are kept to the last bit, or not believed."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.cube import BandStatistics
from swath.scenes.measured import keep_statistics, kept_statistics
from swath.scenes.work import STATISTICS, folder_of

FLOATS = st.floats() | st.just(float("nan"))
ROWS = st.lists(st.tuples(FLOATS, FLOATS, FLOATS, FLOATS, st.integers(0, 1 << 60)), min_size=1, max_size=4)
FOUND = BandStatistics((1.0, 0.1), (9.0, 8.0), (4.0, 1 / 3), (2.0, 1.5), (12, 7))


def scene(identity: str = "one") -> Any:
    return SimpleNamespace(identity=lambda: identity)


@given(ROWS)
def test_they_come_back_bit_for_bit(rows: list[tuple[float, float, float, float, int]]) -> None:
    statistics = BandStatistics(*zip(*rows, strict=True))
    with TemporaryDirectory() as folder:
        output = Path(folder) / "map.tif"
        keep_statistics(output, scene(), statistics)
        assert repr(kept_statistics(output, scene())) == repr(
            statistics
        )  # NaN differs from itself, its text does not


def test_of_another_scene_or_where_there_are_none_nothing_is_kept(tmp_path: Path) -> None:
    output = tmp_path / "map.tif"
    assert kept_statistics(output, scene()) is None
    keep_statistics(output, scene(), FOUND)
    assert kept_statistics(output, scene()) == FOUND
    assert kept_statistics(output, scene("two")) is None


def test_of_another_swath_they_are_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_statistics(tmp_path / "map.tif", scene(), FOUND)
    monkeypatch.setattr("swath.scenes.measured.__version__", "0.0.0")
    assert kept_statistics(tmp_path / "map.tif", scene()) is None


@given(st.data())
def test_a_damaged_file_is_never_believed(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        output = Path(folder) / "map.tif"
        keep_statistics(output, scene(), FOUND)
        path = folder_of(output) / STATISTICS
        whole = path.read_bytes()
        place = data.draw(st.integers(0, len(whole) - 1))
        cut = data.draw(st.booleans())
        changed = bytes([data.draw(st.integers(0, 255).filter(lambda b: b != whole[place]))])
        path.write_bytes(whole[:place] if cut else whole[:place] + changed + whole[place + 1 :])
        assert kept_statistics(output, scene()) in (None, FOUND)  # a space more or less changes nothing


@pytest.mark.parametrize("text", ["[]", "null", "3", '{"of": 1}', '{"statistics": []}'])
def test_other_json_is_not_believed(tmp_path: Path, text: str) -> None:
    output = tmp_path / "map.tif"
    keep_statistics(output, scene(), FOUND)
    (folder_of(output) / STATISTICS).write_text(text, "utf-8")
    assert kept_statistics(output, scene()) is None


def test_what_has_a_hash_and_other_names_is_not_believed(tmp_path: Path) -> None:
    output = tmp_path / "map.tif"
    keep_statistics(output, scene(), FOUND)
    path = folder_of(output) / STATISTICS
    stated = json.loads(path.read_text("utf-8"))
    stated["statistics"]["median"] = stated["statistics"].pop("mean")
    path.write_text(json.dumps(stated), "utf-8")
    assert kept_statistics(output, scene()) is None
