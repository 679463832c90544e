from __future__ import annotations

import logging

import pytest

from swath.scenes.mapping import Progress
from swath.scenes.progress import MapBar, line


def test_speed_and_time_left_are_of_this_run_alone() -> None:
    first = Progress(10, 5, 100, 50, 500.0, 2.0)
    now = Progress(10, 7, 100, 75, 750.0, 12.0)
    assert line(now, first) == "7 of 10 blocks, 25 km²/s, 10 s left"
    assert line(first, first) == "5 of 10 blocks"
    unknown = Progress(10, 7, 100, 75, None, 12.0)
    assert line(unknown, first) == "7 of 10 blocks, 10 s left"


def test_a_line_now_and_then_and_a_bar_on_a_terminal(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO, "swath")
    with MapBar(every_seconds=0, terminal=False) as bar:
        bar.update(Progress(2, 0, 8, 0, 0.0, 0.0))
        bar.update(Progress(2, 1, 8, 4, 4.0, 2.0))
    assert "map: 1 of 2 blocks, 2 km²/s, 2 s left" in caplog.text
    with MapBar(terminal=True) as bar:
        bar.update(Progress(2, 1, 8, 4, 4.0, 2.0))
    assert "1 of 2 blocks" in capsys.readouterr().err
