"""How a card tells its progress: each command, and about how long the others take."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.verbs.card_plan import Cell, cell_runs
from swath.verbs.card_progress import Pace
from swath.verbs.run_many import Answer, Run, check_order


def cells(seeds: int = 2, methods: tuple[str, ...] = ("forest", "scratch", "probe", "lora")) -> list[Cell]:
    made = []
    for method in methods:
        for seed in range(seeds):
            name = f"{method}-{seed}"
            verb = {"forest": "baseline", "probe": "probe"}.get(method, "finetune")
            fit = Run(name, (verb, name))
            runs = (fit, Run(f"{name}.score", ("evaluate", name), (name,))) if verb == "finetune" else (fit,)
            made.append(Cell(method, "", 1.0, seed, runs))
    return made


def test_the_first_seed_of_every_method_comes_first() -> None:
    names = [run.name for run in cell_runs(cells())]
    assert names == [
        "forest-0", "scratch-0", "scratch-0.score", "probe-0", "lora-0", "lora-0.score",
        "forest-1", "scratch-1", "scratch-1.score", "probe-1", "lora-1", "lora-1.score",
    ]  # fmt: skip
    check_order(cell_runs(cells()))


def test_time_left_is_that_of_commands_like_those_to_come(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "swath")
    pace = Pace(cells(), {}, jobs=1)
    runs = {run.name: run for run in cell_runs(cells())}

    def done(name: str, seconds: float) -> None:
        pace.tell(1, 12, runs[name], Answer({}, seconds, 0))

    done("forest-0", 5.0)
    # Of trainings nothing is known yet, and they take the longest.
    assert pace.left() is None and "left" not in caplog.text
    done("scratch-0", 100.0)
    done("scratch-0.score", 10.0)
    done("probe-0", 20.0)
    # forest 5, two of U-Nets 100 + 10, two of LoRA as the U-Net's, one more probe.
    assert pace.left() == pytest.approx(5 + 110 + 20 + 2 * 110)
    done("lora-0", 40.0)
    assert pace.left() == pytest.approx(5 + 110 + 20 + (10 + 40 + 10))
    assert "1/12 lora-0: 40 s, about 3 min left" in caplog.text


def test_answers_from_before_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "swath")
    runs = cell_runs(cells(1, ("forest", "scratch")))
    kept = {"forest-0": Answer({}, 3.0, 0), "scratch-0": Answer({}, 60.0, 0)}
    pace = Pace(cells(1, ("forest", "scratch")), kept, jobs=2)
    for run in runs[:2]:
        pace.tell(1, 3, run, kept[run.name])
    assert [r.message for r in caplog.records] == ["2 answers kept from before"]
    assert pace.left() == pytest.approx((3 + 60) / 2 / 2)


@given(st.integers(1, 4), st.integers(1, 3), st.randoms(use_true_random=False))
def test_nothing_is_left_at_the_end_whatever_the_order(seeds: int, jobs: int, draw: object) -> None:
    runs = cell_runs(cells(seeds))
    pace = Pace(cells(seeds), {}, jobs=jobs)
    draw.shuffle(runs)  # type: ignore[attr-defined]  # a random.Random
    for run in runs:
        left = pace.left()
        assert left is None or left > 0
        pace.tell(1, 1, run, Answer({}, 7.0, 0))
    assert pace.left() == 0
