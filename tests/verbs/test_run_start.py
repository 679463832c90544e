"""A run that goes on is the same run, also where it began before an option was there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from swath.errors import ConfigError
from swath.verbs.config import dump_config, load_config
from swath.verbs.finetune import FinetuneConfig
from swath.verbs.run_start import check_same


def written(config: FinetuneConfig, path: Path, *without: str) -> Path:
    values: dict[str, Any] = yaml.safe_load(dump_config(config, verb="finetune"))
    for dotted in without:
        *groups, last = dotted.split(".")
        below = values
        for group in groups:
            below = below[group]
        del below[last]
    path.write_text(yaml.safe_dump(values), "utf-8")
    return path


def test_an_option_that_the_run_did_not_know_was_as_usual(tmp_path: Path) -> None:
    config = load_config(FinetuneConfig, ["demo-finetune"], verb="finetune")
    older = written(config, tmp_path / "c.yaml", "loss.auxiliary", "training.augment.noise", "head.dates")
    check_same(config, older)
    for other, words in (
        (
            replace(config, loss=replace(config.loss, auxiliary=0.4)),
            r"began with loss\.auxiliary 0\.0, not 0\.4",
        ),
        (
            replace(config, head=replace(config.head, dates="mean")),
            r"began with head\.dates 'auto', not 'mean'",
        ),
    ):
        with pytest.raises(ConfigError, match=words):
            check_same(other, older)
    # One that is known no more tells nothing.
    older.write_text(older.read_text("utf-8") + "gone: 3\n", "utf-8")
    check_same(config, older)


def test_a_whole_group_that_the_run_did_not_know_was_as_usual(tmp_path: Path) -> None:
    config = load_config(FinetuneConfig, ["demo-finetune"], verb="finetune")
    older = written(config, tmp_path / "c.yaml", "loss")
    other = replace(config, loss=replace(config.loss, auxiliary=0.4))
    if config.loss == type(config.loss)():
        check_same(config, older)
    with pytest.raises(ConfigError, match=r"began with loss\."):
        check_same(other, older)
    grown = replace(config, model=replace(config.model, options={**config.model.options, "more": 1}))
    with pytest.raises(ConfigError, match=r"began with model\.options"):
        check_same(grown, written(config, tmp_path / "d.yaml"))
