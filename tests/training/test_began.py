"""A run that goes on draws from what it began with, in the precision it began in, or says why it cannot."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from swath.errors import InputError
from swath.feed.contents import Contents
from swath.feed.windows import RecordFeed
from swath.training import run as training_run
from swath.training.began import KEY
from swath.training.checkpoint import checkpoints, load_checkpoint, save_checkpoint
from swath.training.precision import Precision
from swath.training.run import fit


@pytest.fixture
def some(contract, scene):
    def make(*seeds: int) -> RecordFeed:
        return RecordFeed([contract.convert(scene(seed)[0]) for seed in seeds], contract, 16, seed=3)

    return make


def test_a_resumed_run_whose_records_are_others_is_refused_in_one_line(tmp_path, some, small, new_objective):
    fit(new_objective(), some(0, 1, 2), small(steps=4), tmp_path / "run")
    with pytest.raises(
        InputError, match=r"the training data are .*: of 3 records 1 went, 2 came; put them back"
    ) as err:
        fit(new_objective(), some(0, 1, 3, 4), small(steps=4), tmp_path / "run", resume=True)
    assert "\n" not in str(err.value) and str(tmp_path / "run") in str(err.value)
    with pytest.raises(InputError, match="another order"):
        fit(new_objective(), some(1, 0, 2), small(steps=4), tmp_path / "run", resume=True)
    assert fit(new_objective(), some(0, 1, 2), small(steps=4), tmp_path / "run", resume=True).steps == 4


def test_so_is_one_that_is_validated_on_others(tmp_path, some, small, new_objective):
    held = [(Contents.of((name, None) for name in names),) for names in (("a", "b"), ("a",))]

    def run(on: tuple[Contents, ...], **options: bool) -> None:
        fit(new_objective(), some(0), small(steps=3), tmp_path / "run", validated_on=on, **options)

    run(held[0])
    with pytest.raises(InputError, match=r"the validation data are .* 1 went"):
        run(held[1], resume=True)


def test_precision_that_was_chosen_is_kept_where_auto_would_choose_otherwise(
    tmp_path, some, small, new_objective, monkeypatch, caplog
):
    def choose(name: str) -> None:
        monkeypatch.setattr(
            training_run, "choose_precision", lambda *_: Precision(name, "cpu", "as it is here")
        )

    auto = small(steps=3, precision="auto", checkpoint_every=2)
    choose("bf16")
    fit(new_objective(), some(0), auto, tmp_path / "run")
    newest = checkpoints(tmp_path / "run" / "checkpoints")[0][1]
    newest.unlink()
    choose("fp32")
    with caplog.at_level(logging.WARNING, logger="swath"):
        result = fit(new_objective(), some(0), auto, tmp_path / "run", resume=True)
    assert result.precision.name == "bf16" and result.steps == 3
    said = [r.getMessage() for r in caplog.records if "auto" in r.getMessage()]
    assert len(said) == 1 and "would be fp32 here (as it is here), but the run began in bf16" in said[0]
    assert load_checkpoint(newest)[KEY]["precision"] == "bf16"


def test_a_checkpoint_of_before_goes_on(tmp_path: Path, some, small, new_objective):
    fit(new_objective(), some(0, 1), small(steps=3), tmp_path / "run")
    newest = checkpoints(tmp_path / "run" / "checkpoints")[0][1]
    state = load_checkpoint(newest)
    del state[KEY]
    save_checkpoint(state, newest)
    assert fit(new_objective(), some(0), small(steps=3), tmp_path / "run", resume=True).steps == 3
